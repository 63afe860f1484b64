"""Carries out the machine's table: every change of a task goes through `Lifecycle.apply`."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple, Protocol, TypeVar

from txdagu.dispatch.history import History
from txdagu.dispatch.journal import Kept
from txdagu.dispatch.leases import Deadlines
from txdagu.dispatch.machine import Consequence, Input, State, edge
from txdagu.dispatch.placement import Placement
from txdagu.dispatch.records import (
    Entry,
    Outcome,
    StandingEntry,
    TaskRecord,
    Transition,
    WorkerRecord,
)
from txdagu.dispatch.turn import Effect, Ending, Offer, Turn
from txdagu.model.health import FORGOTTEN_AFTER, UNHEALTHY_AFTER, WARNING_AFTER
from txdagu.model.policies import LostWorkerPolicy
from txdagu.model.run import RunRef
from txdagu.model.standing import Standing
from txdagu.model.status import RunState
from txdagu.model.task import Task

Answer = TypeVar("Answer")

HELD = (State.OFFERED, State.RUNNING)


class Names(Protocol):
    """Where chance and wall time come from."""

    def token(self) -> str:
        """A secret that nobody guesses; it proves that an offer was received."""

    def attempt(self, after: str) -> tuple[str, str]:
        """An attempt's id and its directory name, which sorts after the name `after`."""


class Due(NamedTuple):
    """What a deadline was set for: that input to that task, unless it has moved on to another epoch or state."""

    happened: Input
    record: TaskRecord
    epoch: int


class Lifecycle:
    """All open tasks, whom they were given to, and the rules by which they move from state to state."""

    def __init__(self, names: Names, offer_timeout: float, lease_ttl: float) -> None:
        self._names = names
        self.offer_timeout = offer_timeout
        self.lease_ttl = lease_ttl
        self.placement = Placement()
        self.deadlines: Deadlines[Due] = Deadlines()
        self.history = History()
        self.workers: dict[str, WorkerRecord] = {}
        self.standings: dict[str, Standing] = {}
        self._entries: list[Entry] = []
        self._noted: list[StandingEntry] = []
        self._effects: list[Effect] = []
        self._numbers = 0
        self._open: dict[tuple[RunRef, str], TaskRecord] = {}
        self._tokens: dict[str, TaskRecord] = {}
        self._children: dict[tuple[RunRef, str], dict[TaskRecord, None]] = {}
        self._of_unknown_workers: dict[str, list[TaskRecord]] = {}
        self._consequences = {
            Consequence.ENQUEUE: self._enqueue,
            Consequence.HAND_OVER: self._hand_over,
            Consequence.HOLD: self._hold,
            Consequence.TELL_WORKER: self._tell_worker,
            Consequence.TAKE_BACK: self._take_back,
            Consequence.BEAR: self._bear,
            Consequence.WATCH: self._watch_again,
            Consequence.JUDGE: self._judge,
            Consequence.FINISH: self._finish,
        }

    def turn(self, answer: Answer) -> Turn[Answer]:
        """Everything that was collected since the last call, with the answer that goes with it."""
        turn = Turn(answer, self._entries, self._effects, self._noted)
        self._entries, self._effects, self._noted = [], [], []
        return turn

    def effect(self, effect: Effect) -> None:
        """Have something done once the entries of this turn are committed."""
        self._effects.append(effect)

    def set_standing(self, worker_id: str, standing: Standing | None) -> None:
        """Keep new tasks from a worker, also from those that come later under its id; or no longer, with None."""
        self.standings.pop(worker_id, None)
        if standing is not None:
            self.standings[worker_id] = standing
        self._noted.append(StandingEntry(worker_id, standing))
        worker = self.workers.get(worker_id)
        if worker is not None:
            worker.standing = standing
            self.placement.update_worker(worker)

    def __len__(self) -> int:
        return len(self._open)

    def open_task(self, root: RunRef, run_id: str) -> TaskRecord | None:
        """The open task of that run."""
        return self._open.get((root, run_id))

    def open_tasks(self) -> Iterable[TaskRecord]:
        """All open tasks, oldest first."""
        return self._open.values()

    def of_token(self, token: str) -> TaskRecord | None:
        """The open task that was once offered with that token."""
        return self._tokens.get(token)

    def create(self, task: Task) -> TaskRecord:
        """Note a new task; its first input must follow at once. Its epochs go on where an earlier task of the run ended."""
        self._numbers += 1
        record = TaskRecord(task, self._numbers)
        earlier = self.history.find(*record.same_run)
        if earlier is not None:
            record.epoch, record.attempt_name = earlier.epoch, earlier.attempt_name
        self._index(record)
        return record

    def restore(self, kept: Kept, now: float) -> None:
        """
        Forget all tasks and take up those of the journal.

        What waits keeps its place. What is offered or runs keeps worker, token and epoch and gets its full time again, and
        so do known workers: nobody could be heard while there was no coordinator.
        """
        self.turn(None)
        self.placement.clear_tasks()
        self.deadlines = Deadlines()
        for index in (self._open, self._tokens, self._children, self._of_unknown_workers):
            index.clear()
        self.standings = {entry.worker_id: entry.standing for entry in kept.standings if entry.standing is not None}
        for worker in self.workers.values():
            worker.tasks.clear()
            worker.cancelling.clear()
            worker.seen_at = now
            worker.standing = self.standings.get(worker.id)
        self.history.clear()
        for entry in kept.ended:
            self.history.add(TaskRecord.restored(entry), min(now, entry.transition.at))
        self.history.expire(now)
        for entry in kept.open:
            self._restore(TaskRecord.restored(entry), now)
        self._numbers = max(self._numbers, kept.last_number)

    def _restore(self, record: TaskRecord, now: float) -> None:
        self._index(record)
        if record.token:
            self._tokens[record.token] = record
        if record.state is State.QUEUED:
            self.placement.add_task(record)
            return
        record.heard_at = now
        worker = self.workers.get(record.worker_id)
        if worker is not None:
            self._assign(record, worker)
        else:
            self._of_unknown_workers.setdefault(record.worker_id, []).append(record)
            if not record.confirms:
                # No lease runs for it, so its worker gets the time after which any silent worker is forgotten.
                self.deadlines.set(now + FORGOTTEN_AFTER, Due(Input.DISAPPEARED, record, record.epoch))
        self._watch(record, now)

    def claim_restored(self, worker: WorkerRecord, now: float) -> None:
        """
        Give a worker that has just appeared the tasks which the journal says are its own, or that waited for it.

        Offers that an earlier process under its id had not confirmed go back to the queue.
        """
        for record in self._of_unknown_workers.pop(worker.id, ()):
            if record.state in HELD and record.worker_id == worker.id:
                self._assign(record, worker)
                if record.state is State.OFFERED and record.confirms and record.incarnation != worker.incarnation:
                    self.apply(record, Input.WORKER_GONE, now, "was restarted")

    @staticmethod
    def _assign(record: TaskRecord, worker: WorkerRecord) -> None:
        worker.tasks[record.number] = record
        if record.cancel_reason or record.recalled:
            worker.cancelling[record.number] = record

    def replaced(self, worker: WorkerRecord, now: float, gone: Collection[str]) -> None:
        """
        A process that started later has the worker's id: nobody waits for the one before any longer. What an incarnation ran
        that is `gone` with all its processes is lost now; the lease of others must end first.
        """
        for record in tuple(worker.tasks.values()):
            if record.state is not State.RUNNING or not record.confirms:
                continue
            if record.incarnation in gone:
                record.seen = True  # it may have begun it in the moment before it died
                self.apply(record, Input.WORKER_REPLACED, now)
            elif record.silent and not self.waits_for_worker(record):
                self.apply(record, Input.WORKER_REPLACED, now)

    def apply(
        self,
        record: TaskRecord,
        happened: Input,
        now: float,
        reason: str = "",
        outcome: Outcome | None = None,
    ) -> None:
        """
        Let something happen to a task: new state, a line in its timeline, an entry for the journal, then what follows.

        `reason` fills in the table's sentence where that asks for one; `outcome` goes with inputs that end a task,
        and where it is missing the sentence becomes the outcome of a failure.
        """
        before = record.state
        row = edge(before, happened)
        text = row.reason.format(
            worker=record.worker_id,
            reason=reason,
            timeout=self.offer_timeout,
            silence=now - record.heard_at,
            run=record.task.run,
        )
        if row.target is State.ENDED:
            record.outcome = outcome or Outcome(RunState.FAILED, text)
        elif happened in (Input.CANCEL, Input.CANCEL_UNSURE):
            record.cancel_reason = reason
        if happened is Input.OFFER:
            record.offered_at = now
        self._entries.append(record.note(Transition(now, row.target, record.worker_id, record.epoch, text)))
        released = None
        if before is State.QUEUED:
            self.placement.remove_task(record, served=row.target is State.OFFERED)
        elif before in HELD and row.target not in HELD:
            released = self._release(record, before)
        if released is not None and happened is Input.OFFER_TIMEOUT:
            released.strikes += 1
            self.placement.update_worker(released)
        self._consequences[row.consequence](record, now)
        if released is not None:
            self.serve(released, now)

    def cancel(self, record: TaskRecord, reason: str, now: float) -> None:
        """End a task that no worker has, ask its worker to end it otherwise; asking twice changes nothing."""
        if record.cancel_reason:
            return
        if record.state is State.OFFERED and not record.confirms:
            self.apply(record, Input.CANCEL_UNSURE, now, reason)
        else:
            self.apply(record, Input.CANCEL, now, reason, Outcome(RunState.ABORTED, f"cancelled: {reason}"))

    def serve(self, worker: WorkerRecord, now: float) -> None:
        """Look at a worker whose labels, load or waiting calls changed, and give it what it may take."""
        self.placement.update_worker(worker)
        while worker.free > 0 and worker.seen_at > now - UNHEALTHY_AFTER:
            record = self.placement.task_for(worker)
            if record is None:
                return
            self._offer(record, worker, now)

    def _offer(self, record: TaskRecord, worker: WorkerRecord, now: float) -> None:
        self._tokens.pop(record.token, None)
        record.epoch += 1
        record.token = self._names.token()
        record.attempt_id, record.attempt_name = self._names.attempt(record.attempt_name)
        record.worker_id = worker.id
        record.confirms = worker.confirms
        record.incarnation = worker.incarnation
        self.apply(record, Input.OFFER, now)

    def _enqueue(self, record: TaskRecord, now: float) -> None:
        self.placement.add_task(record)
        if record.cancel_reason:
            self.apply(
                record,
                Input.CANCEL,
                now,
                record.cancel_reason,
                Outcome(RunState.ABORTED, f"cancelled: {record.cancel_reason}"),
            )
            return
        while record.state is State.QUEUED:
            worker = self.placement.worker_for(record.task, now - UNHEALTHY_AFTER)
            if worker is None:
                return
            self.serve(worker, now)

    def _hand_over(self, record: TaskRecord, now: float) -> None:
        worker = self.workers[record.worker_id]
        record.poll, _ = worker.polls.popitem()
        record.heard_at = now
        record.overdue, record.seen, record.beats, record.recalled = False, False, 0, ""
        record.silent, record.missed_from = False, None
        worker.offers += 1
        record.offer_number = worker.offers
        worker.credit -= 1
        worker.last_offer = now
        worker.tasks[record.number] = record
        self._tokens[record.token] = record
        self.placement.update_worker(worker)
        self._watch(record, now)
        self.effect(
            Offer(
                record.poll,
                record.task,
                record.token,
                record.epoch,
                record.attempt_id,
                record.attempt_name,
                record.confirms,
            )
        )

    def _hold(self, record: TaskRecord, now: float) -> None:
        record.poll = None
        record.heard_at = now
        record.beats = 0
        self._watch(record, now)
        worker = self.workers.get(record.worker_id)
        if worker is None:
            return  # a worker known from the journal only; its first heartbeat claims the task
        worker.strikes = 0
        if record.offer_number <= worker.credit_mark:
            worker.credit += 1
        self.serve(worker, now)

    def _tell_worker(self, record: TaskRecord, now: float) -> None:
        worker = self.workers.get(record.worker_id)
        if worker is not None:
            worker.cancelling[record.number] = record
        self._cancel_children(record, "its parent run is being cancelled", now)

    def _take_back(self, record: TaskRecord, _now: float) -> None:
        worker = self.workers.get(record.worker_id)
        if worker is not None:
            worker.cancelling[record.number] = record

    def waits_for_worker(self, record: TaskRecord) -> bool:
        """Whether a task is left to its silent worker: its policy says so, and no later process has taken the worker's place."""
        if record.task.on_worker_lost.policy is not LostWorkerPolicy.WAIT:
            return False
        worker = self.workers.get(record.worker_id)
        return worker is None or not record.incarnation or worker.incarnation == record.incarnation

    def set_aside(self, worker: WorkerRecord) -> None:
        """Keep what waits for a worker that is being forgotten until it comes back."""
        for record in tuple(worker.tasks.values()):
            if record.silent:
                del worker.tasks[record.number]
                self._of_unknown_workers.setdefault(worker.id, []).append(record)

    def not_named(self, record: TaskRecord, now: float) -> bool:
        """
        Note a heartbeat, of the process that has the task, that does not name it although its lease has ended. True once there
        was nothing but such heartbeats for the time of a lease: then the worker does not have the task.

        A worker with longer pauses between its heartbeats may sleep, with our answer to its confirmation still unread.
        """
        if record.missed_from is None or now - record.missed_at > WARNING_AFTER:
            record.missed_from = now
        record.missed_at = now
        return now - record.missed_from >= self.lease_ttl

    def _bear(self, record: TaskRecord, _now: float) -> None:
        record.silent, record.missed_from = True, None

    def _watch_again(self, record: TaskRecord, now: float) -> None:
        record.silent = False
        self._watch(record, now)

    def _judge(self, record: TaskRecord, now: float) -> None:
        """
        What becomes of a lost task: again if its worker cannot have begun it, else as its policy says.

        A task that its worker confirmed but never once named as running was not begun if the worker left in an orderly way, or
        has lived on without it for the time of a lease. One that was taken up from its worker has no definition here with which
        another could run it.
        """
        why, policy = record.timeline[-1].reason, record.task.on_worker_lost
        if record.cancel_reason:
            self.apply(record, Input.CANCEL, now, why, Outcome(RunState.ABORTED, f"cancelled: {record.cancel_reason}"))
            return
        lived_on = record.missed_from is not None and now - record.missed_from >= self.lease_ttl
        if not record.seen and (now < record.lease_until or lived_on):
            self.apply(record, Input.REQUEUE, now, why)
            return
        record.lost_workers += (record.worker_id,)
        if policy.policy is not LostWorkerPolicy.REDISTRIBUTE or record.adopted:
            self.apply(record, Input.GIVE_UP, now, why)
        elif len(record.lost_workers) < policy.limit:
            self.apply(record, Input.REQUEUE, now, why)
        else:
            self.apply(record, Input.GIVE_UP, now, f"{why}; {_losses(record)}")

    def _finish(self, record: TaskRecord, now: float) -> None:
        del self._open[record.same_run]
        self._tokens.pop(record.token, None)
        family = self._family(record)
        if family is not None:
            siblings = self._children[family]
            siblings.pop(record, None)
            if not siblings:
                del self._children[family]
        self.history.add(record, now)
        assert record.outcome is not None
        self.effect(Ending(record.task, record.worker_id, record.attempt_id, record.attempt_name, record.outcome, now))
        self._cancel_children(record, "its parent run has ended", now)

    def _cancel_children(self, record: TaskRecord, reason: str, now: float) -> None:
        for child in tuple(self._children.get(record.same_run, ())):
            if child.state is not State.ENDED:
                self.cancel(child, reason, now)

    def _watch(self, record: TaskRecord, now: float) -> None:
        """Set the deadline that the record's state asks for."""
        if record.state is State.OFFERED:
            self.deadlines.set(now + self.offer_timeout, Due(Input.OFFER_TIMEOUT, record, record.epoch))
        elif record.confirms:
            record.lease_until = now + self.lease_ttl
            self.deadlines.set(record.lease_until, Due(Input.LEASE_EXPIRED, record, record.epoch))

    def _release(self, record: TaskRecord, before: State) -> WorkerRecord | None:
        record.poll = None
        worker = self.workers.get(record.worker_id)
        if worker is None:
            return None
        worker.tasks.pop(record.number, None)
        worker.cancelling.pop(record.number, None)
        if before is State.OFFERED or record.offer_number > worker.credit_mark:
            worker.credit += 1
        return worker

    def _index(self, record: TaskRecord) -> None:
        self._open[record.same_run] = record
        family = self._family(record)
        if family is not None:
            self._children.setdefault(family, {})[record] = None

    @staticmethod
    def _family(record: TaskRecord) -> tuple[RunRef, str] | None:
        parent = record.task.parent
        return (record.task.root, parent.id) if parent is not None else None


def _losses(record: TaskRecord) -> str:
    """The evidence against a task that loses one worker after the other."""
    names = ", ".join(record.lost_workers)
    return f"it has lost {len(record.lost_workers)} in all ({names}), and onWorkerLost allows no more"
