"""One call at the server: its handler, and how it ends."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from txdagu.grpc.context import CallContext, Handler
from txdagu.grpc.coroutine import CoroutineRunner
from txdagu.grpc.rich_status import pack_details
from txdagu.wire.events import CallCancelled, CallRejected, MessageReceived, RequestsEnded, SendingResumed
from txdagu.wire.metadata import NONE, InvalidMetadataError, Metadata, ReceivedMetadata, pairs_of
from txdagu.wire.method import RpcMethod
from txdagu.wire.status import RpcError, StatusCode

if TYPE_CHECKING:
    from txdagu.grpc.server_connection import GrpcServerProtocol

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
