"""Coordinators that say what a test told them to say."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from zope.interface import implementer

from txdagu.model.run import RunRef, RunStatus
from txdagu.model.task import Task
from txdagu.peers.interfaces import ICoordinators, WorkersView


@implementer(ICoordinators)
class StandingCoordinators:
    """
    Provides `ICoordinators` without anybody behind it.

    `view` is the answer to `workers`; an exception is raised instead. With `slow` set, questions wait in `pending` until the test
    answers them. `asked` counts them; `dispatched` and `cancelled` hold what was handed in.
    """

    def __init__(self, view: WorkersView | Exception | None = None, *, slow: bool = False) -> None:
        self.view: WorkersView | Exception = WorkersView() if view is None else view
        self.slow = slow
        self.asked = 0
        self.pending: list[Deferred[WorkersView]] = []
        self.dispatched: list[Task] = []
        self.cancelled: list[RunRef] = []

    async def dispatch(self, task: Task, tries: int | None = None) -> None:
        """Accept at once."""
        self.dispatched.append(task)

    async def task_status(self, run: RunRef, root: RunRef) -> RunStatus | None:
        """Know of no end."""
        return None

    async def forgotten(self, run: RunRef, root: RunRef) -> bool:
        """Remember everything."""
        return False

    async def cancel(self, run: RunRef, root: RunRef) -> None:
        """Accept at once."""
        self.cancelled.append(run)

    async def workers(self) -> WorkersView:
        """Say what the test wants."""
        self.asked += 1
        if self.slow:
            question: Deferred[WorkersView] = Deferred()
            self.pending.append(question)
            return await question
        if isinstance(self.view, Exception):
            raise self.view
        return self.view
