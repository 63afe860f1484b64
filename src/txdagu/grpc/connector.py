"""How a channel comes by its connection: connect when needed, back off after failures, notice when it is lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from txdagu.grpc.client_call import ClientCall
from txdagu.grpc.client_connection import ConnectionOwner, GrpcClientProtocol


class ChannelState(Enum):
    """Where a channel is. Only READY has a connection that carries calls."""

    IDLE = "idle"
    CONNECTING = "connecting"
    READY = "ready"
    BACKING_OFF = "backing off"
    SHUT_DOWN = "shut down"


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait after a failed attempt to connect, in seconds (doc/connection-backoff.md of the gRPC project)."""

    initial: float = 1.0
    factor: float = 1.6
    maximum: float = 120.0
    jitter: float = 0.2

    def delay(self, failures: int, random: Callable[[], float]) -> float:
        """The wait after this many failures in a row, at least one; `random` returns numbers from 0 to 1."""
        exponent = min(failures - 1, 64)
        return min(self.initial * self.factor**exponent, self.maximum) * (1 + self.jitter * (2 * random() - 1))


DEFAULT_BACKOFF = Backoff()


class ConnectorUser(Protocol):
    """Who needs the connection."""

    def connected(self, connection: GrpcClientProtocol) -> None:
        """A connection is ready for calls."""

    def attempt_failed(self, reason: str) -> None:
        """There is no connection, and no new attempt for a while."""

    def place(self, call: ClientCall[Any, Any]) -> None:
        """Find a connection for a call."""

    def is_waiting(self) -> bool:
        """Whether to try again after the back-off without being asked."""


class _OneProtocol(Factory):
    noisy = False

    def __init__(self, made: GrpcClientProtocol) -> None:
        self._made = made

    def buildProtocol(self, addr: IAddress | None) -> TwistedProtocol:
        self._made.factory = self
        return self._made


class Connector:
    """
    Keeps at most one connection for new calls, besides those that a server is leaving.

    A connection is ready when the server's SETTINGS have arrived, not when TCP or TLS is up: only then has the server
    accepted us.
    """

    log = Logger()

    def __init__(
        self,
        user: ConnectorUser,
        endpoint: Callable[[], IStreamClientEndpoint],
        protocol: Callable[[ConnectionOwner], GrpcClientProtocol],
        clock: IReactorTime,
        *,
        name: str,
        backoff: Backoff,
        random: Callable[[], float],
        connect_timeout: float,
    ) -> None:
        self.state = ChannelState.IDLE
        self.last_reason = ""
        """Why there is no connection, or why the previous one ended."""
        self._user = user
        self._make_endpoint = endpoint
        self._make_protocol = protocol
        self._clock = clock
        self._name = name
        self._backoff = backoff
        self._random = random
        self._connect_timeout = connect_timeout
        self._connection: GrpcClientProtocol | None = None
        self._others: dict[GrpcClientProtocol, None] = {}  # still closing, or finishing their calls
        self._attempt: Deferred[Any] | None = None
        self._timer: IDelayedCall | None = None
        self._failures = 0
        self._closing: list[Deferred[None]] = []

    @property
    def connection(self) -> GrpcClientProtocol | None:
        """The connection for new calls if there is one."""
        if self.state is not ChannelState.READY or self._connection is None:
            return None
        if not self._connection.core.accepts_calls:
            # Its stream numbers are used up. It ends when its calls have.
            self.connection_leaving(self._connection, "the connection has no stream numbers left")
            return None
        return self._connection

    def connect(self) -> None:
        """Make a connection, unless that is under way or we are backing off."""
        if self.state is not ChannelState.IDLE:
            return
        self._enter(ChannelState.CONNECTING, "a call needs it")
        connection = self._connection = self._make_protocol(self)
        self._timer = self._clock.callLater(self._connect_timeout, self._timed_out, connection)
        attempt = self._attempt = maybeDeferred(lambda: self._make_endpoint().connect(_OneProtocol(connection)))
        attempt.addCallback(self._transport_up, connection)
        attempt.addErrback(self._transport_failed, connection)

    def stop(self) -> None:
        """Make no more connections."""
        if self.state is not ChannelState.SHUT_DOWN:
            self._enter(ChannelState.SHUT_DOWN, "closed")
            self._stop_timer()

    async def close(self) -> None:
        """Make no more connections and close those there are. Returns when they are closed."""
        self.stop()
        connection, self._connection = self._connection, None
        if connection is not None and connection.is_open:
            self._others[connection] = None
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.cancel()
        for other in list(self._others):
            other.close_because("the channel was closed")
        if self._others:
            waiting: Deferred[None] = Deferred()
            self._closing.append(waiting)
            await waiting

    # What connections tell

    def connection_ready(self, connection: GrpcClientProtocol) -> None:
        """See `ConnectionOwner`."""
        if connection is self._connection and self.state is ChannelState.CONNECTING:
            self._stop_timer()
            self._failures = 0
            self._enter(ChannelState.READY, "the server is there")
            self._user.connected(connection)

    def again(self, call: ClientCall[Any, Any]) -> None:
        """See `ConnectionOwner`."""
        self._user.place(call)

    def connection_leaving(self, connection: GrpcClientProtocol, reason: str) -> None:
        """See `ConnectionOwner`."""
        if connection is self._connection:
            self._others[connection] = None
            self._without_connection(reason)

    def connection_lost(self, connection: GrpcClientProtocol, reason: str) -> None:
        """See `ConnectionOwner`."""
        self._others.pop(connection, None)
        if connection is self._connection:
            self._without_connection(reason)
        if not self._others:
            closing, self._closing = self._closing, []
            for waiting in closing:
                waiting.callback(None)

    def _without_connection(self, reason: str) -> None:
        self._connection = None
        self.last_reason = reason
        if self.state is ChannelState.READY:
            self._enter(ChannelState.IDLE, reason)
        elif self.state is ChannelState.CONNECTING:
            self._attempt_failed(reason)

    # The attempt

    def _transport_up(self, _protocol: object, connection: GrpcClientProtocol) -> None:
        if connection is self._connection:
            self._attempt = None
        else:
            connection.cut()  # it came too late

    def _transport_failed(self, failure: Failure, connection: GrpcClientProtocol) -> None:
        if connection is self._connection:
            self._attempt = None
            self._without_connection(failure.getErrorMessage().rstrip("."))
        elif not failure.check(CancelledError):
            self.log.debug("a late attempt to reach {name} failed: {failure}", name=self._name, failure=failure)

    def _timed_out(self, connection: GrpcClientProtocol) -> None:
        self._timer = None
        attempt, self._attempt = self._attempt, None
        self._without_connection(f"no HTTP/2 server answered within {self._connect_timeout:g} s")
        if attempt is not None:
            attempt.cancel()
        if connection.is_open:
            self._others[connection] = None
            connection.cut()

    def _attempt_failed(self, reason: str) -> None:
        self._stop_timer()
        self._failures += 1
        delay = self._backoff.delay(self._failures, self._random)
        self._timer = self._clock.callLater(delay, self._backoff_over)
        self._enter(ChannelState.BACKING_OFF, reason)
        self._user.attempt_failed(reason)

    def _backoff_over(self) -> None:
        self._timer = None
        self._enter(ChannelState.IDLE, "waited long enough")
        if self._user.is_waiting():
            self.connect()

    def _enter(self, state: ChannelState, reason: str) -> None:
        self.state = state
        self.log.debug("channel to {name} is {state}: {reason}", name=self._name, state=state.value, reason=reason)

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
