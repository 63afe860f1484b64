"""Where a task would go now, or in a cluster with other workers: asked of the very placement, and nothing is changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from txdagu.dispatch.explanation import verdicts
from txdagu.dispatch.matching import Verdict
from txdagu.dispatch.placement import Placement
from txdagu.dispatch.records import Poll, WorkerRecord
from txdagu.model.health import UNHEALTHY_AFTER
from txdagu.model.labels import Labels
from txdagu.model.run import RunRef
from txdagu.model.task import Operation, Task

_NO_RUN = RunRef("", "")


@dataclass(frozen=True, slots=True)
class Wish:
    """What a task would ask of a worker: labels, and a phrase for what only workers of ours know of it."""

    selector: Labels = field(default_factory=dict)
    needs: str = ""


@dataclass(frozen=True, slots=True)
class AddedWorker:
    """A worker that is not there, idle, as if it had just come."""

    id: str
    labels: Labels
    slots: int


@dataclass(frozen=True, slots=True)
class FleetChange:
    """How the workers in question differ from those that are there: some take nothing, some come."""

    without: frozenset[str] = frozenset()
    added: tuple[AddedWorker, ...] = ()


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a task would go, empty if it would wait; and the verdict on each worker, nearest misses first."""

    worker_id: str
    verdicts: tuple[Verdict, ...]


def plan(
    wishes: Sequence[Wish], workers: Iterable[WorkerRecord], change: FleetChange, now: float, unix_now: float = 0.0
) -> tuple[Placed, ...]:
    """
    Where a task with each of these wishes would go if it were handed in now, each on its own.

    `workers` are left as they are. Those of `change.without` count as if they were not there.
    """
    fleet = [replace(worker, supply=None) for worker in workers if worker.id not in change.without]
    fleet += [_idle(added, now) for added in change.added]
    placement = Placement()
    for worker in fleet:
        placement.update_worker(worker)
    placed = []
    for wish in wishes:
        task = Task(_NO_RUN, _NO_RUN, Operation.START, "", selector=wish.selector, needs=wish.needs)
        found = placement.worker_for(task, now - UNHEALTHY_AFTER)
        placed.append(Placed(found.id if found is not None else "", verdicts(task, fleet, now, unix_now)))
    return tuple(placed)


def _idle(added: AddedWorker, now: float) -> WorkerRecord:
    poll = Poll(added.id, added.labels, "planned", added.slots)
    return WorkerRecord(
        added.id,
        added.labels,
        now,
        incarnation=poll.incarnation,
        confirms=True,
        slots=added.slots,
        polls={poll: None},
        credit=added.slots,
        last_offer=now,
    )
