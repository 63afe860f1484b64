"""Carries out what `Connectivity` decides: dials, waits, and knows which connection takes new calls."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from txdagu.grpc.client_call import ClientCall
from txdagu.grpc.client_connection import ConnectionOwner, GrpcClientProtocol
from txdagu.grpc.connection_errors import describe_failure
from txdagu.grpc.connectivity import (
    Abandon,
    ChannelState,
    Connectivity,
    Dial,
    Effect,
    Effects,
    Leave,
    Pause,
    Refuse,
    Serve,
)
from txdagu.grpc.keepalive import KeepaliveTimes


class ConnectorUser(Protocol):
    """Who needs the connection."""

    def connector_moved(self) -> None:
        """The connector may have entered another state."""

    def start_waiting(self) -> None:
        """There is a connection, or a stream of it, for calls that wait."""

    def attempt_failed(self, reason: str) -> None:
        """There is no connection, and no new attempt for a while."""

    def place(self, call: ClientCall[Any, Any]) -> None:
        """Find a connection for a call."""

    def is_waiting(self, besides: Connector) -> bool:
        """Whether calls need a connection and no other connector is about to have one."""

    def ping_less(self, reason: str) -> None:
        """The server complained of too many pings."""


class _OneProtocol(Factory):
    noisy = False

    def __init__(self, made: GrpcClientProtocol) -> None:
        self._made = made

    def buildProtocol(self, addr: IAddress | None) -> TwistedProtocol:
        self._made.factory = self
        return self._made


class Connector:
    """
    Keeps at most one connection for new calls, besides those that were left with calls on them.

    Every attempt asks for a fresh endpoint, so names are looked up and certificates read anew.
    """

    log = Logger()

    def __init__(
        self,
        user: ConnectorUser,
        endpoint: Callable[[], IStreamClientEndpoint],
        protocol: Callable[[ConnectionOwner], GrpcClientProtocol],
        clock: IReactorTime,
        core: Connectivity,
        *,
        name: str,
        connect_timeout: float,
    ) -> None:
        self._user = user
        self._make_endpoint = endpoint
        self._make_protocol = protocol
        self._clock = clock
        self._core = core
        self._name = name
        self._connect_timeout = connect_timeout
        self._connection: GrpcClientProtocol | None = None
        self._others: dict[GrpcClientProtocol, None] = {}  # still closing, or finishing their calls
        self._attempt: Deferred[Any] | None = None
        self._timer: IDelayedCall | None = None  # for the end of the attempt or of the back-off
        self._effects: deque[Effect] = deque()
        self._applying = False
        self._closing: list[Deferred[None]] = []

    @property
    def state(self) -> ChannelState:
        """Where the connection is now."""
        return self._core.state

    @property
    def reason(self) -> str:
        """Why there is no connection, or why the previous one ended."""
        return self._core.reason

    @property
    def connection(self) -> GrpcClientProtocol | None:
        """The connection for new calls if there is one."""
        if self.state is not ChannelState.READY or self._connection is None:
            return None
        if not self._connection.core.accepts_calls:
            worn_out = self._connection  # it has used up its stream numbers, or is about to be closed
            self.connection_leaving(worn_out, worn_out.core.end_reason or "the connection takes no more calls")
            worn_out.leave()
            return None
        return self._connection

    def connect(self) -> None:
        """Make a connection, unless that is under way or we are backing off."""
        self._apply(self._core.needed())

    def reconnect(self, reason: str) -> None:
        """Leave the connection there is, and make another when it is needed, without any back-off."""
        self._apply(self._core.reconnect(reason, wanted=self._user.is_waiting(self)))

    def set_keepalive(self, times: KeepaliveTimes) -> None:
        """Use other times for the open connections."""
        for connection in (self._connection, *self._others):
            if connection is not None:
                connection.set_keepalive(times)

    def stop(self) -> None:
        """Make no more connections."""
        self._apply(self._core.stop("closed"))

    async def close(self) -> None:
        """Make no more connections and close those there are. Returns when they are closed."""
        self.stop()
        connection, self._connection = self._connection, None
        if connection is not None and connection.is_open:
            self._others[connection] = None
        for other in list(self._others):
            other.close_because("the channel was closed")
        if self._others:
            waiting: Deferred[None] = Deferred()
            self._closing.append(waiting)
            await waiting

    # What connections tell

    def connection_ready(self, connection: GrpcClientProtocol) -> None:
        """See `ConnectionOwner`."""
        if connection is self._connection:
            self._apply(self._core.server_ready(self._clock.seconds()))

    def stream_freed(self, connection: GrpcClientProtocol) -> None:
        """See `ConnectionOwner`."""
        if connection is self._connection:
            self._user.start_waiting()

    def again(self, call: ClientCall[Any, Any]) -> None:
        """See `ConnectionOwner`."""
        self._user.place(call)

    def ping_less(self, reason: str) -> None:
        """See `ConnectionOwner`."""
        self._user.ping_less(reason)

    def connection_leaving(self, connection: GrpcClientProtocol, reason: str) -> None:
        """See `ConnectionOwner`."""
        if connection is self._connection:
            self._others[connection] = None
            self._ended(reason)

    def connection_idle(self, connection: GrpcClientProtocol, reason: str) -> None:
        """See `ConnectionOwner`."""
        if connection is self._connection:
            self.reconnect(reason)

    def connection_lost(self, connection: GrpcClientProtocol, reason: str) -> None:
        """See `ConnectionOwner`."""
        self._others.pop(connection, None)
        if connection is self._connection:
            self._ended(reason)
        if not self._others:
            closing, self._closing = self._closing, []
            for waiting in closing:
                waiting.callback(None)

    def _ended(self, reason: str) -> None:
        self._connection = None
        self._apply(self._core.ended(reason, self._clock.seconds(), wanted=self._user.is_waiting(self)))

    # What the core wants

    def _apply(self, effects: Effects) -> None:
        """Whoever is told of an effect may cause the next; those are carried out after the present ones."""
        self._effects += effects
        if self._applying:
            return
        self._applying = True
        try:
            while self._effects:
                self._carry_out(self._effects.popleft())
        finally:
            self._applying = False
        if self.state not in (ChannelState.CONNECTING, ChannelState.BACKING_OFF):
            self._stop_timer()
        self._user.connector_moved()

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Serve():
                self._user.start_waiting()
            case Refuse():
                self._user.attempt_failed(effect.reason)
            case Pause():
                self._start_timer(effect.seconds, self._pause_over)
            case Leave():
                self._leave()
            case Abandon():
                self._abandon()
            case Dial():
                self._dial()

    def _dial(self) -> None:
        connection = self._connection = self._make_protocol(self)
        self._start_timer(self._connect_timeout, self._timed_out)
        attempt = self._attempt = maybeDeferred(lambda: self._make_endpoint().connect(_OneProtocol(connection)))
        attempt.addCallback(self._transport_up, connection)
        attempt.addErrback(self._transport_failed, connection)

    def _abandon(self) -> None:
        connection, self._connection = self._connection, None
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.cancel()
        if connection is not None and connection.is_open:
            self._others[connection] = None
            connection.cut()

    def _leave(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._others[connection] = None
            connection.leave()

    def _transport_up(self, _protocol: object, connection: GrpcClientProtocol) -> None:
        if connection is self._connection:
            self._attempt = None
        else:
            connection.cut()  # it came too late

    def _transport_failed(self, failure: Failure, connection: GrpcClientProtocol) -> None:
        if connection is self._connection:
            self._attempt = None
            self._ended(describe_failure(failure))
        elif not failure.check(CancelledError):
            self.log.debug("a late attempt to reach {name} failed: {failure}", name=self._name, failure=failure)

    def _timed_out(self) -> None:
        if self._attempt is None:
            what = f"connected, but no HTTP/2 server answered within {self._connect_timeout:g} s"
        else:
            what = f"no connection within {self._connect_timeout:g} s"
        self._apply(self._core.timed_out(what))

    def _pause_over(self) -> None:
        self._apply(self._core.pause_over(wanted=self._user.is_waiting(self)))

    def _start_timer(self, seconds: float, function: Callable[[], None]) -> None:
        self._stop_timer()
        self._timer = self._clock.callLater(seconds, function)

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
