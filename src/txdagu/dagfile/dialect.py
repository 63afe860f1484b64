"""Words of ours that Dagu 1.30.2 does not know: what needs a worker of ours for them, and what can be left out for others."""

from __future__ import annotations

import yaml

from txdagu.dagfile.steptypes import OTHER_TYPE, step_type
from txdagu.model.dag import Dag
from txdagu.model.errors import InvalidInputError
from txdagu.yamltree import parse, plain

_LEFT_OUT = frozenset({"onworkerlost", "on_worker_lost"})
_OWN_TYPES = frozenset({"python"})


def beyond_dagu(dag: Dag) -> str:
    """A phrase for the first thing in a DAG or its local DAGs with which Dagu 1.30.2 could not run it; empty if there is none."""
    for step in (*dag.steps, *dag.handlers.values()):
        if step.worker_selector and step.child is None:
            return f"workerSelector on step {step.name!r}, which calls no DAG"
        if step.type in _OWN_TYPES or step_type(step.type) is OTHER_TYPE:
            return f"the type {step.type!r} of step {step.name!r}"
    for local in dag.local_dags.values():
        if found := beyond_dagu(local):
            return found
    return ""


def for_dagu(definition: str) -> str:
    """
    The text of a DAG without the keys that say nothing to Dagu, of which ``onWorkerLost`` is one.

    A text without them is returned as it is, and so is one that cannot be read: whoever runs it will say what is wrong.
    """
    if not any(key in definition.lower() for key in _LEFT_OUT):
        return definition
    try:
        documents = [plain(document) for document in parse(definition, "definition")]
    except InvalidInputError:
        return definition
    if not all(isinstance(document, dict) for document in documents):
        return definition
    kept = [{key: value for key, value in one.items() if key.lower() not in _LEFT_OUT} for one in documents]
    # Dumped with quotes around whatever YAML 1.1 or 1.2 could take for something else than text.
    text: str = yaml.safe_dump_all(kept, sort_keys=False, allow_unicode=True, width=2**31)
    return text
