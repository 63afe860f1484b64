"""How long a server keeps a connection: until its client has vanished, does nothing, or has been there long enough."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from txdagu.grpc.keepalive import Keepalive, KeepaliveTimes

PING = b"alive?\x00\x01"
# Idleness is looked at this many times within the limit, so calls need not be timed one by one.
_LOOKS = 4


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """
    All in seconds; None means no limit. What is not given is as in servers written with grpc-go.

    A client that has been silent for `keepalive_interval` is sent a PING; without any sound from it for `keepalive_timeout`
    more it is gone: its connection is cut and its handlers are cancelled. A connection without a call for `max_idle`, at most
    a quarter more, or older than `max_age` (spread by 10 %, so that clients do not all come back at once) ends with a GOAWAY:
    its open calls go on, new ones belong elsewhere. Calls still open `max_age_grace` later are answered with UNAVAILABLE.
    """

    keepalive_interval: float | None = 7200.0
    keepalive_timeout: float = 20.0
    max_idle: float | None = None
    max_age: float | None = None
    max_age_grace: float | None = None


class LimitedConnection(Protocol):
    """What the limits need to know of a connection, and do to it."""

    @property
    def is_idle(self) -> bool:
        """Whether there is no call."""

    @property
    def last_stream_id(self) -> int:
        """Grows with every call."""

    def ping(self, payload: bytes) -> None:
        """Ask the client for a sign of life."""

    def leave(self, reason: str) -> None:
        """Let open calls finish, take no others, then close."""

    def stop(self, reason: str) -> None:
        """Answer open calls with UNAVAILABLE and close."""

    def cut_because(self, reason: str) -> None:
        """Close at once."""


class ConnectionLifetime:
    """Watches one connection: a timer for each limit there is, and nothing else. `random` is in [0, 1)."""

    def __init__(
        self, connection: LimitedConnection, clock: IReactorTime, limits: ConnectionLimits, random: Callable[[], float]
    ) -> None:
        self._connection = connection
        self._clock = clock
        self._limits = limits
        self._random = random
        self._timers: dict[str, IDelayedCall] = {}
        self._looks = 0
        self._seen_stream_id = -1
        self._keepalive: Keepalive | None = None
        if limits.keepalive_interval is not None:
            self._keepalive = Keepalive(
                clock,
                times=KeepaliveTimes(interval=limits.keepalive_interval, timeout=limits.keepalive_timeout),
                is_needed=lambda: True,
                ping=lambda: connection.ping(PING),
                dead=lambda _: self._dead(),
            )

    def start(self) -> None:
        """The client has shown that it speaks HTTP/2."""
        limits = self._limits
        if self._keepalive is not None:
            self._keepalive.heard()
            self._keepalive.start()
        if limits.max_idle is not None:
            self._set("idle", limits.max_idle / _LOOKS, self._look)
        if limits.max_age is not None:
            self._set("age", limits.max_age * (0.9 + 0.2 * self._random()), self._too_old)

    def heard(self) -> None:
        """Bytes of any kind arrived."""
        if self._keepalive is not None:
            self._keepalive.heard()

    def stop(self) -> None:
        """The connection is gone."""
        if self._keepalive is not None:
            self._keepalive.stop()
        timers, self._timers = self._timers, {}
        for timer in timers.values():
            if timer.active():
                timer.cancel()

    def _set(self, name: str, delay: float, function: Callable[[], None]) -> None:
        self._timers[name] = self._clock.callLater(delay, function)

    def _dead(self) -> None:
        self._connection.cut_because(f"no answer to a ping within {self._limits.keepalive_timeout:g} s")

    def _look(self) -> None:
        connection, max_idle = self._connection, self._limits.max_idle
        assert max_idle is not None
        quiet = connection.is_idle and connection.last_stream_id == self._seen_stream_id
        self._looks = self._looks + 1 if quiet else 0
        self._seen_stream_id = connection.last_stream_id
        if self._looks >= _LOOKS:
            connection.leave(f"no call for {max_idle:g} s")
        else:
            self._set("idle", max_idle / _LOOKS, self._look)

    def _too_old(self) -> None:
        reason = "the connection has reached its maximum age"
        self._connection.leave(reason)
        if self._limits.max_age_grace is not None:
            self._set("age", self._limits.max_age_grace, lambda: self._connection.stop(reason))
