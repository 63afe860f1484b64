"""The client: calls to one server, over a connection that is made when needed and made again when lost."""

# ruff: noqa: ASYNC109  # there is no asyncio here; time comes from the clock we are given
from __future__ import annotations

from collections.abc import AsyncIterable, Callable
from random import random as system_random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint

from txdagu import __version__
from txdagu.grpc.client_call import ClientCall, ResponseStream, UnaryReply, stop_sender
from txdagu.grpc.client_connection import ConnectionOwner, GrpcClientProtocol
from txdagu.grpc.connector import DEFAULT_BACKOFF, Backoff, ChannelState, Connector
from txdagu.model.addresses import ip_version, join_host_port
from txdagu.wire.client import ClientConnection
from txdagu.wire.connection import DEFAULT_MAX_MESSAGE_SIZE
from txdagu.wire.metadata import NONE, Metadata, encode_metadata
from txdagu.wire.method import Request, Response, RpcMethod
from txdagu.wire.status import RpcError, StatusCode

__all__ = ["Backoff", "Channel", "ChannelState", "ResponseStream", "RpcError", "UnaryReply", "tcp_channel"]


class Channel:
    """
    Calls to one server.

    `connect` makes a fresh endpoint for every attempt, so new certificates are used as soon as they are there. The first
    call connects. A call made while the channel backs off fails at once with UNAVAILABLE, naming the address and what was
    wrong, unless it has `wait_for_ready`. When the connection is lost, its calls fail at once. `timeout` is in seconds and
    covers everything from here to the last byte; without it a call may take for ever.

    All calls raise `RpcError`, and `InvalidMetadataError` for metadata that cannot be sent. Cancelling the Deferred that
    awaits a call cancels the call at the server too.
    """

    def __init__(
        self,
        connect: Callable[[], IStreamClientEndpoint],
        clock: IReactorTime,
        *,
        authority: str,
        max_message_size: int = DEFAULT_MAX_MESSAGE_SIZE,
        random: Callable[[], float] = system_random,
        backoff: Backoff = DEFAULT_BACKOFF,
        scheme: str = "http",
        connect_timeout: float = 20.0,
        keepalive_interval: float = 300.0,
        keepalive_timeout: float = 20.0,
    ) -> None:
        self.authority = authority
        self._clock = clock
        self._max_message_size = max_message_size
        self._scheme = scheme
        self._keepalive_interval = keepalive_interval
        self._keepalive_timeout = keepalive_timeout
        self._calls: dict[ClientCall[Any, Any], None] = {}
        self._waiting: dict[ClientCall[Any, Any], None] = {}
        self._connector = Connector(
            self,
            connect,
            self._make_protocol,
            clock,
            name=authority,
            backoff=backoff,
            random=random,
            connect_timeout=connect_timeout,
        )

    @property
    def state(self) -> ChannelState:
        """Where the channel is now."""
        return self._connector.state

    async def unary(
        self,
        method: RpcMethod[Request, Response],
        request: Request,
        *,
        timeout: float | None = None,
        metadata: Metadata | None = None,
        wait_for_ready: bool = False,
    ) -> Response:
        """One request, one response."""
        call = self._begin(method, timeout, metadata, wait_for_ready, method.encode_request(request))
        return await call.response()

    async def unary_call(
        self,
        method: RpcMethod[Request, Response],
        request: Request,
        *,
        timeout: float | None = None,
        metadata: Metadata | None = None,
        wait_for_ready: bool = False,
    ) -> UnaryReply[Response]:
        """As `unary`, with the metadata of the answer."""
        call = self._begin(method, timeout, metadata, wait_for_ready, method.encode_request(request))
        message = await call.response()
        return UnaryReply(message, call.initial_metadata, call.trailing_metadata)

    def unary_stream(
        self,
        method: RpcMethod[Request, Response],
        request: Request,
        *,
        timeout: float | None = None,
        metadata: Metadata | None = None,
        wait_for_ready: bool = False,
    ) -> ResponseStream[Response]:
        """One request, any number of responses."""
        call = self._begin(method, timeout, metadata, wait_for_ready, method.encode_request(request))
        return ResponseStream(call)

    async def stream_unary(
        self,
        method: RpcMethod[Request, Response],
        requests: AsyncIterable[Request],
        *,
        timeout: float | None = None,
        metadata: Metadata | None = None,
        wait_for_ready: bool = False,
    ) -> Response:
        """Any number of requests, one response. An exception of `requests` ends the call and is raised here."""
        call = self._begin(method, timeout, metadata, wait_for_ready, None)
        sender = Deferred.fromCoroutine(call.send_all(requests))
        try:
            return await call.response()
        finally:
            stop_sender(sender)

    def stream_stream(
        self,
        method: RpcMethod[Request, Response],
        requests: AsyncIterable[Request],
        *,
        timeout: float | None = None,
        metadata: Metadata | None = None,
        wait_for_ready: bool = False,
    ) -> ResponseStream[Response]:
        """Any number of requests and of responses, independent of each other."""
        call = self._begin(method, timeout, metadata, wait_for_ready, None)
        return ResponseStream(call, Deferred.fromCoroutine(call.send_all(requests)))

    async def close(self) -> None:
        """Fail all open calls with CANCELLED, close the connection, and allow no more. Returns when it is closed."""
        self._connector.stop()
        for call in list(self._calls):
            call.fail(StatusCode.CANCELLED, f"the channel to {self.authority} was closed")
        await self._connector.close()

    # What the connector tells and asks

    def connected(self, connection: GrpcClientProtocol) -> None:
        """Start what has waited for this."""
        waiting, self._waiting = self._waiting, {}
        for call in waiting:
            connection.start_call(call)

    def attempt_failed(self, reason: str) -> None:
        """Fail what does not want to wait for the next attempt."""
        for call in [call for call in self._waiting if not call.wait_for_ready]:
            call.finished(StatusCode.UNAVAILABLE, f"{self.authority}: {reason}", NONE)

    def is_waiting(self) -> bool:
        """Whether some call waits for a connection."""
        return bool(self._waiting)

    # Calls

    def _begin(
        self,
        method: RpcMethod[Request, Response],
        timeout: float | None,
        metadata: Metadata | None,
        wait_for_ready: bool,
        only_request: bytes | None,
    ) -> ClientCall[Request, Response]:
        if metadata:
            encode_metadata(metadata)
        call = ClientCall(
            method,
            metadata=metadata or NONE,
            deadline=None if timeout is None else self._clock.seconds() + timeout,
            wait_for_ready=wait_for_ready,
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

    def place(self, call: ClientCall[Any, Any]) -> None:
        """Start a call on the connection, let it wait for one, or fail it."""
        connection = self._connector.connection
        if connection is not None:
            connection.start_call(call)
        elif self.state is ChannelState.SHUT_DOWN:
            call.fail(StatusCode.CANCELLED, f"the channel to {self.authority} is closed")
        elif self.state is ChannelState.BACKING_OFF and not call.wait_for_ready:
            # The same words at every call, so that whoever complains can tell that nothing has changed.
            call.finished(StatusCode.UNAVAILABLE, f"{self.authority}: {self._connector.last_reason}", NONE)
        else:
            self._waiting[call] = None
            self._connector.connect()

    def _timed_out(self, call: ClientCall[Any, Any], timeout: float) -> None:
        where = ""
        if call in self._waiting:
            known = f", last: {self._connector.last_reason}" if self._connector.last_reason else ""
            where = f" while waiting for a connection to {self.authority}{known}"
        call.fail(StatusCode.DEADLINE_EXCEEDED, f"no answer within {timeout:g} s{where}")

    def _call_ended(self, call: ClientCall[Any, Any]) -> None:
        self._calls.pop(call, None)
        self._waiting.pop(call, None)

    def _make_protocol(self, owner: ConnectionOwner) -> GrpcClientProtocol:
        core = ClientConnection(
            authority=self.authority,
            scheme=self._scheme,
            user_agent=f"grpc-python-txdagu/{__version__}",
            max_message_size=self._max_message_size,
        )
        return GrpcClientProtocol(
            owner,
            core,
            self._clock,
            name=self.authority,
            keepalive_interval=self._keepalive_interval,
            keepalive_timeout=self._keepalive_timeout,
        )


def tcp_channel(
    reactor: Any,
    host: str,
    port: int,
    *,
    max_message_size: int = DEFAULT_MAX_MESSAGE_SIZE,
    backoff: Backoff = DEFAULT_BACKOFF,
) -> Channel:
    """A channel over plain TCP (HTTP/2 with prior knowledge). `host` is a name or an IPv4 or IPv6 literal."""
    host = host.removeprefix("[").removesuffix("]")

    def connect() -> IStreamClientEndpoint:
        version = ip_version(host)
        if version == 4:
            return TCP4ClientEndpoint(reactor, host, port)
        if version == 6:
            return TCP6ClientEndpoint(reactor, host, port)
        return HostnameEndpoint(reactor, host.encode("idna"), port)

    return Channel(
        connect, reactor, authority=join_host_port(host, port), max_message_size=max_message_size, backoff=backoff
    )
