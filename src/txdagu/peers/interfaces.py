"""Coordinators as those who need them see them."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass

from zope.interface import Interface

from txdagu.dispatch.whatif import FleetChange, Wish
from txdagu.model.run import RunRef, RunStatus
from txdagu.model.standing import Ordered, WorkerOrder
from txdagu.model.task import Task, WorkerStatus
from txdagu.peers.told import ClusterWord, PlanWord


@dataclass(frozen=True, slots=True)
class WorkersView:
    """All workers that any coordinator knows, one row each and sorted by id; `errors` names coordinators that gave no answer."""

    workers: tuple[WorkerStatus, ...] = ()
    errors: tuple[str, ...] = ()


class ICoordinators(Interface):
    """The coordinators of the cluster as one: finds them, keeps channels to them, and calls whichever answers."""

    def dispatch(task: Task, tries: int | None = None) -> Awaitable[None]:
        """
        Hand in a task; returns when a coordinator has accepted it.

        Tries again with back-off while none can be reached, `tries` times or as often as the provider thinks right (some
        minutes), then raises `UnavailableError` that names every address tried and what was wrong there.
        """

    def task_status(run: RunRef, root: RunRef) -> Awaitable[RunStatus | None]:
        """What the coordinators know of a task's end; None while it is open, unknown, or they are too old to say."""

    def forgotten(run: RunRef, root: RunRef) -> Awaitable[bool]:
        """
        Whether every coordinator that is there says that it does not know the task, because the one that took it was replaced.

        False where that is not sure: none is there, one gives no answer, or one is too old to say.
        """

    def holds(run: RunRef, root: RunRef) -> Awaitable[bool]:
        """Whether a coordinator says that the task is open: it waits for a worker or has one, whatever the run's files say."""

    def cancel(run: RunRef, root: RunRef) -> Awaitable[None]:
        """Ask the coordinators to end a task in whatever state it is. Unknown tasks and old coordinators are fine."""

    def order(order: WorkerOrder) -> Awaitable[Ordered]:
        """
        Give all coordinators an order for workers; each worker is known to all of them.

        Raises `UnavailableError` if none could be told.
        """

    def workers() -> Awaitable[WorkersView]:
        """All workers, from all coordinators that answer within a short time limit. No coordinator at all: an empty view."""


class IExplainer(Interface):
    """Why tasks are where they are, asked of all coordinators. Those that do not answer are told as errors, none raises."""

    def explain(run: RunRef, root: RunRef) -> Awaitable[ClusterWord]:
        """What they know of a run's task: its state and what keeps it there, its history, and open tasks below it."""

    def plan(wishes: Sequence[Wish], change: FleetChange) -> Awaitable[PlanWord]:
        """Where tasks with these wishes would go now, each on its own, if the workers were changed in that way."""
