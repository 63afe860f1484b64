"""One call at the client, from being asked for to its end, and what callers hold of it."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall

from txdagu.grpc.rich_status import unpack_details
from txdagu.wire.compression import Compression
from txdagu.wire.metadata import NONE, Metadata, ReceivedMetadata
from txdagu.wire.method import Request, Response, RpcMethod
from txdagu.wire.status import RpcError, StatusCode

if TYPE_CHECKING:
    from txdagu.grpc.client_connection import GrpcClientProtocol


# How often a call that the server refused unseen is placed again.
_RETRIES = 3


@dataclass(frozen=True, slots=True)
class UnaryReply(Generic[Response]):
    """The response of a unary call with the metadata that came before and after it."""

    message: Response
    initial_metadata: ReceivedMetadata
    trailing_metadata: ReceivedMetadata
    compressed: bool = False
    """Whether the response came compressed."""


class ClientCall(Generic[Request, Response]):
    """
    The state of one call.

    It ends exactly once: by the server's status, by its deadline, by `cancel`, or because the channel says so.
    """

    def __init__(
        self,
        method: RpcMethod[Request, Response],
        *,
        metadata: Metadata,
        deadline: float | None,
        wait_for_ready: bool,
        compression: Compression,
        only_request: bytes | None,
        on_end: Callable[[ClientCall[Any, Any]], None],
    ) -> None:
        self.method = method
        self.metadata = metadata
        self.deadline = deadline
        self.wait_for_ready = wait_for_ready
        self.compression = compression
        self.only_request = only_request
        """The encoded request, or None if requests are streamed."""
        self.timer: IDelayedCall | None = None
        self.initial_metadata: ReceivedMetadata = NONE
        self.trailing_metadata: ReceivedMetadata = NONE
        self.ended = False
        self.compressed = False
        """Whether the response that was taken last came compressed."""
        self._began_sending = False
        self._done_sending = False
        self._headers_arrived = False
        self._headers_awaited = False
        self._error: BaseException | None = None
        self._connection: GrpcClientProtocol | None = None
        self._stream_id = 0
        self._arrived: deque[tuple[bytes, int, bool]] = deque()
        self._waiting: list[Deferred[None]] = []
        self._on_end = on_end
        self._retries = _RETRIES

    # What the connection tells

    def opened(self, connection: GrpcClientProtocol, stream_id: int) -> None:
        """The call has got a stream."""
        self._connection, self._stream_id = connection, stream_id
        if self.only_request is None:
            self.wake()
            if self._done_sending:
                self.done_sending()

    def headers(self, metadata: ReceivedMetadata) -> None:
        """The server's initial metadata arrived."""
        self.initial_metadata = metadata
        self._headers_arrived = True
        if self._headers_awaited:
            self.wake()

    def message(self, payload: bytes, credit: int, compressed: bool = False) -> None:
        """A response arrived."""
        if self.ended:
            return
        if not self.method.cardinality.server_streaming:
            assert self._connection is not None
            self._connection.core.consumed(self._stream_id, credit)
            if self._arrived:
                self.fail(StatusCode.INTERNAL, "the server sent more than one response")
                return
        self._arrived.append((payload, credit, compressed))
        if self.method.cardinality.server_streaming:
            self.wake()

    def finished(self, code: StatusCode, message: str, metadata: ReceivedMetadata, status_details: bytes = b"") -> None:
        """The server's status arrived, or what stands for it."""
        self.trailing_metadata = metadata
        if code is StatusCode.OK:
            self._end(None)
        else:
            details = unpack_details(status_details) if status_details else ()
            self._end(RpcError(code, message, details=details, trailing_metadata=metadata))

    def wake(self) -> None:
        """Something changed that somebody may be waiting for."""
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            deferred.callback(None)

    @property
    def doing(self) -> str:
        """What the call was about when something happened to it."""
        return f"{'receiving' if self._headers_arrived else 'waiting for'} the answer of {self.method.path}"

    def may_be_repeated(self) -> bool:
        """Whether to place the call once more, after the server refused to look at it ("transparent retry")."""
        if self.ended or self._began_sending or self._retries == 0:
            return False
        self._retries -= 1
        self._connection = None
        return True

    # What callers do

    def fail(self, code: StatusCode, message: str) -> None:
        """End the call from our side, and tell the server."""
        self._abandon(RpcError(code, message))

    def cancel(self) -> None:
        """Give the call up; a call that has ended stays as it is."""
        self._abandon(RpcError(StatusCode.CANCELLED, "the call was cancelled"))

    async def response(self) -> Response:
        """The only response. Raises `RpcError`; being cancelled cancels the call."""
        while not self.ended:
            await self._change()
        if self._error is not None:
            raise self._error
        if not self._arrived:
            raise RpcError(StatusCode.INTERNAL, "the server ended the call without a response")
        payload, _credit, self.compressed = self._arrived[0]
        return self._decode(payload)

    async def wait_for_headers(self) -> ReceivedMetadata:
        """The initial metadata as soon as it is there; empty if the call succeeded without any. Raises `RpcError`."""
        self._headers_awaited = True
        while not self._headers_arrived and not self.ended:
            await self._change()
        if not self._headers_arrived and self._error is not None:
            raise self._error
        return self.initial_metadata

    async def next_response(self) -> Response:
        """The next response of a stream. Raises StopAsyncIteration after the last and `RpcError` if the call failed."""
        while not self._arrived:
            if self.ended:
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            await self._change()
        payload, credit, self.compressed = self._arrived.popleft()
        if not self.ended and self._connection is not None:
            self._connection.core.consumed(self._stream_id, credit)
            self._connection.flush()
        return self._decode(payload)

    async def send(self, request: Request, *, compressed: bool = True) -> None:
        """
        Send one request; returns when the server's windows have taken it, so a slow server slows its client.

        `compressed` may be false to send it as it is in a call with compression. Raises `RpcError` if the call failed; what is
        sent after the server answered with OK is dropped. Being cancelled cancels the call: half a message cannot be sent.
        """
        payload = self.method.encode_request(request)
        while self._connection is None and not self.ended:
            await self._change()
        if self._error is not None:
            raise self._error
        if self._done_sending:
            raise RuntimeError(f"a request of {self.method.path} after done_sending")
        if self.ended or self._connection is None:
            return
        self._began_sending = True
        sent = self._connection.core.send_message(self._stream_id, payload, compressed=compressed)
        self._connection.flush()
        if not sent:
            try:
                await self._connection.until_sent(self._stream_id)
            except CancelledError:
                self.cancel()
                raise

    def done_sending(self) -> None:
        """Tell the server that no more requests follow. Nothing happens when it knows, or the call is over."""
        self._done_sending = True
        if self._connection is not None and not self.ended:
            self._began_sending = True
            self._connection.core.half_close(self._stream_id)
            self._connection.flush()

    async def send_all(self, requests: AsyncIterable[Request]) -> None:
        """Send requests as fast as the server takes them. An error of `requests` ends the call and is what callers get."""
        try:
            while self._connection is None and not self.ended:
                await self._change()
            async for request in requests:
                if self.ended:
                    return
                await self.send(request)
            self.done_sending()
        except CancelledError:
            self.cancel()
        except Exception as error:  # noqa: BLE001  # it is raised where the call is awaited
            self._abandon(error)

    async def _change(self) -> None:
        """Wait until something happens. If the caller loses interest, so does the server."""
        deferred: Deferred[None] = Deferred()
        self._waiting.append(deferred)
        try:
            await deferred
        except CancelledError:
            self.cancel()
            raise

    def _decode(self, payload: bytes) -> Response:
        try:
            return self.method.decode_response(payload)
        except Exception as error:
            self.cancel()
            raise RpcError(StatusCode.INTERNAL, f"grpc: error unmarshalling response: {error}") from error

    def _abandon(self, error: BaseException) -> None:
        if not self.ended:
            connection = self._connection
            self._end(error)
            if connection is not None:
                connection.cancel(self._stream_id)

    def _end(self, error: BaseException | None) -> None:
        if self.ended:
            return
        self.ended = True
        self._error = error
        if self.timer is not None and self.timer.active():
            self.timer.cancel()
        self._on_end(self)
        self.wake()
