"""Both roles against each other, byte by byte, without any transport."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, ResponseReceived
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from txdagu.wire.client import ClientConnection
from txdagu.wire.events import (
    CallCancelled,
    CallEnded,
    CallRejected,
    CallStarted,
    ConnectionBroken,
    Event,
    HeadersReceived,
    MessageReceived,
    PeerLeaving,
    PeerReady,
    PingAnswered,
    RequestsEnded,
    SendingResumed,
)
from txdagu.wire.framing import encode_frame
from txdagu.wire.http2 import STREAM_WINDOW
from txdagu.wire.server import ServerConnection
from txdagu.wire.status import StatusCode

REQUEST = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/s/m"),
    (b":authority", b"x"),
    (b"content-type", b"application/grpc"),
    (b"te", b"trailers"),
]


def client_connection() -> ClientConnection:
    """A started client."""
    client = ClientConnection(authority="host:1", scheme="http", user_agent="test/1", max_message_size=10_000_000)
    client.start()
    return client


def server_connection(max_message_size: int = 10_000_000) -> ServerConnection:
    """A started server."""
    server = ServerConnection(max_message_size=max_message_size)
    server.start()
    return server


class Pair:
    """A client and a server; `run` exchanges bytes until both are silent and collects events."""

    def __init__(self, client: ClientConnection | None = None, server: ServerConnection | None = None) -> None:
        self.client = client or client_connection()
        self.server = server or server_connection()
        self.auto_consume = True
        self.run()

    def run(self) -> tuple[list[Event], list[Event]]:
        """What the client and what the server reported."""
        at_client: list[Event] = []
        at_server: list[Event] = []
        while True:
            to_server, to_client = self.client.outgoing(), self.server.outgoing()
            if not to_server and not to_client:
                return at_client, at_server
            for end, data, seen in ((self.server, to_server, at_server), (self.client, to_client, at_client)):
                new = end.receive(data)
                seen.extend(new)
                for event in new:
                    if isinstance(event, MessageReceived) and self.auto_consume:
                        end.consumed(event.stream_id, event.credit)


def foreign_client() -> H2Connection:
    """A bare h2 client, to misbehave with."""
    connection = H2Connection(
        H2Configuration(client_side=True, validate_outbound_headers=False, normalize_outbound_headers=False)
    )
    connection.initiate_connection()
    return connection


def foreign_server() -> H2Connection:
    """A bare h2 server."""
    connection = H2Connection(
        H2Configuration(client_side=False, validate_outbound_headers=False, normalize_outbound_headers=False)
    )
    connection.initiate_connection()
    return connection


@cache
def recorded_request() -> bytes:
    """All a client sends for two calls."""
    client = client_connection()
    recorded = b""
    client.receive(pair_settings())
    recorded += client.outgoing()
    for size in (0, 30_000):
        stream = client.start_call("/s/m", {"key": "value"}, 5)
        client.send_last_message(stream, bytes(size))
        recorded += client.outgoing()
    return recorded


def pair_settings() -> bytes:
    """What a server sends first."""
    return server_connection().outgoing()


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
        self.assertEqual(headers, HeadersReceived(stream, {"first": "1"}))
        self.assertEqual(message.payload, b"answer")
        self.assertEqual(end, CallEnded(stream, StatusCode.OK, "", {"last": "2"}))
        self.assertEqual((pair.client.open_streams, pair.server.open_streams), (0, 0))

    def test_trailers_only(self) -> None:
        """An error without a message is one block of headers."""
        pair = Pair()
        stream = pair.client.start_call("/s/m", {})
        pair.client.send_last_message(stream, b"")
        pair.run()
        pair.server.finish(stream, StatusCode.NOT_FOUND, "größer", {"why": "x"})
        self.assertEqual(pair.run()[0], [CallEnded(stream, StatusCode.NOT_FOUND, "größer", {"why": "x"})])

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
            pair.run()[0], [HeadersReceived(streams[0], {}), CallEnded(streams[1], StatusCode.ABORTED, "")]
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


class Endings(SynchronousTestCase):
    """GOAWAY in both directions."""

    def test_server_leaves(self) -> None:
        """Open calls finish after a graceful GOAWAY, new ones are refused as unprocessed."""
        pair = Pair()
        stream = pair.client.start_call("/s/m", {})
        pair.client.send_message(stream, bytes(100_000))
        pair.run()
        pair.server.refuse_new_calls()
        pair.client.half_close(stream)
        late = pair.client.start_call("/s/m", {})
        at_client, at_server = pair.run()
        self.assertIsInstance(at_client[0], PeerLeaving)
        self.assertFalse(pair.client.accepts_calls)
        self.assertIn(RequestsEnded(stream), at_server)
        self.assertEqual([(e.stream_id, e.unprocessed) for e in at_client if isinstance(e, CallEnded)], [(late, True)])
        pair.server.send_message(stream, bytes(300_000))
        pair.server.finish(stream, StatusCode.OK)
        self.assertEqual(pair.run()[0][-1], CallEnded(stream, StatusCode.OK, ""))

    def test_unprocessed_by_number(self) -> None:
        """A GOAWAY that names a lower last stream fails the calls after it as unprocessed."""
        client, server = client_connection(), foreign_server()
        first, second = client.start_call("/s/m", {}), client.start_call("/s/m", {})
        server.receive_data(client.outgoing())
        server.close_connection(last_stream_id=first)
        ended = [event for event in client.receive(server.data_to_send()) if isinstance(event, CallEnded)]
        self.assertEqual([(event.stream_id, event.unprocessed) for event in ended], [(second, True)])
        self.assertTrue(client.is_usable)

    def test_client_leaves(self) -> None:
        """A client's graceful GOAWAY lets its open calls finish."""
        client, server = foreign_client(), server_connection()
        client.send_headers(1, REQUEST, end_stream=True)
        server.receive(client.data_to_send())
        client.close_connection()
        self.assertIsInstance(server.receive(client.data_to_send())[0], PeerLeaving)
        server.finish(1, StatusCode.OK)
        self.assertIn(b"\x00\x00\x00\x01", server.outgoing())
        self.assertEqual(server.open_streams, 0)

    def test_enhance_your_calm(self) -> None:
        """A GOAWAY with an error breaks the connection, and says why."""
        client, server = client_connection(), foreign_server()
        server.receive_data(client.outgoing())
        server.close_connection(11, b"too_many_pings")
        broken = client.receive(server.data_to_send())[-1]
        self.assertEqual(broken, ConnectionBroken('the peer sent GOAWAY ENHANCE_YOUR_CALM "too_many_pings"'))
        client.ping(b"12345678")
        self.assertFalse(client.is_usable)

    def test_nothing_after_close(self) -> None:
        """After our final GOAWAY nothing is sent and nothing fails."""
        pair = Pair()
        stream = pair.client.start_call("/s/m", {})
        pair.run()
        pair.server.close("done")
        pair.server.send_message(stream, b"x")
        pair.server.finish(stream, StatusCode.OK)
        pair.server.cancel(stream)
        self.assertNotIn(CallEnded(stream, StatusCode.OK, ""), pair.run()[0])


class Misbehaviour(SynchronousTestCase):
    """What peers do wrong."""

    def answer_to(
        self, headers: list[tuple[bytes, bytes]], body: bytes = b""
    ) -> tuple[dict[bytes, bytes], list[Event]]:
        """The server's reply headers and events for a raw request."""
        client, server = foreign_client(), server_connection(1000)
        client.send_headers(1, headers, end_stream=not body)
        if body:
            client.send_data(1, body, end_stream=True)
        events = server.receive(client.data_to_send())
        for event in client.receive_data(server.outgoing()):
            if isinstance(event, ResponseReceived):
                return dict(event.headers), events
        return {}, events

    def test_not_grpc(self) -> None:
        """Requests that are no gRPC calls get an HTTP status, and no event."""
        cases = {b"405": (b":method", b"GET"), b"415": (b"content-type", b"text/html"), b"404": (b":path", b"x")}
        for status, (name, value) in cases.items():
            reply, events = self.answer_to([(n, value if n == name else v) for n, v in REQUEST])
            self.assertEqual(reply[b":status"], status)
            self.assertFalse([event for event in events if isinstance(event, CallStarted)])

    def test_bad_headers(self) -> None:
        """Unreadable timeouts and metadata are INTERNAL; unknown compression is UNIMPLEMENTED, with what we accept."""
        for header in ((b"grpc-timeout", b"abc"), (b"x-bin", b"!")):
            self.assertEqual(self.answer_to([*REQUEST, header])[0][b"grpc-status"], b"13")
        reply, _ = self.answer_to([*REQUEST, (b"grpc-encoding", b"snappy")])
        self.assertEqual((reply[b"grpc-status"], reply[b"grpc-accept-encoding"]), (b"12", b"identity,gzip"))

    def test_unreadable_messages(self) -> None:
        """Too large, cut short, or compressed without saying how: the call is to be rejected, once."""
        for body, code in (
            (encode_frame(bytes(1001)), StatusCode.RESOURCE_EXHAUSTED),
            (encode_frame(b"abc")[:-1], StatusCode.INTERNAL),
            (encode_frame(b"abc", compressed=True), StatusCode.INTERNAL),
        ):
            rejected = [event for event in self.answer_to(REQUEST, body)[1] if not isinstance(event, PeerReady)][-1]
            assert isinstance(rejected, CallRejected)
            self.assertEqual(rejected.code, code)

    def test_answers(self) -> None:
        """Answers that are no gRPC, and those without a status, become errors; the call is over exactly once."""

        def http_error(server: H2Connection) -> None:
            server.send_headers(1, [(":status", "503"), ("content-type", "text/html")])
            server.send_data(1, b"<p>busy", end_stream=True)

        def web_page(server: H2Connection) -> None:
            server.send_headers(1, [(":status", "200"), ("content-type", "text/html")], end_stream=False)

        def no_status(server: H2Connection) -> None:
            server.send_headers(1, [(":status", "200"), ("content-type", "application/grpc")])
            server.end_stream(1)

        def half_message(server: H2Connection) -> None:
            server.send_headers(1, [(":status", "200"), ("content-type", "application/grpc")])
            server.send_data(1, b"\x00\x00\x00\x00\x05abc")
            server.send_headers(1, [("grpc-status", "0")], end_stream=True)

        def refused(server: H2Connection) -> None:
            server.reset_stream(1, 7)

        cases: dict[Callable[[H2Connection], None], StatusCode] = {
            http_error: StatusCode.UNAVAILABLE,
            web_page: StatusCode.UNKNOWN,
            no_status: StatusCode.INTERNAL,
            half_message: StatusCode.INTERNAL,
            refused: StatusCode.UNAVAILABLE,
        }
        for misbehave, code in cases.items():
            client, server = client_connection(), foreign_server()
            client.send_last_message(client.start_call("/s/m", {}), b"")
            server.receive_data(client.outgoing())
            misbehave(server)
            ended = [event for event in client.receive(server.data_to_send()) if isinstance(event, CallEnded)]
            self.assertEqual([event.code for event in ended], [code], misbehave.__name__)
            self.assertEqual(ended[0].unprocessed, misbehave is refused)
            self.assertEqual(client.open_streams, 0)

    def test_reset_after_trailers(self) -> None:
        """The RST_STREAM that servers send after an early answer changes nothing."""
        client, server = client_connection(), foreign_server()
        client.start_call("/s/m", {})
        server.receive_data(client.outgoing())
        server.send_headers(
            1, [(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "0")], end_stream=True
        )
        server.reset_stream(1, 0)
        ended = [event for event in client.receive(server.data_to_send()) if isinstance(event, CallEnded)]
        self.assertEqual(ended, [CallEnded(1, StatusCode.OK, "")])

    def test_error_keeps_earlier_frames(self) -> None:
        """A bad frame loses nothing that came before it in the same read, and a GOAWAY answers it."""
        client, server = foreign_client(), server_connection()
        client.send_headers(1, REQUEST, end_stream=True)
        bad = b"\x00\x00\x01\x06\x00\x00\x00\x00\x00x"  # a PING of one byte
        kinds = [type(event) for event in server.receive(client.data_to_send() + bad)]
        self.assertEqual(kinds[-3:], [CallStarted, RequestsEnded, ConnectionBroken])
        self.assertEqual(server.receive(b"more"), [])
        self.assertIn(b"\x00\x00\x08\x07\x00", server.outgoing())  # GOAWAY

    def test_overlong_frame(self) -> None:
        """The length of a frame is looked at before its bytes are kept."""
        server = server_connection()
        server.receive(foreign_client().data_to_send())
        (broken,) = server.receive(b"\xff\xff\xff\x00\x00\x00\x00\x00\x01")
        assert isinstance(broken, ConnectionBroken)
        self.assertIn("16777215", broken.reason)

    def test_http1(self) -> None:
        """Somebody who speaks HTTP/1.1 is told off at the first bytes."""
        (broken,) = server_connection().receive(b"GET / HTTP/1.1\r\n\r\n")
        self.assertIsInstance(broken, ConnectionBroken)

    @settings(max_examples=300)
    @given(st.binary(max_size=300), st.booleans())
    def test_arbitrary_bytes(self, data: bytes, preface: bool) -> None:
        """Nonsense breaks the connection at most; nothing is ever raised, at either end."""
        server = server_connection()
        if preface:
            server.receive(foreign_client().data_to_send())
        server.receive(data)
        server.outgoing()
        client = client_connection()
        client.start_call("/s/m", {})
        if preface:
            client.receive(pair_settings())
        client.receive(data)
        client.outgoing()

    @settings(max_examples=300)
    @given(
        st.lists(
            st.tuples(
                st.integers(0, 11),
                st.integers(0, 255),
                st.sampled_from([0, 1, 2, 3, 5, 2**31 - 1]),
                st.binary(max_size=40),
            ),
            max_size=12,
        )
    )
    def test_arbitrary_frames(self, frames: list[tuple[int, int, int, bytes]]) -> None:
        """Neither do well-framed frames of any type, flags and content in any order."""
        data = b"".join(
            len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body
            for kind, flags, stream, body in frames
        )
        server = server_connection()
        server.receive(recorded_request() + data)
        server.finish(1, StatusCode.OK)
        client = client_connection()
        client.start_call("/s/m", {})
        client.receive(pair_settings() + data)
        client.outgoing()
