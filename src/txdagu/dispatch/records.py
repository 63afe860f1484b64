"""What the core notes down about polls, workers and tasks, and the entries by which a journal can bring tasks back."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from txdagu.dispatch.machine import State
from txdagu.model.health import health_of_age
from txdagu.model.labels import Labels
from txdagu.model.run import RunRef
from txdagu.model.standing import Standing
from txdagu.model.status import RunState
from txdagu.model.task import RunningTask, Task, WorkerStatus

if TYPE_CHECKING:
    from txdagu.dispatch.placement import Supply

TIMELINE_LENGTH = 200
RETIRED_INCARNATIONS = 16


@dataclass(slots=True, eq=False)
class Poll:
    """
    A worker's waiting call for work. Told apart by identity.

    `incarnation` is empty for peers that know nothing of it; each of their polls stands for one slot. Otherwise
    `free_slots` says how many more tasks the worker can take, this one included.
    """

    worker_id: str
    labels: Labels
    incarnation: str = ""
    free_slots: int = 1
    poller_id: str = ""


@dataclass(frozen=True, slots=True)
class Transition:
    """One line of a task's timeline. `at` is the core's monotonic time in seconds."""

    at: float
    state: State
    worker_id: str
    epoch: int
    reason: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    How a task ended, in one sentence.

    `state` is None where only the run's own files can tell. `report` is the final status as the worker sent it, or
    empty.
    """

    state: RunState | None
    reason: str
    report: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """
    A task right after a transition, as the journal keeps it. The newest entry of a task is all it takes to bring it
    back.

    `number` names the task within one journal and gives the order of acceptance; `sequence` counts its transitions from
    1. `before` and `before_epoch` are what the transition began with: who writes into shared tables compares them with what
    is there. `confirms` tells whether the worker is one that acknowledges offers and renews leases; `incarnation` is the
    one that was offered the task, `offered_at` when, in the core's time. An `adopted` task was found running. `lost_workers`
    are those that were lost with the task, one after the other.
    """

    number: int
    task: Task
    transition: Transition
    token: str = ""
    attempt_id: str = ""
    attempt_name: str = ""
    confirms: bool = False
    incarnation: str = ""
    lost_workers: tuple[str, ...] = ()
    cancel_reason: str = ""
    outcome: Outcome | None = None
    sequence: int = 1
    before: State = State.NEW
    before_epoch: int = 0
    offered_at: float = 0.0
    adopted: bool = False


@dataclass(frozen=True, slots=True)
class StandingEntry:
    """What keeps new tasks from a worker from now on, as the journal keeps it; with None nothing does any more."""

    worker_id: str
    standing: Standing | None


@dataclass(slots=True, eq=False)
class TaskRecord:
    """
    A task and everything known of it.

    `lease_until` is when its worker's word runs out, `heard_at` when that was last given; `offer_number` counts the
    offers made to that worker; `seen` tells that the worker has named the run in a heartbeat, or may have; `beats` counts
    heartbeats that did not name it: after the offer is overdue while offered, in a row while running. Both only
    matter where a peer cannot say things itself. `sequence` counts transitions; those of the past are in `timeline`, as
    far as this process saw them. `silent` says that the lease has ended and the task is left to its worker all the same.
    `recalled` is why its worker shall hand it back. `missed_from` and `missed_at` are the first and the last heartbeat in a row
    that did not name the run while it was `silent`.
    """

    task: Task
    number: int
    state: State = State.NEW
    epoch: int = 0
    worker_id: str = ""
    token: str = ""
    attempt_id: str = ""
    attempt_name: str = ""
    confirms: bool = False
    incarnation: str = ""
    lost_workers: tuple[str, ...] = ()
    silent: bool = False
    sequence: int = 0
    poll: Poll | None = None
    offer_number: int = 0
    lease_until: float = 0.0
    heard_at: float = 0.0
    offered_at: float = 0.0
    overdue: bool = False
    seen: bool = False
    beats: int = 0
    missed_from: float | None = None
    missed_at: float = 0.0
    adopted: bool = False
    cancel_reason: str = ""
    recalled: str = ""
    outcome: Outcome | None = None
    timeline: deque[Transition] = field(default_factory=lambda: deque(maxlen=TIMELINE_LENGTH))

    @property
    def same_run(self) -> tuple[RunRef, str]:
        """What tells the run apart from all others: its root and its id."""
        return (self.task.root, self.task.run.id)

    def note(self, transition: Transition) -> Entry:
        """Move on, with a line in the timeline; returns the journal's view of that."""
        before, before_epoch = (self.state, self.timeline[-1].epoch) if self.timeline else (State.NEW, 0)
        self.state = transition.state
        self.sequence += 1
        self.timeline.append(transition)
        return Entry(
            number=self.number,
            task=self.task,
            transition=transition,
            token=self.token,
            attempt_id=self.attempt_id,
            attempt_name=self.attempt_name,
            confirms=self.confirms,
            incarnation=self.incarnation,
            lost_workers=self.lost_workers,
            cancel_reason=self.cancel_reason,
            outcome=self.outcome,
            sequence=self.sequence,
            before=before,
            before_epoch=before_epoch,
            offered_at=self.offered_at,
            adopted=self.adopted,
        )

    @classmethod
    def restored(cls, entry: Entry) -> TaskRecord:
        """
        The record that gave this entry, without what only the process knew: waiting calls and deadlines.

        What ran may have been named by its worker, so it counts as `seen`: it must not be taken for one that never began.
        """
        last = entry.transition
        record = cls(
            task=entry.task,
            number=entry.number,
            state=last.state,
            epoch=last.epoch,
            worker_id=last.worker_id,
            token=entry.token,
            attempt_id=entry.attempt_id,
            attempt_name=entry.attempt_name,
            confirms=entry.confirms,
            incarnation=entry.incarnation,
            lost_workers=entry.lost_workers,
            cancel_reason=entry.cancel_reason,
            outcome=entry.outcome,
            sequence=entry.sequence,
            offered_at=entry.offered_at,
            adopted=entry.adopted,
            seen=last.state is State.RUNNING,
        )
        record.timeline.append(last)
        return record


@dataclass(slots=True, eq=False)
class WorkerRecord:
    """
    A worker as its requests show it.

    `seen_at` is when it last sent anything. `credit` is how many more tasks it can take, by its own word less what
    was offered since; `credit_mark` is the number of the last offer made before that word. `strikes` counts offers in
    a row that it left unconfirmed. `stamp` changes with everything placement looks at. `standing` is what people have ordered,
    `leaving` what the worker says of itself when it is about to end; with either it is offered nothing.
    """

    id: str
    labels: Labels
    seen_at: float
    incarnation: str = ""
    confirms: bool = False
    supply: Supply | None = None
    slots: int = 0
    busy: int = 0
    running: tuple[RunningTask, ...] = ()
    polls: dict[Poll, None] = field(default_factory=dict)
    credit: int = 0
    credit_mark: int = 0
    offers: int = 0
    last_offer: float = 0.0
    strikes: int = 0
    tasks: dict[int, TaskRecord] = field(default_factory=dict)
    cancelling: dict[int, TaskRecord] = field(default_factory=dict)
    retired: deque[str] = field(default_factory=lambda: deque(maxlen=RETIRED_INCARNATIONS))
    stamp: int = 0
    standing: Standing | None = None
    leaving: Standing | None = None

    @property
    def free(self) -> int:
        """How many tasks can be offered now: none without a waiting call that could carry one, or while it may have none."""
        if not self.polls or self.standing is not None or self.leaving is not None:
            return 0
        return self.credit if self.confirms else len(self.polls)

    @property
    def load(self) -> float:
        """The share of its slots that are taken, from 0 to 1."""
        slots = self.slots or self.free + len(self.tasks)
        return (slots - self.free) / slots if slots > 0 else 1.0

    def _unlisted(self) -> tuple[RunningTask, ...]:
        """What the worker has confirmed and not named in a heartbeat yet, or not reported as ended yet: it is not idle."""
        if not self.confirms:
            return ()
        listed = {(running.root, running.run.id) for running in self.running}
        return tuple(
            RunningTask(record.task.run, record.task.root, record.task.parent, epoch=record.epoch)
            for record in self.tasks.values()
            if record.state is State.RUNNING and record.same_run not in listed
        )

    def status(self, now: float, unix_now: float) -> WorkerStatus:
        """What lists show. A worker that has not told its slots yet is shown with those it polls for."""
        age = max(0.0, now - self.seen_at)
        slots, busy = self.slots, self.busy
        standing = self.leaving or self.standing
        if not slots:
            slots, busy = max(self.free, 0) + len(self.tasks), len(self.tasks)
        return WorkerStatus(
            id=self.id,
            labels=self.labels,
            health=health_of_age(age),
            slots=slots,
            busy=busy,
            running=self.running + self._unlisted(),
            heartbeat_age=age,
            last_heartbeat_at=int(unix_now - age),
            confirms=self.confirms,
            standing=None if standing is None else standing.shifted(unix_now - now),
        )
