"""The server: a factory for any stream endpoint, and one protocol per connection."""

# ruff: noqa: ASYNC109  # there is no asyncio here; time comes from the clock we are given
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from random import random as system_random
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.internet.protocol import Factory
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.logger import Logger

from txdagu.grpc.address import format_address, format_host
from txdagu.grpc.admission import Admission, RefusedConnection
from txdagu.grpc.complaints import Complaints
from txdagu.grpc.lifetime import ConnectionLifetime, ConnectionLimits
from txdagu.grpc.limits import DEFAULT_LIMITS, ServerLimits
from txdagu.grpc.server_call import CallContext, Handler, ServerCall
from txdagu.grpc.slow_peers import SlowPeerWatch
from txdagu.grpc.tls_failures import NO_ADVICE, TLS_BEGINS, Advice, Trouble, with_advice
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

# How long a client may take to answer the ping behind a first GOAWAY before its further calls are refused.
LEAVE_TIMEOUT = 5.0
# How long a client may take to close a connection that has come to its end. Closing it here with bytes unread could destroy
# answers that are still on their way.
LINGER_TIME = 1.0
_OF_CALLS = frozenset({MessageReceived, RequestsEnded, CallRejected, CallCancelled, SendingResumed})
_DEFAULT_LIMITS = ConnectionLimits()
_LEAVING = "the server is shutting down"


class GrpcService(Protocol):
    """Something that answers calls: one handler for each of its methods."""

    def handlers(self) -> Mapping[RpcMethod[Any, Any], Handler]:
        """The methods and what answers them; read once, when the server is made. See `Handler` for their shapes."""


class GrpcServerProtocol(ConnectionProtocol):
    """One connection of a client: finds the handler of each call and keeps the calls that are going on."""

    log = Logger()

    def __init__(self, factory: GrpcServerFactory, peer: str, host: str) -> None:
        limits = factory.server_limits
        self.core = ServerConnection(
            max_message_size=factory.max_message_size, max_streams=limits.streams_per_connection
        )
        super().__init__(self.core, factory.clock, max_unread=limits.unread_bytes)
        self.peer = peer
        self.host = host
        """The address without a port: what connections are counted by."""
        self.held_bytes = 0
        """What is held for the client, as of the last write."""
        self._server = factory
        self._calls: dict[int, ServerCall] = {}
        self._watch = SlowPeerWatch(factory.clock, limits, self)
        self._lifetime = ConnectionLifetime(self, factory.clock, factory.limits, factory.random)
        self._leaving: str | None = None
        self._end_timer: IDelayedCall | None = None
        self._lingering = False
        self._first_bytes: bytes | None = None

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
        self._watch.begin()
        self._server.connection_opened(self)

    def dataReceived(self, data: bytes) -> None:
        """Work on received bytes, and see to it that what they begin is finished."""
        self._lifetime.heard()
        if self._first_bytes is None:
            self._first_bytes = data[: len(TLS_BEGINS)]
        super().dataReceived(data)
        if self.is_open:
            self._watch.heard()

    def handle(self, event: Event) -> None:
        """Pass an event on to its call."""
        kind = event.__class__
        if kind in _OF_CALLS:
            call = self._calls.get(event.stream_id)  # type: ignore[union-attr]  # all of these have one
            if call is not None:
                call.handle(event)  # type: ignore[arg-type]
            if self._leaving is not None:
                self._end_if_done()
            return
        match event:
            case CallStarted():
                self._call_started(event)
            case PeerReady():
                self._watch.handshake_done()
                self._lifetime.start()
            case ConnectionBroken():
                reason = self._why_broken(event.reason)
                self._server.complaints.add(self.host, f"closing the connection of {self.peer}: {reason}", cause=reason)
                self.hang_up()
            case PingAnswered():
                if self._leaving is not None:
                    self._end_if_done()

    def _why_broken(self, reason: str) -> str:
        """The reason, unless the client meant to speak TLS, which says more."""
        if self._first_bytes != TLS_BEGINS:
            return reason
        return str(with_advice(Trouble.TLS_SPOKEN, "it speaks TLS, and we speak clear text (h2c)", self._server.advice))

    def lost(self, reason: str) -> None:
        """Cancel all handlers: nobody waits for their answers."""
        self._watch.stop()
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
        if self._watch.awaits_handshake:
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

    def end_for(self, name: str, reason: str) -> None:
        """End the connection because of what the client does: GOAWAY says `name`, the log says `reason`."""
        if self.core.is_usable:
            self._server.complaints.add(self.host, f"closing the connection of {self.peer}: {reason}")
            self.core.calm_down(name)
        self.hang_up()

    def call_ended(self, stream_id: int) -> None:
        """A call has got its answer, or needs none."""
        if self._calls.pop(stream_id, None) is not None:
            self._server.call_count -= 1
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
        if self._server.call_count >= self._server.server_limits.streams:
            self._server.complaints.add(
                self.host, f"refusing calls of {self.peer}: {self._server.call_count} are open, as many as are allowed"
            )
            self.core.refuse(event.stream_id)
            return
        method, handler = found
        if self._server.compression != IDENTITY:
            self.core.set_compression(event.stream_id, self._server.compression)
        call = ServerCall(self, event.stream_id, method, handler, event.metadata, event.timeout)
        self._calls[event.stream_id] = call
        self._server.call_count += 1
        call.start()

    def _write(self) -> None:
        super()._write()
        held = self.core.held_bytes
        if held != self.held_bytes:
            self._server.held_bytes += held - self.held_bytes
            grown, self.held_bytes = held > self.held_bytes, held
            if grown:
                self._watch.heard()
                self._server.held_more(self)

    # What the watch for slow clients asks and tells

    @property
    def is_busy(self) -> bool:
        """See `Watched`."""
        return self.core.open_streams > 0 or self.core.unfinished_headers > 0 or self.full_since is not None

    @property
    def unfinished_headers(self) -> int:
        """See `Watched`."""
        return self.core.unfinished_headers

    def lagging(self) -> Iterator[tuple[int, int]]:
        """See `Watched`."""
        for stream_id, call in self._calls.items():
            if call.awaits_request:
                yield stream_id, 0
        yield from self.core.lagging()

    def too_slow(self, reason: str) -> None:
        """See `Watched`."""
        self._server.complaints.add(self.host, f"cutting {self.peer}: {reason}")
        self.cut()

    def call_too_slow(self, stream_id: int, seconds: float) -> None:
        """See `Watched`."""
        call = self._calls.get(stream_id)
        if call is not None:
            call.rejected(StatusCode.DEADLINE_EXCEEDED, f"the request was not complete within {seconds:g} s")
        else:
            self.core.cancel(stream_id)
            self.flush()


class GrpcServerFactory(Factory):
    """
    Listens with any stream endpoint: ``endpoint.listen(GrpcServerFactory([service], reactor))``.

    `max_message_size` bounds one received message, in bytes; what is larger is answered with RESOURCE_EXHAUSTED. `limits` say
    how long connections are kept, `server_limits` what clients may ask of the server otherwise; `random` spreads the ages.
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
        limits: ConnectionLimits = _DEFAULT_LIMITS,
        server_limits: ServerLimits = DEFAULT_LIMITS,
        random: Callable[[], float] = system_random,
        compression: Compression = IDENTITY,
        advice: Advice = NO_ADVICE,
    ) -> None:
        check_compression(compression)
        self.advice = advice
        """What to do about troubles with TLS, added to messages about them."""
        self.clock = clock
        self.limits = limits
        self.server_limits = server_limits
        self.call_count = 0
        """How many handlers run, or wait for their request."""
        self.held_bytes = 0
        """What is held for all clients."""
        self.complaints = Complaints(clock, lambda text: self.log.warn("{text}", text=text))
        self._admission = Admission(server_limits)
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

    def buildProtocol(self, addr: IAddress | None) -> TwistedProtocol | None:
        """
        A protocol for a new connection; none (which closes it) while the server drains.

        Beyond the limits it is one that says so and closes, and none when too many are being told.
        """
        if self._draining:
            return None
        peer, host = format_address(addr), format_host(addr)
        objection = self._admission.objection(host)
        if objection is not None:
            self.complaints.add(host, f"refusing the connection of {peer}: {objection}")
            return RefusedConnection(self._admission, self.clock, objection) if self._admission.can_explain else None
        protocol = GrpcServerProtocol(self, peer, host)
        protocol.factory = self
        return protocol

    def find(self, path: str) -> tuple[RpcMethod[Any, Any], Handler] | str:
        """The method and handler for a ``:path``, or why there is none."""
        found = self._methods.get(path)
        if found is not None:
            return found
        service, _, name = path[1:].rpartition("/")
        if not service:
            return f'malformed method name "{path}", want /service/method'
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
        self._admission.opened(connection.host)

    def connection_closed(self, connection: GrpcServerProtocol) -> None:
        """A connection was lost."""
        self._connections.pop(connection, None)
        self._admission.closed(connection.host)
        self.held_bytes -= connection.held_bytes
        if not self._connections:
            waiting, self._waiting_for_end = self._waiting_for_end, []
            for deferred in waiting:
                deferred.callback(None)

    def held_more(self, connection: GrpcServerProtocol) -> None:
        """More is held for a connection: end it if that is too much, or the one that holds most if it is for all."""
        limits = self.server_limits
        if connection.held_bytes > limits.held_bytes_per_connection:
            connection.end_for("too_much_held", f"too_much_held: {connection.held_bytes} bytes are held for it")
        elif self.held_bytes > limits.held_bytes:
            largest = max(self._connections, key=lambda one: one.held_bytes)
            reason = (
                f"too_much_held: {self.held_bytes} bytes for all clients, most of them, {largest.held_bytes}, for it"
            )
            largest.end_for("too_much_held", reason)

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
