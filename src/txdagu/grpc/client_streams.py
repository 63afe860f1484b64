"""What callers hold of a streaming call: its responses, its requests, or both."""

from __future__ import annotations

from typing import Any, Generic, Self

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from txdagu.grpc.client_call import ClientCall
from txdagu.wire.metadata import ReceivedMetadata
from txdagu.wire.method import Request, Response
from txdagu.wire.status import RpcError


class StreamingCall:
    """What all of them have in common. To stop before the end, `cancel` it, or use it with ``async with``."""

    def __init__(self, call: ClientCall[Any, Any]) -> None:
        self._call = call

    @property
    def initial_metadata(self) -> ReceivedMetadata:
        """What the server sent ahead; complete once the first response is there."""
        return self._call.initial_metadata

    async def wait_for_initial_metadata(self) -> ReceivedMetadata:
        """
        The initial metadata as soon as it arrives, which may be long before the first response.

        Empty if the call succeeded without any. Raises `RpcError` if it failed before.
        """
        return await self._call.wait_for_headers()

    @property
    def trailing_metadata(self) -> ReceivedMetadata:
        """What the server sent with its status; complete at the end."""
        return self._call.trailing_metadata

    @property
    def compressed(self) -> bool:
        """Whether the response that was read last came compressed."""
        return self._call.compressed

    def cancel(self) -> None:
        """Give the call up; nothing happens when it is over."""
        self._call.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        self.cancel()


class ResponseStream(StreamingCall, Generic[Response]):
    """
    The responses of a streaming call: ``async for response in stream``.

    Raises `RpcError` at the end of a failed call.
    """

    def __init__(self, call: ClientCall[Any, Response], sender: Deferred[None] | None = None) -> None:
        super().__init__(call)
        self._sender = sender

    def cancel(self) -> None:
        """Give the call up, and what sends its requests."""
        super().cancel()
        stop_sender(self._sender)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Response:
        try:
            return await self._call.next_response()  # type: ignore[no-any-return]  # the base class knows no type
        except (StopAsyncIteration, RpcError):
            stop_sender(self._sender)
            raise


class RequestStream(StreamingCall, Generic[Request, Response]):
    """
    A client-streaming call in which requests are sent one by one::

        call = channel.open_stream_unary(METHOD)
        await call.send(request)
        response = await call.response()
    """

    async def send(self, request: Request, *, compressed: bool = True) -> None:
        """
        Send one request; returns when the server's windows have taken it.

        `compressed` may be false to send it as it is in a call with compression. Raises `RpcError` if the call failed; what is
        sent after the server answered with OK is dropped. Cancelling the Deferred that awaits this cancels the call.
        """
        await self._call.send(request, compressed=compressed)

    def done_sending(self) -> None:
        """Tell the server that no more requests follow; to be called once all of them were awaited."""
        self._call.done_sending()

    async def response(self) -> Response:
        """Say that no more requests follow, and wait for the response. Raises `RpcError`."""
        self._call.done_sending()
        return await self._call.response()  # type: ignore[no-any-return]


class DuplexStream(StreamingCall, Generic[Request, Response]):
    """
    A bidirectional call in which requests and responses are taken one by one, in any order::

        async with channel.open_stream_stream(METHOD) as call:
            await call.send(ping)
            pong = await call.receive()
            call.done_sending()
            async for response in call: ...
    """

    async def send(self, request: Request, *, compressed: bool = True) -> None:
        """See `RequestStream.send`."""
        await self._call.send(request, compressed=compressed)

    def done_sending(self) -> None:
        """Tell the server that no more requests follow; to be called once all of them were awaited."""
        self._call.done_sending()

    async def receive(self) -> Response | None:
        """The next response, None after the last. Raises `RpcError` if the call failed."""
        try:
            return await self._call.next_response()  # type: ignore[no-any-return]
        except StopAsyncIteration:
            return None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Response:
        return await self._call.next_response()  # type: ignore[no-any-return]


def stop_sender(sender: Deferred[None] | None) -> None:
    """End the coroutine that sends requests, if it still runs."""
    if sender is not None and not sender.called:
        sender.addErrback(_ignore_cancelled)
        sender.cancel()


def _ignore_cancelled(failure: Failure) -> None:
    failure.trap(CancelledError)
