"""The server: a factory for any stream endpoint, and one protocol per connection."""

# ruff: noqa: ASYNC109  # there is no asyncio here; time comes from the clock we are given
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from txdagu.grpc.address import format_address
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
    RequestsEnded,
    SendingResumed,
)
from txdagu.wire.method import RpcMethod
from txdagu.wire.server import ServerConnection
from txdagu.wire.status import StatusCode

__all__ = ["CallContext", "GrpcServerFactory", "GrpcServerProtocol", "GrpcService", "Handler"]

# How long a connection may take to show that it speaks HTTP/2; the same as servers written with grpc-go.
HANDSHAKE_TIMEOUT = 120.0
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

    @property
    def is_idle(self) -> bool:
        """Whether no handler runs and every answer is written."""
        return not self._calls and self.core.open_streams == 0

    def connectionMade(self) -> None:
        """Wait for the client's settings, but not for ever."""
        super().connectionMade()
        self._handshake = self.clock.callLater(HANDSHAKE_TIMEOUT, self._no_handshake)
        self._server.connection_opened(self)

    def handle(self, event: Event) -> None:
        """Pass an event on to its call."""
        match event:
            case CallStarted():
                self._call_started(event)
            case PeerReady():
                self._end_handshake()
            case ConnectionBroken():
                self.log.info("closing the connection of {peer}: {reason}", peer=self.peer, reason=event.reason)
                self.hang_up()
            case MessageReceived() | RequestsEnded() | CallRejected() | CallCancelled() | SendingResumed():
                call = self._calls.get(event.stream_id)
                if call is not None:
                    call.handle(event)
                self._server.connection_changed(self)

    def lost(self, reason: str) -> None:
        """Cancel all handlers: nobody waits for their answers."""
        self._end_handshake()
        for call in list(self._calls.values()):
            call.cancelled(f"connection lost: {reason}")
        self._server.connection_closed(self)

    def refuse_new_calls(self) -> None:
        """Let open calls finish; see `ServerConnection.refuse_new_calls`."""
        self.core.refuse_new_calls()
        self.flush()

    def stop_calls(self) -> None:
        """Answer all open calls with UNAVAILABLE and cancel their handlers."""
        for call in list(self._calls.values()):
            call.stopped(_LEAVING)

    def call_ended(self, stream_id: int) -> None:
        """A call has got its answer, or needs none."""
        self._calls.pop(stream_id, None)
        self._server.connection_changed(self)

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

    `max_message_size` bounds one received message, in bytes; what is larger is answered with RESOURCE_EXHAUSTED.
    `compression` is how responses are sent to clients that can read it, unless a handler says otherwise.
    """

    log = Logger()
    noisy = False

    def __init__(
        self,
        services: Iterable[GrpcService],
        clock: IReactorTime,
        *,
        max_message_size: int = DEFAULT_MAX_MESSAGE_SIZE,
        compression: Compression = IDENTITY,
    ) -> None:
        check_compression(compression)
        self.clock = clock
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
        self._watchers: list[tuple[Callable[[], bool], Deferred[None]]] = []

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
        End service in order: tell clients to go elsewhere and refuse new calls, let open calls finish for up to `timeout`
        seconds, answer the rest with UNAVAILABLE, then close all connections. Returns when they are closed.

        Stop listening before. Long polls should be answered by their handlers now, else they use the timeout up.
        """
        self._draining = True
        for connection in list(self._connections):
            connection.refuse_new_calls()
        await self._until(lambda: all(connection.is_idle for connection in self._connections), timeout)
        for connection in list(self._connections):
            connection.stop_calls()
        for connection in list(self._connections):
            connection.hang_up(_LEAVING)
        await self._until(lambda: not self._connections, None)

    def connection_opened(self, connection: GrpcServerProtocol) -> None:
        """A connection was made."""
        self._connections[connection] = None

    def connection_closed(self, connection: GrpcServerProtocol) -> None:
        """A connection was lost."""
        self._connections.pop(connection, None)
        self.connection_changed(connection)

    def connection_changed(self, _connection: GrpcServerProtocol) -> None:
        """A connection may have become idle."""
        if not self._watchers:
            return
        waiting, self._watchers = self._watchers, []
        for condition, deferred in waiting:
            if condition():
                deferred.callback(None)
            else:
                self._watchers.append((condition, deferred))

    async def _until(self, condition: Callable[[], bool], timeout: float | None) -> None:
        if condition():
            return
        deferred: Deferred[None] = Deferred()
        self._watchers.append((condition, deferred))
        timer = None if timeout is None else self.clock.callLater(timeout, deferred.callback, None)
        try:
            await deferred
        finally:
            if timer is not None and timer.active():
                timer.cancel()
            self._watchers = [entry for entry in self._watchers if entry[1] is not deferred]
