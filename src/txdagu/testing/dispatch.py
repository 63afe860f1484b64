"""Tools for tests of the dispatch core: names without chance, and short ways to write tasks and polls."""

from __future__ import annotations

from txdagu.dispatch.records import Poll
from txdagu.model.labels import Labels
from txdagu.model.run import RunRef
from txdagu.model.task import Operation, RunningTask, Task


class CountedNames:
    """Tokens and attempts numbered from 1."""

    def __init__(self) -> None:
        self._tokens = 0
        self._attempts = 0

    def token(self) -> str:
        """``token-1``, ``token-2``, …"""
        self._tokens += 1
        return f"token-{self._tokens}"

    def attempt(self, after: str) -> tuple[str, str]:
        """``000001`` and a directory name that counts up in the place of milliseconds."""
        self._attempts += 1
        attempt_id = f"{self._attempts:06x}"
        name = f"attempt_20260101_{self._attempts:06d}_000Z_{attempt_id}"
        assert name > after, "an attempt must sort after all earlier ones of its run"
        return attempt_id, name


def make_task(
    run_id: str,
    selector: Labels | None = None,
    operation: Operation = Operation.START,
    parent: RunRef | None = None,
    root: RunRef | None = None,
) -> Task:
    """A task for DAG ``job``; its own root unless one is given."""
    run = RunRef("job", run_id)
    return Task(
        run=run,
        root=root or run,
        parent=parent,
        operation=operation,
        target="job",
        selector=dict(selector or {}),
        definition="steps:\n  - echo hi\n",
    )


def make_poll(worker_id: str, labels: Labels | None = None, incarnation: str = "one", free_slots: int = 1) -> Poll:
    """A waiting call; with an empty `incarnation` that of a peer which confirms nothing."""
    return Poll(worker_id, dict(labels or {}), incarnation, free_slots, poller_id=f"{worker_id}-poll")


def running(task: Task, epoch: int = 0, attempt_key: str = "") -> RunningTask:
    """The task as its worker lists it."""
    return RunningTask(task.run, task.root, task.parent, 1_700_000_000, attempt_key, epoch)
