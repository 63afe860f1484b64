"""What waits to be sent: a queue per stream, and the turn order among streams that wait for the connection."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence

from txdagu.wire.http2 import Http2Connection
from txdagu.wire.metadata import Header

# Larger frames would save little and let one big message delay everybody else's small ones.
LARGEST_FRAME = 64 * 1024


class Outbox:
    """The bytes of one stream that have not been handed out yet, and how our side of the stream ends after them."""

    __slots__ = ("chunks", "ended", "size", "stream_id", "trailers", "wants_end")

    def __init__(self, stream_id: int) -> None:
        self.stream_id = stream_id
        self.chunks: deque[memoryview] | None = None  # most calls have their few bytes sent at once and need none
        self.size = 0
        self.wants_end = False
        self.trailers: Sequence[Header] | None = None
        self.ended = False

    def take(self, size: int) -> memoryview:
        """The next bytes, at most `size` of them. There must be some."""
        assert self.chunks
        chunk = self.chunks.popleft()
        if len(chunk) > size:
            self.chunks.appendleft(chunk[size:])
            chunk = chunk[:size]
        self.size -= len(chunk)
        return chunk

    def discard(self) -> None:
        """Forget everything: the stream is gone, or the rest of it is not wanted."""
        self.chunks = None
        self.size = 0


class Sender:
    """
    Hands queued bytes to h2 as far as the windows of the stream and of the connection allow, one frame per stream in turn.

    A stream whose own window is used up leaves the turn order until `stream_ready`; the others wait there for the
    connection's window, or for the transport while `paused`. Only streams with queued bytes are ever in it.
    """

    def __init__(self, http2: Http2Connection) -> None:
        self._http2 = http2
        self._turns: OrderedDict[int, Outbox] = OrderedDict()
        self.paused = False
        self.queued = 0
        """How many bytes wait, of all streams."""

    def add(self, outbox: Outbox, data: bytes) -> None:
        """Queue bytes; `submit` sends them."""
        if outbox.chunks is None:
            outbox.chunks = deque()
        outbox.chunks.append(memoryview(data))
        outbox.size += len(data)
        self.queued += len(data)

    def submit(self, outbox: Outbox) -> None:
        """Send what can be sent of this stream now; the rest follows by itself."""
        if outbox.chunks:
            self.stream_ready(outbox)
            self.run()
        else:
            self._end(outbox)

    def send_at_once(self, outbox: Outbox, data: bytes) -> bool:
        """Send bytes past the queue if nobody's turn comes before them and they fit; otherwise nothing is done."""
        size = len(data)
        if self._turns or self.paused or outbox.chunks or size > LARGEST_FRAME:
            return False
        http2 = self._http2
        if not http2.has_room(outbox.stream_id, size):
            return False
        http2.policing.sent += size
        http2.send_data(outbox.stream_id, data)
        return True

    def stream_ready(self, outbox: Outbox) -> None:
        """Give a stream with queued bytes its turn: they are new, or its window has grown."""
        if outbox.chunks:
            self._turns[outbox.stream_id] = outbox

    def run(self) -> list[int]:
        """Send until nothing more may be sent. The streams whose queue became empty are returned."""
        turns, http2 = self._turns, self._http2
        emptied = []
        while turns and not self.paused and http2.outbound_flow_control_window > 0:
            stream_id, outbox = turns.popitem(last=False)
            room = min(http2.local_flow_control_window(stream_id), http2.max_outbound_frame_size, LARGEST_FRAME)
            if room <= 0:
                continue  # its own window is used up
            data = outbox.take(room)
            self.queued -= len(data)
            http2.policing.sent += len(data)
            if outbox.chunks:
                http2.send_data(stream_id, data)
                turns[stream_id] = outbox
                continue
            outbox.ended = outbox.wants_end and outbox.trailers is None
            http2.send_data(stream_id, data, end_stream=outbox.ended)
            self._end(outbox)
            emptied.append(stream_id)
        return emptied

    def drop(self, outbox: Outbox) -> None:
        """Forget a stream that is gone."""
        outbox.ended = True
        if outbox.chunks is not None:
            self.queued -= outbox.size
            outbox.discard()
            self._turns.pop(outbox.stream_id, None)

    def _end(self, outbox: Outbox) -> None:
        if not outbox.wants_end or outbox.ended:
            return
        outbox.ended = True
        if outbox.trailers is None:
            self._http2.end_stream(outbox.stream_id)
        else:
            self._http2.send_headers(outbox.stream_id, outbox.trailers, end_stream=True)
