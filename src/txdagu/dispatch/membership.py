"""Which workers there are: how they appear, change, restart, leave, and are forgotten."""

from __future__ import annotations

from collections.abc import Collection

from txdagu.dispatch.leases import Deadlines
from txdagu.dispatch.lifecycle import Lifecycle
from txdagu.dispatch.machine import Input, State
from txdagu.dispatch.records import TaskRecord, WorkerRecord
from txdagu.dispatch.turn import Dismissal
from txdagu.model.errors import ConflictError
from txdagu.model.health import FORGOTTEN_AFTER
from txdagu.model.labels import Labels
from txdagu.model.task import Operation, RunningTask, Task


class Membership:
    """The workers by id. Any request of a worker is a sign of life; one that gives none is forgotten by timer."""

    def __init__(self, tasks: Lifecycle) -> None:
        self._tasks = tasks
        self.deadlines: Deadlines[WorkerRecord] = Deadlines()

    def seen(
        self, worker_id: str, labels: Labels, incarnation: str, now: float, gone: Collection[str] = ()
    ) -> WorkerRecord:
        """
        The record of a worker that has just told its labels; made if it is new. `gone` are earlier incarnations of which no
        process lives, as it has seen on its host.

        Another incarnation under the same id means that the worker was restarted: what the old one had not confirmed
        goes back to the queue, and if it is gone, what it ran is lost at once, else when its lease ends. Two that live under one
        id are refused with `ConflictError`: the later one as long as the earlier may live, the earlier when it was replaced.
        """
        worker = self._tasks.workers.get(worker_id)
        if worker is None:
            worker = WorkerRecord(worker_id, dict(labels), now, incarnation, bool(incarnation), last_offer=now)
            worker.standing = self._tasks.standings.get(worker_id)
            self._tasks.workers[worker_id] = worker
            self._tasks.placement.update_worker(worker)
            self._tasks.claim_restored(worker, now)
            self._tasks.replaced(worker, now, gone)
            self.deadlines.set(now + FORGOTTEN_AFTER, worker)
        elif worker.incarnation != incarnation:
            if incarnation in worker.retired:
                raise ConflictError(
                    f"worker id {worker_id!r} is in use by another process that started later; give this one another --worker.id"
                )
            silence = now - worker.seen_at
            if worker.incarnation and worker.incarnation not in gone and silence < self._tasks.lease_ttl:
                raise ConflictError(
                    f"worker id {worker_id!r} is in use by another process, heard of {silence:.0f} s ago; give this one "
                    f"another --worker.id, or wait: it is accepted when the other has left, or was silent for "
                    f"{self._tasks.lease_ttl:g} s"
                )
            self._restarted(worker, incarnation, now, gone)
        worker.seen_at = now
        if worker.labels != labels:
            self._tasks.placement.relabel(worker, dict(labels))
            self._tasks.serve(worker, now)
        return worker

    def touch(self, worker_id: str, now: float) -> None:
        """A worker that is known has given a sign of life."""
        worker = self._tasks.workers.get(worker_id)
        if worker is None:
            return
        worker.seen_at = now
        if worker.free > 0 and not self._tasks.placement.offering(worker):
            self._tasks.serve(worker, now)

    def left(self, worker: WorkerRecord, now: float) -> None:
        """A worker left on purpose: it is off the list, and nothing of it is alive."""
        self._remove(worker, "left", now)
        for record in tuple(worker.tasks.values()):
            self._tasks.apply(record, Input.WORKER_LEFT, now)

    def dismiss(self, worker: WorkerRecord, reason: str) -> None:
        """End all waiting calls of a worker."""
        for poll in worker.polls:
            self._tasks.effect(Dismissal(poll, reason))
        worker.polls.clear()
        self._tasks.placement.update_worker(worker)

    def adopt(self, worker: WorkerRecord, listed: RunningTask, now: float) -> None:
        """Take up a run that a worker holds and nobody here remembers."""
        record = self._tasks.create(
            Task(
                run=listed.run,
                root=listed.root,
                parent=listed.parent,
                operation=Operation.START,
                target=listed.run.name,
            )
        )
        record.adopted = True
        record.worker_id = worker.id
        record.epoch = listed.epoch
        record.confirms = True
        record.incarnation = worker.incarnation
        record.seen = True
        worker.tasks[record.number] = record
        self._tasks.apply(record, Input.ADOPT, now)

    def forget_silent(self, now: float) -> None:
        """Forget every worker that has been silent too long; a later sign of life makes it a new one."""
        for worker in self.deadlines.due(now):
            if self._tasks.workers.get(worker.id) is not worker:
                continue
            if now - worker.seen_at < FORGOTTEN_AFTER:
                self.deadlines.set(worker.seen_at + FORGOTTEN_AFTER, worker)
                continue
            silence = now - worker.seen_at
            self._tasks.set_aside(worker)
            self._remove(worker, f"was silent for {silence:.0f} s", now)
            for record in tuple(worker.tasks.values()):
                self.lose(record, silence, now)

    def lose(self, record: TaskRecord, silence: float, now: float) -> None:
        """Give a task up that was given to a worker which gives no sign of life and has no lease."""
        text = (
            f"worker {record.worker_id} was silent for {silence:.0f} s; whether it ran {record.task.run} is not known"
        )
        self._tasks.apply(record, Input.DISAPPEARED, now, text)

    def _restarted(self, worker: WorkerRecord, incarnation: str, now: float, gone: Collection[str]) -> None:
        if worker.incarnation:
            worker.retired.append(worker.incarnation)
        self.dismiss(worker, f"worker {worker.id} was restarted")
        self.take_back(worker, "was restarted", now)
        worker.incarnation = incarnation
        worker.confirms = bool(incarnation)
        worker.credit, worker.strikes = 0, 0
        worker.leaving = None
        self._tasks.placement.relabel(worker, worker.labels)
        self._tasks.replaced(worker, now, gone)

    def _remove(self, worker: WorkerRecord, reason: str, now: float) -> None:
        self.dismiss(worker, f"worker {worker.id} {reason}")
        self.take_back(worker, reason, now)
        del self._tasks.workers[worker.id]
        self._tasks.placement.forget_worker(worker)

    def take_back(self, worker: WorkerRecord, reason: str, now: float) -> None:
        """Let what was offered to a worker and is not confirmed wait again; `reason` is a phrase such as ``was restarted``."""
        for record in tuple(worker.tasks.values()):
            if record.state is State.OFFERED and record.confirms:
                self._tasks.apply(record, Input.WORKER_GONE, now, reason)
