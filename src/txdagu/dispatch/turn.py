"""What one input to the core leads to: first to be kept, then to be done, then to be answered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from txdagu.dispatch.records import Entry, Outcome, Poll, StandingEntry
from txdagu.model.run import RunRef
from txdagu.model.task import Task

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Offer:
    """Answer that waiting call with this task. `confirms` tells whether the worker knows how to acknowledge it."""

    poll: Poll
    task: Task
    token: str
    epoch: int
    attempt_id: str
    attempt_name: str
    confirms: bool


@dataclass(frozen=True, slots=True)
class Dismissal:
    """End that waiting call with an error, for this reason."""

    poll: Poll
    reason: str


@dataclass(frozen=True, slots=True)
class Ending:
    """
    A task has ended; whoever waits for it may be told.

    The attempt's names are those of the last offer, empty if there was none. `at` is in the core's monotonic seconds.
    """

    task: Task
    worker_id: str
    attempt_id: str
    attempt_name: str
    outcome: Outcome
    at: float


@dataclass(frozen=True, slots=True)
class Inquiry:
    """
    Find out from the run's own files what became of the attempt that was offered `age` seconds ago, and tell the core
    with `DispatchCore.inquiry_answered`.

    Asked for peers that confirm nothing, before a task would be offered again. `attempt_id` is empty where the peer
    chose it.
    """

    task: Task
    number: int
    epoch: int
    worker_id: str
    attempt_id: str
    age: float


Effect = Offer | Dismissal | Ending | Inquiry


@dataclass(slots=True)
class Turn(Generic[Answer]):
    """
    The result of one input.

    `entries` and `standings` must be committed to the journal before any of `effects` is performed and before `answer` is given.
    If that fails, neither may happen: the core is reloaded from the journal and the caller is told to try again.
    """

    answer: Answer
    entries: list[Entry] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    standings: list[StandingEntry] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Whether something a worker said was accepted; if not, `error` tells it why in one sentence."""

    accepted: bool
    error: str = ""


@dataclass(frozen=True, slots=True)
class Cancellation:
    """
    Tells a worker to end a run that it listed under that key; if `lost`, because it is not its own any more: it must write
    nothing more. With `hand_back`, so that another worker can go on with it.
    """

    run: RunRef
    attempt_key: str
    reason: str
    lost: bool = False
    hand_back: bool = False
