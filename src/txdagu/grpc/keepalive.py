"""Noticing that a silent peer is gone: a PING while calls are open and nothing has been heard for a long time."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Keepalive:
    """
    After `interval` seconds of silence with calls open, `ping` is called; without a sound for `timeout` more, `dead`.

    Servers written with grpc-go close connections which ping more often than every five minutes, so shorter intervals are
    only for peers that are known to bear them. Idle connections are left alone.
    """

    def __init__(
        self,
        clock: IReactorTime,
        *,
        interval: float,
        timeout: float,
        is_needed: Callable[[], bool],
        ping: Callable[[], None],
        dead: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._interval = interval
        self._timeout = timeout
        self._is_needed = is_needed
        self._ping = ping
        self._dead = dead
        self._heard = clock.seconds()
        self._next_look: IDelayedCall | None = None
        self._verdict: IDelayedCall | None = None

    def start(self) -> None:
        """A call was opened: watch, if we do not already."""
        if self._next_look is None and self._verdict is None:
            self._next_look = self._clock.callLater(self._interval, self._look)

    def heard(self) -> None:
        """Bytes of any kind arrived."""
        self._heard = self._clock.seconds()
        if self._verdict is not None:
            self._verdict.cancel()
            self._verdict = None
            self.start()

    def stop(self) -> None:
        """The connection is gone."""
        for timer in (self._next_look, self._verdict):
            if timer is not None and timer.active():
                timer.cancel()
        self._next_look = self._verdict = None

    def _look(self) -> None:
        self._next_look = None
        if not self._is_needed():
            return
        rest = self._heard + self._interval - self._clock.seconds()
        if rest > 0:
            self._next_look = self._clock.callLater(rest, self._look)
        else:
            self._verdict = self._clock.callLater(self._timeout, self._give_up)
            self._ping()

    def _give_up(self) -> None:
        self._verdict = None
        self._dead()
