"""The client: calls to one server, over connections that are made when needed and made again when lost."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable
from dataclasses import replace
from random import random as system_random
from typing import Any, Unpack

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint

from txdagu.grpc.clear_text import ClearTextClientEndpoint
from txdagu.grpc.client_call import ClientCall, UnaryReply
from txdagu.grpc.client_streams import DuplexStream, RequestStream, ResponseStream, stop_sender
from txdagu.grpc.connectivity import Backoff, ChannelState
from txdagu.grpc.keepalive import KeepaliveTimes
from txdagu.grpc.options import DEFAULT_OPTIONS, CallOptions, ChannelOptions
from txdagu.grpc.pool import ConnectionPool
from txdagu.grpc.tls import ClientTls
from txdagu.grpc.tls_endpoints import TlsClientEndpoint
from txdagu.grpc.tls_failures import NO_ADVICE, Advice
from txdagu.model.addresses import ip_version, join_host_port
from txdagu.wire.compression import check_compression
from txdagu.wire.metadata import NONE, encode_metadata, pairs_of
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
        self._clock = clock
        self._calls: dict[ClientCall[Any, Any], None] = {}
        self._pool = ConnectionPool(connect, clock, authority=authority, options=options, random=random)

    # Where the channel is

    @property
    def state(self) -> ChannelState:
        """Where the channel is now. It is ready if any of its connections is."""
        return self._pool.state

    async def state_changed(self, known: ChannelState) -> ChannelState:
        """Wait until the channel is in another state than `known`, and return that. Nothing follows SHUT_DOWN."""
        return await self._pool.state_changed(known)

    def connect(self) -> None:
        """Connect now instead of at the first call. Nothing happens unless the channel is idle."""
        self._pool.connect()

    def reconnect(self, reason: str) -> None:
        """
        Look the name up again and connect anew, now or at the next call, without waiting for any back-off.

        For those who learned of a new address. Open calls go on where they are and their connections are closed after them.
        """
        self._pool.reconnect(reason)

    def set_keepalive(self, times: KeepaliveTimes) -> None:
        """Watch the server with other times from now on, but never more closely than it has put up with."""
        self._pool.set_keepalive(times)

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
        self._pool.stop()
        for call in list(self._calls):
            call.fail(StatusCode.CANCELLED, f"the channel to {self.authority} was closed")
        await self._pool.close()

    # How calls begin and end

    def _begin(
        self, method: RpcMethod[Request, Response], options: CallOptions, only_request: bytes | None
    ) -> ClientCall[Request, Response]:
        # A copy, since the call may wait, or be repeated, long after the caller has gone on with what it gave us.
        metadata = tuple(pairs_of(options.get("metadata") or NONE))
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
            self._pool.place(call)
        return call

    def _timed_out(self, call: ClientCall[Any, Any], timeout: float) -> None:
        call.fail(StatusCode.DEADLINE_EXCEEDED, f"no answer within {timeout:g} s{self._pool.waits_for(call)}")

    def _call_ended(self, call: ClientCall[Any, Any]) -> None:
        self._calls.pop(call, None)
        self._pool.forget(call)


def tcp_channel(
    reactor: Any,
    host: str,
    port: int,
    *,
    tls: ClientTls | None = None,
    advice: Advice = NO_ADVICE,
    options: ChannelOptions = DEFAULT_OPTIONS,
) -> Channel:
    """
    A channel over TCP. `host` is a name or an IPv4 or IPv6 literal.

    All addresses of a name are tried, a new one every 0.3 s, until one accepts ("happy eyeballs", RFC 8305). With `tls`, the
    server must prove to be that host. Without, HTTP/2 is spoken in clear text with prior knowledge, and `advice` is added to
    the reason when the server seems to want TLS.
    """
    host = host.removeprefix("[").removesuffix("]")

    def connect() -> IStreamClientEndpoint:
        dialled = tcp_endpoint(reactor, host, port)
        if tls is None:
            return ClearTextClientEndpoint(dialled, advice)
        return TlsClientEndpoint(dialled, tls, host, reactor)

    if tls is not None:
        options = replace(options, scheme="https")
    return Channel(connect, reactor, authority=join_host_port(host, port), options=options)


def tcp_endpoint(reactor: Any, host: str, port: int) -> IStreamClientEndpoint:
    """What connects to a port of a name, or of an IPv4 or IPv6 literal without brackets."""
    version = ip_version(host)
    if version == 4:
        return TCP4ClientEndpoint(reactor, host, port)
    if version == 6:
        return TCP6ClientEndpoint(reactor, host, port)
    return HostnameEndpoint(reactor, host.encode("idna"), port)
