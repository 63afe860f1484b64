"""How connections end, and what peers do wrong."""

from __future__ import annotations

from collections.abc import Callable

from h2.connection import ConnectionState, H2Connection
from h2.events import ConnectionTerminated, ResponseReceived
from twisted.trial.unittest import SynchronousTestCase

from txdagu.testing.wire import (
    REQUEST,
    Pair,
    client_connection,
    foreign_client,
    foreign_server,
    server_connection,
)
from txdagu.wire.events import (
    CallEnded,
    CallRejected,
    CallStarted,
    ConnectionBroken,
    Event,
    PeerLeaving,
    PeerReady,
    RequestsEnded,
)
from txdagu.wire.framing import encode_frame
from txdagu.wire.status import StatusCode


def _goaways(data: bytes, client: H2Connection) -> list[tuple[int | None, bytes | None]]:
    """The last stream and debug text of every GOAWAY; the client stays open, as real ones do."""
    events = []
    while data:
        end = 9 + int.from_bytes(data[:3], "big")
        frame, data = data[:end], data[end:]
        events += client.receive_data(frame)
        client.state_machine.state = ConnectionState.CLIENT_OPEN
    return [
        (event.last_stream_id, event.additional_data) for event in events if isinstance(event, ConnectionTerminated)
    ]


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

    def test_server_leaves_in_two_steps(self) -> None:
        """Calls that cross the first GOAWAY are served; the client's PING answer brings the second, with the last stream."""
        client, server = foreign_client(), server_connection()
        client.receive_data(server.outgoing())
        client.send_headers(1, REQUEST)
        server.receive(client.data_to_send())
        server.announce_end("bye")
        crossing = client.get_next_available_stream_id()
        client.send_headers(crossing, REQUEST)
        on_their_way = client.data_to_send()
        first = _goaways(server.outgoing(), client)
        self.assertEqual(first, [(2**31 - 1, b"bye")])
        self.assertTrue(any(isinstance(event, CallStarted) for event in server.receive(on_their_way)))
        self.assertFalse(server.is_refusing)
        server.receive(client.data_to_send())
        self.assertTrue(server.is_refusing)
        self.assertEqual(_goaways(server.outgoing(), client), [(crossing, b"bye")])
        client.state_machine.state = ConnectionState.CLIENT_OPEN
        client.send_headers(client.get_next_available_stream_id(), REQUEST)
        self.assertEqual(server.receive(client.data_to_send()), [])
        server.close("gone")
        self.assertEqual(_goaways(server.outgoing(), client), [(crossing, b"gone")])

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

    def test_no_time_left(self) -> None:
        """A call whose time is up when it arrives is answered so, and no handler hears of it."""
        for timeout in (b"0n", b"0S", b"00000000H"):
            reply, events = self.answer_to([*REQUEST, (b"grpc-timeout", timeout)])
            self.assertEqual(reply[b"grpc-status"], b"4")
            self.assertFalse([event for event in events if isinstance(event, CallStarted)])

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

        def refused_late(server: H2Connection) -> None:
            server.send_headers(1, [(":status", "200"), ("content-type", "application/grpc")])
            server.reset_stream(1, 7)

        cases: dict[Callable[[H2Connection], None], StatusCode] = {
            http_error: StatusCode.UNAVAILABLE,
            web_page: StatusCode.UNKNOWN,
            no_status: StatusCode.UNKNOWN,
            half_message: StatusCode.INTERNAL,
            refused: StatusCode.UNAVAILABLE,
            refused_late: StatusCode.UNAVAILABLE,
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
