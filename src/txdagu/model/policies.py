"""What follows from how a step ended: whether it runs again, and whether others may go on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from txdagu.model.conditions import Condition


@dataclass(frozen=True, slots=True)
class ContinueOn:
    """
    When steps that depend on this one run although it did not succeed.

    `exit_codes` and `outputs` excuse a failure by the exit code, or by a line of the standard output's log that contains the
    text (``re:`` begins a regular expression). `mark_success` turns an excused failure into a success.
    """

    failure: bool = False
    skipped: bool = False
    exit_codes: tuple[int, ...] = ()
    outputs: tuple[str, ...] = ()
    mark_success: bool = False


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """
    Run a failed step again, at most `limit` times.

    Before retry k (from 1) it waits ``interval * backoff ** (k - 1)`` seconds, at most `max_interval` where that is not 0.
    `limit` and `interval` are texts where the file has texts: they are evaluated at start. With `exit_codes`, other codes are
    final. `backoff` 0 means that the interval stays as it is.
    """

    limit: int | str
    interval: int | str
    exit_codes: tuple[int, ...] = ()
    backoff: float = 0.0
    max_interval: int = 0


class RepeatMode(Enum):
    """Repeat while the condition holds, or until it does; the words of Dagu's records."""

    WHILE = "while"
    UNTIL = "until"


@dataclass(frozen=True, slots=True)
class RepeatPolicy:
    """
    Run a step again after it ended.

    Asked after each round, in this order: `limit` (rounds in all, 0 is no limit), `condition`, `exit_codes`, else whether the
    round succeeded. Before round n+1 it waits ``interval * backoff ** n`` seconds, at most `max_interval` where that is not 0.
    """

    mode: RepeatMode
    condition: Condition | None = None
    exit_codes: tuple[int, ...] = ()
    limit: int = 0
    interval: int = 0
    backoff: float = 0.0
    max_interval: int = 0


class LostWorkerPolicy(Enum):
    """What becomes of a task whose worker is lost; the words of ``onWorkerLost``."""

    REDISTRIBUTE = "redistribute"
    FAIL = "fail"
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class OnWorkerLost:
    """The policy, and how many workers a task may lose before it fails."""

    policy: LostWorkerPolicy = LostWorkerPolicy.REDISTRIBUTE
    limit: int = 3
