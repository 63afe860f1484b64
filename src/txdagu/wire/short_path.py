"""
The frames of ordinary calls without the detours.

For every frame h2 makes a frame object with a set of flags, looks up two state machines and validates what its own output
cannot get wrong; a unary call costs it some 80 microseconds. Yet nearly all frames are one of four: a request's HEADERS
in one piece, DATA without padding, a response's HEADERS, its trailers. For those, and only in the states in which nothing
can be wrong with them, this class changes h2's own attributes as h2 would and leaves out the rest. Everything else goes
the long way, in any order and on the same streams, so the short path never has to know what is a protocol error.

tests/unit/wire/test_short_path.py drives both ways with the same frames and compares events, bytes and what h2 then holds.
"""

# ruff: noqa: SLF001  # h2's private names; all that we use are here and in http2
from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import Any

from h2.connection import ConnectionState, _decode_headers
from h2.events import DataReceived, Event, RequestReceived, StreamEnded
from h2.exceptions import ProtocolError
from h2.stream import H2Stream, H2StreamStateMachine, StreamClosedBy, StreamState
from h2.utilities import is_informational_response
from hyperframe.frame import Frame

from txdagu.wire.header_blocks import HeaderBlock
from txdagu.wire.http2 import FRAME_HEADER_SIZE, Http2Connection

_DATA, _HEADERS, _CONTINUATION = 0x0, 0x1, 0x9
_END_STREAM, _END_HEADERS = 0x1, 0x4
_WHOLE = (_END_HEADERS, _END_HEADERS | _END_STREAM)  # neither padded nor with a priority nor continued
_OPEN, _CLOSED = StreamState.OPEN, StreamState.CLOSED
_HALF_CLOSED_LOCAL, _HALF_CLOSED_REMOTE = StreamState.HALF_CLOSED_LOCAL, StreamState.HALF_CLOSED_REMOTE
_SERVING, _ASKING = ConnectionState.SERVER_OPEN, ConnectionState.CLIENT_OPEN
_FRAME_HEAD = Struct(">HBBBL")  # length (in two parts), type, flags, stream


class ShortPathConnection(Http2Connection):
    """An `Http2Connection` for which ordinary calls are cheap."""

    def __init__(self, *, client_side: bool) -> None:
        super().__init__(client_side=client_side)
        self._our_window = self.local_settings.initial_window_size
        self._their_window = self.remote_settings.initial_window_size
        self._stream_limit = self.local_settings.max_concurrent_streams
        self._stream_numbers = 0 if client_side else 1  # the last bit of the peer's

    # What arrives

    def _whole_frame(self, frame: bytes) -> list[Event]:
        """The events of one frame."""
        kind, flags = frame[3], frame[4]
        events: list[Event] | None = None
        if kind == _DATA:
            if flags <= _END_STREAM:
                events = self._receive_plain_data(frame, flags)
        elif kind == _HEADERS and flags in _WHOLE:
            events = self._receive_plain_request(frame, flags)
        return self.receive_data(frame) if events is None else events

    def _receive_plain_data(self, frame: bytes, end: int) -> list[Event] | None:
        """DATA of a stream in which it is expected and fits the windows; None if anything else is the case."""
        stream_id = int.from_bytes(frame[5:9], "big")
        stream = self.streams.get(stream_id)
        if stream is None or self.incoming_buffer._headers_buffer or not self._is_working():
            return None
        machine = stream.state_machine
        state = machine.state
        if (state is not _OPEN and (state is not _HALF_CLOSED_LOCAL or end)) or not machine.headers_received:
            return None
        size = len(frame) - FRAME_HEADER_SIZE
        connection_window, window = self._inbound_flow_control_window_manager, stream._inbound_window_manager
        if (
            size > connection_window.current_window_size
            or size > window.current_window_size
            or stream._expected_content_length is not None
        ):
            return None
        connection_window.current_window_size -= size
        window.current_window_size -= size
        stream._actual_content_length += size
        data = frame[FRAME_HEADER_SIZE:]
        if not end:
            return [DataReceived(stream_id=stream_id, data=data, flow_controlled_length=size)]
        machine.state = _HALF_CLOSED_REMOTE
        ended = StreamEnded(stream_id=stream_id)
        return [
            DataReceived(stream_id=stream_id, data=data, flow_controlled_length=size, stream_ended=ended),
            ended,
        ]

    def _receive_plain_request(self, frame: bytes, flags: int) -> list[Event] | None:
        """HEADERS that open a stream which may be opened; None if they do not."""
        stream_id = int.from_bytes(frame[5:9], "big")
        if (
            stream_id <= self.highest_inbound_stream_id
            or stream_id >> 31
            or not stream_id & self._stream_numbers
            or self.state_machine.state is not _SERVING
            or self.incoming_buffer._headers_buffer
            or len(self.streams) >= self._stream_limit
        ):
            return None
        try:
            headers: HeaderBlock = _decode_headers(self.decoder, frame[FRAME_HEADER_SIZE:])  # type: ignore[assignment]
            stream = H2Stream(stream_id, self.config, self._our_window, self._their_window)
            stream.max_outbound_frame_size = self.max_outbound_frame_size
            self.streams[stream_id] = stream
            self.highest_inbound_stream_id = stream_id
            if not headers.is_plain:
                if is_informational_response(headers):
                    raise ProtocolError("a request with the status of a response")
                stream._initialize_content_length(headers)
                headers.is_plain = stream._expected_content_length is None
        except ProtocolError as error:
            self._terminate_connection(error.error_code)
            raise
        machine = stream.state_machine
        machine.client = False
        machine.headers_received = True
        if not flags & _END_STREAM:
            machine.state = _OPEN
            return [RequestReceived(stream_id=stream_id, headers=headers)]
        machine.state = _HALF_CLOSED_REMOTE
        ended = StreamEnded(stream_id=stream_id)
        return [RequestReceived(stream_id=stream_id, headers=headers, stream_ended=ended), ended]

    def _receive_settings_frame(self, frame: Any) -> tuple[list[Frame], list[Event]]:
        """As in h2; and know the peer's window for new streams."""
        result = super()._receive_settings_frame(frame)
        self._their_window = self.remote_settings.initial_window_size
        return result

    # What leaves

    def send_headers(
        self,
        stream_id: int,
        headers: Iterable[Any],
        end_stream: bool = False,
        priority_weight: int | None = None,
        priority_depends_on: int | None = None,
        priority_exclusive: bool | None = None,
    ) -> None:
        """
        As in h2, with headers in bytes. A server's response headers, or trailers, in a stream that waits for them are only
        encoded and queued.

        Raises `ProtocolError` where the stream is in no state to send them.
        """
        stream = self.streams.get(stream_id)
        if stream is not None and self.state_machine.state is _SERVING:
            machine = stream.state_machine
            if machine.headers_sent:
                fits = end_stream and not machine.trailers_sent and _may_send(machine)
            else:
                fits = _may_send(machine) and not is_informational_response(headers)
            if fits:
                block = self.encoder.encode(headers)
                if machine.headers_sent:
                    machine.trailers_sent = True
                machine.headers_sent = True
                self._queue_block(stream_id, block, _END_STREAM if end_stream else 0)
                if end_stream:
                    _end_our_side(machine)
                return
        super().send_headers(stream_id, headers, end_stream, priority_weight, priority_depends_on, priority_exclusive)

    def send_data(
        self, stream_id: int, data: bytes | memoryview, end_stream: bool = False, pad_length: Any = None
    ) -> None:
        """
        As in h2.

        Raises `ProtocolError` where the stream is in no state to send it, or it does not fit the windows or one frame.
        """
        stream = self.streams.get(stream_id)
        size = len(data)
        if (
            stream is None
            or pad_length is not None
            or size > self.outbound_flow_control_window
            or size > stream.outbound_flow_control_window
            or size > self.max_outbound_frame_size
            or not self._is_working()
            or not _may_send(stream.state_machine)
        ):
            super().send_data(stream_id, data, end_stream, pad_length)
            return
        self.outbound_flow_control_window -= size
        stream.outbound_flow_control_window -= size
        self._data_to_send += _FRAME_HEAD.pack(
            size >> 8, size & 0xFF, _DATA, _END_STREAM if end_stream else 0, stream_id
        )
        self._data_to_send += data
        if end_stream:
            _end_our_side(stream.state_machine)

    def _is_working(self) -> bool:
        state = self.state_machine.state
        return state is _SERVING or state is _ASKING

    def _queue_block(self, stream_id: int, block: bytes, flags: int) -> None:
        """A header block as a HEADERS frame, and as many CONTINUATION frames as it needs (RFC 9113 section 6.10)."""
        limit = self.max_outbound_frame_size
        kind = _HEADERS
        while len(block) > limit:
            self._data_to_send += _FRAME_HEAD.pack(limit >> 8, limit & 0xFF, kind, flags, stream_id)
            self._data_to_send += block[:limit]
            block = block[limit:]
            kind, flags = _CONTINUATION, 0
        size = len(block)
        self._data_to_send += _FRAME_HEAD.pack(size >> 8, size & 0xFF, kind, flags | _END_HEADERS, stream_id)
        self._data_to_send += block


def _may_send(machine: H2StreamStateMachine) -> bool:
    state = machine.state
    return state is _OPEN or state is _HALF_CLOSED_REMOTE


def _end_our_side(machine: H2StreamStateMachine) -> None:
    if machine.state is _OPEN:
        machine.state = _HALF_CLOSED_LOCAL
    else:
        machine.state = _CLOSED
        machine.stream_closed_by = StreamClosedBy.SEND_END_STREAM
