"""RFC 9113 section 5: stream states, identifiers, priorities, errors, extensions."""

from txdagu.testing.conformance import (
    NO_ERROR,
    PROTOCOL_ERROR,
    STREAM_CLOSED,
    ClientConformance,
    ServerConformance,
)
from txdagu.testing.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HAS_PRIORITY,
    HEADERS,
    PRIORITY,
    frame,
    rst_stream,
    settings,
    window_update,
)
from txdagu.testing.wire import REQUEST
from txdagu.wire.events import CallCancelled, CallEnded, CallStarted
from txdagu.wire.framing import encode_frame
from txdagu.wire.status import StatusCode


class Idle(ServerConformance):
    def test_5_1_data(self) -> None:
        """DATA on an idle stream."""
        self.connection_error(frame(DATA, END_STREAM, 1, b"x"), PROTOCOL_ERROR)

    def test_5_1_rst_stream(self) -> None:
        """RST_STREAM on an idle stream."""
        self.connection_error(rst_stream(1, 8), PROTOCOL_ERROR)

    def test_5_1_window_update(self) -> None:
        """WINDOW_UPDATE on an idle stream."""
        self.connection_error(window_update(1, 10), PROTOCOL_ERROR)

    def test_5_1_continuation(self) -> None:
        """CONTINUATION without HEADERS before it."""
        self.connection_error(frame(CONTINUATION, END_HEADERS, 1, self.peer.block(REQUEST)), PROTOCOL_ERROR)

    def test_5_1_priority(self) -> None:
        """PRIORITY is fine in every state."""
        self.accepted(frame(PRIORITY, 0, 1, bytes(4) + b"\x10"))


class HalfClosedRemote(ServerConformance):
    def setUp(self) -> None:
        super().setUp()
        self.peer.send(self.open(ended=True))

    def test_5_1_data(self) -> None:
        """DATA after END_STREAM."""
        self.ends(frame(DATA, 0, 1, b"x"))

    def test_5_1_headers(self) -> None:
        """HEADERS after END_STREAM."""
        self.ends(self.open(ended=True))

    def ends(self, data: bytes) -> None:
        """The call ends for both sides, once."""
        self.stream_error(data, 1, STREAM_CLOSED)
        self.assertEqual(len(self.peer.resets()), 1)
        self.assertEqual([type(event) for event in self.peer.events].count(CallCancelled), 1)
        self.assertEqual(self.server.open_streams, 0)

    def test_5_1_window_update_and_priority(self) -> None:
        """WINDOW_UPDATE and PRIORITY after END_STREAM are fine, since the answer is still to come."""
        self.accepted(window_update(1, 100) + frame(PRIORITY, 0, 1, bytes(4) + b"\x10"))

    def test_5_1_rst_stream(self) -> None:
        """RST_STREAM after END_STREAM cancels the call."""
        self.accepted(rst_stream(1, 8))
        self.assertIsInstance(self.peer.events[-1], CallCancelled)


class ClosedByUs(ServerConformance):
    def setUp(self) -> None:
        """Our reset of a call is under way when the client still sends."""
        super().setUp()
        self.peer.send(self.open())
        self.server.cancel(1)
        self.peer.read()

    def test_5_1_frames_that_crossed(self) -> None:
        """All that crossed our reset is discarded without another frame; the header block keeps the tables in step."""
        crossed = self.peer.send(
            frame(DATA, 0, 1, encode_frame(b"late")),
            window_update(1, 10),
            frame(PRIORITY, 0, 1, bytes(4) + b"\x10"),
            self.peer.headers(1, [(b"x-new", b"a value for the table")], END_HEADERS | END_STREAM),
            rst_stream(1, 8),
        )
        self.assertEqual(crossed, [])
        self.accepted_after_reset()

    def accepted_after_reset(self) -> None:
        """A new call that uses the compression state is understood."""
        self.peer.send(self.peer.headers(3, [*REQUEST, (b"x-new", b"a value for the table")]))
        started = self.peer.events[-1]
        assert isinstance(started, CallStarted)
        self.assertEqual(started.metadata["x-new"], "a value for the table")

    def test_5_1_data_counts_for_the_connection(self) -> None:
        """Discarded data uses the connection's window, which is given back."""
        given = 0
        for _ in range(300):
            given += sum(answer.window_increment for answer in self.peer.send(frame(DATA, 0, 1, bytes(16384))))
        self.assertTrue(self.peer.is_alive())
        self.assertGreater(given, 100 * 16384)


class ClosedByPeer(ServerConformance):
    def setUp(self) -> None:
        super().setUp()
        self.peer.send(self.open(), rst_stream(1, 8))

    def test_5_1_data(self) -> None:
        """DATA after the peer's own RST_STREAM."""
        self.stream_error(frame(DATA, 0, 1, b"x"), 1, STREAM_CLOSED)

    def test_5_1_headers(self) -> None:
        """HEADERS after the peer's own RST_STREAM."""
        self.stream_error(self.peer.headers(1, REQUEST), 1, STREAM_CLOSED)

    def test_5_1_window_update_and_priority(self) -> None:
        """These may have been sent by layers that did not know yet."""
        self.accepted(window_update(1, 10) + frame(PRIORITY, 0, 1, bytes(4) + b"\x10") + rst_stream(1, 8))


class ClosedByEnd(ServerConformance):
    def setUp(self) -> None:
        super().setUp()
        self.peer.send(self.open(ended=True))
        self.server.finish(1, StatusCode.OK)
        self.peer.read()

    def test_5_1_headers(self) -> None:
        """HEADERS on a stream that both sides have ended."""
        self.connection_error(self.peer.headers(1, REQUEST), STREAM_CLOSED)

    def test_5_1_data(self) -> None:
        """DATA on a stream that both sides have ended (section 6.1 asks for no more than a stream error)."""
        self.stream_error(frame(DATA, 0, 1, b"x"), 1, STREAM_CLOSED)

    def test_5_1_others(self) -> None:
        """WINDOW_UPDATE, RST_STREAM and PRIORITY may arrive for a short while after."""
        self.accepted(window_update(1, 10) + rst_stream(1, 0) + frame(PRIORITY, 0, 1, bytes(4) + b"\x10"))


class Identifiers(ServerConformance):
    def test_5_1_1_even(self) -> None:
        """A client's streams have odd numbers."""
        self.connection_error(self.open(2), PROTOCOL_ERROR)

    def test_5_1_1_decreasing(self) -> None:
        """A lower number than that of an earlier stream."""
        self.connection_error(self.open(5, ended=True) + self.open(3), PROTOCOL_ERROR, STREAM_CLOSED)

    def test_5_1_1_headers_on_the_connection(self) -> None:
        """Stream 0 is the connection."""
        self.connection_error(self.open(0), PROTOCOL_ERROR)

    def test_5_1_1_skipped(self) -> None:
        """Numbers may be left out; those below are closed."""
        self.accepted(self.open(1) + self.open(101))
        self.stream_error(frame(DATA, 0, 51, b"x"), 51, STREAM_CLOSED)
        self.connection_error(self.open(51), PROTOCOL_ERROR, STREAM_CLOSED)

    def test_5_1_2_unlimited(self) -> None:
        """We announce no limit of concurrent streams, and a thousand are taken."""
        self.assertNotIn(3, self.peer.frames[0].settings)
        self.accepted(b"".join(self.open(number) for number in range(1, 2001, 2)))
        self.assertEqual(self.server.open_streams, 1000)


class Errors(ServerConformance):
    def test_5_3_headers_with_priority(self) -> None:
        """HEADERS may carry a priority; it means nothing (section 5.3.2)."""
        block = self.peer.block(REQUEST)
        self.accepted(frame(HEADERS, END_HEADERS | HAS_PRIORITY, 1, (1 << 31).to_bytes(4, "big") + b"\xff" + block))
        self.assertIsInstance(self.peer.events[-1], CallStarted)

    def test_5_3_self_dependency(self) -> None:
        """A stream that depends on itself is an error by RFC 7540 section 5.3.1; RFC 9113 says nothing."""
        self.connection_error(frame(PRIORITY, 0, 1, (1).to_bytes(4, "big") + b"\x10"), PROTOCOL_ERROR)

    def test_5_4_1_last_stream(self) -> None:
        """The GOAWAY of an error names the last stream that we may have acted upon."""
        self.peer.send(self.open(1, ended=True), self.open(7, ended=True), frame(DATA, 0, 0, b"x"))
        self.assertEqual(self.peer.frames[-1].last_stream_id, 7)

    def test_5_4_2_no_reset_for_a_reset(self) -> None:
        """RST_STREAM is never answered with RST_STREAM."""
        self.peer.send(self.open(), rst_stream(1, 8), rst_stream(1, 8))
        self.assertEqual(self.peer.resets(), [])

    def test_5_5_unknown_settings_and_frames(self) -> None:
        """Extensions that we do not know are ignored."""
        self.accepted(settings((0xFAFA, 7)) + self.open() + frame(0x21, 0xFF, 1, b"anything"))

    def test_8_1_early_answer(self) -> None:
        """An answer before the end of the request is followed by RST_STREAM NO_ERROR."""
        self.peer.send(self.open())
        self.server.finish(1, StatusCode.ABORTED)
        self.assertEqual([type(sent).__name__ for sent in self.peer.read()], ["HeadersFrame", "RstStreamFrame"])
        self.assertEqual(self.peer.resets(), [(1, int(NO_ERROR))])


class AtClient(ClientConformance):
    def test_5_1_answer_on_idle(self) -> None:
        """An answer to a call that was never made."""
        self.connection_error(self.peer.headers(7, [(b":status", b"200")]), PROTOCOL_ERROR)

    def test_5_1_1_server_stream(self) -> None:
        """Servers open streams only by PUSH_PROMISE."""
        self.connection_error(self.peer.headers(2, [(b":status", b"200")]), PROTOCOL_ERROR)

    def test_5_1_frames_that_crossed(self) -> None:
        """What crossed our CANCEL is discarded in silence."""
        self.client.cancel(1)
        self.peer.read()
        answered = self.peer.send(
            self.peer.headers(1, [(b":status", b"200"), (b"content-type", b"application/grpc")]),
            frame(DATA, 0, 1, encode_frame(b"late")),
            self.peer.headers(1, [(b"grpc-status", b"0")], END_HEADERS | END_STREAM),
        )
        self.assertEqual(answered, [])
        self.accepted_cancel()

    def accepted_cancel(self) -> None:
        """Nothing more of the call is told, and the next one works."""
        self.assertFalse([event for event in self.peer.events if isinstance(event, CallEnded)])
        self.client.send_last_message(self.client.start_call("/s/m", {}), b"")
        self.assertTrue(self.peer.is_alive())

    def test_5_1_2_limit(self) -> None:
        """The server's limit of concurrent streams is kept to, and told again when it changes."""
        self.peer.send(settings((3, 1)))
        self.assertFalse(self.client.has_free_stream)
        self.peer.send(settings((3, 2)))
        self.assertTrue(self.client.has_free_stream)
