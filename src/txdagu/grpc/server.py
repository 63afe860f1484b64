"""The server: a factory for any stream endpoint, which knows the handlers and keeps the connections."""

# ruff: noqa: ASYNC109  # there is no asyncio here; time comes from the clock we are given
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from random import random as system_random
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Factory
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.logger import Logger

from txdagu.grpc.address import format_address, format_host
from txdagu.grpc.admission import Admission, RefusedConnection
from txdagu.grpc.complaints import Complaints
from txdagu.grpc.context import CallContext, Handler
from txdagu.grpc.lifetime import ConnectionLimits
from txdagu.grpc.limits import DEFAULT_LIMITS, ServerLimits
from txdagu.grpc.server_connection import GrpcServerProtocol
from txdagu.grpc.tls_failures import NO_ADVICE, Advice
from txdagu.wire.compression import IDENTITY, Compression, check_compression
from txdagu.wire.connection import DEFAULT_MAX_MESSAGE_SIZE
from txdagu.wire.method import RpcMethod

__all__ = ["CallContext", "ConnectionLimits", "GrpcServerFactory", "GrpcServerProtocol", "GrpcService", "Handler"]

_DEFAULT_LIMITS = ConnectionLimits()
_LEAVING = "the server is shutting down"


class GrpcService(Protocol):
    """Something that answers calls: one handler for each of its methods."""

    def handlers(self) -> Mapping[RpcMethod[Any, Any], Handler]:
        """The methods and what answers them; read once, when the server is made. See `Handler` for their shapes."""


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
