"""Both roles against each other, byte by byte: calls that go well, and windows."""

from __future__ import annotations

from h2.events import DataReceived
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from txdagu.testing.wire import REQUEST, Pair, client_connection, foreign_client, recorded_request, server_connection
from txdagu.wire.events import (
    CallCancelled,
    CallEnded,
    CallStarted,
    Event,
    HeadersReceived,
    MessageReceived,
    PeerReady,
    PingAnswered,
    RequestsEnded,
    SendingResumed,
)
from txdagu.wire.http2 import STREAM_WINDOW
from txdagu.wire.metadata import NONE, ReceivedMetadata
from txdagu.wire.status import StatusCode


class RoundTrips(SynchronousTestCase):
    """Calls that go well."""

    def test_ready(self) -> None:
        """Both ends learn when the other's settings are there."""
        client, server = client_connection(), server_connection()
        self.assertIsInstance(client.receive(server.outgoing())[0], PeerReady)
        self.assertIsInstance(server.receive(client.outgoing())[0], PeerReady)

    def test_unary(self) -> None:
        """One call: what the server sees, what the client gets, and nothing is left over."""
        pair = Pair()
        stream = pair.client.start_call("/s/m", {"key": "value", "x-bin": b"\x00"}, 2.5)
        pair.client.send_last_message(stream, b"question")
        _, seen = pair.run()
        started, message, ended = seen
        assert isinstance(started, CallStarted) and isinstance(message, MessageReceived)
        self.assertEqual((started.path, started.timeout), ("/s/m", 2.5))
        self.assertEqual(dict(started.metadata), {"user-agent": "test/1", "key": "value", "x-bin": b"\x00"})
        self.assertEqual((message.payload, ended), (b"question", RequestsEnded(stream)))
        pair.server.set_initial_metadata(stream, {"first": "1"})
        pair.server.send_message(stream, b"answer")
        pair.server.finish(stream, StatusCode.OK, metadata={"last": "2"})
        headers, message, end = pair.run()[0]
        assert isinstance(message, MessageReceived)
        self.assertEqual(headers, HeadersReceived(stream, ReceivedMetadata({"first": "1"})))
        self.assertEqual(message.payload, b"answer")
        self.assertEqual(end, CallEnded(stream, StatusCode.OK, "", ReceivedMetadata({"last": "2"})))
        self.assertEqual((pair.client.open_streams, pair.server.open_streams), (0, 0))

    def test_trailers_only(self) -> None:
        """An error without a message is one block of headers."""
        pair = Pair()
        stream = pair.client.start_call("/s/m", {})
        pair.client.send_last_message(stream, b"")
        pair.run()
        pair.server.finish(stream, StatusCode.NOT_FOUND, "größer", {"why": "x"})
        self.assertEqual(
            pair.run()[0], [CallEnded(stream, StatusCode.NOT_FOUND, "größer", ReceivedMetadata({"why": "x"}))]
        )

    def test_large(self) -> None:
        """A message far beyond all windows arrives in both directions, and trailers wait for it."""
        pair = Pair()
        stream = pair.client.start_call("/s/m", {})
        pair.client.send_last_message(stream, b"q" * 5_000_000)
        _, seen = pair.run()
        self.assertEqual([e.payload for e in seen if isinstance(e, MessageReceived)], [b"q" * 5_000_000])
        self.assertFalse(pair.server.send_message(stream, b"a" * 5_000_000))
        pair.server.finish(stream, StatusCode.OK)
        got, _ = pair.run()
        kinds = [type(event) for event in got]
        self.assertEqual(kinds[-2:], [MessageReceived, CallEnded])

    def test_early_answer(self) -> None:
        """An answer before the end of the request ends the call on both sides; late requests do no harm."""
        pair = Pair()
        stream = pair.client.start_call("/s/m", {})
        pair.client.send_message(stream, b"one")
        pair.run()
        pair.server.finish(stream, StatusCode.ABORTED, "enough")
        self.assertEqual(pair.run()[0], [CallEnded(stream, StatusCode.ABORTED, "enough")])
        pair.client.send_message(stream, b"two")
        self.assertEqual(pair.run(), ([], []))
        self.assertEqual((pair.client.open_streams, pair.server.open_streams), (0, 0))

    def test_many_parked(self) -> None:
        """Two thousand open calls on one connection; the next one is answered."""
        pair = Pair()
        for _ in range(2000):
            pair.client.send_last_message(pair.client.start_call("/s/park", {}), b"")
        pair.run()
        self.assertEqual(pair.server.open_streams, 2000)
        stream = pair.client.start_call("/s/m", {})
        pair.client.send_last_message(stream, b"")
        pair.run()
        pair.server.finish(stream, StatusCode.OK)
        self.assertEqual(pair.run()[0][-1], CallEnded(stream, StatusCode.OK, ""))

    def test_cancel(self) -> None:
        """A cancelled call is told to the server, a reset to the client."""
        pair = Pair()
        streams = [pair.client.start_call("/s/m", {}) for _ in range(2)]
        pair.run()
        pair.client.cancel(streams[0])
        (cancelled,) = pair.run()[1]
        assert isinstance(cancelled, CallCancelled)
        self.assertIn("CANCEL", cancelled.reason)
        pair.server.cancel(streams[1])
        (ended,) = pair.run()[0]
        assert isinstance(ended, CallEnded)
        self.assertEqual((ended.code, ended.unprocessed), (StatusCode.CANCELLED, False))

    def test_ping(self) -> None:
        """Pings are answered, and the answer is reported."""
        pair = Pair()
        pair.client.ping(b"12345678")
        self.assertEqual(pair.run()[0], [PingAnswered(b"12345678")])

    @settings(max_examples=60)
    @given(st.lists(st.integers(1, 5000), max_size=60))
    def test_any_split(self, sizes: list[int]) -> None:
        """However the bytes of two calls are cut, the server sees the same events."""
        data = recorded_request()
        whole = server_connection()
        expected = whole.receive(data)
        server = server_connection()
        seen: list[Event] = []
        position = 0
        for size in sizes:
            seen += server.receive(data[position : position + size])
            position += size
        seen += server.receive(data[position:])
        self.assertEqual(seen, expected)
        self.assertEqual(server.outgoing(), whole.outgoing())

    def test_byte_by_byte(self) -> None:
        """Even single bytes do."""
        server = server_connection()
        seen = [event for byte in recorded_request() for event in server.receive(bytes([byte]))]
        self.assertEqual(seen, server_connection().receive(recorded_request()))


class Windows(SynchronousTestCase):
    """Flow control."""

    def test_unconsumed(self) -> None:
        """A reader that consumes nothing stops the sender after about a window; consuming lets it go on."""
        pair = Pair()
        pair.auto_consume = False
        stream = pair.client.start_call("/s/m", {})
        sent = 0
        while pair.client.send_message(stream, bytes(10_000)):
            sent += 1
            pair.run()
        messages = [event for event in pair.run()[1] if isinstance(event, MessageReceived)]
        self.assertLessEqual(sent * 10_000, STREAM_WINDOW)
        self.assertGreater(sent * 10_000, STREAM_WINDOW // 2)
        self.assertEqual(pair.run(), ([], []))
        self.assertEqual(messages, [])

    def test_consumed(self) -> None:
        """The window comes back with consumption, also across the middle of messages."""
        pair = Pair()
        stream = pair.client.start_call("/s/m", {})
        for number in range(500):
            pair.client.send_message(stream, b"%d" % number * 1000)
        _, seen = pair.run()
        self.assertEqual(len([event for event in seen if isinstance(event, MessageReceived)]), 500)

    def test_slow_stream_stops_no_other(self) -> None:
        """A stream nobody reads leaves the connection's window to the others."""
        pair = Pair()
        pair.auto_consume = False
        for _ in range(30):
            pair.client.send_message(pair.client.start_call("/s/m", {}), bytes(STREAM_WINDOW * 2))
        pair.run()
        pair.auto_consume = True
        stream = pair.client.start_call("/s/m", {})
        pair.client.send_last_message(stream, bytes(STREAM_WINDOW * 3))
        self.assertIn(RequestsEnded(stream), pair.run()[1])

    def test_paused(self) -> None:
        """While the transport is full, messages wait and errors still go out; then the rest follows and is reported."""
        pair = Pair()
        streams = [pair.client.start_call("/s/m", {}) for _ in range(2)]
        pair.run()
        pair.server.pause_sending()
        self.assertFalse(pair.server.send_message(streams[0], b"x"))
        pair.server.finish(streams[1], StatusCode.ABORTED)
        self.assertEqual(
            pair.run()[0],
            [HeadersReceived(streams[0], NONE), CallEnded(streams[1], StatusCode.ABORTED, "")],
        )
        self.assertEqual(pair.server.resume_sending(), [SendingResumed(streams[0])])
        self.assertEqual(pair.run()[0], [MessageReceived(streams[0], b"x", 6)])

    def test_fair_turns(self) -> None:
        """A small message is not held up by a large one that waits for the connection's window."""
        client = foreign_client()
        server = server_connection()
        client.send_headers(1, REQUEST)
        client.send_headers(3, REQUEST)
        server.receive(client.data_to_send())
        server.send_message(1, bytes(1_000_000))
        server.send_message(3, b"small")
        client.receive_data(server.outgoing())
        client.increment_flow_control_window(40_000)
        client.increment_flow_control_window(1_000_000, 1)
        server.receive(client.data_to_send())
        events = [event for event in client.receive_data(server.outgoing()) if isinstance(event, DataReceived)]
        self.assertIn(3, [event.stream_id for event in events])

    def test_cut_off_stream(self) -> None:
        """A call that ends while bytes wait drops them, and the others go on."""
        pair = Pair()
        pair.auto_consume = False
        stream = pair.client.start_call("/s/m", {})
        pair.run()
        pair.server.send_message(stream, bytes(STREAM_WINDOW * 2))
        pair.run()
        pair.client.cancel(stream)
        pair.run()
        self.assertEqual((pair.client.open_streams, pair.server.open_streams), (0, 0))
