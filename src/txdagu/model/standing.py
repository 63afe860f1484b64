"""Whether a worker may be given tasks: cordoned, draining, and the orders by which people say so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import Enum

from txdagu.model.labels import Labels

SCHEDULABLE = "schedulable"
DRAINED = "drained"


class Mode(Enum):
    """Why a worker gets no new tasks: it only shall not, or it shall become empty as well."""

    CORDONED = "cordoned"
    DRAINING = "draining"


@dataclass(frozen=True, slots=True)
class Standing:
    """
    What keeps new tasks from a worker: since when, why, and by whom.

    When `until` has come, a draining worker hands back what still runs; None: it may take its time. Times are Unix seconds,
    except within the dispatch core, which has its own.
    """

    mode: Mode
    since: float
    until: float | None = None
    reason: str = ""
    by: str = ""

    def shifted(self, seconds: float) -> Standing:
        """The same by a clock that is ahead so much."""
        return replace(self, since=self.since + seconds, until=None if self.until is None else self.until + seconds)

    def __str__(self) -> str:
        """A phrase such as ``cordoned since 2026-01-02 10:42 UTC: disk swap``."""
        limit = "" if self.until is None else f" until {_minute(self.until)}"
        return f"{self.mode.value} since {_minute(self.since)}{limit}{': ' if self.reason else ''}{self.reason}"


def _minute(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"


def standing_word(standing: Standing | None, running: Sequence[object]) -> str:
    """``schedulable``, ``cordoned``, ``draining``, or ``drained`` where nothing runs any more."""
    if standing is None:
        return SCHEDULABLE
    return DRAINED if standing.mode is Mode.DRAINING and not running else standing.mode.value


class Action(Enum):
    """What people can ask for."""

    CORDON = "cordon"
    DRAIN = "drain"
    RESUME = "resume"


@dataclass(frozen=True, slots=True)
class WorkerOrder:
    """
    An order for the workers with these `ids`, and for those that have all labels of the `selector` where that is not empty.

    `patience` is how many seconds a drain waits for running tasks before they are handed back; None: without limit.
    """

    action: Action
    ids: tuple[str, ...] = ()
    selector: Labels = field(default_factory=dict)
    reason: str = ""
    by: str = ""
    patience: float | None = None


@dataclass(frozen=True, slots=True)
class Ordered:
    """Which workers an order reached, which of its ids nobody knows, and coordinators that could not be told."""

    workers: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
