"""What servers and clients share: streams, windows, pings, GOAWAY. See `server` and `client` for the two roles."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from h2 import events as h2
from h2.errors import ErrorCodes

from txdagu.wire.compression import compress, decompress
from txdagu.wire.events import (
    ConnectionBroken,
    Event,
    MessageReceived,
    PeerLeaving,
    PeerReady,
    PingAnswered,
    SendingResumed,
    StreamLimitChanged,
)
from txdagu.wire.framing import PREFIX_SIZE, FrameReader, encode_frame
from txdagu.wire.http2 import CONNECTION_WINDOW, STREAM_WINDOW, Http2Connection, PeerError
from txdagu.wire.outcome import reset_name
from txdagu.wire.sending import Outbox, Sender
from txdagu.wire.status import RpcError

DEFAULT_MAX_MESSAGE_SIZE = 16 * 1024 * 1024


class Stream:
    """One call on a connection: what arrives is put together in `reader`, what leaves waits in `outbox`."""

    __slots__ = (
        "accepted",
        "compressing",
        "credit_given",
        "credit_open",
        "encoding",
        "headers_done",
        "ignoring",
        "messages_open",
        "outbox",
        "reader",
        "remote_ended",
        "stream_id",
    )

    def __init__(self, stream_id: int, max_message_size: int) -> None:
        self.stream_id = stream_id
        self.reader = FrameReader(max_message_size)
        self.outbox = Outbox(stream_id)
        self.encoding = b""  # of what arrives
        self.accepted = b""  # the encodings that a client can read
        self.compressing = False  # whether our messages are sent as gzip
        self.headers_done = False
        self.ignoring = False
        self.remote_ended = False
        # Flow control. Bytes of delivered messages come back by `consumed`. Those of an incomplete message are given back
        # as they come, since nobody could consume it otherwise, but only while no delivered message waits to be consumed.
        self.messages_open = 0
        self.credit_given = 0  # given back in advance for the incomplete message
        self.credit_open = 0  # to be given back with the next WINDOW_UPDATE


class Connection(ABC):
    """
    A sans-I/O connection. `receive` never raises: what the peer does wrong is the event `ConnectionBroken`.

    Call `outgoing` after every other method and write what it returns. Once the connection is broken, or closed by
    `close`, all sending methods do nothing.
    """

    def __init__(self, *, client_side: bool, max_message_size: int = DEFAULT_MAX_MESSAGE_SIZE) -> None:
        self._http2 = Http2Connection(client_side=client_side)
        self._sender = Sender(self._http2)
        self._streams: dict[int, Stream] = {}
        self._max_message_size = max_message_size
        self._connection_credit = 0
        self._peer_ready = False
        self._broken = False
        self._events: list[Event] = []
        self._handlers: dict[type[h2.Event], Callable[[Any], None]] = {
            h2.DataReceived: self._data,
            h2.StreamEnded: self._ended,
            h2.StreamReset: self._reset,
            h2.WindowUpdated: self._window,
            h2.RemoteSettingsChanged: self._settings,
            h2.PingAckReceived: self._ping_answered,
            h2.ConnectionTerminated: self._goaway,
        }

    def start(self) -> None:
        """Queue our preface."""
        self._http2.start()

    @property
    def open_streams(self) -> int:
        """How many calls are on the connection, those which only wait for their last bytes to be sent included."""
        return len(self._streams)

    @property
    def is_usable(self) -> bool:
        """Whether anything but what is outgoing already can be sent."""
        return not self._broken and not self._http2.is_closed

    def receive(self, data: bytes) -> list[Event]:
        """What received bytes mean."""
        if self._broken:
            return []
        events = self._events
        try:
            for event in self._http2.events(data):
                # Events without a handler (priorities, unknown frames, acknowledged settings) need none.
                handler = self._handlers.get(event.__class__)
                if handler is not None:
                    handler(event)
                if self._broken:
                    break
        except PeerError as error:
            self._break(f"protocol error of the peer: {error}")
        self._events = []
        return events

    def outgoing(self) -> bytes:
        """The bytes to write now."""
        return self._http2.data_to_send()

    def pause_sending(self) -> None:
        """Hold messages back: the transport cannot take more. Headers, trailers and control frames still go out."""
        self._sender.paused = True

    def resume_sending(self) -> list[Event]:
        """Go on with the messages held back."""
        self._sender.paused = False
        return [SendingResumed(stream_id) for stream_id in self._run_sender()] if self.is_usable else []

    def send_message(self, stream_id: int, payload: bytes, *, compressed: bool = True) -> bool:
        """
        Queue one message. True when all of the stream's bytes have been handed out; else `SendingResumed` will follow.

        In a call whose messages are compressed, `compressed` may be false for one that must not be.

        Unknown streams (the call ended meanwhile) are fine and count as sent.
        """
        stream = self._streams.get(stream_id)
        if stream is None or stream.outbox.wants_end or not self.is_usable:
            return True
        self._before_message(stream)
        stream.outbox.add(self._frame(stream, payload, compressed))
        self._submit(stream)
        return not stream.outbox.chunks

    def consumed(self, stream_id: int, credit: int) -> None:
        """A delivered message was used; the peer may send that much more in this call."""
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        stream.messages_open -= 1
        stream.credit_open += credit
        if stream.messages_open == 0:
            self._advance_credit(stream)
        self._give_back(stream)

    def ping(self, payload: bytes) -> None:
        """Send a PING with eight bytes; `PingAnswered` follows."""
        if self.is_usable:
            self._http2.ping(payload)

    def close(self, reason: str = "") -> None:
        """Queue a final GOAWAY. Nothing can be sent after it."""
        if self.is_usable:
            self._http2.end(reason.encode("utf-8", "replace") or None)
        for stream in self._streams.values():
            self._sender.drop(stream.outbox)
        self._streams.clear()

    def _frame(self, stream: Stream, payload: bytes, compressed: bool) -> bytes:
        """A message as it is sent in this call."""
        if compressed and stream.compressing and (packed := compress(payload)) is not None:
            return encode_frame(packed, compressed=True)
        return encode_frame(payload)

    def _reset_stream(self, stream: Stream, code: ErrorCodes) -> None:
        """Tell the peer that the stream is over, unless both sides know it already, and forget it."""
        stream_id, http2 = stream.stream_id, self._http2
        self._sender.drop(stream.outbox)
        http2.forget(stream_id)
        if stream_id in http2.streams and self.is_usable:
            http2.reset_stream(stream_id, code)
            http2.forget(stream_id)
        self._streams.pop(stream_id, None)

    def _submit(self, stream: Stream) -> None:
        self._sender.submit(stream.outbox)
        self._after_sending(stream)

    def _run_sender(self) -> list[int]:
        emptied = self._sender.run()
        for stream_id in emptied:
            self._after_sending(self._streams[stream_id])
        return emptied

    def _break(self, reason: str) -> None:
        self._broken = True
        self._events.append(ConnectionBroken(reason))

    # What the roles fill in

    @abstractmethod
    def _before_message(self, stream: Stream) -> None:
        """A message is about to be queued."""

    @abstractmethod
    def _after_sending(self, stream: Stream) -> None:
        """Bytes, or the end of our side, may have been sent."""

    @abstractmethod
    def _unreadable(self, stream: Stream, error: RpcError) -> None:
        """The peer's messages cannot be read."""

    @abstractmethod
    def _discarded(self, stream: Stream) -> None:
        """Bytes were thrown away, because the stream's messages cannot be read or it is no call."""

    @abstractmethod
    def _peer_ended(self, stream: Stream) -> None:
        """The peer sends nothing more in this stream."""

    @abstractmethod
    def _peer_reset(self, stream: Stream, code: int) -> None:
        """The peer reset the stream."""

    @abstractmethod
    def _peer_leaves(self, last_stream_id: int) -> None:
        """The peer sent a GOAWAY."""

    # What h2 reports

    def _data(self, event: h2.DataReceived) -> None:
        size = event.flow_controlled_length
        self._connection_credit += size
        if self._connection_credit >= CONNECTION_WINDOW // 4:
            self._http2.give_back(self._connection_credit)
            self._connection_credit = 0
        stream = self._streams.get(event.stream_id)
        if stream is None:
            return
        if stream.ignoring:
            stream.credit_open += size  # never given back, so an unwanted request ends here
            self._discarded(stream)
            return
        try:
            frames = stream.reader.feed(event.data)
            stream.credit_open += size - len(event.data)
            for frame in frames:
                payload = frame.payload
                credit = PREFIX_SIZE + len(payload) - stream.credit_given
                stream.credit_given = 0
                if frame.compressed:
                    payload = decompress(stream.encoding, payload, self._max_message_size)
                stream.messages_open += 1
                self._events.append(MessageReceived(event.stream_id, payload, credit, frame.compressed))
        except RpcError as error:
            stream.ignoring = True
            self._unreadable(stream, error)
            return
        if event.stream_ended is None:
            if stream.messages_open == 0:
                self._advance_credit(stream)
            self._give_back(stream)

    def _advance_credit(self, stream: Stream) -> None:
        pending = stream.reader.pending
        stream.credit_open += pending - stream.credit_given
        stream.credit_given = pending

    def _give_back(self, stream: Stream) -> None:
        if stream.credit_open >= STREAM_WINDOW // 4 and not stream.remote_ended and self.is_usable:
            self._http2.give_back(stream.credit_open, stream.stream_id)
            stream.credit_open = 0

    def _ended(self, event: h2.StreamEnded) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is not None:
            stream.remote_ended = True
            self._peer_ended(stream)

    def _reset(self, event: h2.StreamReset) -> None:
        stream = self._streams.pop(event.stream_id, None)
        if stream is not None:
            self._sender.drop(stream.outbox)
            self._peer_reset(stream, int(event.error_code or 0))

    def _window(self, event: h2.WindowUpdated) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is not None:
            self._sender.stream_ready(stream.outbox)
        self._events += [SendingResumed(stream_id) for stream_id in self._run_sender()]

    def _settings(self, event: h2.RemoteSettingsChanged) -> None:
        if not self._peer_ready:
            self._peer_ready = True
            self._events.append(PeerReady())
        self._events.append(StreamLimitChanged())
        for stream in self._streams.values():
            self._sender.stream_ready(stream.outbox)
        self._events += [SendingResumed(stream_id) for stream_id in self._run_sender()]

    def _ping_answered(self, event: h2.PingAckReceived) -> None:
        self._events.append(PingAnswered(event.ping_data))

    def _goaway(self, event: h2.ConnectionTerminated) -> None:
        code = int(event.error_code or 0)
        last_stream_id = event.last_stream_id or 0
        debug = (event.additional_data or b"").decode("utf-8", "replace")
        reason = f"the peer sent GOAWAY {reset_name(code)}" + (f' "{debug}"' if debug else "")
        too_many_pings = code == ErrorCodes.ENHANCE_YOUR_CALM and debug == "too_many_pings"
        self._events.append(PeerLeaving(last_stream_id, reason, too_many_pings))
        self._peer_leaves(last_stream_id)
        if code != ErrorCodes.NO_ERROR:
            self._break(reason)
