"""What a handler is, and what it sees of its call."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NoReturn, cast

from txdagu.wire.compression import Compression, check_compression
from txdagu.wire.metadata import Metadata, ReceivedMetadata, encode_metadata, pairs_of
from txdagu.wire.method import RpcMethod
from txdagu.wire.status import RpcError, StatusCode

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from txdagu.grpc.server_call import ServerCall


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
