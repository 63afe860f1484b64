"""Noticing that a silent peer is gone: a PING while calls are open and nothing has been heard for a long time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from twisted.internet.interfaces import IDelayedCall, IReactorTime


@dataclass(frozen=True, slots=True)
class KeepaliveTimes:
    """
    How long a peer may be silent while calls are open, in seconds.

    Servers of gRPC count PINGs that come less than five minutes apart and close the connection with "too_many_pings" after
    the third, but begin to count anew whenever they have sent headers or data (grpc-go, handlePing; C core, ping abuse
    policy). So one PING between two answers is always free. It is sent after `after_data`; all further ones, while nothing
    but answers to pings arrives, are `interval` apart. `timeout` is how long the answer may take.
    """

    interval: float = 300.0
    after_data: float = 10.0
    timeout: float = 20.0

    def doubled(self) -> KeepaliveTimes:
        """Twice as patient, for a peer that complained (gRFC A8)."""
        return KeepaliveTimes(self.interval * 2, self.after_data * 2, self.timeout)

    def at_least(self, other: KeepaliveTimes) -> KeepaliveTimes:
        """The longer times of both."""
        return KeepaliveTimes(
            max(self.interval, other.interval), max(self.after_data, other.after_data), max(self.timeout, other.timeout)
        )


DEFAULT_KEEPALIVE = KeepaliveTimes()


class Keepalive:
    """
    Watches one connection: `ping` is called after silence, `dead` when that is not answered in time.

    Idle connections, those for which `is_needed` is false, are left alone.
    """

    def __init__(
        self,
        clock: IReactorTime,
        *,
        times: KeepaliveTimes,
        is_needed: Callable[[], bool],
        ping: Callable[[], None],
        dead: Callable[[float], None],
    ) -> None:
        self._clock = clock
        self._times = times
        self._is_needed = is_needed
        self._ping = ping
        self._dead = dead
        self._heard = clock.seconds()
        self._free_ping = False
        self._next_look: IDelayedCall | None = None
        self._verdict: IDelayedCall | None = None

    def start(self) -> None:
        """A call was opened: watch, if we do not already."""
        if self._next_look is None and self._verdict is None:
            self._next_look = self._clock.callLater(self._patience, self._look)

    def set_times(self, times: KeepaliveTimes) -> None:
        """Use other times from now on; a verdict that is due already stays."""
        self._times = times
        self._look_again()

    def heard(self) -> None:
        """Bytes of any kind arrived."""
        self._heard = self._clock.seconds()
        if self._verdict is not None:
            self._verdict.cancel()
            self._verdict = None
            self.start()

    def answered(self) -> None:
        """The peer sent headers or data of a call, so it has forgotten the pings it counted."""
        if not self._free_ping:
            self._free_ping = True
            self._look_again()

    def stop(self) -> None:
        """The connection is gone."""
        for timer in (self._next_look, self._verdict):
            if timer is not None and timer.active():
                timer.cancel()
        self._next_look = self._verdict = None

    @property
    def _patience(self) -> float:
        return min(self._times.after_data, self._times.interval) if self._free_ping else self._times.interval

    def _look_again(self) -> None:
        if self._next_look is not None:
            self._next_look.cancel()
            self._next_look = self._clock.callLater(self._patience, self._look)

    def _look(self) -> None:
        self._next_look = None
        if not self._is_needed():
            return
        rest = self._heard + self._patience - self._clock.seconds()
        if rest > 0:
            self._next_look = self._clock.callLater(rest, self._look)
        else:
            self._free_ping = False
            self._verdict = self._clock.callLater(self._times.timeout, self._give_up)
            self._ping()

    def _give_up(self) -> None:
        self._verdict = None
        self._dead(self._times.timeout)
