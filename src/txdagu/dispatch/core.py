"""The dispatch core: what arrives from workers, dispatchers and the clock goes in, what must be done about it comes out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from txdagu.dispatch.explanation import Explanation, explanation, verdicts
from txdagu.dispatch.journal import Kept
from txdagu.dispatch.lifecycle import Due, Lifecycle, Names
from txdagu.dispatch.machine import Input, State, allows
from txdagu.dispatch.maintenance import Maintenance
from txdagu.dispatch.matching import Verdict
from txdagu.dispatch.membership import Membership
from txdagu.dispatch.records import Outcome, Poll, TaskRecord, Transition, WorkerRecord
from txdagu.dispatch.turn import Acceptance, Cancellation, Ending, Inquiry, Turn
from txdagu.dispatch.whatif import FleetChange, Placed, Wish, plan
from txdagu.model.errors import ConflictError
from txdagu.model.health import Health
from txdagu.model.labels import Labels
from txdagu.model.run import RunRef
from txdagu.model.standing import Ordered, WorkerOrder
from txdagu.model.task import RunningTask, Task, WorkerStatus

OVERSLEPT_AFTER = 2.0
CATCH_UP_TIME = 5.0
BEATS_TO_BE_SURE = 2


@dataclass(frozen=True, slots=True)
class Beat:
    """
    A worker's heartbeat.

    `drain_left` is there when the worker is about to end: how many seconds its runs still have. `leaving` says that it is its
    last beat and that no more of its runs are alive. `gone` are earlier incarnations on its host of which it knows that none of
    their processes lives.
    """

    worker_id: str
    labels: Labels
    incarnation: str = ""
    slots: int = 0
    busy: int = 0
    running: tuple[RunningTask, ...] = ()
    drain_left: float | None = None
    leaving: bool = False
    gone: tuple[str, ...] = ()


class DispatchCore:
    """
    Keeps tasks and workers, and brings them together.

    Every method takes `now`, in seconds of a monotonic clock, and returns a `Turn`; questions (`workers`, `explain`,
    `explanation`, `open_below`, `plan`, `ended`, `timeline`) change nothing. `offer_timeout` and `lease_ttl` are in seconds.
    """

    def __init__(self, names: Names, offer_timeout: float = 10.0, lease_ttl: float = 30.0) -> None:
        self._tasks = Lifecycle(names, offer_timeout, lease_ttl)
        self._members = Membership(self._tasks)
        self._maintenance = Maintenance(self._tasks, self._members)
        self._judge_from = float("-inf")

    @property
    def lease_ttl(self) -> float:
        """Seconds for which a running task is believed to run without a word from its worker."""
        return self._tasks.lease_ttl

    # -- what dispatchers say ------------------------------------------------------------------------------------------

    def submit(self, task: Task, now: float) -> Turn[bool]:
        """
        Accept a task; False if the very same one is open already, which is as good.

        Whoever sees False for a task that runs may ask with `inquiry` whether it has ended unnoticed, and then submit
        again.

        Raises `ConflictError` if the run is open with another operation: two of them would run at once.
        """
        existing = self._tasks.open_task(task.root, task.run.id)
        if existing is None:
            self._tasks.apply(self._tasks.create(task), Input.SUBMIT, now)
            return self._tasks.turn(True)
        if existing.task.operation is not task.operation and not existing.adopted:
            raise ConflictError(
                f"run {task.run} is {existing.state.value} as {existing.task.operation.value.upper()} already; "
                f"ask for {task.operation.value.upper()} again when it has ended"
            )
        return self._tasks.turn(False)

    def cancel(self, root: RunRef, run_id: str, reason: str, now: float) -> Turn[Acceptance]:
        """End the open task of a run: at once if no worker has it, else through its worker."""
        record = self._tasks.open_task(root, run_id)
        if record is None:
            return self._tasks.turn(Acceptance(False, f"run {run_id} is not open here"))
        self._tasks.cancel(record, reason, now)
        return self._tasks.turn(Acceptance(True))

    def order(self, order: WorkerOrder, now: float) -> Turn[Ordered]:
        """Keep new tasks from workers, have them emptied, or let them take tasks again."""
        return self._tasks.turn(self._maintenance.order(order, now))

    # -- what workers say ----------------------------------------------------------------------------------------------

    def poll(self, poll: Poll, now: float) -> Turn[None]:
        """A call for work arrived; an `Offer` for it may come with this turn or any later one."""
        worker = self._members.seen(poll.worker_id, poll.labels, poll.incarnation, now)
        if worker.labels is not poll.labels:
            poll.labels = worker.labels
        worker.polls[poll] = None
        if worker.confirms:
            worker.credit_mark = worker.offers
            unconfirmed = sum(record.state is State.OFFERED for record in worker.tasks.values())
            worker.credit = poll.free_slots - unconfirmed
        self._tasks.serve(worker, now)
        return self._tasks.turn(None)

    def withdraw(self, poll: Poll, now: float) -> Turn[None]:
        """
        A call for work ended before it was answered: its client hung up, or the connection broke.

        Neither the offer that was meant for it is lost, nor one that went out before and is not confirmed: a worker
        that confirms offers starts nothing without it, so taking the offer back is always safe. Of other peers only
        the undelivered offer is taken back.
        """
        worker = self._tasks.workers.get(poll.worker_id)
        if worker is None:
            return self._tasks.turn(None)
        worker.polls.pop(poll, None)
        for record in tuple(worker.tasks.values()):
            if record.state is State.OFFERED and (
                record.poll is poll or (worker.confirms and poll.incarnation == worker.incarnation)
            ):
                self._tasks.apply(record, Input.POLL_GONE, now)
        self._tasks.placement.update_worker(worker)
        return self._tasks.turn(None)

    def ack(self, worker_id: str, token: str, now: float) -> Turn[Acceptance]:
        """A worker confirms an offer. Saying it twice is fine, and gives the lease its full time again; nobody else may."""
        record = self._tasks.of_token(token) if token else None
        if record is None:
            text = "this offer is not open: it was not confirmed in time, or its task was cancelled or ended; do not start it"
            return self._tasks.turn(Acceptance(False, text))
        if record.worker_id != worker_id:
            return self._tasks.turn(
                Acceptance(False, f"this offer was made to worker {record.worker_id}, not to {worker_id}")
            )
        self._members.touch(worker_id, now)
        if record.state is State.OFFERED:
            self._tasks.apply(record, Input.ACK, now)
        elif record.state is State.RUNNING:
            self._renew(record, now)
        else:
            return self._tasks.turn(Acceptance(False, f"this offer was taken back: {record.timeline[-1].reason}"))
        return self._tasks.turn(Acceptance(True))

    def heartbeat(self, beat: Beat, now: float) -> Turn[list[Cancellation]]:
        """A worker lives, with these labels and runs. The answer names the runs it shall end."""
        worker = self._members.seen(beat.worker_id, beat.labels, beat.incarnation, now, beat.gone)
        if beat.leaving:
            self._members.left(worker, now)
            return self._tasks.turn([])
        resized = worker.slots != beat.slots
        worker.slots, worker.busy, worker.running = beat.slots, beat.busy, beat.running
        self._maintenance.leaves(worker, beat.drain_left, now)
        self._maintenance.enforce(worker, now)
        if worker.tasks and worker.confirms:
            self._look_for_silent(worker, now)
        elif worker.tasks:
            self._compare(worker, now)
        if resized or (worker.free > 0 and not self._tasks.placement.offering(worker)):
            self._tasks.serve(worker, now)
        return self._tasks.turn(self._cancellations(worker) if worker.cancelling else [])

    def run_heartbeat(
        self, worker_id: str, incarnation: str, running: Iterable[RunningTask], now: float
    ) -> Turn[list[Cancellation]]:
        """
        A worker renews its leases. The answer names the runs it shall end, with the reason: cancelled, or no longer
        its own.

        A run of an epoch that nobody here remembers is taken up as it is: that costs nothing, ending it would cost
        work.
        """
        self._members.touch(worker_id, now)
        answer: list[Cancellation] = []
        for listed in running:
            record = self._tasks.open_task(listed.root, listed.run.id)
            lost = True
            if record is None:
                reason = self._unknown(worker_id, incarnation, listed, now)
            elif _given_away(record, worker_id, listed.epoch, listed.attempt_key):
                reason = f"it was given away: it is {_whereabouts(record)}"
            elif record.state is not State.RUNNING:
                reason = f"it was started without a valid confirmation: it is {_whereabouts(record)}"
            else:
                self._renew(record, now)
                record.seen = True
                reason, lost = record.cancel_reason, False
                if record.recalled and not reason:
                    answer.append(Cancellation(listed.run, listed.attempt_key, record.recalled, hand_back=True))
            if reason:
                answer.append(Cancellation(listed.run, listed.attempt_key, reason, lost))
        return self._tasks.turn(answer)

    def report_end(
        self, worker_id: str, root: RunRef, run_id: str, epoch: int, outcome: Outcome, now: float, attempt_key: str = ""
    ) -> Turn[Acceptance]:
        """
        A worker says how a run ended. `epoch` is 0 where the peer knows none, `attempt_key` empty.

        Accepted from the worker that holds the task, and again if it repeats itself; everybody else learns why not.
        """
        self._members.touch(worker_id, now)
        record = self._tasks.open_task(root, run_id)
        if record is None:
            return self._tasks.turn(self._late_report(worker_id, root, run_id, epoch))
        if not _holds(record, worker_id, epoch, attempt_key):
            return self._tasks.turn(Acceptance(False, f"stale attempt: run {run_id} is {_whereabouts(record)}"))
        if not allows(record.state, Input.REPORT_END) or (record.confirms and record.state is State.OFFERED):
            return self._tasks.turn(Acceptance(False, f"stale attempt: {record.timeline[-1].reason}"))
        self._tasks.apply(record, Input.REPORT_END, now, outcome.reason, outcome)
        return self._tasks.turn(Acceptance(True))

    def hand_back(
        self, worker_id: str, root: RunRef, run_id: str, epoch: int, reason: str, now: float, attempt_key: str = ""
    ) -> Turn[Acceptance]:
        """
        A worker says that it has stopped a run so that another worker can go on with it. It waits again then.

        Unless its end was asked for, or it may not be begun twice; then it has ended with that.
        """
        self._members.touch(worker_id, now)
        record = self._tasks.open_task(root, run_id)
        if record is None:
            return self._tasks.turn(self._late_report(worker_id, root, run_id, epoch))
        if not epoch or not _holds(record, worker_id, epoch, attempt_key):
            return self._tasks.turn(Acceptance(False, f"stale attempt: run {run_id} is {_whereabouts(record)}"))
        if record.state is State.RUNNING:
            outcome = self._maintenance.end_of_handed_back(record, reason)
            if outcome is None:
                self._tasks.apply(record, Input.HANDED_BACK, now, reason)
            else:
                self._tasks.apply(record, Input.REPORT_END, now, outcome.reason, outcome)
        return self._tasks.turn(Acceptance(True))

    def inquiry(self, root: RunRef, run_id: str, now: float) -> Inquiry | None:
        """The question that tells whether the task of a run has ended unnoticed; None if no worker can have begun it."""
        record = self._tasks.open_task(root, run_id)
        if record is None:
            return None
        begun = record.state is State.RUNNING or (record.state is State.OFFERED and not record.confirms)
        return _inquiry(record, now) if begun else None

    def inquiry_answered(self, asked: Inquiry, started: bool, outcome: Outcome | None, now: float) -> Turn[None]:
        """What an `Inquiry` found: the attempt was started or not, and how it ended if it has."""
        record = self._tasks.open_task(asked.task.root, asked.task.run.id)
        if record is None or (record.number, record.epoch) != (asked.number, asked.epoch):
            return self._tasks.turn(None)
        if outcome is not None and allows(record.state, Input.DISAPPEARED):
            self._tasks.apply(record, Input.DISAPPEARED, now, outcome.reason, outcome)
        elif record.state is State.OFFERED:
            if started:
                self._tasks.apply(record, Input.LISTED, now, "its status file says so")
            elif record.overdue or record.confirms:
                self._tasks.apply(record, Input.OFFER_TIMEOUT, now)
        return self._tasks.turn(None)

    # -- what the clock says -------------------------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """When `tick` should be called next; calling it earlier or later does no harm."""
        deadlines = (self._tasks.deadlines, self._members.deadlines, self._maintenance.deadlines)
        times = [at for at in (one.next() for one in deadlines) if at is not None]
        return max(min(times), self._judge_from) if times else None

    def tick(self, now: float) -> Turn[None]:
        """
        Do what became due.

        If it comes much too late, this process was asleep, not the workers: what they sent meanwhile still waits to
        be read, so nobody is judged for the next few seconds.
        """
        due = self._tasks.deadlines.next()
        if due is not None and now - max(due, self._judge_from) > OVERSLEPT_AFTER:
            self._judge_from = now + CATCH_UP_TIME
        if now >= self._judge_from:
            for deadline in self._tasks.deadlines.due(now):
                self._deadline(deadline, now)
            self._members.forget_silent(now)
            self._maintenance.pass_time(now)
            self._tasks.history.expire(now)
        return self._tasks.turn(None)

    def restore(self, kept: Kept, now: float) -> Turn[None]:
        """
        Replace all tasks and orders by what the journal has, and dismiss every waiting call; workers will call again.

        For a process that has just started, and for one that could not write its journal.
        """
        self._tasks.restore(kept, now)
        self._maintenance.restored()
        for worker in self._tasks.workers.values():
            self._members.dismiss(worker, "the journal could not be written; call again")
        return self._tasks.turn(None)

    # -- questions -----------------------------------------------------------------------------------------------------

    def workers(self, now: float, unix_now: float) -> list[WorkerStatus]:
        """
        All workers sorted by id, those that are not there too if something keeps new tasks from them.

        `unix_now` is the wall clock's time in seconds, only to show when they were seen.
        """
        known = self._tasks.workers
        statuses = [worker.status(now, unix_now) for worker in known.values()]
        statuses += [
            WorkerStatus(worker_id, {}, Health.OFFLINE, 0, 0, standing=standing.shifted(unix_now - now))
            for worker_id, standing in self._tasks.standings.items()
            if worker_id not in known
        ]
        return sorted(statuses, key=lambda worker: worker.id)

    def explain(self, root: RunRef, run_id: str, now: float, unix_now: float = 0.0) -> tuple[Verdict, ...]:
        """Why the open task of a run waits: a verdict on every worker, nearest misses first; empty if it does not wait."""
        record = self._tasks.open_task(root, run_id)
        return () if record is None else self._explained(record, now, unix_now).verdicts

    def explanation(self, root: RunRef, run_id: str, now: float, unix_now: float = 0.0) -> Explanation | None:
        """Where the open or latest ended task of a run is, and why; None if it is not known."""
        record = self._tasks.open_task(root, run_id) or self._tasks.history.find(root, run_id)
        return None if record is None else self._explained(record, now, unix_now)

    def open_below(
        self, root: RunRef, now: float, at_most: int, unix_now: float = 0.0
    ) -> tuple[int, list[Explanation]]:
        """How many open tasks belong to the runs below a root run, and the oldest of them."""
        below = [record for record in self._tasks.open_tasks() if record.task.root == root != record.task.run]
        return len(below), [self._explained(record, now, unix_now) for record in below[:at_most]]

    def plan(
        self, wishes: Sequence[Wish], change: FleetChange, now: float, unix_now: float = 0.0
    ) -> tuple[Placed, ...]:
        """Where tasks with these wishes would go now, each on its own, with the workers changed in that way."""
        return plan(wishes, self._tasks.workers.values(), change, now, unix_now)

    def timeline(self, root: RunRef, run_id: str) -> tuple[Transition, ...]:
        """What happened to the open or latest ended task of a run while this process looked; the journal has all of it."""
        record = self._tasks.open_task(root, run_id) or self._tasks.history.find(root, run_id)
        return tuple(record.timeline) if record else ()

    def open_state(self, root: RunRef, run_id: str) -> State | None:
        """Where the open task of that run stands; None if there is none."""
        record = self._tasks.open_task(root, run_id)
        return None if record is None else record.state

    def ended(self, root: RunRef, run_id: str) -> Ending | None:
        """How the latest task of a run ended; None while one is open, or if none is remembered."""
        if self._tasks.open_task(root, run_id) is not None:
            return None
        record = self._tasks.history.find(root, run_id)
        if record is None or record.outcome is None:
            return None
        return Ending(
            record.task,
            record.worker_id,
            record.attempt_id,
            record.attempt_name,
            record.outcome,
            record.timeline[-1].at,
        )

    def __len__(self) -> int:
        """How many tasks are open."""
        return len(self._tasks)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _explained(self, record: TaskRecord, now: float, unix_now: float = 0.0) -> Explanation:
        if record.state is not State.QUEUED:
            return explanation(record, (), 0, now)
        found = verdicts(record.task, self._tasks.workers.values(), now, unix_now)
        return explanation(record, found, self._tasks.placement.ahead(record), now)

    def _deadline(self, due: Due, now: float) -> None:
        record = due.record
        if record.epoch != due.epoch or not allows(record.state, due.happened):
            return
        if due.happened is Input.LEASE_EXPIRED and record.lease_until > now:
            self._tasks.deadlines.set(record.lease_until, due)
        elif due.happened is Input.OFFER_TIMEOUT and not record.confirms:
            record.overdue = True
        elif due.happened is Input.LEASE_EXPIRED and self._tasks.waits_for_worker(record):
            if not record.silent:
                self._tasks.apply(record, Input.SILENT, now)
        elif due.happened is Input.DISAPPEARED:
            if record.worker_id not in self._tasks.workers:
                self._members.lose(record, now - record.heard_at, now)
        else:
            self._tasks.apply(record, due.happened, now)

    def _renew(self, record: TaskRecord, now: float) -> None:
        if record.silent:
            self._tasks.apply(record, Input.HEARD_AGAIN, now)
        record.lease_until = now + self._tasks.lease_ttl
        record.heard_at = now

    def _look_for_silent(self, worker: WorkerRecord, now: float) -> None:
        """
        What the list of a worker that renews leases says about those of its tasks that it has not named, or no longer.

        It names there all that it runs, and what has ended until that is reported.
        """
        asked = [
            record
            for record in worker.tasks.values()
            if record.state is State.RUNNING and (record.silent or not record.seen)
        ]
        if not asked:
            return
        listed = {(running.root, running.run.id, running.epoch) for running in worker.running}
        for record in asked:
            if (*record.same_run, record.epoch) in listed:
                record.seen, record.missed_from = True, None
            elif (
                record.silent and record.incarnation in ("", worker.incarnation) and self._tasks.not_named(record, now)
            ):
                self._tasks.apply(record, Input.NOT_NAMED, now)

    def _compare(self, worker: WorkerRecord, now: float) -> None:
        """What the list of a peer that confirms nothing says about the tasks it was offered."""
        listed = {(running.root, running.run.id) for running in worker.running}
        for record in tuple(worker.tasks.values()):
            if record.same_run in listed:
                record.seen, record.beats, record.heard_at = True, 0, now
                if record.state is State.OFFERED:
                    self._tasks.apply(record, Input.LISTED, now, "it names it in its heartbeat")
                continue
            if record.state is State.RUNNING or record.overdue:
                record.beats += 1
            if record.beats != BEATS_TO_BE_SURE:
                continue
            if record.state is State.RUNNING:
                text = f"worker {worker.id} no longer names {record.task.run} in its heartbeats; its files tell how it ended"
                self._tasks.apply(record, Input.DISAPPEARED, now, text, Outcome(None, text))
            else:
                self._tasks.effect(_inquiry(record, now))

    def _cancellations(self, worker: WorkerRecord) -> list[Cancellation]:
        """What of its own list the worker shall end; what it does not list it does not run, or has no name for."""
        wanted = {record.same_run: record for record in worker.cancelling.values()}
        return [
            _cancellation(listed, wanted[listed.root, listed.run.id])
            for listed in worker.running
            if listed.attempt_key and (listed.root, listed.run.id) in wanted
        ]

    def _unknown(self, worker_id: str, incarnation: str, listed: RunningTask, now: float) -> str:
        """Why a run that is not open must end; empty if it was taken up instead or is none of our business."""
        ended = self._tasks.history.find(listed.root, listed.run.id)
        if ended is not None and (listed.epoch or ended.worker_id == worker_id):
            return f"it has ended: {ended.timeline[-1].reason}"
        worker = self._tasks.workers.get(worker_id)
        if not incarnation or not listed.epoch or worker is None or worker.incarnation != incarnation:
            return ""
        self._members.adopt(worker, listed, now)
        return ""

    def _late_report(self, worker_id: str, root: RunRef, run_id: str, epoch: int) -> Acceptance:
        ended = self._tasks.history.find(root, run_id)
        if ended is None:
            return Acceptance(False, f"run {run_id} was not dispatched by this coordinator")
        told = ended.outcome is not None and (ended.outcome.report or ended.outcome.state is None)
        if ended.worker_id == worker_id and epoch in (0, ended.epoch) and told:
            return Acceptance(True)
        return Acceptance(False, f"stale attempt: run {run_id} has ended: {ended.timeline[-1].reason}")


def _inquiry(record: TaskRecord, now: float) -> Inquiry:
    attempt_id = record.attempt_id if record.confirms else ""
    return Inquiry(record.task, record.number, record.epoch, record.worker_id, attempt_id, now - record.offered_at)


def _cancellation(listed: RunningTask, record: TaskRecord) -> Cancellation:
    if record.cancel_reason:
        return Cancellation(listed.run, listed.attempt_key, record.cancel_reason)
    return Cancellation(listed.run, listed.attempt_key, record.recalled, hand_back=True)


def _holds(record: TaskRecord, worker_id: str, epoch: int, attempt_key: str) -> bool:
    """
    Whether that worker was given the task last, in that epoch and as that attempt.

    Epochs begin anew where a journal was lost, attempts never do. The key of an attempt ends with its id.
    """
    if record.worker_id != worker_id or epoch not in (0, record.epoch):
        return False
    _, colon, named = attempt_key.rpartition(":")
    chosen_here = colon and record.confirms and epoch and record.attempt_id
    return not chosen_here or named == record.attempt_id


def _given_away(record: TaskRecord, worker_id: str, epoch: int, attempt_key: str) -> bool:
    """Whether a worker that lists a run of that epoch has lost it."""
    if not _holds(record, worker_id, epoch, attempt_key):
        return True
    return record.state is State.QUEUED and bool(record.lost_workers)


def _whereabouts(record: TaskRecord) -> str:
    if record.state is State.QUEUED:
        return f"waiting for a worker ({record.timeline[-1].reason})"
    return f"{record.state.value} at worker {record.worker_id} in epoch {record.epoch}"
