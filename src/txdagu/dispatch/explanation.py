"""Where a task is and why: the facts, for those who put them into words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from txdagu.dispatch.machine import State
from txdagu.dispatch.matching import Verdict, nearest_first, verdict
from txdagu.dispatch.records import Outcome, TaskRecord, WorkerRecord
from txdagu.model.labels import Labels
from txdagu.model.policies import OnWorkerLost
from txdagu.model.run import RunRef
from txdagu.model.task import Task


@dataclass(frozen=True, slots=True)
class Explanation:
    """
    A task at one moment. All times are ages, in seconds.

    `age` is how long it has been in its `state`. Of a waiting task, `verdicts` has one for each worker, nearest misses first,
    and `ahead` counts tasks that have their turn before it and could take one of its workers. Of a task that a worker has,
    `heard_age` tells when that last gave a sign of the task, and `lease_left` how long that counts; it is None where no lease
    is kept. `lost_workers` are those that were lost with it, `silent` says that it is left to a worker whose lease has ended,
    `adopted` that it was found running. `outcome` is how an ended one ended. `confirms` tells a worker of ours from one of Dagu.
    """

    run: RunRef
    root: RunRef
    state: State
    age: float
    parent: RunRef | None = None
    selector: Labels = field(default_factory=dict)
    needs: str = ""
    on_worker_lost: OnWorkerLost = OnWorkerLost()
    worker_id: str = ""
    epoch: int = 0
    attempt_name: str = ""
    confirms: bool = True
    heard_age: float = 0.0
    lease_left: float | None = None
    silent: bool = False
    adopted: bool = False
    lost_workers: tuple[str, ...] = ()
    cancel_reason: str = ""
    ahead: int = 0
    verdicts: tuple[Verdict, ...] = ()
    outcome: Outcome | None = None


def verdicts(task: Task, workers: Iterable[WorkerRecord], now: float, unix_now: float = 0.0) -> tuple[Verdict, ...]:
    """What is to be said of each worker as a place for that task, nearest misses first. `unix_now` is for times in sentences."""
    return nearest_first(
        verdict(task.selector, worker.status(now, unix_now), worker.free, task.needs) for worker in workers
    )


def explanation(record: TaskRecord, found: tuple[Verdict, ...], ahead: int, now: float) -> Explanation:
    """The facts about a task; `found` and `ahead` are those of one that waits."""
    task = record.task
    leased = record.state is State.RUNNING and record.confirms
    return Explanation(
        run=task.run,
        root=task.root,
        state=record.state,
        age=max(0.0, now - _state_began(record)),
        parent=task.parent,
        selector=task.selector,
        needs=task.needs,
        on_worker_lost=task.on_worker_lost,
        worker_id=record.worker_id,
        epoch=record.epoch,
        attempt_name=record.attempt_name,
        confirms=record.confirms,
        heard_age=max(0.0, now - record.heard_at),
        lease_left=max(0.0, record.lease_until - now) if leased else None,
        silent=record.silent,
        adopted=record.adopted,
        lost_workers=record.lost_workers,
        cancel_reason=record.cancel_reason,
        ahead=ahead,
        verdicts=found,
        outcome=record.outcome,
    )


def _state_began(record: TaskRecord) -> float:
    """When the task came into the state that it is in: lines that only say more of it, as a cancellation does, change nothing."""
    began = record.timeline[-1].at
    for line in reversed(record.timeline):
        if (line.state, line.epoch) != (record.state, record.epoch):
            break
        began = line.at
    return began
