"""The client: calls to one server, over connections that are made when needed and made again when lost."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable
from random import random as system_random
from typing import Any, Unpack

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import IDelayedCall, IReactorTime, IStreamClientEndpoint
from twisted.logger import Logger

from txdagu import __version__
from txdagu.grpc.client_call import ClientCall, UnaryReply
from txdagu.grpc.client_connection import ConnectionOwner, GrpcClientProtocol
from txdagu.grpc.client_streams import DuplexStream, RequestStream, ResponseStream, stop_sender
from txdagu.grpc.connectivity import Backoff, ChannelState, Connectivity
from txdagu.grpc.connector import Connector
from txdagu.grpc.keepalive import KeepaliveTimes
from txdagu.grpc.options import DEFAULT_OPTIONS, CallOptions, ChannelOptions
from txdagu.model.addresses import ip_version, join_host_port
from txdagu.wire.client import ClientConnection
from txdagu.wire.compression import check_compression
from txdagu.wire.metadata import NONE, encode_metadata
from txdagu.wire.method import Request, Response, RpcMethod
from txdagu.wire.status import RpcError, StatusCode

__all__ = [
    "Backoff",
    "CallOptions",
    "Channel",
    "ChannelOptions",
    "ChannelState",
    "DuplexStream",
    "KeepaliveTimes",
    "RequestStream",
    "ResponseStream",
    "RpcError",
    "UnaryReply",
    "tcp_channel",
]

# All connections go to the same server, so what one of them meets is true for all.
_PRECEDENCE = (ChannelState.READY, ChannelState.CONNECTING, ChannelState.BACKING_OFF, ChannelState.IDLE)


class Channel:
    """
    Calls to one server.

    `connect` makes a fresh endpoint for every attempt, so names are looked up anew and new certificates are used as soon as
    they are there. The first call connects. A call made while the channel backs off fails at once with UNAVAILABLE, naming
    the address and what was wrong, unless it has `wait_for_ready`. When the connection is lost, its calls fail at once. Calls
    beyond the server's limit of concurrent streams wait for a free one, or for another connection.

    All calls take `CallOptions` and raise `RpcError`, and `InvalidMetadataError` for metadata that cannot be sent. Cancelling
    the Deferred that awaits a call cancels the call at the server too. A call that the server certainly did not look at is
    placed again by itself, at most three times.
    """

    log = Logger()

    def __init__(
        self,
        connect: Callable[[], IStreamClientEndpoint],
        clock: IReactorTime,
        *,
        authority: str,
        options: ChannelOptions = DEFAULT_OPTIONS,
        random: Callable[[], float] = system_random,
    ) -> None:
        check_compression(options.compression)
        self.authority = authority
        self.options = options
        self._connect = connect
        self._clock = clock
        self._random = random
        self._keepalive = options.keepalive
        self._least_keepalive = KeepaliveTimes(0.0, 0.0, 0.0)  # grows when the server complains
        self._calls: dict[ClientCall[Any, Any], None] = {}
        self._waiting: dict[ClientCall[Any, Any], float] = {}  # in their order, and since when
        self._connectors = [self._make_connector()]
        self._closed = False
        self._queue_timer: IDelayedCall | None = None
        self._last_state = ChannelState.IDLE
        self._watchers: list[Deferred[None]] = []

    # Where the channel is

    @property
    def state(self) -> ChannelState:
        """Where the channel is now. It is ready if any of its connections is."""
        if self._closed:
            return ChannelState.SHUT_DOWN
        states = [connector.state for connector in self._connectors]
        return next(state for state in _PRECEDENCE if state in states)

    async def state_changed(self, known: ChannelState) -> ChannelState:
        """Wait until the channel is in another state than `known`, and return that. Nothing follows SHUT_DOWN."""
        while self.state is known and known is not ChannelState.SHUT_DOWN:
            changed: Deferred[None] = Deferred()
            self._watchers.append(changed)
            try:
                await changed
            finally:
                if changed in self._watchers:
                    self._watchers.remove(changed)
        return self.state

    def connect(self) -> None:
        """Connect now instead of at the first call. Nothing happens unless the channel is idle."""
        if self.state is ChannelState.IDLE:
            self._connectors[0].connect()

    def reconnect(self, reason: str) -> None:
        """
        Look the name up again and connect anew, now or at the next call, without waiting for any back-off.

        For those who learned of a new address. Open calls go on where they are and their connections are closed after them.
        """
        if not self._closed:
            self.log.debug("channel to {name} connects anew: {reason}", name=self.authority, reason=reason)
            for connector in self._connectors:
                connector.reconnect(reason)

    def set_keepalive(self, times: KeepaliveTimes) -> None:
        """Watch the server with other times from now on, but never more closely than it has put up with."""
        self._keepalive = times.at_least(self._least_keepalive)
        for connector in self._connectors:
            connector.set_keepalive(self._keepalive)

    # Calls

    async def unary(
        self, method: RpcMethod[Request, Response], request: Request, **options: Unpack[CallOptions]
    ) -> Response:
        """One request, one response."""
        return await self._begin(method, options, method.encode_request(request)).response()

    async def unary_call(
        self, method: RpcMethod[Request, Response], request: Request, **options: Unpack[CallOptions]
    ) -> UnaryReply[Response]:
        """As `unary`, with the metadata of the answer."""
        call = self._begin(method, options, method.encode_request(request))
        message = await call.response()
        return UnaryReply(message, call.initial_metadata, call.trailing_metadata, call.compressed)

    def unary_stream(
        self, method: RpcMethod[Request, Response], request: Request, **options: Unpack[CallOptions]
    ) -> ResponseStream[Response]:
        """One request, any number of responses."""
        return ResponseStream(self._begin(method, options, method.encode_request(request)))

    async def stream_unary(
        self, method: RpcMethod[Request, Response], requests: AsyncIterable[Request], **options: Unpack[CallOptions]
    ) -> Response:
        """Any number of requests, one response. An exception of `requests` ends the call and is raised here."""
        call = self._begin(method, options, None)
        sender = Deferred.fromCoroutine(call.send_all(requests))
        try:
            return await call.response()
        finally:
            stop_sender(sender)

    def stream_stream(
        self, method: RpcMethod[Request, Response], requests: AsyncIterable[Request], **options: Unpack[CallOptions]
    ) -> ResponseStream[Response]:
        """Any number of requests and of responses, independent of each other."""
        call = self._begin(method, options, None)
        return ResponseStream(call, Deferred.fromCoroutine(call.send_all(requests)))

    def open_stream_unary(
        self, method: RpcMethod[Request, Response], **options: Unpack[CallOptions]
    ) -> RequestStream[Request, Response]:
        """As `stream_unary`, with requests sent one by one. The call begins now."""
        return RequestStream(self._begin(method, options, None))

    def open_stream_stream(
        self, method: RpcMethod[Request, Response], **options: Unpack[CallOptions]
    ) -> DuplexStream[Request, Response]:
        """As `stream_stream`, with requests sent and responses received one by one. The call begins now."""
        return DuplexStream(self._begin(method, options, None))

    async def close(self) -> None:
        """Fail all open calls with CANCELLED, close the connections, and allow no more. Returns when they are closed."""
        self._closed = True
        self._stop_queue_timer()
        for connector in self._connectors:
            connector.stop()
        for call in list(self._calls):
            call.fail(StatusCode.CANCELLED, f"the channel to {self.authority} was closed")
        for connector in self._connectors:
            await connector.close()

    # What connectors tell and ask

    def connector_moved(self) -> None:
        """See `ConnectorUser`."""
        state = self.state
        if state is not self._last_state:
            self.log.debug("channel to {name} is {state}", name=self.authority, state=state.value)
            self._last_state = state
            watchers, self._watchers = self._watchers, []
            for watcher in watchers:
                watcher.callback(None)

    def start_waiting(self) -> None:
        """See `ConnectorUser`."""
        while self._waiting and (connection := self._with_room()) is not None:
            call = next(iter(self._waiting))
            del self._waiting[call]
            connection.start_call(call)
        if self._waiting:
            self._watch_queue()

    def attempt_failed(self, reason: str) -> None:
        """See `ConnectorUser`. While there is another connection, calls wait for a free stream of that."""
        if self.state is ChannelState.READY:
            return
        for call in [call for call in self._waiting if not call.wait_for_ready]:
            call.finished(StatusCode.UNAVAILABLE, f"{self.authority}: {reason}", NONE)

    def is_waiting(self) -> bool:
        """See `ConnectorUser`."""
        return bool(self._waiting)

    def ping_less(self, reason: str) -> None:
        """See `ConnectorUser`: from now on pings are half as frequent (gRFC A8)."""
        self._least_keepalive = self._keepalive.doubled()
        self.set_keepalive(self._least_keepalive)
        self.log.warn(
            "{name} complained of too many pings ({reason}); the channel sends one after {seconds:g} s of silence now",
            name=self.authority,
            reason=reason,
            seconds=self._keepalive.interval,
        )

    def place(self, call: ClientCall[Any, Any]) -> None:
        """Start a call on a connection, let it wait for one, or fail it."""
        connection = self._with_room()
        if connection is not None:
            connection.start_call(call)
            return
        state = self.state
        if state is ChannelState.SHUT_DOWN:
            call.fail(StatusCode.CANCELLED, f"the channel to {self.authority} is closed")
        elif state is ChannelState.BACKING_OFF and not call.wait_for_ready:
            # The same words at every call, so that whoever complains can tell that nothing has changed.
            call.finished(StatusCode.UNAVAILABLE, f"{self.authority}: {self._last_reason()}", NONE)
        else:
            self._waiting[call] = self._clock.seconds()
            if state is ChannelState.READY:
                self._watch_queue()
            else:
                self.connect()

    def _last_reason(self) -> str:
        """Why there is no connection: what the failed attempt met, or how the previous connection ended."""
        failed = (connector.reason for connector in self._connectors if connector.state is ChannelState.BACKING_OFF)
        return next(failed, self._connectors[0].reason)

    # Calls that wait for a stream

    def _with_room(self) -> GrpcClientProtocol | None:
        for connector in self._connectors:
            connection = connector.connection
            if connection is not None and connection.has_room:
                return connection
        return None

    def _watch_queue(self) -> None:
        if self._queue_timer is None and self.options.max_connections > 1:
            waited = self._clock.seconds() - next(iter(self._waiting.values()))
            rest = max(0.0, self.options.stream_patience - waited)
            self._queue_timer = self._clock.callLater(rest, self._queue_waited)

    def _queue_waited(self) -> None:
        """Connect once more if the first in the queue has waited for long: whoever has the streams keeps them."""
        self._queue_timer = None
        if not self._waiting or self.state is not ChannelState.READY:
            return
        waited = self._clock.seconds() - next(iter(self._waiting.values()))
        if waited < self.options.stream_patience:
            self._watch_queue()
        elif all(connector.state is ChannelState.READY for connector in self._connectors):
            if len(self._connectors) < self.options.max_connections:
                self._connectors.append(self._make_connector())
                self._connectors[-1].connect()
        else:
            for connector in self._connectors:
                if connector.state is ChannelState.IDLE:
                    connector.connect()
                    break

    def _stop_queue_timer(self) -> None:
        timer, self._queue_timer = self._queue_timer, None
        if timer is not None:
            timer.cancel()

    # How calls begin and end

    def _begin(
        self, method: RpcMethod[Request, Response], options: CallOptions, only_request: bytes | None
    ) -> ClientCall[Request, Response]:
        metadata = options.get("metadata") or NONE
        if metadata:
            encode_metadata(metadata)
        compression = options.get("compression") or self.options.compression
        if compression != self.options.compression:
            check_compression(compression)
        timeout = options.get("timeout")
        call = ClientCall(
            method,
            metadata=metadata,
            deadline=None if timeout is None else self._clock.seconds() + timeout,
            wait_for_ready=options.get("wait_for_ready", False),
            compression=compression,
            only_request=only_request,
            on_end=self._call_ended,
        )
        self._calls[call] = None
        if timeout is not None and timeout <= 0:
            call.fail(StatusCode.DEADLINE_EXCEEDED, "the deadline had passed before the call was made")
        else:
            if timeout is not None:
                call.timer = self._clock.callLater(timeout, self._timed_out, call, timeout)
            self.place(call)
        return call

    def _timed_out(self, call: ClientCall[Any, Any], timeout: float) -> None:
        where = ""
        if call in self._waiting:
            if self.state is ChannelState.READY:
                limits = [
                    connector.connection.core.stream_limit for connector in self._connectors if connector.connection
                ]
                allowed = f"{min(limits)} calls" if limits else "no more calls"
                where = f" while waiting for a free stream: {self.authority} allows {allowed} at once on a connection"
            else:
                last = self._last_reason()
                known = f", last: {last}" if last else ""
                where = f" while waiting for a connection to {self.authority}{known}"
        call.fail(StatusCode.DEADLINE_EXCEEDED, f"no answer within {timeout:g} s{where}")

    def _call_ended(self, call: ClientCall[Any, Any]) -> None:
        self._calls.pop(call, None)
        self._waiting.pop(call, None)

    def _make_connector(self) -> Connector:
        return Connector(
            self,
            self._connect,
            self._make_protocol,
            self._clock,
            Connectivity(self.options.backoff, self._random),
            name=self.authority,
            connect_timeout=self.options.connect_timeout,
        )

    def _make_protocol(self, owner: ConnectionOwner) -> GrpcClientProtocol:
        core = ClientConnection(
            authority=self.authority,
            scheme=self.options.scheme,
            user_agent=f"grpc-python-txdagu/{__version__}",
            max_message_size=self.options.max_message_size,
        )
        return GrpcClientProtocol(
            owner,
            core,
            self._clock,
            name=self.authority,
            keepalive=self._keepalive,
            idle_timeout=self.options.idle_timeout,
        )


def tcp_channel(reactor: Any, host: str, port: int, *, options: ChannelOptions = DEFAULT_OPTIONS) -> Channel:
    """
    A channel over plain TCP (HTTP/2 with prior knowledge). `host` is a name or an IPv4 or IPv6 literal.

    All addresses of a name are tried, a new one every 0.3 s, until one accepts ("happy eyeballs", RFC 8305).
    """
    host = host.removeprefix("[").removesuffix("]")
    return Channel(
        lambda: tcp_endpoint(reactor, host, port), reactor, authority=join_host_port(host, port), options=options
    )


def tcp_endpoint(reactor: Any, host: str, port: int) -> IStreamClientEndpoint:
    """What connects to a port of a name, or of an IPv4 or IPv6 literal without brackets."""
    version = ip_version(host)
    if version == 4:
        return TCP4ClientEndpoint(reactor, host, port)
    if version == 6:
        return TCP6ClientEndpoint(reactor, host, port)
    return HostnameEndpoint(reactor, host.encode("idna"), port)
