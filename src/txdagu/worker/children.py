"""The files of child DAGs that a run on this worker calls by name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from twisted.internet.threads import deferToThreadPool

from txdagu.dagfile import load_dag
from txdagu.model.dag import Dag
from txdagu.model.errors import DaguError, NotFoundError

SUFFIXES = (".yaml", ".yml")


def child_finder(reactor: Any, dags_dir: str) -> Callable[[str, str], Awaitable[Dag]]:
    """What the engine asks for a child by name and the directory of the calling DAG's file (Dagu 1.30.2 looks there first)."""

    def find(name: str, directory: str) -> Awaitable[Dag]:
        return deferToThreadPool(reactor, reactor.getThreadPool(), find_child, name, directory, dags_dir)

    return find


def find_child(name: str, directory: str, dags_dir: str) -> Dag:
    """
    The DAG in the file of that name, in `directory` or else in `dags_dir`. Blocks.

    Raises `NotFoundError` with the places that were looked into, `InvalidInputError` for a file that is no DAG.
    """
    tried = []
    for base in dict.fromkeys(place for place in (directory, dags_dir) if place):
        for suffix in ("",) if name.endswith(SUFFIXES) else SUFFIXES:
            path = Path(base, name + suffix)
            tried.append(str(path))
            try:
                text = path.read_text(encoding="utf-8")
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                continue
            except (OSError, UnicodeDecodeError) as error:
                raise DaguError(f"{path} cannot be read: {error}") from error
            return load_dag(text, str(path), location=str(path))
    raise NotFoundError(f"none of these files exists: {', '.join(tried)}")
