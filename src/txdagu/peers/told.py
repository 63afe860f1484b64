"""What coordinators tell of a task, and of where tasks would go; of several coordinators one answer. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from txdagu.dispatch.explanation import Explanation
from txdagu.dispatch.machine import State
from txdagu.dispatch.matching import Fit, Verdict, nearest_first, verdict
from txdagu.dispatch.whatif import FleetChange, Placed, Wish
from txdagu.model.health import Health
from txdagu.model.task import WorkerStatus


@dataclass(frozen=True, slots=True)
class HistoryLine:
    """One transition of a task, at a time of day in UTC by the clock of the coordinator that tells it."""

    at: datetime
    state: State
    worker_id: str
    epoch: int
    reason: str
    coordinator: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """
    What one coordinator of ours knows of a run, at `at` by its clock.

    `task` is None if no task of the run is open there or has ended lately; `history` may reach back further. `below` are open
    tasks of runs that the run has called, of `below_count` in all.
    """

    coordinator: str
    at: datetime
    task: Explanation | None = None
    history: tuple[HistoryLine, ...] = ()
    below: tuple[Explanation, ...] = ()
    below_count: int = 0

    @property
    def knows(self) -> bool:
        """Whether it has ever had the run, as far as it remembers."""
        return self.task is not None or bool(self.history)

    def since(self, task: Explanation) -> datetime:
        """When a task came into its present state."""
        return self.at - timedelta(seconds=task.age)


@dataclass(frozen=True, slots=True)
class Listed:
    """A coordinator that can be asked for its workers only, as those of Dagu."""

    coordinator: str
    workers: tuple[WorkerStatus, ...]


@dataclass(frozen=True, slots=True)
class ClusterWord:
    """
    What all coordinators together say of a run.

    `errors` name those that gave no answer; `nobody` is the sentence for when there is none at all, else empty.
    """

    told: tuple[Told, ...] = ()
    listed: tuple[Listed, ...] = ()
    errors: tuple[str, ...] = ()
    nobody: str = ""

    @property
    def best(self) -> Told | None:
        """The coordinator that knows most: one where the task is open, else where something happened to it last."""
        knowing = [told for told in self.told if told.knows]
        return max(knowing, key=_worth, default=None)

    @property
    def history(self) -> tuple[HistoryLine, ...]:
        """What happened to the run's tasks at all coordinators, oldest first, as far as their clocks agree."""
        return tuple(sorted((line for told in self.told for line in told.history), key=lambda line: line.at))

    @property
    def asked(self) -> tuple[str, ...]:
        """The coordinators that answered."""
        return (*(told.coordinator for told in self.told), *(one.coordinator for one in self.listed))


def _worth(told: Told) -> tuple[bool, datetime]:
    is_open = told.task is not None and told.task.state is not State.ENDED
    last = told.history[-1].at if told.history else told.since(told.task) if told.task else told.at
    return is_open, last


@dataclass(frozen=True, slots=True)
class Place:
    """
    Where a task would go: to one of `worker_ids`, or, without any, into the queue.

    There are several where coordinators disagree, or where one is of Dagu, which takes any that fits. `verdicts` has each worker
    once, nearest misses first.
    """

    worker_ids: tuple[str, ...] = ()
    verdicts: tuple[Verdict, ...] = ()


@dataclass(frozen=True, slots=True)
class PlanWord:
    """
    Where all coordinators together would put tasks, in the order of the wishes.

    `uncertain` names coordinators that do not tell which of the fitting workers they take. `errors` and `nobody` are as in
    `ClusterWord`.
    """

    places: tuple[Place, ...] = ()
    uncertain: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    nobody: str = ""


def place_among(wish: Wish, workers: Iterable[WorkerStatus], change: FleetChange) -> tuple[list[str], list[Verdict]]:
    """The workers that fit by what a list tells of them, sorted by id, and the verdict on each."""
    fleet = [worker for worker in workers if worker.id not in change.without]
    fleet += [
        WorkerStatus(added.id, added.labels, Health.HEALTHY, added.slots, busy=0, confirms=True)
        for added in change.added
    ]
    found = [verdict(wish.selector, worker, worker.slots - worker.busy, wish.needs) for worker in fleet]
    return sorted(one.worker_id for one in found if one.fit is Fit.MATCHES), found


def merge_places(
    wishes: Sequence[Wish], told: Iterable[Sequence[Placed]], listed: Iterable[Listed], change: FleetChange
) -> tuple[Place, ...]:
    """One place for each wish out of what several coordinators say of it. Each worker's nearest verdict counts."""
    chosen: list[dict[str, None]] = [{} for _ in wishes]
    verdicts: list[list[Verdict]] = [[] for _ in wishes]
    for places in told:
        for number, placed in enumerate(places):
            if placed.worker_id:
                chosen[number][placed.worker_id] = None
            verdicts[number] += placed.verdicts
    for one in listed:
        for number, wish in enumerate(wishes):
            fitting, found = place_among(wish, one.workers, change)
            chosen[number].update(dict.fromkeys(fitting))
            verdicts[number] += found
    return tuple(Place(tuple(ids), merge_verdicts(found)) for ids, found in zip(chosen, verdicts, strict=True))


def merge_verdicts(verdicts: Iterable[Verdict]) -> tuple[Verdict, ...]:
    """Each worker once, with the verdict that is nearest to a match."""
    best: dict[str, Verdict] = {}
    for one in nearest_first(verdicts):
        best.setdefault(one.worker_id, one)
    return nearest_first(best.values())
