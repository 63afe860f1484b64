"""
A load client for gRPC servers that costs next to nothing: it writes prepared HTTP/2 frames and reads frames with a scanner.

Nothing is taken on trust: every answer must have `grpc-status` 0 and the expected message. Header blocks are decoded with
hpack until they leave the dynamic table as it was; the same bytes then mean the same headers and are only compared.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from time import perf_counter

from hpack import Decoder, Encoder

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS, ACK = 0x1, 0x4, 0x1
WINDOW = 2**30


class BadAnswerError(Exception):
    """The server did not answer as it should."""


def frame(kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
    """One frame (RFC 9113 section 4.1)."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream_id.to_bytes(4, "big") + payload


@dataclass(frozen=True)
class Call:
    """A method's path, the request's bytes, and the bytes that must come back."""

    path: str
    request: bytes
    response: bytes


class Connection:
    """One HTTP/2 connection. `opened` and `answered` count calls."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.opened = self.answered = 0
        self.stream_limit = 2**31 - 1
        self.window = 65_535  # what may be sent on the connection
        self._encoder, self._decoder = Encoder(), Decoder()
        self._buffer = b""
        self._good: set[bytes] = set()  # header blocks that end a call well and leave the table alone
        self._plain: set[bytes] = set()  # other header blocks that leave the table alone
        self._received = 0
        self._partial: dict[int, bytes] = {}
        self._expected: dict[int, bytes] = {}
        self._next_stream = 1
        self._templates: dict[Call, tuple[bytes, bytes, bytes]] = {}
        self._outgoing = bytearray(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        self._outgoing += frame(SETTINGS, 0, 0, (4).to_bytes(2, "big") + WINDOW.to_bytes(4, "big"))
        self._outgoing += frame(WINDOW_UPDATE, 0, 0, (WINDOW - 65_535).to_bytes(4, "big"))

    @property
    def in_flight(self) -> int:
        """How many calls wait for their answer."""
        return self.opened - self.answered

    def open(self, call: Call, count: int = 1) -> None:
        """Queue calls; `flush` writes them."""
        template = self._templates.get(call)
        while template is None and count:
            block = self._block(call)
            self._add((self._head(len(block)), block + self._data_head(call), self._data(call)), call)
            count -= 1
            if self._block(call) == (again := self._block(call)):
                template = (self._head(len(again)), again + self._data_head(call), self._data(call))
                self._templates[call] = template
        for _ in range(count):
            assert template is not None
            self._add(template, call)

    def flush(self) -> None:
        """Write everything, reading meanwhile so that nobody waits for the other."""
        view = memoryview(bytes(self._outgoing))
        self._outgoing.clear()
        self.socket.setblocking(False)
        while view:
            try:
                view = view[self.socket.send(view) :]
            except BlockingIOError:
                readable, _, _ = select.select([self.socket], [self.socket], [])
                if readable:
                    self.read()
            except (BrokenPipeError, ConnectionResetError) as error:
                raise BadAnswerError("the server closed the connection") from error
        self.socket.setblocking(True)

    def read(self) -> None:
        """Take what has arrived (waiting for something if nothing has) and check it."""
        received = self.socket.recv(1 << 18)
        if not received:
            raise BadAnswerError("the server closed the connection")
        self._scan(self._buffer + received)

    def close(self) -> None:
        """Hang up."""
        self.socket.close()

    def _block(self, call: Call) -> bytes:
        return self._encoder.encode(
            [
                (":method", "POST"),
                (":scheme", "http"),
                (":path", call.path),
                (":authority", "127.0.0.1"),
                ("content-type", "application/grpc"),
                ("user-agent", "grpc-go/1.81.1"),
                ("te", "trailers"),
            ]
        )

    def _head(self, length: int) -> bytes:
        return length.to_bytes(3, "big") + bytes((HEADERS, END_HEADERS))

    def _data_head(self, call: Call) -> bytes:
        return (len(call.request) + 5).to_bytes(3, "big") + bytes((DATA, END_STREAM))

    def _data(self, call: Call) -> bytes:
        return b"\0" + len(call.request).to_bytes(4, "big") + call.request

    def _add(self, template: tuple[bytes, bytes, bytes], call: Call) -> None:
        stream_id = self._next_stream.to_bytes(4, "big")
        self._expected[self._next_stream] = call.response
        self._next_stream += 2
        self.opened += 1
        self.window -= len(call.request) + 5
        head, middle, data = template
        self._outgoing += head + stream_id + middle + stream_id + data

    def _scan(self, data: bytes) -> None:
        position, available = 0, len(data)
        while available - position >= 9:
            length = int.from_bytes(data[position : position + 3], "big")
            end = position + 9 + length
            if end > available:
                break
            kind, flags = data[position + 3], data[position + 4]
            payload = data[position + 9 : end]
            stream_id = int.from_bytes(data[position + 5 : position + 9], "big")
            if kind == HEADERS:
                self._headers(stream_id, flags, payload)
            elif kind == DATA:
                self._partial[stream_id] = self._partial.get(stream_id, b"") + payload
                self._received += length
                if flags & END_STREAM:
                    raise BadAnswerError("an answer without a status")
            elif kind != WINDOW_UPDATE:
                self._control(kind, flags, payload)
            elif stream_id == 0:
                self.window += int.from_bytes(payload, "big")
            position = end
        self._buffer = data[position:]
        if self._received > WINDOW // 2:
            self._outgoing += frame(WINDOW_UPDATE, 0, 0, self._received.to_bytes(4, "big"))
            self._received = 0

    def _headers(self, stream_id: int, flags: int, block: bytes) -> None:
        ends = flags & END_STREAM
        if block not in (self._good if ends else self._plain):
            self._decode(flags, block)
        if ends:
            message = self._partial.pop(stream_id, b"")
            expected = self._expected.pop(stream_id)
            if message[5:] != expected or int.from_bytes(message[:5], "big") != len(expected):
                raise BadAnswerError(f"the answer {message!r} instead of {expected!r}")
            self.answered += 1

    def _decode(self, flags: int, block: bytes) -> None:
        if flags & ~END_STREAM != END_HEADERS:
            raise BadAnswerError("padded or continued headers, which this client does not read")
        before = list(self._decoder.header_table.dynamic_entries)
        headers = dict(self._decoder.decode(block, raw=True))
        good = headers.get(b"grpc-status") == b"0" if flags & END_STREAM else headers.get(b":status") == b"200"
        if not good:
            shown = ", ".join(f"{name.decode()} {value.decode('ascii', 'replace')}" for name, value in headers.items())
            raise BadAnswerError(f"an answer with {shown}")
        if list(self._decoder.header_table.dynamic_entries) != before:
            self._good.clear()
            self._plain.clear()
        else:
            (self._good if flags & END_STREAM else self._plain).add(block)

    def _control(self, kind: int, flags: int, payload: bytes) -> None:
        if kind == SETTINGS and not flags & ACK:
            for position in range(0, len(payload), 6):
                number = int.from_bytes(payload[position : position + 2], "big")
                value = int.from_bytes(payload[position + 2 : position + 6], "big")
                if number == 3:
                    self.stream_limit = value
            self._outgoing += frame(SETTINGS, ACK, 0, b"")
        elif kind == PING and not flags & ACK:
            self._outgoing += frame(PING, ACK, 0, payload)
        elif kind == RST_STREAM:
            raise BadAnswerError(f"RST_STREAM {int.from_bytes(payload, 'big')}")
        elif kind == GOAWAY:
            raise BadAnswerError(f"GOAWAY {int.from_bytes(payload[4:8], 'big')} {payload[8:]!r}")


def keep_in_flight(
    connections: Iterable[Connection], call: Call, concurrency: int, seconds: float
) -> tuple[int, float]:
    """
    Keep so many calls going over all connections together for a while.

    The number of answers, and the seconds from the first request to the last answer. Raises `BadAnswerError`.
    """
    each = list(connections)
    poll = select.epoll()
    by_number = {connection.socket.fileno(): connection for connection in each}
    for number in by_number:
        poll.register(number, select.EPOLLIN)
    before = sum(connection.answered for connection in each)
    start = perf_counter()
    for number, connection in enumerate(each):
        connection.open(call, concurrency // len(each) + (number < concurrency % len(each)))
        connection.flush()
    running = True
    while running or any(connection.in_flight for connection in each):
        for number, _ in poll.poll():
            connection = by_number[number]
            answered = connection.answered
            connection.read()
            if running:
                connection.open(call, connection.answered - answered)
            connection.flush()
        running = running and perf_counter() - start < seconds
    elapsed = perf_counter() - start
    poll.close()
    return sum(connection.answered for connection in each) - before, elapsed
