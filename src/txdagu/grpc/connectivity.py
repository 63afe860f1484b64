"""
When to connect: the states of a connection that is made when needed and made again when lost.

The core of a channel without any I/O: it takes what happened and returns what to do about it. States and their rules follow
doc/connectivity-semantics-and-api.md and doc/connection-backoff.md of the gRPC project.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class ChannelState(Enum):
    """Where a channel is. Only READY has a connection that carries calls."""

    IDLE = "idle"
    CONNECTING = "connecting"
    READY = "ready"
    BACKING_OFF = "backing off"
    SHUT_DOWN = "shut down"


@dataclass(frozen=True, slots=True)
class Backoff:
    """
    How long to wait after a failed attempt to connect, in seconds.

    A connection that was ready for `stable` seconds proves that all is well: the next failure counts as the first again.
    """

    initial: float = 1.0
    factor: float = 1.6
    maximum: float = 120.0
    jitter: float = 0.2
    stable: float = 10.0

    def delay(self, failures: int, random: Callable[[], float]) -> float:
        """The wait after this many failures in a row, at least one; `random` returns numbers from 0 to 1."""
        exponent = min(failures - 1, 64)
        return min(self.initial * self.factor**exponent, self.maximum) * (1 + self.jitter * (2 * random() - 1))


DEFAULT_BACKOFF = Backoff()


@dataclass(frozen=True, slots=True)
class Dial:
    """Make an attempt. Always the last effect, because an attempt may fail before it returns."""


@dataclass(frozen=True, slots=True)
class Abandon:
    """Give up the attempt that is under way."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Report `pause_over` in so many seconds, unless the state changes before."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Serve:
    """Start the calls that wait: the connection is ready."""


@dataclass(frozen=True, slots=True)
class Leave:
    """Give the connection no new calls and close it when those it has are over."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Fail the calls that do not want to wait for another attempt."""

    reason: str


Effect = Dial | Abandon | Pause | Serve | Leave | Refuse
Effects = tuple[Effect, ...]
_NOTHING: Effects = ()


class Connectivity:
    """
    The states of one connection.

    Every event is a method that returns the effects, to be carried out in their order. `now` is in seconds of any clock;
    `wanted` says whether calls wait for a connection. `random` spreads the back-off.

    =========== ======================== ===========================================
    state       event                    next state
    =========== ======================== ===========================================
    idle        needed                   connecting
    connecting  server_ready             ready
    connecting  failed                   backing off
    ready       ended, after long enough idle, or connecting if calls wait
    ready       ended, too soon          the first time as above, then backing off
    backing off pause_over               idle, or connecting if calls wait
    any         reconnect                idle, or connecting if calls wait
    any         stop                     shut down
    =========== ======================== ===========================================

    An event that has no row changes nothing: it comes from an attempt or a connection that was given up.
    """

    def __init__(self, backoff: Backoff, random: Callable[[], float]) -> None:
        self.state = ChannelState.IDLE
        self.reason = ""
        """Why there is no connection, or why the previous one ended."""
        self._backoff = backoff
        self._random = random
        self._failures = 0
        self._ready_since = 0.0

    def needed(self) -> Effects:
        """A call has no connection."""
        return self._connect() if self.state is ChannelState.IDLE else _NOTHING

    def server_ready(self, now: float) -> Effects:
        """The server's SETTINGS arrived: it has accepted us, which neither TCP nor TLS alone can tell."""
        if self.state is not ChannelState.CONNECTING:
            return _NOTHING
        self.state = ChannelState.READY
        self._ready_since = now
        return (Serve(),)

    def failed(self, reason: str) -> Effects:
        """The attempt came to nothing."""
        if self.state is not ChannelState.CONNECTING:
            return _NOTHING
        self._failures += 1
        return self._back_off(self._failures, reason)

    def timed_out(self, reason: str) -> Effects:
        """The attempt took too long."""
        if self.state is not ChannelState.CONNECTING:
            return _NOTHING
        return (Abandon(), *self.failed(reason))

    def ended(self, reason: str, now: float, *, wanted: bool) -> Effects:
        """
        The connection takes no new calls any more: it was lost, or the server is leaving.

        A server that accepts and drops must not be hammered, so a connection that was ready only for a moment counts as a
        failure. One such is forgiven: servers do restart.
        """
        if self.state is not ChannelState.READY:
            return self.failed(reason)
        if now - self._ready_since >= self._backoff.stable:
            self._failures = 0
        else:
            self._failures += 1
        if self._failures > 1:
            return self._back_off(self._failures - 1, reason)
        self.reason = reason
        return self._rest(wanted)

    def pause_over(self, *, wanted: bool) -> Effects:
        """The back-off is over."""
        return self._rest(wanted) if self.state is ChannelState.BACKING_OFF else _NOTHING

    def reconnect(self, reason: str, *, wanted: bool) -> Effects:
        """Somebody knows that another attempt is worth it, now: what there is, is left, and no back-off is waited for."""
        before = self.state
        if before is ChannelState.SHUT_DOWN:
            return _NOTHING
        self.reason = reason
        self._failures = 0
        effects: Effects = self._rest(wanted)
        if before is ChannelState.READY:
            return (Leave(), *effects)
        if before is ChannelState.CONNECTING:
            return (Abandon(), *effects)
        return effects

    def stop(self, reason: str) -> Effects:
        """No more connections."""
        before, self.state = self.state, ChannelState.SHUT_DOWN
        if before is not ChannelState.SHUT_DOWN:
            self.reason = reason
        return (Abandon(),) if before is ChannelState.CONNECTING else _NOTHING

    def _connect(self) -> Effects:
        self.state = ChannelState.CONNECTING
        return (Dial(),)

    def _rest(self, wanted: bool) -> Effects:
        self.state = ChannelState.IDLE
        return self._connect() if wanted else _NOTHING

    def _back_off(self, failures: int, reason: str) -> Effects:
        self.state = ChannelState.BACKING_OFF
        self.reason = reason
        return Pause(self._backoff.delay(failures, self._random)), Refuse(reason)
