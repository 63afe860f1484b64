"""Cordon and drain: workers that get no new tasks, and tasks that are handed back when their time is over."""

from __future__ import annotations

from dataclasses import replace

from txdagu.dispatch.leases import Deadlines
from txdagu.dispatch.lifecycle import Lifecycle
from txdagu.dispatch.machine import Input, State
from txdagu.dispatch.matching import matches
from txdagu.dispatch.membership import Membership
from txdagu.dispatch.records import Outcome, TaskRecord, WorkerRecord
from txdagu.model.policies import LostWorkerPolicy
from txdagu.model.standing import Action, Mode, Ordered, Standing, WorkerOrder
from txdagu.model.status import RunState

LEAVING = "the worker is shutting down"


class Maintenance:
    """
    Carries out orders for workers. They go by worker id, so that they hold for a worker that is restarted, and are kept in the
    journal. `deadlines` has the ids of workers at the times when their drain is over.
    """

    def __init__(self, tasks: Lifecycle, members: Membership) -> None:
        self._tasks = tasks
        self._members = members
        self.deadlines: Deadlines[str] = Deadlines()

    def order(self, order: WorkerOrder, now: float) -> Ordered:
        """
        Carry out an order; says whom it reached.

        All of its workers are closed before anything is taken back from one, so that nothing wanders from one to the next.
        """
        known = {*self._tasks.workers, *self._tasks.standings}
        chosen = {worker_id for worker_id in order.ids if worker_id in known}
        if order.selector:
            chosen |= {one.id for one in self._tasks.workers.values() if matches(order.selector, one.labels)}
        reached = tuple(sorted(chosen))
        for worker_id in reached:
            self._set(worker_id, order, now)
        workers = [worker for worker in map(self._tasks.workers.get, reached) if worker is not None]
        for worker in workers:
            if worker.standing is None:
                self._tasks.serve(worker, now)
            else:
                self._members.take_back(worker, f"was {worker.standing.mode.value}", now)
                self.enforce(worker, now)
        return Ordered(reached, tuple(sorted(set(order.ids) - known)))

    def _set(self, worker_id: str, order: WorkerOrder, now: float) -> None:
        before = self._tasks.standings.get(worker_id)
        if order.action is Action.RESUME:
            if before is not None:
                self._tasks.set_standing(worker_id, None)
            return
        standing = Standing(Mode.CORDONED, now, None, order.reason, order.by)
        if order.action is Action.DRAIN:
            until = None if order.patience is None else now + order.patience
            standing = replace(standing, mode=Mode.DRAINING, until=until)
        if before is not None and before.mode is standing.mode:
            standing = replace(standing, since=before.since)
        self._tasks.set_standing(worker_id, standing)
        self._watch(worker_id, standing)

    def leaves(self, worker: WorkerRecord, seconds: float | None, now: float) -> None:
        """A worker says that it is about to end, when so many seconds are over; with None, that it is not."""
        if seconds is None:
            if worker.leaving is not None:
                worker.leaving = None
                self._tasks.serve(worker, now)
        elif worker.leaving is None:
            worker.leaving = Standing(Mode.DRAINING, now, now + seconds, LEAVING, worker.id)
            self._members.take_back(worker, "began to shut down", now)
            self._tasks.placement.update_worker(worker)

    def enforce(self, worker: WorkerRecord, now: float) -> None:
        """Have everything handed back that a worker still runs although the time of its drain is over."""
        standing = worker.standing
        if standing is None or standing.mode is not Mode.DRAINING or standing.until is None or now < standing.until:
            return
        why = f"worker {worker.id} is being drained, and the time for that is over"
        if standing.reason:
            why += f" ({standing.reason})"
        for record in tuple(worker.tasks.values()):
            self._recall(record, why, now)

    def _recall(self, record: TaskRecord, why: str, now: float) -> None:
        if record.state is not State.RUNNING or not record.confirms or record.recalled or record.cancel_reason:
            return  # a worker of Dagu cannot hand anything back: its runs take their time
        if record.adopted or record.task.on_worker_lost.policy is LostWorkerPolicy.FAIL:
            self._tasks.cancel(record, f"{why}; {_kept_from_others(record)}", now)
            return
        record.recalled = why
        self._tasks.apply(record, Input.RECALL, now, why)

    @staticmethod
    def end_of_handed_back(record: TaskRecord, reason: str) -> Outcome | None:
        """How a task has ended that was handed back for that reason; None where another worker shall go on with it."""
        if record.cancel_reason:
            return Outcome(RunState.ABORTED, f"cancelled: {record.cancel_reason}")
        if record.adopted or record.task.on_worker_lost.policy is LostWorkerPolicy.FAIL:
            return Outcome(RunState.FAILED, f"handed back ({reason}); {_kept_from_others(record)}")
        return None

    def pass_time(self, now: float) -> None:
        """Look at the workers whose drain is over."""
        for worker_id in self.deadlines.due(now):
            worker = self._tasks.workers.get(worker_id)
            if worker is not None:
                self.enforce(worker, now)

    def restored(self) -> None:
        """The orders were replaced by those of the journal."""
        self.deadlines = Deadlines()
        for worker_id, standing in self._tasks.standings.items():
            self._watch(worker_id, standing)

    def _watch(self, worker_id: str, standing: Standing) -> None:
        if standing.until is not None:
            self.deadlines.set(standing.until, worker_id)


def _kept_from_others(record: TaskRecord) -> str:
    if record.adopted:
        return "no other worker can go on with it: it was found running, and its definition is not known here"
    return "no other worker may go on with it: onWorkerLost is fail"
