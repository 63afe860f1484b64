"""The server: a factory for any stream endpoint, and one protocol per connection."""

# ruff: noqa: ASYNC109  # there is no asyncio here; time comes from the clock we are given
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from random import random as system_random
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from txdagu.grpc.address import format_address
from txdagu.grpc.lifetime import ConnectionLifetime, ConnectionLimits
from txdagu.grpc.server_call import CallContext, Handler, ServerCall
from txdagu.grpc.transport import ConnectionProtocol
from txdagu.wire.compression import IDENTITY, Compression, check_compression
from txdagu.wire.connection import DEFAULT_MAX_MESSAGE_SIZE
from txdagu.wire.events import (
    CallCancelled,
    CallRejected,
    CallStarted,
    ConnectionBroken,
    Event,
    MessageReceived,
    PeerReady,
    PingAnswered,
    RequestsEnded,
    SendingResumed,
)
from txdagu.wire.method import RpcMethod
from txdagu.wire.server import ServerConnection
from txdagu.wire.status import StatusCode

__all__ = ["CallContext", "ConnectionLimits", "GrpcServerFactory", "GrpcServerProtocol", "GrpcService", "Handler"]

# How long a connection may take to show that it speaks HTTP/2; the same as servers written with grpc-go.
HANDSHAKE_TIMEOUT = 120.0
# How long a client may take to answer the ping behind a first GOAWAY before its further calls are refused.
LEAVE_TIMEOUT = 5.0
# How long a client may take to close a connection that has come to its end. Closing it here with bytes unread could destroy
# answers that are still on their way.
LINGER_TIME = 1.0
_DEFAULT_LIMITS = ConnectionLimits()
_LEAVING = "the server is shutting down"


class GrpcService(Protocol):
    """Something that answers calls: one handler for each of its methods."""

    def handlers(self) -> Mapping[RpcMethod[Any, Any], Handler]:
        """The methods and what answers them; read once, when the server is made. See `Handler` for their shapes."""


class GrpcServerProtocol(ConnectionProtocol):
    """One connection of a client: finds the handler of each call and keeps the calls that are going on."""

    log = Logger()

    def __init__(self, factory: GrpcServerFactory, peer: str) -> None:
        self.core = ServerConnection(max_message_size=factory.max_message_size)
        super().__init__(self.core, factory.clock)
        self.peer = peer
        self._server = factory
        self._calls: dict[int, ServerCall] = {}
        self._handshake: IDelayedCall | None = None
        self._lifetime = ConnectionLifetime(self, factory.clock, factory.limits, factory.random)
        self._leaving: str | None = None
        self._end_timer: IDelayedCall | None = None
        self._lingering = False

    @property
    def is_idle(self) -> bool:
        """Whether no handler runs and every answer is written."""
        return not self._calls and self.core.open_streams == 0

    @property
    def last_stream_id(self) -> int:
        """The number of the newest call; see `LimitedConnection`."""
        return self.core.last_stream_id

    def connectionMade(self) -> None:
        """Wait for the client's settings, but not for ever."""
        super().connectionMade()
        self._handshake = self.clock.callLater(HANDSHAKE_TIMEOUT, self._no_handshake)
        self._server.connection_opened(self)

    def dataReceived(self, data: bytes) -> None:
        """Any sound is a sign of life."""
        self._lifetime.heard()
        super().dataReceived(data)

    def handle(self, event: Event) -> None:
        """Pass an event on to its call."""
        match event:
            case CallStarted():
                self._call_started(event)
            case PeerReady():
                self._end_handshake()
                self._lifetime.start()
            case ConnectionBroken():
                self.log.info("closing the connection of {peer}: {reason}", peer=self.peer, reason=event.reason)
                self.hang_up()
            case MessageReceived() | RequestsEnded() | CallRejected() | CallCancelled() | SendingResumed():
                call = self._calls.get(event.stream_id)
                if call is not None:
                    call.handle(event)
                if self._leaving is not None:
                    self._end_if_done()
            case PingAnswered():
                if self._leaving is not None:
                    self._end_if_done()

    def lost(self, reason: str) -> None:
        """Cancel all handlers: nobody waits for their answers."""
        self._end_handshake()
        self._lifetime.stop()
        self._stop_end_timer()
        for call in list(self._calls.values()):
            call.cancelled(f"connection lost: {reason}")
        self._server.connection_closed(self)

    def ping(self, payload: bytes) -> None:
        """Ask the client for a sign of life."""
        self.core.ping(payload)
        self.flush()

    def leave(self, reason: str) -> None:
        """
        Ask the client to go elsewhere, let open calls finish, then close. Asking again changes nothing.

        Calls that were on their way when the client hears of it are served too; see `ServerConnection.announce_end`.
        """
        if self._leaving is not None or not self.is_open:
            return
        self._leaving = reason
        if self._handshake is not None:
            self.hang_up(reason)  # it has not even said that it speaks HTTP/2
            return
        self.core.announce_end(reason)
        self.flush()
        self._end_timer = self.clock.callLater(LEAVE_TIMEOUT, self._not_answered)

    def stop(self, reason: str) -> None:
        """Answer all open calls with UNAVAILABLE, cancel their handlers, and close."""
        if not self.is_open:
            return
        self._leaving = reason
        self.core.refuse_new_calls()
        for call in list(self._calls.values()):
            call.stopped(reason)
        self.flush()
        self._linger()

    def cut_because(self, reason: str) -> None:
        """Close at once, and say so in the log."""
        self.log.info("cutting the connection of {peer}: {reason}", peer=self.peer, reason=reason)
        self.cut()

    def call_ended(self, stream_id: int) -> None:
        """A call has got its answer, or needs none."""
        self._calls.pop(stream_id, None)
        if self._leaving is not None:
            self._end_if_done()

    def _not_answered(self) -> None:
        self._end_timer = None
        self.core.refuse_new_calls()
        self.flush()
        self._end_if_done()

    def _end_if_done(self) -> None:
        if self.core.is_refusing and self.is_idle and self.is_open:
            self._linger()

    def _linger(self) -> None:
        """All is said: the client closes when it has heard it, else we do."""
        if not self._lingering:
            self._lingering = True
            self._stop_end_timer()
            self._end_timer = self.clock.callLater(LINGER_TIME, self.hang_up, self._leaving or "")

    def _stop_end_timer(self) -> None:
        if self._end_timer is not None and self._end_timer.active():
            self._end_timer.cancel()
        self._end_timer = None

    def _call_started(self, event: CallStarted) -> None:
        found = self._server.find(event.path)
        if isinstance(found, str):
            self.core.finish(event.stream_id, StatusCode.UNIMPLEMENTED, found)
            return
        method, handler = found
        if self._server.compression != IDENTITY:
            self.core.set_compression(event.stream_id, self._server.compression)
        call = ServerCall(self, event.stream_id, method, handler, event.metadata, event.timeout)
        self._calls[event.stream_id] = call
        call.start()

    def _no_handshake(self) -> None:
        self._handshake = None
        self.log.info(
            "cutting {peer}: no HTTP/2 settings within {seconds} s", peer=self.peer, seconds=HANDSHAKE_TIMEOUT
        )
        self.cut()

    def _end_handshake(self) -> None:
        if self._handshake is not None:
            self._handshake.cancel()
            self._handshake = None


class GrpcServerFactory(Factory):
    """
    Listens with any stream endpoint: ``endpoint.listen(GrpcServerFactory([service], reactor))``.

    `max_message_size` bounds one received message, in bytes; what is larger is answered with RESOURCE_EXHAUSTED. `limits` say
    how long connections are kept; `random` spreads their ages. `compression` is how responses are sent to clients that can read
    it, unless a handler says otherwise.
    """

    log = Logger()
    noisy = False

    def __init__(
        self,
        services: Iterable[GrpcService],
        clock: IReactorTime,
        *,
        max_message_size: int = DEFAULT_MAX_MESSAGE_SIZE,
        limits: ConnectionLimits = _DEFAULT_LIMITS,
        random: Callable[[], float] = system_random,
        compression: Compression = IDENTITY,
    ) -> None:
        check_compression(compression)
        self.clock = clock
        self.limits = limits
        self.random = random
        self.compression: Compression = compression
        self.max_message_size = max_message_size
        self._methods: dict[str, tuple[RpcMethod[Any, Any], Handler]] = {}
        self._service_names: set[str] = set()
        for service in services:
            for method, handler in service.handlers().items():
                if method.path in self._methods:
                    raise ValueError(f"two handlers for {method.path}")
                self._methods[method.path] = (method, handler)
                self._service_names.add(method.service)
        self._connections: dict[GrpcServerProtocol, None] = {}
        self._draining = False
        self._waiting_for_end: list[Deferred[None]] = []

    @property
    def connection_count(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    def buildProtocol(self, addr: IAddress | None) -> GrpcServerProtocol | None:
        """A protocol for a new connection; none (which closes it) while the server drains."""
        if self._draining:
            return None
        protocol = GrpcServerProtocol(self, format_address(addr))
        protocol.factory = self
        return protocol

    def find(self, path: str) -> tuple[RpcMethod[Any, Any], Handler] | str:
        """The method and handler for a ``:path``, or why there is none."""
        found = self._methods.get(path)
        if found is not None:
            return found
        service, _, name = path[1:].rpartition("/")
        if service in self._service_names:
            return f"unknown method {name} for service {service}"
        return f"unknown service {service}"

    async def drain(self, timeout: float) -> None:
        """
        End service in order: tell clients to go elsewhere, let open calls finish for up to `timeout` seconds, answer the rest
        with UNAVAILABLE, then close all connections. Returns when they are closed. Draining twice at once does no harm.

        Stop listening before. Long polls should be answered by their handlers now, else they use the timeout up.
        """
        self._draining = True
        for connection in list(self._connections):
            connection.leave(_LEAVING)
        await self._until_closed(timeout)
        for connection in list(self._connections):
            connection.stop(_LEAVING)
        await self._until_closed(None)

    def connection_opened(self, connection: GrpcServerProtocol) -> None:
        """A connection was made."""
        self._connections[connection] = None

    def connection_closed(self, connection: GrpcServerProtocol) -> None:
        """A connection was lost."""
        self._connections.pop(connection, None)
        if not self._connections:
            waiting, self._waiting_for_end = self._waiting_for_end, []
            for deferred in waiting:
                deferred.callback(None)

    async def _until_closed(self, timeout: float | None) -> None:
        """Wait until there is no connection, or for `timeout` seconds."""
        if not self._connections:
            return
        deferred: Deferred[None] = Deferred()
        self._waiting_for_end.append(deferred)
        timer = None if timeout is None else self.clock.callLater(timeout, deferred.callback, None)
        try:
            await deferred
        finally:
            if timer is not None and timer.active():
                timer.cancel()
            if deferred in self._waiting_for_end:
                self._waiting_for_end.remove(deferred)
