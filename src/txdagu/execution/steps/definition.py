"""The text of a DAG that comes from a file of its own, so that it keeps its name where the file's name is not known."""

from __future__ import annotations

import re

from txdagu.model.dag import Dag
from txdagu.model.errors import DaguError

_SEPARATOR = re.compile(r"^---[ \t]*(?:#.*)?$", re.MULTILINE)
_BLANK = re.compile(r"(?:[ \t]*(?:#.*)?(?:\n|\Z)|%.*\n)*")
_NAME = re.compile(r"""^(["']?)name\1[ \t]*:(?=[ \t\n]|\Z)""", re.MULTILINE | re.IGNORECASE)


def named_definition(dag: Dag) -> str:
    """
    The source of the whole file, with a ``name`` in its main document.

    Where none is written, because the file's name gave it, one is added. Raises `DaguError` if the DAG has no text, or one to
    which no name can be added.
    """
    text = dag.yaml_text
    if not text.strip():
        raise DaguError(f"the text of DAG {dag.name} is not known, so it cannot be sent to a worker")
    start = _main_document(text)
    following = _SEPARATOR.search(text, start)
    document = text[start : following.start() if following else len(text)]
    if _NAME.search(document):
        return text
    if document.lstrip().startswith(("{", "[", "&", "!")):
        raise DaguError(f"DAG {dag.name} cannot be sent to a worker: add a name to its file {dag.location}".rstrip())
    return f"{text[:start]}name: {dag.name}\n{text[start:]}"


def _main_document(text: str) -> int:
    """Where the first document with content begins, behind its separator."""
    start = 0
    while True:
        content = _BLANK.match(text, start)
        position = content.end() if content else start
        separator = _SEPARATOR.match(text, position)
        if separator is None:
            return start
        start = min(separator.end() + 1, len(text))
