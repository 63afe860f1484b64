"""What a connection holds for its peer: header lists, messages, answers; bounded or counted."""

from __future__ import annotations

import tracemalloc

from h2.errors import ErrorCodes
from hpack import Encoder, NeverIndexedHeaderTuple
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from txdagu.testing.frames import frame
from txdagu.testing.wire import REQUEST, RawClient, foreign_client, server_connection
from txdagu.wire.events import CallStarted, ConnectionBroken, MessageReceived
from txdagu.wire.http2 import LARGEST_HEADER_LIST, MAX_HEADER_LIST_SIZE
from txdagu.wire.status import StatusCode


class Served(SynchronousTestCase):
    """A server and a client that writes raw bytes."""

    def setUp(self) -> None:
        """Settings exchanged."""
        self.raw = RawClient()
        self.server = server_connection()
        self.server.receive(self.raw.preface())
        self.server.outgoing()


class Headers(Served):
    """Header lists, compressed or not."""

    def bomb(self, copies: int) -> bytes:
        """One HEADERS frame: an entry of 3 KiB in the table, then references of a byte each."""
        encoded = Encoder().encode([*REQUEST, (b"x-bomb", b"x" * 3000)], huffman=False)
        return frame(0x1, 0x5, 1, encoded + b"\xbe" * copies)

    def test_too_large(self) -> None:
        """A list somewhat too large costs only its call: 431 and RESOURCE_EXHAUSTED; the next call is served."""
        client = foreign_client()
        client.receive_data(server_connection().outgoing())
        client.send_headers(1, [*REQUEST, (b"large", b"x" * MAX_HEADER_LIST_SIZE)], end_stream=True)
        client.send_headers(3, REQUEST)
        server = server_connection()
        events = server.receive(client.data_to_send())
        self.assertEqual([event.stream_id for event in events if isinstance(event, CallStarted)], [3])
        headers = dict(client.receive_data(server.outgoing())[-2].headers)  # type: ignore[attr-defined]
        self.assertEqual((headers[b":status"], headers[b"grpc-status"]), (b"431", b"8"))

    def test_bomb(self) -> None:
        """Few bytes that would become many megabytes are not decoded beyond the limit."""
        (broken,) = self.server.receive(self.bomb(16_000 - 3100))
        assert isinstance(broken, ConnectionBroken)
        self.assertIn(str(LARGEST_HEADER_LIST), broken.reason)
        code = ErrorCodes.ENHANCE_YOUR_CALM.to_bytes(4, "big")
        self.assertIn(frame(0x7, 0, 0, bytes(4) + code), self.server.outgoing())

    def test_parked_metadata(self) -> None:
        """Metadata that many small frames make large counts as memory held, until the call is over."""
        self.server.receive(self.bomb(15))
        self.assertGreater(self.server.held_bytes, 40_000)
        self.server.receive(self.raw.reset(1))
        self.assertEqual(self.server.held_bytes, 0)

    def test_many_values(self) -> None:
        """A binary value of commas, which becomes a thousand times as many pairs, counts as what they occupy."""
        _, opening = self.raw.open(extra=[(b"x-bin", b"," * 8000)])
        self.server.receive(opening)
        self.assertGreater(self.server.held_bytes, 8000 * 64)
        self.server.receive(self.raw.reset(1))
        self.assertEqual(self.server.held_bytes, 0)

    def test_no_calls(self) -> None:
        """Requests that are no gRPC calls and do not end: a hundred wait for their end, the next are answered at once."""
        fields = [(name, b"text/html" if name == b"content-type" else value) for name, value in REQUEST]
        encoder = Encoder()
        for number in range(150):
            self.assertEqual(self.server.receive(frame(0x1, 0x4, 2 * number + 1, encoder.encode(fields))), [])
        self.assertEqual(self.server.open_streams, 100)
        self.assertEqual(self.server.outgoing().count(b"the content-type is"), 50)
        self.server.receive(b"".join(frame(0x0, 0x1, 2 * number + 1) for number in range(100)))
        self.assertEqual(self.server.open_streams, 0)

    def test_remembered_blocks(self) -> None:
        """Blocks of a few bytes that mean much are not remembered: 6 kB could make a connection hold 100 MB."""
        encoder = Encoder()
        self.server.receive(frame(0x1, 0x5, 1, encoder.encode([*REQUEST, (b"x-bin", b"," * 3800)], huffman=False)))
        fields = Encoder().encode([NeverIndexedHeaderTuple(*header) for header in REQUEST])
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        for number in range(8):
            own = b"\x10\x01k\x01" + bytes([65 + number])
            (started,) = self.server.receive(frame(0x1, 0x4, 2 * number + 3, fields + b"\xbe" * 15 + own))
            assert isinstance(started, CallStarted)
            self.assertEqual(len(started.metadata.get_all("x-bin")), 15 * 3801)
            self.server.receive(self.raw.reset(2 * number + 3))
        del started
        self.server.receive(self.raw.reset(1))
        self.assertLess(tracemalloc.get_traced_memory()[0], 1_000_000)


class Held(Served):
    """What is counted as held for the peer."""

    def test_incomplete_message(self) -> None:
        """Its bytes, until it is complete and consumed."""
        stream_id, opening = self.raw.open()
        self.server.receive(opening + frame(0x0, 0, stream_id, b"\x00\x00\x00\x30\x00" + bytes(0x2000)))
        self.assertEqual(self.server.held_bytes, 0x2005)
        events = self.server.receive(frame(0x0, 0, stream_id, bytes(0x1000)))
        self.assertTrue(0x3000 < self.server.held_bytes < 0x3100)
        (message,) = events
        assert isinstance(message, MessageReceived)
        self.server.consumed(stream_id, message.credit)
        self.assertEqual(self.server.held_bytes, 0)

    def test_empty_messages(self) -> None:
        """Messages without bytes occupy memory too, also those that come with the end of the call."""
        stream_id, opening = self.raw.open()
        self.server.receive(opening + frame(0x0, 0, stream_id, bytes(5) * 3000))
        self.assertGreater(self.server.held_bytes, 3000 * 80)
        events = self.server.receive(frame(0x0, 0x1, stream_id, bytes(5) * 3000))
        self.assertGreater(self.server.held_bytes, 6000 * 80)
        for event in events[:3000]:
            assert isinstance(event, MessageReceived)
            self.server.consumed(stream_id, event.credit)
        self.server.receive(self.raw.reset(stream_id))
        self.assertEqual(self.server.held_bytes, 0)

    def test_unread_answers(self) -> None:
        """Answers that wait for the peer's window, until they are sent or the call is reset."""
        self.server.receive(frame(0x4, body=b"\x00\x04\x00\x00\x00\x00"))
        for stream_id in (1, 3):
            self.server.receive(self.raw.call()[1])
            self.server.send_message(stream_id, bytes(995))
            self.server.finish(stream_id, StatusCode.OK)
        self.assertEqual(self.server.held_bytes, 2000)
        self.assertEqual(dict(self.server.lagging()), {1: -1000, 3: -1000})
        self.server.receive(self.raw.reset(1))
        self.assertEqual(self.server.held_bytes, 1000)
        self.server.receive(frame(0x8, 0, 3, b"\x00\x00\x04\x00"))
        self.assertEqual((self.server.held_bytes, self.server.open_streams), (0, 0))

    def test_unfinished_headers(self) -> None:
        """A header block on its way is known, whether it stops within a frame or between two."""
        _, opening = self.raw.open()
        self.server.receive(opening[:12])
        self.assertEqual(self.server.unfinished_headers, 1)
        self.server.receive(opening[12:])
        self.assertEqual(self.server.unfinished_headers, 0)
        self.server.receive(frame(0x1, 0, 3))
        self.assertEqual(self.server.unfinished_headers, 3)

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40), st.booleans()), max_size=60))
    def test_nothing_is_left(self, steps: list[tuple[int, int, bool]]) -> None:
        """Whatever is sent, consumed and reset in whatever order, nothing is held once all calls are over."""
        self.setUp()
        streams = []
        for _ in range(4):
            stream_id, opening = self.raw.open()
            self.server.receive(opening)
            streams.append(stream_id)
        waiting: list[MessageReceived] = []
        for index, size, consume in steps:
            data = b"".join(b"\x00\x00\x00\x00\x07" + bytes(7) for _ in range(4))[:size]
            events = self.server.receive(frame(0x0, 0, streams[index], data))
            waiting += [event for event in events if isinstance(event, MessageReceived)]
            self.assertGreaterEqual(self.server.held_bytes, 0)
            if consume and waiting:
                message = waiting.pop(0)
                self.server.consumed(message.stream_id, message.credit)
        for stream_id in streams:
            self.server.receive(self.raw.reset(stream_id))
        self.assertEqual(self.server.held_bytes, 0)
