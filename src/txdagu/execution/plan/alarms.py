"""Times at which the core wants to be woken."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from heapq import heappop, heappush
from itertools import count

Action = Callable[[datetime], None]


class Alarm:
    """One time, and what to do then; until it was cancelled."""

    def __init__(self, action: Action) -> None:
        self._action: Action | None = action

    @property
    def cancelled(self) -> bool:
        """Whether nothing is to be done any more."""
        return self._action is None

    def cancel(self) -> None:
        """Do nothing then. Cancelling twice, or after the time, is fine."""
        self._action = None

    def ring(self, now: datetime) -> None:
        """Do it, once."""
        action, self._action = self._action, None
        if action is not None:
            action(now)


class Alarms:
    """All times to wait for, earliest first."""

    def __init__(self) -> None:
        self._heap: list[tuple[datetime, int, Alarm]] = []
        self._numbers = count()

    def at(self, at: datetime, action: Action) -> Alarm:
        """Do that at that time."""
        alarm = Alarm(action)
        heappush(self._heap, (at, next(self._numbers), alarm))
        return alarm

    @property
    def earliest(self) -> datetime | None:
        """The next time, None if there is none."""
        while self._heap and self._heap[0][2].cancelled:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def postpone(self, by: timedelta) -> None:
        """All of it that much later: the time until now did not count."""
        self._heap = [(at + by, number, alarm) for at, number, alarm in self._heap]

    def ring(self, now: datetime) -> None:
        """Do all that is due."""
        while (earliest := self.earliest) is not None and earliest <= now:
            heappop(self._heap)[2].ring(now)
