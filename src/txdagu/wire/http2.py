"""
The h2 library, tamed for thousands of long calls on one connection.

What differs from plain `h2.connection.H2Connection`:

- Bytes are handed over one frame at a time, so an error in a frame loses no events of the frames before it.
- A graceful GOAWAY, sent or received, lets the open calls finish. h2 would close its state machine and drop its output.
- What costs us more than the peer is counted (`policing`), and the header table a peer lets us keep is bounded.
- Our settings are in force from the first byte, not only from the peer's acknowledgement on.
- Finished streams are dropped at once and counted by the size of a dict; h2 walks all streams at every new one.

This leans on private names of h2 4.x, as `short_path` does and no other file; tests/unit/wire/test_http2.py pins each of them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from h2.config import H2Configuration
from h2.connection import AllowedStreamIDs, ConnectionState, H2Connection
from h2.errors import ErrorCodes
from h2.events import Event
from h2.exceptions import DenialOfServiceError, ProtocolError, StreamClosedError, StreamIDTooLowError
from h2.settings import SettingCodes, Settings
from h2.stream import StreamClosedBy, StreamState
from hpack.exceptions import HPACKError
from hyperframe.exceptions import HyperframeError
from hyperframe.frame import Frame, RstStreamFrame

from txdagu.wire.header_blocks import CachingDecoder, CachingEncoder
from txdagu.wire.policing import END_HEADERS, HEADERS, LATE_FRAME, RST_STREAM, SETTINGS, Policing

PREFACE_SIZE = 24
FRAME_HEADER_SIZE = 9
STREAM_WINDOW = 256 * 1024
CONNECTION_WINDOW = 4 * 1024 * 1024
# What we ask peers to keep to (RFC 9113 section 6.5.2). Up to the larger size a list is still decoded, so that only the call
# is refused and not the connection lost; beyond it decoding stops.
MAX_HEADER_LIST_SIZE = 64 * 1024
LARGEST_HEADER_LIST = 256 * 1024
LARGEST_STREAM_ID = 2**31 - 1
_ACK = 0x1


class PeerError(Exception):
    """The peer broke HTTP/2. What is outgoing (a GOAWAY) should be written, then the connection closed."""


class Http2Connection(H2Connection):
    """One HTTP/2 connection for gRPC. Unlimited concurrent streams, no push, bytes headers, checks left to our codec."""

    # Ids of finished streams, remembered only to tell late frames from nonsense. 64 Ki of them would cost megabytes.
    MAX_CLOSED_STREAMS = 1024

    def __init__(self, *, client_side: bool) -> None:
        super().__init__(
            H2Configuration(
                client_side=client_side,
                header_encoding=None,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
                validate_inbound_headers=False,
                normalize_inbound_headers=False,
            )
        )
        # MAX_CONCURRENT_STREAMS is left out on purpose, which means "no limit": a hundred parked calls would otherwise
        # starve every other call of that client.
        self.local_settings = Settings(
            client=client_side,
            initial_values={
                SettingCodes.ENABLE_PUSH: 0,
                SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
                SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEADER_LIST_SIZE,
            },
        )
        self.decoder = CachingDecoder()
        self.decoder.max_header_list_size = LARGEST_HEADER_LIST
        self.encoder = CachingEncoder()
        self.policing = Policing()
        self._last_stream_id = LARGEST_STREAM_ID
        # h2's own checks its length in Python at every change.
        self._closed_streams: OrderedDict[int, StreamClosedBy | None] = OrderedDict()
        self._pending = bytearray()
        self._preface_left = 0 if client_side else PREFACE_SIZE

    def start(self) -> None:
        """Queue the preface: settings, and a connection window that several streams can share."""
        self.initiate_connection()
        self.increment_flow_control_window(CONNECTION_WINDOW - self.inbound_flow_control_window)

    def events(self, data: bytes) -> Iterator[Event]:
        """The events of received bytes, frame by frame. Raises `PeerError` or `TooMuchError` after the last good one."""
        try:
            if self._preface_left:
                preface, data = data[: self._preface_left], data[self._preface_left :]
                self._preface_left -= len(preface)
                yield from self.receive_data(preface)
            buffer = self._pending
            buffer += data
            position, available = 0, len(buffer)
            while available - position >= FRAME_HEADER_SIZE:
                length = int.from_bytes(buffer[position : position + 3], "big")
                if length > self.max_inbound_frame_size:
                    self._terminate_connection(ErrorCodes.FRAME_SIZE_ERROR)
                    raise PeerError(f"a frame of {length} bytes, more than the {self.max_inbound_frame_size} allowed")
                end = position + FRAME_HEADER_SIZE + length
                if end > available:
                    break
                kind, flags = buffer[position + 3], buffer[position + 4]
                if kind == SETTINGS and flags & _ACK and length:
                    self._terminate_connection(ErrorCodes.FRAME_SIZE_ERROR)  # RFC 9113 section 6.5; h2 has another code
                    raise PeerError("an acknowledgement of settings that has content")
                if kind and not (kind == HEADERS and flags & END_HEADERS):
                    stream_id = int.from_bytes(buffer[position + 5 : position + 9], "big") & LARGEST_STREAM_ID
                    self.policing.frame(kind, flags, length, stream_id, self.streams)
                yield from self._whole_frame(bytes(buffer[position:end]))
                position = end
            del buffer[:position]
        except (ProtocolError, HyperframeError) as error:
            raise PeerError(str(error) or type(error).__name__) from error

    def _whole_frame(self, frame: bytes) -> list[Event]:
        """The events of one frame, as the peer sent it."""
        return self.receive_data(frame)

    @property
    def unfinished_headers(self) -> int:
        """The stream whose header block has begun to arrive and is not complete, or 0."""
        if self.policing.block_stream:
            return self.policing.block_stream
        if len(self._pending) >= FRAME_HEADER_SIZE and self._pending[3] == HEADERS:
            return int.from_bytes(self._pending[5:9], "big") & LARGEST_STREAM_ID
        return 0

    def announce_end(self, last_stream_id: int, debug: bytes | None = None) -> None:
        """
        Send a graceful GOAWAY: streams after `last_stream_id` are not looked at, those up to it go on.

        The number never grows from one GOAWAY to the next (RFC 9113 section 6.8).
        """
        before = self.state_machine.state
        self._last_stream_id = min(last_stream_id, self._last_stream_id)
        self.close_connection(ErrorCodes.NO_ERROR, debug, self._last_stream_id)
        self.state_machine.state = before

    def end(self, debug: bytes | None) -> None:
        """Send the last GOAWAY; nothing can be sent after it."""
        last_stream_id = min(self.highest_inbound_stream_id, self._last_stream_id)
        self.close_connection(ErrorCodes.NO_ERROR, debug, last_stream_id)

    def give_back(self, size: int, stream_id: int | None = None) -> None:
        """Let the peer send `size` bytes more, on the connection or on one stream if that is still known."""
        if stream_id is None or stream_id in self.streams:
            self.increment_flow_control_window(size, stream_id)

    def has_room(self, stream_id: int, size: int) -> bool:
        """Whether the windows and the peer's largest frame allow to send that much at once in an open stream."""
        return (
            size <= self.outbound_flow_control_window
            and size <= self.streams[stream_id].outbound_flow_control_window
            and size <= self.max_outbound_frame_size
        )

    def forget(self, stream_id: int) -> None:
        """Drop a stream if it is closed."""
        stream = self.streams.get(stream_id)
        if stream is not None and stream.state_machine.state is StreamState.CLOSED:
            del self.streams[stream_id]
            closed = self._closed_streams
            closed[stream_id] = stream.state_machine.stream_closed_by
            if len(closed) > self.MAX_CLOSED_STREAMS:
                closed.popitem(last=False)

    @property
    def is_closed(self) -> bool:
        """Whether a GOAWAY with an error was sent or received; only what is outgoing may still be written."""
        return bool(self.state_machine.state is ConnectionState.CLOSED)

    def clear_outbound_data_buffer(self) -> None:
        """Keep what is queued. h2 calls this at a GOAWAY, but frames already encoded must still be sent."""

    def _open_streams(self, remainder: int) -> int:
        """Count without walking: closed streams are not in the dict, and there are no pushed ones."""
        return len(self.streams)

    def _begin_new_stream(self, stream_id: int, allowed_ids: AllowedStreamIDs) -> Any:
        """Servers open streams by PUSH_PROMISE only, which we switched off. h2 would take their HEADERS for a request."""
        if self.config.client_side and allowed_ids is AllowedStreamIDs.EVEN and stream_id % 2 == 0:
            raise ProtocolError(f"the server opened stream {stream_id}")
        return super()._begin_new_stream(stream_id, allowed_ids)

    def _receive_frame(self, frame: Frame) -> list[Event]:
        """As in h2, but without building a trace text, and dropping streams as soon as they are closed."""
        events: list[Event]
        try:
            frames, events = self._frame_dispatch_table[frame.__class__](frame)
        except (StreamClosedError, StreamIDTooLowError) as error:
            # RFC 9113 section 5.1: frames that crossed our reset are discarded, those after the peer's own, or after the end
            # of a request not answered yet, end the stream, and all else is an error of the connection.
            ended_now = list(getattr(error, "_events", ()))
            closed_by = self._stream_closed_by(error.stream_id)
            if closed_by is StreamClosedBy.SEND_RST_STREAM and not ended_now:
                self.policing.charge(LATE_FRAME)
                return []
            if closed_by not in (StreamClosedBy.SEND_RST_STREAM, StreamClosedBy.RECV_RST_STREAM):
                raise error if closed_by is None else StreamClosedError(error.stream_id) from error
            self._charge_for_reset(error.stream_id)
            reset = RstStreamFrame(error.stream_id)
            reset.error_code = ErrorCodes.STREAM_CLOSED
            self._prepare_for_sending([reset])
            self.forget(error.stream_id)
            return ended_now
        except ProtocolError as error:
            if isinstance(error.__cause__, HPACKError) and not isinstance(error, DenialOfServiceError):
                error.error_code = ErrorCodes.COMPRESSION_ERROR  # RFC 9113 section 4.3; h2 says PROTOCOL_ERROR
            raise
        if frames:
            for reply in frames:
                if isinstance(reply, RstStreamFrame):
                    self._charge_for_reset(reply.stream_id)
            self._prepare_for_sending(frames)
        if frame.stream_id:
            self.forget(frame.stream_id)
        return events

    def _handle_data_on_closed_stream(
        self, events: list[Event], exc: StreamClosedError, frame: Any
    ) -> tuple[list[Frame], list[Event]]:
        """As in h2, which gives the connection's window back; but data that crossed our reset draws no other reset."""
        stream_events = getattr(exc, "_events", ())  # whether this frame is why the stream ends
        frames, events = super()._handle_data_on_closed_stream(events, exc, frame)
        if not stream_events and self._stream_closed_by(frame.stream_id) is StreamClosedBy.SEND_RST_STREAM:
            self.policing.charge(LATE_FRAME)
            frames = [answer for answer in frames if not isinstance(answer, RstStreamFrame)]
        return frames, events

    def _charge_for_reset(self, stream_id: int) -> None:
        """The peer makes us reset a stream: one that is open, which is no better than a reset of its own, or a past one."""
        self.policing.charge(RST_STREAM if stream_id in self.streams else LATE_FRAME)

    def _local_settings_acked(self) -> Any:
        """As in h2, but go on decoding more than we ask peers to keep to."""
        changes = super()._local_settings_acked()
        self.decoder.max_header_list_size = LARGEST_HEADER_LIST
        return changes

    def _receive_goaway_frame(self, frame: Any) -> tuple[list[Frame], list[Event]]:
        """Stay open after a graceful GOAWAY."""
        before = self.state_machine.state
        result = super()._receive_goaway_frame(frame)
        if frame.error_code == ErrorCodes.NO_ERROR:
            self.state_machine.state = before
        return result
