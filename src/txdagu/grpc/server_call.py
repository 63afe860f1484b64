"""One call at the server: its handler, what the handler sees of it, and how it ends."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing
from types import CoroutineType
from typing import TYPE_CHECKING, Any, NoReturn, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from txdagu.grpc.coroutine import CoroutineRunner
from txdagu.grpc.rich_status import pack_details
from txdagu.wire.compression import Compression, check_compression
from txdagu.wire.events import CallCancelled, CallRejected, MessageReceived, RequestsEnded, SendingResumed
from txdagu.wire.metadata import NONE, InvalidMetadataError, Metadata, ReceivedMetadata, encode_metadata, pairs_of
from txdagu.wire.method import RpcMethod
from txdagu.wire.status import RpcError, StatusCode

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from txdagu.grpc.server import GrpcServerProtocol

Handler = Callable[[Any, "CallContext"], Any]
"""
What answers calls of one method, by its kind:

- one request, one response: ``async def handler(request, context) -> response``
- many responses: an async generator ``(request, context)``, or a coroutine function that uses ``context.send``
- many requests: the same with an `AsyncIterator` of requests as first argument

`RpcError` ends the call with its status, details and trailing metadata. Any other exception is logged and answered with
UNKNOWN. A handler whose call was cancelled, ran out of time or lost its connection gets `CancelledError` at its innermost
await.
"""


class CallContext:
    """What a handler may know and say about its call besides the messages."""

    __slots__ = ("_call", "deadline", "metadata", "peer")

    def __init__(self, call: ServerCall, metadata: ReceivedMetadata, peer: str, deadline: float | None) -> None:
        self._call = call
        self.metadata = metadata
        """What the client sent along; keys are lower case, those ending in ``-bin`` have bytes."""
        self.peer = peer
        """The client's address: ``10.0.0.7:4711``, ``[fe80::1]:4711``, or a socket path."""
        self.deadline = deadline
        """When the client stops waiting, in seconds of the server's clock. None: it waits for ever."""

    def time_remaining(self) -> float | None:
        """Seconds until the deadline, not below zero; None without a deadline."""
        if self.deadline is None:
            return None
        return max(0.0, self.deadline - self._call.connection.clock.seconds())

    def set_initial_metadata(self, metadata: Metadata) -> None:
        """
        Metadata to send ahead of the first response.

        Raises `InvalidMetadataError`, and RuntimeError after the first response was sent.
        """
        self._call.connection.core.set_initial_metadata(self._call.stream_id, metadata)

    async def send_initial_metadata(self, metadata: Metadata | None = None) -> None:
        """
        Send initial metadata now instead of with the first response: `metadata`, or what `set_initial_metadata` was given.

        Raises `InvalidMetadataError`, and RuntimeError when `metadata` is given but other metadata has been sent.
        """
        if metadata is not None:
            self.set_initial_metadata(metadata)
        self._call.connection.core.send_initial_metadata(self._call.stream_id)
        self._call.connection.flush()

    def set_trailing_metadata(self, metadata: Metadata) -> None:
        """Metadata to send with the status, also with an error. Raises `InvalidMetadataError`."""
        pairs = tuple(pairs_of(metadata))
        encode_metadata(pairs)
        self._call.trailing_metadata = pairs

    def abort(
        self,
        code: StatusCode,
        message: str = "",
        *,
        details: Iterable[Any] = (),
        trailing_metadata: Metadata | None = None,
    ) -> NoReturn:
        """End the call with a status: raises the `RpcError` that says so."""
        raise RpcError(code, message, details=details, trailing_metadata=trailing_metadata)

    @property
    def method(self) -> RpcMethod[Any, Any]:
        """The method that was called; its `path` is what the client asked for."""
        return self._call.method

    @property
    def is_active(self) -> bool:
        """Whether the client still waits: the call has not been answered, cancelled or cut off."""
        return not self._call.is_over

    def add_done_callback(self, callback: Callable[[StatusCode], None]) -> None:
        """
        Let `callback` be called once, with the call's status, when it is over; at once if it is over already.

        A call that the client gave up, or whose connection was lost, ends as CANCELLED. What `callback` raises is logged.
        """
        self._call.add_done_callback(callback)

    @property
    def peer_certificate(self) -> Certificate | None:
        """The certificate that the client showed and the handshake verified. None: it showed none, or there is no TLS."""
        transport = self._call.connection.transport
        if transport is None or not hasattr(transport, "getPeerCertificate"):
            return None
        shown = transport.getPeerCertificate()
        return None if shown is None else cast("Certificate", shown.to_cryptography())

    def set_compression(self, compression: Compression) -> None:
        """
        How the responses of this call are sent, if the client can read that; else they are sent as they are.

        Raises ValueError for what is no compression, and RuntimeError after the first response was sent.
        """
        check_compression(compression)
        self._call.connection.core.set_compression(self._call.stream_id, compression)

    @property
    def request_compressed(self) -> bool:
        """Whether the request that was read last came compressed."""
        return self._call.request_compressed

    async def send(self, message: Any, *, compressed: bool = True) -> None:
        """
        Send one response of a streaming method; returns when the client's windows have taken it.

        A client that reads slowly thus slows the handler down, and at most one message waits in memory. `compressed` may be
        false to send it as it is in a call with compression.
        """
        await self._call.send(message, compressed=compressed)


# For calls with one request: a queue of their own would be the largest part of a parked call.
_NOTHING: deque[Any] = deque(maxlen=0)


class ServerCall(CoroutineRunner):
    """The life of one call. The connection tells it what the client does; it tells the connection how to answer."""

    __slots__ = (
        "_arrived",
        "_client_streams",
        "_context",
        "_done_callbacks",
        "_ended_with",
        "_handler",
        "_method",
        "_only_request",
        "_over",
        "_requests_ended",
        "_started",
        "_timer",
        "_waiting_for_request",
        "_waiting_to_send",
        "connection",
        "request_compressed",
        "stream_id",
        "trailing_metadata",
    )
    log = Logger()

    def __init__(
        self,
        connection: GrpcServerProtocol,
        stream_id: int,
        method: RpcMethod[Any, Any],
        handler: Handler,
        metadata: ReceivedMetadata,
        timeout: float | None,
    ) -> None:
        super().__init__()
        self.connection = connection
        self.stream_id = stream_id
        self.trailing_metadata: Metadata = NONE
        self.request_compressed = False
        self._method = method
        self._handler = handler
        self._client_streams = method.cardinality.client_streaming
        self._arrived: deque[tuple[bytes, int, bool]] = deque() if self._client_streams else _NOTHING
        self._only_request: tuple[bytes, int, bool] | None = None
        self._requests_ended = False
        self._waiting_for_request: Deferred[None] | None = None
        self._waiting_to_send: list[Deferred[None]] | None = None
        self._started = False
        self._over = False
        self._ended_with = StatusCode.OK
        self._done_callbacks: list[Callable[[StatusCode], None]] | None = None
        self._timer: IDelayedCall | None = None
        deadline = None
        if timeout is not None:
            deadline = connection.clock.seconds() + timeout
            self._timer = connection.clock.callLater(timeout, self._deadline_passed)
        self._context = CallContext(self, metadata, connection.peer, deadline)

    # What the connection tells

    def start(self) -> None:
        """The call has arrived. With a single request the handler starts when that is complete."""
        if self._client_streams:
            self._run(self._requests())

    def handle(self, event: MessageReceived | RequestsEnded | CallRejected | CallCancelled | SendingResumed) -> None:
        """React to what the client did."""
        match event:
            case MessageReceived():
                self._message(event.payload, event.credit, event.compressed)
            case RequestsEnded():
                self._end_of_requests()
            case CallRejected():
                self.rejected(event.code, event.message)
            case CallCancelled():
                self.cancelled(event.reason)
            case SendingResumed():
                waiting, self._waiting_to_send = self._waiting_to_send, None
                for deferred in waiting or ():
                    deferred.callback(None)

    def _message(self, payload: bytes, credit: int, compressed: bool) -> None:
        if self._client_streams:
            self._arrived.append((payload, credit, compressed))
            self._wake_reader()
        elif self._only_request is None:
            self._only_request = (payload, credit, compressed)
        else:
            self.rejected(StatusCode.INTERNAL, "grpc: the call takes one request message, but got several")

    def _end_of_requests(self) -> None:
        self._requests_ended = True
        if self._client_streams:
            self._wake_reader()
        elif self._only_request is None:
            self.rejected(StatusCode.INTERNAL, "grpc: the call needs one request message, but got none")
        elif not self._started and not self._over:
            payload, credit, self.request_compressed = self._only_request
            self._only_request = None
            self.connection.core.consumed(self.stream_id, credit)
            try:
                request = self._decode(payload)
            except RpcError as error:
                self.rejected(error.code, error.message)
            else:
                self._run(request)

    @property
    def method(self) -> RpcMethod[Any, Any]:
        """The method that was called."""
        return self._method

    @property
    def is_over(self) -> bool:
        """Whether the call has been answered, or needs no answer any more."""
        return self._over

    def rejected(self, code: StatusCode, message: str) -> None:
        """The requests cannot be read: the call ends with a status."""
        if not self._over:
            self._answer(code, message)
            self.cancel()

    def cancelled(self, reason: str) -> None:
        """Nobody waits for the answer any more."""
        if not self._over:
            path, peer = self._method.path, self._context.peer
            self.log.debug("call of {path} from {peer} ended early: {reason}", path=path, peer=peer, reason=reason)
        self._end(StatusCode.CANCELLED)
        self.cancel()

    def stopped(self, message: str) -> None:
        """The server does not wait for the handler any longer."""
        self.rejected(StatusCode.UNAVAILABLE, message)

    @property
    def awaits_request(self) -> bool:
        """Whether the handler cannot start because the call's only request is not there yet."""
        return not self._started and not self._over

    # What the handler does

    async def send(self, message: Any, *, compressed: bool = True) -> None:
        """See `CallContext.send`."""
        if self._over:
            raise CancelledError
        payload = self._method.encode_response(message)
        sent = self.connection.core.send_message(self.stream_id, payload, compressed=compressed)
        self.connection.flush()
        if not sent:
            deferred: Deferred[None] = Deferred()
            if self._waiting_to_send is None:
                self._waiting_to_send = []
            self._waiting_to_send.append(deferred)
            await deferred

    async def _requests(self) -> AsyncIterator[Any]:
        """The requests of a streaming method as the handler asks for them."""
        while True:
            if self._arrived:
                payload, credit, self.request_compressed = self._arrived.popleft()
                self.connection.core.consumed(self.stream_id, credit)
                self.connection.flush()
                yield self._decode(payload)
            elif self._requests_ended:
                return
            else:
                self._waiting_for_request = Deferred()
                try:
                    await self._waiting_for_request
                finally:
                    self._waiting_for_request = None

    def _wake_reader(self) -> None:
        waiting, self._waiting_for_request = self._waiting_for_request, None
        if waiting is not None:
            waiting.callback(None)

    def _decode(self, payload: bytes) -> Any:
        try:
            return self._method.decode_request(payload)
        except Exception as error:  # the decoder's own; told to the client
            raise RpcError(StatusCode.INTERNAL, f"grpc: error unmarshalling request: {error}") from error

    # How it ends

    def _run(self, argument: Any) -> None:
        self._started = True
        try:
            outcome = self._handler(argument, self._context)
        except Exception as error:  # noqa: BLE001  # the handler's own
            self.raised(error)
            return
        if outcome.__class__ is not CoroutineType:
            outcome = self._send_all(outcome) if hasattr(outcome, "__aiter__") else _wait_for(outcome)
        self.run(outcome)

    async def _send_all(self, responses: AsyncGenerator[Any, None]) -> None:
        async with aclosing(responses):
            async for response in responses:
                await self.send(response)

    def returned(self, result: Any) -> None:
        """The handler has done its work; a unary one has returned the response."""
        if self._over:
            return
        if not self._method.cardinality.server_streaming:
            try:
                payload = self._method.encode_response(result)
            except Exception as error:  # noqa: BLE001  # the handler returned something else
                self.raised(error)
                return
            self.connection.core.send_message(self.stream_id, payload)
        self._answer(StatusCode.OK, "")

    def raised(self, error: BaseException) -> None:
        """The handler failed, or was cancelled."""
        if isinstance(error, RpcError) and error.code is not StatusCode.OK:
            self._answer_error(error)
        elif isinstance(error, CancelledError):
            self._answer(StatusCode.CANCELLED, "the server gave the call up")
        else:
            self.log.failure("handler of {path} failed for {peer}", path=self._method.path, peer=self._context.peer)
            self._answer(StatusCode.UNKNOWN, "the server failed while it handled the call; its log says why")

    def _answer_error(self, error: RpcError) -> None:
        if error.trailing_metadata:
            kept = [pair for pair in pairs_of(self.trailing_metadata) if pair[0] not in error.trailing_metadata]
            self.trailing_metadata = [*kept, *error.trailing_metadata.pairs]
        details = b""
        if error.details:
            try:
                details = pack_details(error.code, error.message, error.details)
            except TypeError:
                self.log.failure("the error details of {path} cannot be sent", path=self._method.path)
        self._answer(error.code, error.message, details)

    def _deadline_passed(self) -> None:
        self._timer = None
        self.rejected(StatusCode.DEADLINE_EXCEEDED, "deadline exceeded")

    def _answer(self, code: StatusCode, message: str, status_details: bytes = b"") -> None:
        if self._over:
            return
        try:
            self.connection.core.finish(self.stream_id, code, message, self.trailing_metadata, status_details)
        except InvalidMetadataError:
            self.log.failure("metadata of {path} cannot be sent", path=self._method.path)
            self.connection.core.cancel(self.stream_id)
        self._end(code)
        self.connection.flush()

    def add_done_callback(self, callback: Callable[[StatusCode], None]) -> None:
        """See `CallContext.add_done_callback`."""
        if self._done_callbacks is None:
            self._done_callbacks = []
        self._done_callbacks.append(callback)
        if self._over:
            self._tell_done(self._ended_with)

    def _tell_done(self, code: StatusCode) -> None:
        callbacks, self._done_callbacks = self._done_callbacks, None
        for callback in callbacks or ():
            try:
                callback(code)
            except Exception:  # noqa: BLE001  # it must not keep the others, or the connection, from their work
                self.log.failure("a callback of {path} failed", path=self._method.path)

    def _end(self, code: StatusCode) -> None:
        if not self._over:
            self._over = True
            self._ended_with = code
        self._arrived.clear()
        self._only_request = None
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        self.connection.call_ended(self.stream_id)
        if self._done_callbacks is not None:
            self._tell_done(self._ended_with)


async def _wait_for(outcome: Awaitable[Any]) -> Any:
    """For handlers that are no coroutine functions but return something to wait for."""
    return await outcome
