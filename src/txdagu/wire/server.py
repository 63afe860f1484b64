"""The server's side of a connection: requests in, replies out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from h2 import events as h2
from h2.errors import ErrorCodes

from txdagu.wire.compression import ACCEPTED, IDENTITY, Compression, is_accepted
from txdagu.wire.connection import DEFAULT_MAX_MESSAGE_SIZE, Connection
from txdagu.wire.events import CallCancelled, CallRejected, CallStarted, RequestsEnded
from txdagu.wire.headers import check_trailers
from txdagu.wire.http2 import LARGEST_STREAM_ID, STREAM_WINDOW
from txdagu.wire.metadata import (
    NONE,
    Header,
    InvalidMetadataError,
    Metadata,
    cut_message,
    encode_message,
    encode_metadata,
    encode_status_details,
    header_list_size,
)
from txdagu.wire.outcome import reset_name
from txdagu.wire.policing import REFUSED_CALL
from txdagu.wire.request import HeadersTooLargeError, MalformedRequestError, NotGrpcError, read_request
from txdagu.wire.status import RpcError, StatusCode
from txdagu.wire.stream import Stream

# Far above a worker's hundred parked polls. The limit is not announced, since clients would hold calls back long before.
DEFAULT_MAX_STREAMS = 20_000
# Headers up to this size are not counted as memory held for the peer.
_SMALL_HEADERS = 2048
# A status message up to this size fits whatever a client takes.
_SHORT_MESSAGE = 512
_LEAVING_PING = b"leaving."
_REPLY: tuple[Header, ...] = ((b":status", b"200"), (b"content-type", b"application/grpc"))
_GZIP_REPLY: tuple[Header, ...] = (*_REPLY, (b"grpc-encoding", b"gzip"))
_OK: tuple[Header, ...] = ((b"grpc-status", b"0"), (b"grpc-message", b""))
# Requests that are no gRPC calls are answered when they have ended, or have used up this much of their window.
LARGEST_REFUSED = STREAM_WINDOW // 4
# Beyond this many of them the next are answered at once: nobody counts them as calls.
_REFUSALS_WAITING = 100


class ServerConnection(Connection):
    """
    A connection as the server sees it.

    A call is `CallStarted`, then messages, then `RequestsEnded`; it is answered with `send_message` any number of times
    and one `finish`. `CallCancelled` means that nobody waits for the answer any more. Calls that are not gRPC at all are
    answered here. Beyond `max_streams` open calls a new one is refused with REFUSED_STREAM, which lets clients repeat it.
    """

    def __init__(
        self, *, max_message_size: int = DEFAULT_MAX_MESSAGE_SIZE, max_streams: int = DEFAULT_MAX_STREAMS
    ) -> None:
        super().__init__(client_side=False, max_message_size=max_message_size)
        self._max_streams = max_streams
        self._handlers[h2.RequestReceived] = self._request
        self._handlers[h2.TrailersReceived] = self._trailers
        self._initial_metadata: dict[int, tuple[Header, ...]] = {}
        self._leaving = False
        self._refusals: dict[int, tuple[bytes, str]] = {}  # answers to requests that are no gRPC calls and still go on
        self._refusing = False
        self._reason: bytes | None = None

    def set_initial_metadata(self, stream_id: int, metadata: Metadata) -> None:
        """
        What the reply's headers shall carry.

        Raises `InvalidMetadataError`, also for more than the client takes, and RuntimeError when they have been sent.
        """
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        if stream.headers_done:
            raise RuntimeError("the initial metadata of this call has been sent already")
        headers = tuple(encode_metadata(metadata))
        limit = self._http2.remote_settings.max_header_list_size
        if limit is not None and (size := header_list_size(_GZIP_REPLY + headers)) > limit:
            raise InvalidMetadataError(f"the initial metadata has {size} bytes, more than the {limit} the client takes")
        self._initial_metadata[stream_id] = headers

    def set_compression(self, stream_id: int, compression: Compression) -> None:
        """
        How the responses of a call are compressed. A client that cannot read that gets them as they are.

        Raises RuntimeError when the reply's headers have been sent.
        """
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        if stream.headers_done:
            raise RuntimeError("the compression of this call has been told to the client already")
        stream.compressing = compression != IDENTITY and is_accepted(compression, stream.accepted)

    def send_initial_metadata(self, stream_id: int) -> None:
        """Send the reply's headers now, before there is a message or a status. Nothing happens when they have been sent."""
        stream = self._streams.get(stream_id)
        if stream is not None and not stream.outbox.wants_end and self.is_usable:
            self._before_message(stream)

    def finish(
        self,
        stream_id: int,
        code: StatusCode,
        message: str = "",
        metadata: Metadata = NONE,
        status_details: bytes = b"",
    ) -> None:
        """
        End a call with a status, after all messages queued before.

        `status_details` are the bytes of a `google.rpc.Status`. What is more than the client takes, who would never see the
        status then, is left out (details), cut off (the message), or is itself the status (metadata: RESOURCE_EXHAUSTED).
        Raises `InvalidMetadataError`. Unknown streams (the client gave up) are fine.
        """
        stream = self._streams.get(stream_id)
        if stream is None or stream.outbox.wants_end or not self.is_usable:
            return
        trailers = _OK if code is StatusCode.OK and not message else _status(code, message)
        if metadata or status_details or len(message) > _SHORT_MESSAGE:
            trailers = self._fitting(stream_id, trailers, tuple(encode_metadata(metadata)), status_details)
        if stream.headers_done:
            stream.outbox.wants_end = True
            stream.outbox.trailers = trailers
            self._submit(stream)
            return
        stream.headers_done = True
        headers = self._reply_headers(stream, _REPLY) + trailers
        if code is StatusCode.UNIMPLEMENTED:
            headers = (*headers, (b"grpc-accept-encoding", ACCEPTED))
        self._end_with(stream, headers)

    def cancel(self, stream_id: int) -> None:
        """End a call without a status; the client sees it as cancelled."""
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._reset_stream(stream, ErrorCodes.CANCEL)

    def refuse(self, stream_id: int) -> None:
        """End a call that nobody has looked at in a way that lets the client repeat it (RFC 9113 section 8.7)."""
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._reset_stream(stream, ErrorCodes.REFUSED_STREAM)

    def lagging(self) -> Iterator[tuple[int, int]]:
        """See `Connection.lagging`; and requests that are no gRPC calls and do not end."""
        yield from super().lagging()
        for stream_id in self._refusals:
            yield stream_id, 0

    @property
    def last_stream_id(self) -> int:
        """The stream of the newest call; 0 before the first."""
        return self._http2.highest_inbound_stream_id

    @property
    def is_refusing(self) -> bool:
        """Whether new calls are refused: the client knows that we leave, or did not say so in time."""
        return self._refusing

    def announce_end(self, reason: str = "") -> None:
        """
        Ask the client to make no new calls here.

        Calls that were on their way when it hears of it are still served. Its answer to the PING that goes along shows that
        none can follow any more: then `refuse_new_calls` happens by itself (RFC 9113 section 6.8).
        """
        if not self._leaving and self.is_usable:
            self._leaving = True
            self._reason = reason.encode("utf-8", "replace") or None
            self._http2.announce_end(LARGEST_STREAM_ID, self._reason)
            self._http2.ping(_LEAVING_PING)

    def refuse_new_calls(self) -> None:
        """From now on new calls are refused in a way that tells clients to go elsewhere; the open ones go on."""
        if not self._refusing and self.is_usable:
            self._leaving = self._refusing = True
            self._http2.announce_end(self.last_stream_id, self._reason)

    def _request(self, event: h2.RequestReceived) -> None:
        stream_id = event.stream_id
        stream = Stream(stream_id, self._max_message_size)
        self._streams[stream_id] = stream
        if self._refusing:
            self._reset_stream(stream, ErrorCodes.REFUSED_STREAM)
            return
        if len(self._streams) > self._max_streams:
            self._policing.charge(REFUSED_CALL)
            self._reset_stream(stream, ErrorCodes.REFUSED_STREAM)
            return
        try:
            head = read_request(event.headers)
        except HeadersTooLargeError as error:
            reply = [(b":status", b"431"), _REPLY[1], *_status(StatusCode.RESOURCE_EXHAUSTED, str(error))]
            stream.headers_done = True
            self._end_with(stream, reply)
        except MalformedRequestError:
            self._reset_stream(stream, ErrorCodes.PROTOCOL_ERROR)
        except NotGrpcError as error:
            # No gRPC client, so none that waits for an answer before it goes on, and the rest may yet be malformed.
            stream.ignoring = stream.outbox.wants_end = True  # its owner, who was told of no call, cannot answer it
            self._refusals[stream_id] = (error.http_status, error.message)
            if len(self._refusals) > _REFUSALS_WAITING:
                self._refuse(stream)
        except RpcError as error:
            self.finish(stream_id, error.code, error.message)
        else:
            if head.timeout == 0:
                self.finish(stream_id, StatusCode.DEADLINE_EXCEEDED, "the deadline had passed when the call arrived")
                return
            stream.encoding, stream.accepted = head.encoding, head.accepted
            if head.size > _SMALL_HEADERS:
                stream.held_metadata = head.size
                self._held += head.size
            self._events.append(CallStarted(stream_id, head.path, head.metadata, head.timeout))

    def _trailers(self, event: h2.TrailersReceived) -> None:
        """Clients of gRPC send none. What well-formed ones say is not looked at; `StreamEnded` follows."""
        stream = self._streams.get(event.stream_id)
        problem = check_trailers(event.headers)
        if stream is None or problem is None:
            return
        self._reset_stream(stream, ErrorCodes.PROTOCOL_ERROR)
        if not stream.ignoring:
            self._events.append(CallCancelled(stream.stream_id, f"the request is malformed: {problem}"))

    def _refuse(self, stream: Stream) -> None:
        """Answer what is no gRPC call as HTTP does, in words for whoever sent it."""
        refusal = self._refusals.pop(stream.stream_id, None)
        if refusal is None:
            return
        status, text = refusal
        headers = [(b":status", status), (b"content-type", b"text/plain; charset=utf-8")]
        if status == b"405":
            headers.append((b"allow", b"POST"))
        stream.headers_done = True
        self._http2.send_headers(stream.stream_id, [*headers, *_status(StatusCode.INTERNAL, text)])
        self._sender.add(stream.outbox, text.encode("utf-8") + b"\n")
        self._submit(stream)

    def close(self, reason: str = "") -> None:
        """See `Connection.close`."""
        super().close(reason)
        self._initial_metadata.clear()
        self._refusals.clear()

    def _reset_stream(self, stream: Stream, code: ErrorCodes) -> None:
        self._forget_answer(stream)
        super()._reset_stream(stream, code)

    def _forget_answer(self, stream: Stream) -> None:
        """Nobody waits for the answer any more."""
        self._initial_metadata.pop(stream.stream_id, None)
        self._refusals.pop(stream.stream_id, None)

    def _ping_answered(self, event: h2.PingAckReceived) -> None:
        if self._leaving and event.ping_data == _LEAVING_PING:
            self.refuse_new_calls()
        super()._ping_answered(event)

    def _before_message(self, stream: Stream) -> None:
        if not stream.headers_done:
            stream.headers_done = True
            reply = _GZIP_REPLY if stream.compressing else _REPLY
            self._http2.send_headers(stream.stream_id, self._reply_headers(stream, reply))

    def _fitting(
        self, stream_id: int, status: tuple[Header, ...], metadata: tuple[Header, ...], status_details: bytes
    ) -> tuple[Header, ...]:
        """Trailers that the client takes."""
        limit = self._http2.remote_settings.max_header_list_size
        details = (encode_status_details(status_details),) if status_details else ()
        if limit is None:
            return (*status, *metadata, *details)
        room = limit - header_list_size((*_GZIP_REPLY, *self._initial_metadata.get(stream_id, ())))
        for trailers in ((*status, *metadata, *details), (*status, *metadata)):
            if header_list_size(trailers) <= room:
                return trailers
        size = header_list_size(metadata)
        if size > room - header_list_size(status[:1]) - _SHORT_MESSAGE:
            text = f"grpc: the trailing metadata has {size} bytes, more than the client takes"
            return _status(StatusCode.RESOURCE_EXHAUSTED, text)
        code, (name, text_sent) = status
        spare = room - size - header_list_size((code, (name, b"")))
        return (code, (name, cut_message(text_sent, spare)), *metadata)

    def _reply_headers(self, stream: Stream, first: tuple[Header, ...]) -> tuple[Header, ...]:
        metadata = self._initial_metadata.pop(stream.stream_id, None) if self._initial_metadata else None
        return first + metadata if metadata else first

    def _end_with(self, stream: Stream, headers: Sequence[Header]) -> None:
        """Answer with one block of headers and nothing else ("Trailers-Only")."""
        stream.outbox.wants_end = stream.outbox.ended = True
        self._http2.send_headers(stream.stream_id, headers, end_stream=True)
        self._after_sending(stream)

    def _after_sending(self, stream: Stream) -> None:
        if stream.outbox.ended:
            # RFC 9113 section 8.1: when the answer is complete before the request, the client is told to stop.
            self._policing.calls += 1
            self._reset_stream(stream, ErrorCodes.NO_ERROR)

    def _discarded(self, stream: Stream) -> None:
        if stream.credit_open >= LARGEST_REFUSED:
            self._refuse(stream)

    def _unreadable(self, stream: Stream, error: RpcError) -> None:
        self._events.append(CallRejected(stream.stream_id, error.code, error.message))

    def _peer_ended(self, stream: Stream) -> None:
        if stream.ignoring:
            self._refuse(stream)
            return
        if stream.reader.pending:
            stream.ignoring = True
            text = "grpc: the request ended in the middle of a message"
            self._events.append(CallRejected(stream.stream_id, StatusCode.INTERNAL, text))
        else:
            self._events.append(RequestsEnded(stream.stream_id))

    def _peer_reset(self, stream: Stream, code: int) -> None:
        self._forget_answer(stream)
        self._events.append(
            CallCancelled(stream.stream_id, f"the client ended the call (RST_STREAM {reset_name(code)})")
        )

    def _peer_leaves(self, last_stream_id: int) -> None:
        """Nothing to do: a client that leaves still waits for its open calls."""


def _status(code: StatusCode, message: str) -> tuple[Header, ...]:
    return ((b"grpc-status", b"%d" % code), (b"grpc-message", encode_message(message)))
