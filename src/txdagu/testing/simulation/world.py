"""Virtual time, and the processes that live in it: each with a clock of its own that runs a little wrong."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)


class Appointment:
    """Something that happens at a time of the world, unless it is called off."""

    __slots__ = ("at", "off", "what")

    def __init__(self, at: float, what: Callable[[], None]) -> None:
        self.at = at
        self.what = what
        self.off = False

    def cancel(self) -> None:
        """Call it off."""
        self.off = True


class World:
    """
    The true time in seconds from 0, and what happens in it, one event after the other.

    `timeline` tells what happened, for people. Nothing in a world depends on anything but its seed: whatever is over is kept
    in `remains`, so that no destructor runs at a time that chance chooses.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.events = 0
        self.timeline: list[tuple[float, str, str]] = []
        self.remains: list[Any] = []
        self._heap: list[tuple[float, int, Appointment]] = []
        self._count = 0

    def after(self, seconds: float, what: Callable[[], None]) -> Appointment:
        """Have something happen so many seconds from now."""
        self._count += 1
        appointment = Appointment(self.now + max(seconds, 0.0), what)
        heapq.heappush(self._heap, (appointment.at, self._count, appointment))
        return appointment

    def tell(self, who: str, what: str) -> None:
        """Write a line into the timeline."""
        self.timeline.append((self.now, who, what))

    def run(self, until: float, checked: Callable[[], None], finished: Callable[[], bool]) -> None:
        """Let time pass up to that time, or until `finished`; `checked` is called after every event."""
        while self._heap and self._heap[0][0] <= until and not finished():
            at, _, appointment = heapq.heappop(self._heap)
            if appointment.off:
                self.remains.append(appointment)
                continue
            self.now = max(self.now, at)
            self.events += 1
            appointment.what()
            checked()
        if not finished():
            self.now = max(self.now, until)


@implementer(IDelayedCall)
class Timer:
    """A call that a process has set for later."""

    def __init__(self, process: Process, seconds: float, call: Callable[[], Any]) -> None:
        self._process = process
        self._call = call
        self._appointment = self._set(seconds)
        self._done = False

    def _set(self, seconds: float) -> Appointment:
        self._time = self._process.seconds() + seconds
        return self._process.world.after(seconds / self._process.rate, self._due)

    def _due(self) -> None:
        self._process.do(self._ring)

    def _ring(self) -> None:
        if not self._done:
            self._done = True
            self._call()

    def cancel(self) -> None:
        """Do not call."""
        self._done = True
        self._appointment.cancel()

    def active(self) -> bool:
        """Whether it is still to come."""
        return not self._done

    def getTime(self) -> float:  # noqa: N802
        """When it comes, by the process's clock."""
        return self._time

    def reset(self, seconds: float) -> None:
        """Let it come so many seconds from now instead."""
        self._appointment.cancel()
        self._appointment = self._set(seconds)

    def delay(self, seconds: float) -> None:
        """Let it come so much later."""
        self.reset(self._time - self._process.seconds() + seconds)


@implementer(IReactorTime)
class Process:
    """
    One process: a reactor's clock for those who live in it, and chance of its own.

    `rate` is how fast its monotonic clock runs, `zero` what that shows at the world's beginning, `wall_offset` how many seconds
    its time of day is wrong. While it is `paused` everything that should happen in it waits; once it is dead nothing ever happens
    in it again.
    """

    def __init__(
        self, world: World, name: str, seed: str, rate: float = 1.0, wall_offset: float = 0.0, zero: float | None = None
    ) -> None:
        self.world = world
        self.name = name
        self.random = Random(seed)  # noqa: S311 - it must be repeatable
        self.rate = rate
        self.wall_offset = wall_offset
        self.alive = True
        self.paused = False
        self.zero = self.random.uniform(0.0, 1e6) if zero is None else zero
        self._backlog: list[Callable[[], None]] = []

    # -- a reactor's clock ---------------------------------------------------------------------------------------------

    def seconds(self) -> float:
        """The monotonic clock."""
        return self.zero + self.world.now * self.rate

    def callLater(self, delay: float, callable: Callable[..., Any], *args: Any, **kwargs: Any) -> Timer:  # noqa: A002
        """Call something later."""
        return Timer(self, delay, lambda: callable(*args, **kwargs))

    def getDelayedCalls(self) -> list[Any]:  # noqa: N802
        """Nobody asks for them."""
        return []

    # -- life ----------------------------------------------------------------------------------------------------------

    def wall(self) -> datetime:
        """The time of day, as this process's host has it."""
        return BEGINNING + timedelta(seconds=self.world.now + self.wall_offset)

    def unix_now(self) -> float:
        """The same in Unix seconds."""
        return BEGINNING.timestamp() + self.world.now + self.wall_offset

    def do(self, what: Callable[[], None]) -> None:
        """Let something happen in this process: now, when it goes on, or never."""
        if not self.alive:
            self.world.remains.append(what)
        elif self.paused:
            self._backlog.append(what)
        else:
            what()

    def kill(self) -> None:
        """End it, wherever it is."""
        self.alive = False
        self.world.remains.append(self._backlog)

    def pause(self) -> None:
        """Stop it, and its host's clocks go on."""
        self.paused = True

    def resume(self) -> None:
        """Let it go on with all that waits for it."""
        self.paused = False
        backlog, self._backlog = self._backlog, []
        for what in backlog:
            self.world.after(0.0, lambda what=what: self.do(what))  # type: ignore[misc]
