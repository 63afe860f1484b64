"""
A peer that writes HTTP/2 frames by hand, valid or not, and judges a connection of ours by the frames that come back.

`frame` makes any frame, `RawPeer` sends them to a sans-I/O connection. Nothing here keeps to the protocol by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hpack import Decoder, Encoder
from hyperframe.frame import Frame, GoAwayFrame, PingFrame, RstStreamFrame

from txdagu.wire.connection import Connection
from txdagu.wire.events import ConnectionBroken, Event
from txdagu.wire.metadata import Header

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, HAS_PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_MARK = b"\xffmarker\xff"


def frame(kind: int, flags: int = 0, stream_id: int = 0, body: bytes = b"") -> bytes:
    """A frame of any type with any content (RFC 9113 section 4.1)."""
    return len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream_id.to_bytes(4, "big") + body


def settings(*pairs: tuple[int, int]) -> bytes:
    """A SETTINGS frame of identifiers and values."""
    return frame(SETTINGS, body=b"".join(key.to_bytes(2, "big") + value.to_bytes(4, "big") for key, value in pairs))


def window_update(stream_id: int, increment: int) -> bytes:
    """A WINDOW_UPDATE frame."""
    return frame(WINDOW_UPDATE, 0, stream_id, increment.to_bytes(4, "big"))


def rst_stream(stream_id: int, code: int) -> bytes:
    """A RST_STREAM frame."""
    return frame(RST_STREAM, 0, stream_id, code.to_bytes(4, "big"))


class RawPeer:
    """Talks to `connection` in bytes. `events` is all that the connection reported, `frames` all that it sent."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.events: list[Event] = []
        self.frames: list[Any] = []
        self._encoder = Encoder()
        self._decoder = Decoder()

    def block(self, fields: Sequence[Header]) -> bytes:
        """Header fields, compressed as the next block of this connection."""
        return self._encoder.encode(fields)

    def fields(self, block: bytes) -> list[Header]:
        """What a received header block says. Each must be asked for, in their order."""
        return [(bytes(name), bytes(value)) for name, value in self._decoder.decode(block, raw=True)]

    def headers(self, stream_id: int, fields: Sequence[Header], flags: int = END_HEADERS) -> bytes:
        """A HEADERS frame."""
        return frame(HEADERS, flags, stream_id, self.block(fields))

    def send(self, *data: bytes) -> list[Any]:
        """Let the connection receive bytes; the frames that it answers."""
        self.events += self.connection.receive(b"".join(data))
        return self.read()

    def read(self) -> list[Any]:
        """The frames that the connection has to send."""
        data = self.connection.outgoing()
        data = data.removeprefix(PREFACE)
        answered = []
        while data:
            found, length = Frame.parse_frame_header(memoryview(data[:9]))
            found.parse_body(memoryview(data[9 : 9 + length]))
            answered.append(found)
            data = data[9 + length :]
        self.frames += answered
        return answered

    @property
    def broken(self) -> ConnectionBroken | None:
        """The connection's last word, if it was that it is broken."""
        last = self.events[-1] if self.events else None
        return last if isinstance(last, ConnectionBroken) else None

    def is_alive(self) -> bool:
        """Whether a PING is answered, and nothing is wrong."""
        answered = self.send(frame(PING, 0, 0, _MARK))
        return any(isinstance(answer, PingFrame) and answer.opaque_data == _MARK for answer in answered)

    def goaway_code(self) -> int | None:
        """The error code of the last GOAWAY that the connection sent."""
        codes = [int(answer.error_code) for answer in self.frames if isinstance(answer, GoAwayFrame)]
        return codes[-1] if codes else None

    def resets(self) -> list[tuple[int, int]]:
        """Streams and codes of the RST_STREAM frames that the connection sent."""
        return [
            (answer.stream_id, int(answer.error_code)) for answer in self.frames if isinstance(answer, RstStreamFrame)
        ]
