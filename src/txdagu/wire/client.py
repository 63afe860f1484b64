"""The client's side of a connection: calls out, answers in."""

from __future__ import annotations

from h2 import events as h2
from h2.errors import ErrorCodes

from txdagu.wire.compression import ACCEPTED, IDENTITY, Compression, check_encoding
from txdagu.wire.connection import DEFAULT_MAX_MESSAGE_SIZE, Connection
from txdagu.wire.events import CallEnded, HeadersReceived
from txdagu.wire.headers import check_response_headers, check_trailers
from txdagu.wire.http2 import MAX_HEADER_LIST_SIZE
from txdagu.wire.metadata import (
    NONE,
    Header,
    InvalidMetadataError,
    Metadata,
    ReceivedMetadata,
    decode_metadata,
    decode_status_details,
    encode_metadata,
    header_list_size,
)
from txdagu.wire.outcome import from_http_status, from_reset, from_trailers
from txdagu.wire.status import RpcError, StatusCode
from txdagu.wire.stream import Stream
from txdagu.wire.timeout import encode_timeout

_NO_TRAILERS = "the server ended the answer without a status"
_REFUSED = 0x7
_LAST_STREAM_ID = 2**31 - 1


class ClientConnection(Connection):
    """
    A connection as the client sees it.

    `start_call` opens a stream, `send_message` and `half_close` fill it. The answer is `HeadersReceived` (perhaps), then
    messages, then `CallEnded` exactly once, unless the connection breaks or `cancel` was called: then nothing more follows.
    """

    def __init__(
        self, *, authority: str, scheme: str, user_agent: str, max_message_size: int = DEFAULT_MAX_MESSAGE_SIZE
    ) -> None:
        super().__init__(client_side=True, max_message_size=max_message_size)
        self._handlers[h2.ResponseReceived] = self._response
        self._handlers[h2.TrailersReceived] = self._trailers
        self._before_path = [(b":method", b"POST"), (b":scheme", scheme.encode("ascii"))]
        self._after_path = [
            (b":authority", authority.encode("idna" if not authority.isascii() else "ascii")),
            (b"content-type", b"application/grpc"),
            (b"user-agent", user_agent.encode("ascii")),
            (b"te", b"trailers"),
            (b"grpc-accept-encoding", ACCEPTED),
        ]
        self._leaving = False

    @property
    def accepts_calls(self) -> bool:
        """Whether new calls belong on this connection: it is usable, the peer is not leaving, and stream ids are left."""
        return self.is_usable and not self._leaving and self._http2.highest_outbound_stream_id < _LAST_STREAM_ID - 2

    @property
    def has_free_stream(self) -> bool:
        """Whether the server's limit of concurrent streams allows one more."""
        return len(self._http2.streams) < self.stream_limit

    @property
    def stream_limit(self) -> int:
        """How many calls the server allows at once."""
        return self._http2.remote_settings.max_concurrent_streams

    def start_call(
        self, path: str, metadata: Metadata, timeout: float | None = None, compression: Compression = IDENTITY
    ) -> int:
        """
        Open a call and return its stream. Requires `accepts_calls` and `has_free_stream`.

        Raises `InvalidMetadataError`, and `RpcError` for more metadata than the server takes, before anything was sent: it
        would end the whole connection with all other calls.
        """
        headers = [*self._before_path, (b":path", path.encode("utf-8")), *self._after_path]
        if timeout is not None:
            headers.append((b"grpc-timeout", encode_timeout(timeout)))
        if compression != IDENTITY:
            headers.append((b"grpc-encoding", compression.encode("ascii")))
        if metadata:
            headers += encode_metadata(metadata)
            self._check_size(headers)
        stream_id = self._http2.get_next_available_stream_id()
        self._http2.send_headers(stream_id, headers)
        stream = self._streams[stream_id] = Stream(stream_id, self._max_message_size)
        stream.compressing = compression != IDENTITY
        self._policing.calls += 1
        return stream_id

    def send_last_message(self, stream_id: int, payload: bytes) -> None:
        """`send_message` and `half_close` in one, which saves a frame."""
        stream = self._streams.get(stream_id)
        if stream is not None and not stream.outbox.wants_end and self.is_usable:
            self._queue_end(stream, payload)

    def half_close(self, stream_id: int) -> None:
        """Say that no more messages follow, after those queued."""
        stream = self._streams.get(stream_id)
        if stream is not None and not stream.outbox.wants_end and self.is_usable:
            self._queue_end(stream, None)

    def cancel(self, stream_id: int) -> None:
        """Give a call up. Calls that are over are fine."""
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._reset_stream(stream, ErrorCodes.CANCEL)

    def _check_size(self, headers: list[Header]) -> None:
        limit = self._http2.remote_settings.max_header_list_size
        if limit is not None and (size := header_list_size(headers)) > limit:
            text = (
                f"the call has headers of {size} bytes, more than the {limit} that the server takes: send less metadata"
            )
            raise RpcError(StatusCode.RESOURCE_EXHAUSTED, text)

    def _queue_end(self, stream: Stream, payload: bytes | None) -> None:
        if payload is not None:
            self._policing.messages += 1
            self._sender.add(stream.outbox, self._frame(stream, payload, compressed=True))
        stream.outbox.wants_end = True
        self._submit(stream)

    def _response(self, event: h2.ResponseReceived) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is None:
            return
        headers: list[Header] = event.headers
        if self._too_large(stream, headers):
            return
        problem = check_response_headers(headers)
        if problem is not None:
            self._malformed(stream, problem)
            return
        if event.stream_ended is not None:
            self._finish(stream, headers, trailers_only=True)
            return
        known = dict(headers)
        status, content_type = known.get(b":status", b""), known.get(b"content-type", b"")
        if status != b"200":
            self._fail(stream, *(from_trailers(headers) or from_http_status(status)))
        elif not content_type.startswith(b"application/grpc"):
            shown = content_type.decode("latin-1")
            self._fail(stream, StatusCode.UNKNOWN, f'the answer has content-type "{shown}", not application/grpc')
        else:
            try:
                stream.encoding = known.get(b"grpc-encoding", b"")
                check_encoding(stream.encoding, StatusCode.INTERNAL)
                metadata = decode_metadata(headers)
            except RpcError as error:
                self._fail(stream, error.code, error.message)
            except InvalidMetadataError as error:
                self._fail(stream, StatusCode.INTERNAL, str(error))
            else:
                stream.headers_done = True
                self._events.append(HeadersReceived(event.stream_id, metadata))

    def _trailers(self, event: h2.TrailersReceived) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is None:
            return
        headers: list[Header] = event.headers
        if self._too_large(stream, headers):
            return
        problem = check_trailers(headers)
        if problem is not None:
            self._malformed(stream, problem)
        else:
            self._finish(stream, headers, trailers_only=False)

    def _too_large(self, stream: Stream, headers: list[Header]) -> bool:
        size = header_list_size(headers)
        if size > MAX_HEADER_LIST_SIZE:
            text = f"the answer has headers of {size} bytes, more than the {MAX_HEADER_LIST_SIZE} allowed"
            self._fail(stream, StatusCode.RESOURCE_EXHAUSTED, text)
        return size > MAX_HEADER_LIST_SIZE

    def _malformed(self, stream: Stream, problem: str) -> None:
        """The answer is no HTTP message (RFC 9113 section 8.1.1)."""
        self._reset_stream(stream, ErrorCodes.PROTOCOL_ERROR)
        text = f"the server's answer is malformed: {problem}"
        self._events.append(CallEnded(stream.stream_id, StatusCode.INTERNAL, text))

    def _finish(self, stream: Stream, headers: list[Header], *, trailers_only: bool) -> None:
        """The last headers of an answer arrived."""
        outcome = from_trailers(headers)
        if outcome is None:
            status = dict(headers).get(b":status", b"200")
            outcome = (
                from_http_status(status) if trailers_only and status != b"200" else (StatusCode.UNKNOWN, _NO_TRAILERS)
            )
        code, message = outcome
        if code is StatusCode.OK and stream.reader.pending:
            code, message = StatusCode.INTERNAL, "grpc: the answer ended in the middle of a message"
        try:
            metadata = decode_metadata(headers)
        except InvalidMetadataError as error:
            self._fail(stream, StatusCode.INTERNAL, str(error))
        else:
            details = b"" if code is StatusCode.OK else decode_status_details(headers)
            self._fail(stream, code, message, metadata, details)

    def _fail(
        self,
        stream: Stream,
        code: StatusCode,
        message: str,
        metadata: ReceivedMetadata = NONE,
        status_details: bytes = b"",
    ) -> None:
        """End a call, whatever the status, and tell the server if it might still go on."""
        self._reset_stream(stream, ErrorCodes.CANCEL)
        self._events.append(CallEnded(stream.stream_id, code, message, metadata, status_details=status_details))

    def _before_message(self, stream: Stream) -> None:
        """The request's headers have been sent by `start_call`."""

    def _after_sending(self, stream: Stream) -> None:
        """The end of our side leaves the call open: the answer follows."""

    def _discarded(self, stream: Stream) -> None:
        """A call whose answer is not wanted is forgotten at once; there is nothing to do here."""

    def _unreadable(self, stream: Stream, error: RpcError) -> None:
        self._fail(stream, error.code, error.message)

    def _peer_ended(self, stream: Stream) -> None:
        self._fail(stream, StatusCode.UNKNOWN, _NO_TRAILERS)

    def _peer_reset(self, stream: Stream, code: int) -> None:
        status, text = from_reset(code)
        # Once it has answered, a server cannot be believed that it did not look at the call.
        unprocessed = code == _REFUSED and not stream.headers_done
        self._events.append(CallEnded(stream.stream_id, status, text, unprocessed=unprocessed))

    def _peer_leaves(self, last_stream_id: int) -> None:
        self._leaving = True
        for stream_id in [stream_id for stream_id in self._streams if stream_id > last_stream_id]:
            stream = self._streams.pop(stream_id)
            self._sender.drop(stream.outbox)
            self._release(stream)
            text = "the server is closing the connection and did not look at the call"
            self._events.append(CallEnded(stream_id, StatusCode.UNAVAILABLE, text, unprocessed=True))
