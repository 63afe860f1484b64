"""The life of a task: one table of what may happen in which state, what follows, and the sentence that says why."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class State(Enum):
    """Where a task is. `NEW` is the state before it was accepted."""

    NEW = "new"
    QUEUED = "queued"
    OFFERED = "offered"
    RUNNING = "running"
    LOST = "lost"
    ENDED = "ended"


class Input(Enum):
    """What can happen to a task."""

    SUBMIT = "submit"
    ADOPT = "adopt"
    OFFER = "offer"
    ACK = "ack"
    LISTED = "listed"
    OFFER_TIMEOUT = "offer_timeout"
    POLL_GONE = "poll_gone"
    WORKER_GONE = "worker_gone"
    REPORT_END = "report_end"
    RECALL = "recall"
    HANDED_BACK = "handed_back"
    LEASE_EXPIRED = "lease_expired"
    SILENT = "silent"
    HEARD_AGAIN = "heard_again"
    WORKER_LEFT = "worker_left"
    WORKER_REPLACED = "worker_replaced"
    NOT_NAMED = "not_named"
    DISAPPEARED = "disappeared"
    CANCEL = "cancel"
    CANCEL_UNSURE = "cancel_unsure"
    REQUEUE = "requeue"
    GIVE_UP = "give_up"


class Consequence(Enum):
    """What the core does after a transition."""

    ENQUEUE = "enqueue"
    HAND_OVER = "hand_over"
    HOLD = "hold"
    TELL_WORKER = "tell_worker"
    TAKE_BACK = "take_back"
    BEAR = "bear"
    WATCH = "watch"
    JUDGE = "judge"
    FINISH = "finish"


@dataclass(frozen=True, slots=True)
class Edge:
    """
    One row of the table. `reason` names facts in braces; ``{worker}`` is the worker's id, ``{reason}`` a sentence
    that came with the input.
    """

    target: State
    consequence: Consequence
    reason: str


class ImpossibleInputError(Exception):
    """The table has no row for this input in this state: the caller is wrong, not the outside world."""


# A pair that is not in this table cannot happen; whoever would cause it checks first and answers with a reason.
TABLE: dict[tuple[State, Input], Edge] = {
    (State.NEW, Input.SUBMIT): Edge(State.QUEUED, Consequence.ENQUEUE, "accepted; waits for a worker"),
    (State.NEW, Input.ADOPT): Edge(
        State.RUNNING,
        Consequence.HOLD,
        "worker {worker} was already running it when this coordinator first heard of it",
    ),
    (State.QUEUED, Input.OFFER): Edge(State.OFFERED, Consequence.HAND_OVER, "offered to worker {worker}"),
    (State.QUEUED, Input.CANCEL): Edge(State.ENDED, Consequence.FINISH, "cancelled before a worker had it: {reason}"),
    (State.OFFERED, Input.ACK): Edge(State.RUNNING, Consequence.HOLD, "worker {worker} confirmed"),
    (State.OFFERED, Input.LISTED): Edge(State.RUNNING, Consequence.HOLD, "worker {worker} has taken it: {reason}"),
    (State.OFFERED, Input.OFFER_TIMEOUT): Edge(
        State.QUEUED, Consequence.ENQUEUE, "worker {worker} did not confirm within {timeout:g} s; waits again"
    ),
    (State.OFFERED, Input.POLL_GONE): Edge(
        State.QUEUED, Consequence.ENQUEUE, "the call that carried the offer to worker {worker} broke off; waits again"
    ),
    (State.OFFERED, Input.WORKER_GONE): Edge(
        State.QUEUED, Consequence.ENQUEUE, "worker {worker} {reason} before it confirmed; waits again"
    ),
    (State.OFFERED, Input.CANCEL): Edge(
        State.ENDED, Consequence.FINISH, "cancelled before worker {worker} confirmed: {reason}"
    ),
    (State.OFFERED, Input.CANCEL_UNSURE): Edge(
        State.OFFERED,
        Consequence.TELL_WORKER,
        "worker {worker} cannot confirm and may have started it; it is not offered again: {reason}",
    ),
    (State.OFFERED, Input.REPORT_END): Edge(State.ENDED, Consequence.FINISH, "worker {worker} reported: {reason}"),
    (State.OFFERED, Input.DISAPPEARED): Edge(State.ENDED, Consequence.FINISH, "{reason}"),
    (State.RUNNING, Input.REPORT_END): Edge(State.ENDED, Consequence.FINISH, "worker {worker} reported: {reason}"),
    (State.RUNNING, Input.CANCEL): Edge(
        State.RUNNING, Consequence.TELL_WORKER, "worker {worker} is told to end it: {reason}"
    ),
    (State.RUNNING, Input.RECALL): Edge(
        State.RUNNING, Consequence.TAKE_BACK, "worker {worker} is told to hand it back: {reason}"
    ),
    (State.RUNNING, Input.HANDED_BACK): Edge(
        State.QUEUED, Consequence.ENQUEUE, "worker {worker} handed it back: {reason}; waits again"
    ),
    (State.RUNNING, Input.LEASE_EXPIRED): Edge(
        State.LOST, Consequence.JUDGE, "worker {worker} was silent for {silence:.0f} s while running {run}"
    ),
    (State.RUNNING, Input.SILENT): Edge(
        State.RUNNING,
        Consequence.BEAR,
        "worker {worker} was silent for {silence:.0f} s while running {run}; onWorkerLost is wait, so it is left to it",
    ),
    (State.RUNNING, Input.HEARD_AGAIN): Edge(
        State.RUNNING, Consequence.WATCH, "worker {worker} is heard of again after {silence:.0f} s"
    ),
    (State.RUNNING, Input.WORKER_REPLACED): Edge(
        State.LOST,
        Consequence.JUDGE,
        "worker {worker} was restarted after {silence:.0f} s of silence while running {run}",
    ),
    (State.RUNNING, Input.NOT_NAMED): Edge(
        State.LOST,
        Consequence.JUDGE,
        "worker {worker} lives, but for {silence:.0f} s it has not named {run} among its runs",
    ),
    (State.RUNNING, Input.WORKER_LEFT): Edge(
        State.LOST, Consequence.JUDGE, "worker {worker} left without saying how {run} ended"
    ),
    (State.RUNNING, Input.DISAPPEARED): Edge(State.ENDED, Consequence.FINISH, "{reason}"),
    (State.LOST, Input.REQUEUE): Edge(State.QUEUED, Consequence.ENQUEUE, "{reason}; waits again"),
    (State.LOST, Input.GIVE_UP): Edge(State.ENDED, Consequence.FINISH, "{reason}"),
    (State.LOST, Input.CANCEL): Edge(State.ENDED, Consequence.FINISH, "cancelled, and then lost: {reason}"),
}


def edge(state: State, happened: Input) -> Edge:
    """The row for that input in that state; `ImpossibleInputError` if there is none."""
    found = TABLE.get((state, happened))
    if found is None:
        raise ImpossibleInputError(f"{happened.value} cannot happen to a task that is {state.value}")
    return found


def allows(state: State, happened: Input) -> bool:
    """Whether the table has a row for that input in that state."""
    return (state, happened) in TABLE
