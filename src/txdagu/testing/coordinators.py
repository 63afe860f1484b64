"""Coordinators with nobody behind them, for tests of those who ask them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred
from zope.interface import implementer

from txdagu.dispatch.whatif import FleetChange, Wish
from txdagu.model.labels import format_labels
from txdagu.model.run import RunRef, RunStatus
from txdagu.model.standing import Ordered, WorkerOrder
from txdagu.model.task import Task
from txdagu.peers.interfaces import ICoordinators, IExplainer, WorkersView
from txdagu.peers.told import ClusterWord, Place, PlanWord


@implementer(ICoordinators)
class ScriptedCoordinators:
    """
    Provides `ICoordinators` as a test wants it.

    They take every task, kept in `tasks`, and call `taken` with it; a `refusal` is raised instead, and with `waits` they never
    answer. `held` and `forgot` have the ids of runs of which they say that these are open, or unknown to them. `ends` is what
    they tell of tasks, by run id, and `asked` for which runs they were asked; `cancelled` holds the runs whose end was asked
    for, and `orders` what workers were ordered. `view` is the answer to `workers`, or is raised if it is an exception; with
    `slow` the questions wait in `pending` until the test answers them. `looks` counts those questions.
    """

    def __init__(
        self, view: WorkersView | Exception | None = None, taken: Callable[[Task], None] | None = None
    ) -> None:
        self.tasks: list[Task] = []
        self.refusal: Exception | None = None
        self.waits = False
        self.ends: dict[str, RunStatus] = {}
        self.forgot: set[str] = set()
        self.held: set[str] = set()
        self.asked: list[RunRef] = []
        self.cancelled: list[RunRef] = []
        self.view: WorkersView | Exception = WorkersView() if view is None else view
        self.slow = False
        self.pending: list[Deferred[WorkersView]] = []
        self.looks = 0
        self.orders: list[WorkerOrder] = []
        self._taken = taken

    async def dispatch(self, task: Task, tries: int | None = None) -> None:
        """Take the task, or not, as the test wants."""
        if self.refusal is not None:
            raise self.refusal
        self.tasks.append(task)
        if self.waits:
            await Deferred()
        if self._taken is not None:
            self._taken(task)

    async def task_status(self, run: RunRef, root: RunRef) -> RunStatus | None:
        """The end that the test put there."""
        self.asked.append(run)
        return self.ends.get(run.id)

    async def forgotten(self, run: RunRef, root: RunRef) -> bool:
        """Whether the test put the run's id into `forgot`."""
        return run.id in self.forgot

    async def holds(self, run: RunRef, root: RunRef) -> bool:
        """Whether the test put the run's id into `held`."""
        return run.id in self.held

    async def cancel(self, run: RunRef, root: RunRef) -> None:
        """Remember it."""
        self.cancelled.append(run)

    async def order(self, order: WorkerOrder) -> Ordered:
        """Remember it; it reaches those of its workers that are in the view."""
        if isinstance(self.view, Exception):
            raise self.view
        self.orders.append(order)
        known = {worker.id for worker in self.view.workers}
        return Ordered(tuple(sorted(known & set(order.ids))), tuple(sorted(set(order.ids) - known)))

    async def workers(self) -> WorkersView:
        """The workers that the test put there."""
        self.looks += 1
        if self.slow:
            question: Deferred[WorkersView] = Deferred()
            self.pending.append(question)
            return await question
        if isinstance(self.view, Exception):
            raise self.view
        return self.view


@implementer(IExplainer)
class ScriptedExplainer:
    """
    Provides `IExplainer` as a test wants it: `word` is told of every run, and `places` for plans, by the selector of the wish.

    `asked` has the runs that were asked for, `changes` the changes that were planned with.
    """

    def __init__(self, word: ClusterWord | None = None) -> None:
        self.word = word or ClusterWord()
        self.places: dict[str, Place] = {}
        self.uncertain: tuple[str, ...] = ()
        self.asked: list[tuple[RunRef, RunRef]] = []
        self.changes: list[FleetChange] = []
        self.wishes: list[Wish] = []

    async def explain(self, run: RunRef, root: RunRef) -> ClusterWord:
        """What the test put there."""
        self.asked.append((run, root))
        return self.word

    async def plan(self, wishes: Sequence[Wish], change: FleetChange) -> PlanWord:
        """The places that the test put there; a wish for which there is none waits."""
        self.wishes += wishes
        self.changes.append(change)
        places = tuple(self.places.get(format_labels(wish.selector), Place()) for wish in wishes)
        return PlanWord(places, self.uncertain, self.word.errors, self.word.nobody)
