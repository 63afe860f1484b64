"""What servers and clients share: streams, windows, pings, GOAWAY. See `server` and `client` for the two roles."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
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
from txdagu.wire.framing import PREFIX_SIZE, encode_frame
from txdagu.wire.http2 import CONNECTION_WINDOW, STREAM_WINDOW, Http2Connection, PeerError
from txdagu.wire.outcome import reset_name
from txdagu.wire.policing import FRAGMENT, INFORMATION, SMALL_PIECE, TooMuchError
from txdagu.wire.sending import Sender
from txdagu.wire.short_path import ShortPathConnection
from txdagu.wire.status import RpcError
from txdagu.wire.stream import Stream

DEFAULT_MAX_MESSAGE_SIZE = 16 * 1024 * 1024
# What a waiting message occupies besides its bytes. Empty ones would cost their sender next to nothing otherwise.
_MESSAGE_OVERHEAD = 128


class Connection(ABC):
    """
    A sans-I/O connection. `receive` never raises: what the peer does wrong is the event `ConnectionBroken`.

    Call `outgoing` after every other method and write what it returns. Once the connection is broken, or closed by
    `close`, all sending methods do nothing.
    """

    http2_kind: type[Http2Connection] = ShortPathConnection
    """What speaks HTTP/2. The plain `Http2Connection` does the same, slower."""

    def __init__(self, *, client_side: bool, max_message_size: int = DEFAULT_MAX_MESSAGE_SIZE) -> None:
        self._http2: Http2Connection = self.http2_kind(client_side=client_side)
        self._sender = Sender(self._http2)
        self._streams: dict[int, Stream] = {}
        self._max_message_size = max_message_size
        self._connection_credit = 0
        self._held = 0
        self._policing = self._http2.policing
        self._peer_ready = False
        self._broken = False
        self.end_reason = ""
        """Why the connection is broken, as `ConnectionBroken` says."""
        self._events: list[Event] = []
        self._handlers: dict[type[h2.Event], Callable[[Any], None]] = {
            h2.DataReceived: self._data,
            h2.StreamEnded: self._ended,
            h2.StreamReset: self._reset,
            h2.WindowUpdated: self._window,
            h2.RemoteSettingsChanged: self._settings,
            h2.PingAckReceived: self._ping_answered,
            h2.ConnectionTerminated: self._goaway,
            h2.InformationalResponseReceived: self._information,
        }

    def start(self) -> None:
        """Queue our preface."""
        self._http2.start()

    @property
    def open_streams(self) -> int:
        """How many calls are on the connection, those which only wait for their last bytes to be sent included."""
        return len(self._streams)

    @property
    def held_bytes(self) -> int:
        """
        Roughly how much memory the peer makes us hold: what it sent and nobody has taken, and what it does not read.

        A message that ends its call is not counted: such calls are about to be worked on.
        """
        return self._held + self._sender.queued

    @property
    def unfinished_headers(self) -> int:
        """The stream whose header block has begun to arrive and is not complete, or 0."""
        return self._http2.unfinished_headers

    def lagging(self) -> Iterator[tuple[int, int]]:
        """
        The streams that wait for the peer to go on with what it has begun, each with a number that changes when it does.

        These are messages of which a part has arrived, and answers already ended that the peer does not take.
        """
        for stream_id, stream in self._streams.items():
            outbox = stream.outbox
            if outbox.wants_end and outbox.size:
                yield stream_id, -outbox.size
            elif stream.reader.pending and not stream.messages_open:
                yield stream_id, stream.messages_seen

    def at(self, now: float) -> None:
        """Say before `receive` what time it is, in seconds of any steady clock: budgets of the peer refill with time."""
        self._policing.at(now, self._http2.highest_inbound_stream_id)

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
        except TooMuchError as error:
            self.calm_down(error.name)
            self._break(str(error))
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

        Unknown streams are fine. The call has ended meanwhile and the event that says so is on its way, so the answer is False:
        whoever sends without end must not go on before that is known.
        """
        stream = self._streams.get(stream_id)
        if stream is None or stream.outbox.wants_end or not self.is_usable:
            return False
        self._before_message(stream)
        self._policing.messages += 1
        data = self._frame(stream, payload, compressed)
        if self._sender.send_at_once(stream.outbox, data):
            return True
        self._sender.add(stream.outbox, data)
        self._submit(stream)
        return not stream.outbox.chunks

    def consumed(self, stream_id: int, credit: int) -> None:
        """A delivered message was used; the peer may send that much more in this call."""
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        stream.messages_open -= 1
        if stream.held_messages:
            self._held -= stream.held_messages.popleft()
        stream.credit_open += credit
        if stream.messages_open == 0:
            stream.advance_credit()
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
        self._held = 0

    def calm_down(self, reason: str) -> None:
        """Queue a final GOAWAY that says ENHANCE_YOUR_CALM and why. Nothing can be sent after it."""
        if self.is_usable:
            self._http2.close_connection(ErrorCodes.ENHANCE_YOUR_CALM, reason.encode("ascii", "replace"))
        self._broken = True

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
        self._release(stream)
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
        self.end_reason = reason
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
        if stream is None or stream.ignoring:
            self._unwanted(stream, size)
            return
        ended = event.stream_ended is not None
        try:
            frames = stream.reader.feed(event.data)
            if frames:
                stream.messages_seen += len(frames)
                self._policing.messages += len(frames)
            elif len(event.data) < SMALL_PIECE and not ended:
                self._policing.charge(FRAGMENT)
            stream.credit_open += size - len(event.data)
            for frame in frames:
                payload = frame.payload
                credit = PREFIX_SIZE + len(payload) - stream.credit_given
                stream.credit_given = 0
                if frame.compressed:
                    payload = decompress(stream.encoding, payload, self._max_message_size)
                stream.messages_open += 1
                if not ended or len(frames) > 1:
                    self._hold_message(stream, len(payload) + _MESSAGE_OVERHEAD)
                self._events.append(MessageReceived(event.stream_id, payload, credit, frame.compressed))
        except RpcError as error:
            stream.ignoring = True
            self._unreadable(stream, error)
            return
        self._hold_partial(stream, 0 if ended else stream.reader.pending)
        if not ended:
            if stream.messages_open == 0:
                stream.advance_credit()
            self._give_back(stream)

    def _release(self, stream: Stream) -> None:
        """The stream is gone, and what was held for it."""
        if stream.held_partial or stream.held_metadata or stream.held_messages:
            self._held -= stream.held

    def _hold_partial(self, stream: Stream, size: int) -> None:
        if size != stream.held_partial:
            self._held += size - stream.held_partial
            stream.held_partial = size

    def _hold_message(self, stream: Stream, size: int) -> None:
        if stream.held_messages is None:
            stream.held_messages = deque()
        stream.held_messages.append(size)
        self._held += size

    def _unwanted(self, stream: Stream | None, size: int) -> None:
        if size < SMALL_PIECE:
            self._policing.charge(FRAGMENT)
        if stream is not None:
            stream.credit_open += size  # never given back, so an unwanted request ends here
            self._discarded(stream)

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
            self._release(stream)
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

    def _information(self, _event: h2.InformationalResponseReceived) -> None:
        self._policing.charge(INFORMATION)

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
