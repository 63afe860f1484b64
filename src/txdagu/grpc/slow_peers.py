"""Noticing clients that begin something and do not go on with it ("slow loris"), with one timer per connection at most."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from txdagu.grpc.limits import ServerLimits


class Watched(Protocol):
    """What is to know of a connection, and what can be done about it."""

    @property
    def is_busy(self) -> bool:
        """Whether there is anything that could be late."""

    @property
    def unfinished_headers(self) -> int:
        """The stream whose header block is not complete, or 0."""

    @property
    def full_since(self) -> float | None:
        """Since when the transport takes nothing more; None if it does."""

    def lagging(self) -> Iterator[tuple[int, int]]:
        """The calls that wait for the client, each with a number that changes when it goes on."""

    def too_slow(self, reason: str) -> None:
        """The connection must end."""

    def call_too_slow(self, stream_id: int, seconds: float) -> None:
        """A call must end: nothing has changed for so long."""


class SlowPeerWatch:
    """
    Looks at a connection every `header_seconds` while something waits for the client. What looks the same for too long is
    ended.

    Nothing is done per call: a call that is over between two looks is never seen, and parked calls wait for us.
    """

    def __init__(self, clock: IReactorTime, limits: ServerLimits, watched: Watched) -> None:
        self._clock = clock
        self._limits = limits
        self._watched = watched
        self._timer: IDelayedCall | None = None
        self.awaits_handshake = True
        """Whether the client has not shown yet that it speaks HTTP/2."""
        self._headers = 0
        self._seen: dict[int, tuple[int, float]] = {}

    def begin(self) -> None:
        """The connection was made: the client's settings must come soon."""
        self._timer = self._clock.callLater(self._limits.handshake_seconds, self._no_handshake)

    def handshake_done(self) -> None:
        """The client's settings came."""
        self.awaits_handshake = False
        self.stop()

    def heard(self) -> None:
        """Something arrived or more is held, which may be the beginning of something."""
        if self._timer is None and self._watched.is_busy:
            self._timer = self._clock.callLater(self._limits.header_seconds, self._look)

    def stop(self) -> None:
        """Watch no longer, until the next sound."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _no_handshake(self) -> None:
        self._timer = None
        self._watched.too_slow(f"no HTTP/2 settings within {self._limits.handshake_seconds:g} s")

    def _look(self) -> None:
        self._timer = None
        now, limits = self._clock.seconds(), self._limits
        headers, before = self._watched.unfinished_headers, self._headers
        self._headers = headers
        if headers and headers == before:
            self._watched.too_slow(f"a header block was not finished within {limits.header_seconds:g} s")
            return
        full_since = self._watched.full_since
        if full_since is not None and now - full_since >= limits.unread_seconds:
            self._watched.too_slow(f"it has read nothing for {limits.unread_seconds:g} s")
            return
        self._look_at_calls(now)
        if headers or full_since is not None or self._seen:
            self.heard()

    def _look_at_calls(self, now: float) -> None:
        seen: dict[int, tuple[int, float]] = {}
        late = []
        for stream_id, state in self._watched.lagging():
            # Negative numbers are answers that wait to be read, see `Connection.lagging`.
            allowed = self._limits.unread_seconds if state < 0 else self._limits.message_seconds
            known = self._seen.get(stream_id)
            if known is None or known[0] != state:
                seen[stream_id] = (state, now)
            elif now - known[1] >= allowed:
                late.append((stream_id, allowed))
            else:
                seen[stream_id] = known
        self._seen = seen
        for stream_id, allowed in late:
            self._watched.call_too_slow(stream_id, allowed)
