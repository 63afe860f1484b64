"""RFC 9113 section 6: each frame and its errors; settings; windows."""

from txdagu.testing.conformance import (
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    PROTOCOL_ERROR,
    ClientConformance,
    ServerConformance,
)
from txdagu.testing.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
    rst_stream,
    settings,
    window_update,
)
from txdagu.testing.wire import REQUEST
from txdagu.wire.events import CallStarted, MessageReceived, PeerLeaving
from txdagu.wire.framing import encode_frame
from txdagu.wire.http2 import CONNECTION_WINDOW, STREAM_WINDOW

LARGEST_WINDOW = 2**31 - 1


class Frames(ServerConformance):
    def test_6_1_data_on_the_connection(self) -> None:
        """DATA belongs to a stream."""
        self.connection_error(frame(DATA, 0, 0, b"x"), PROTOCOL_ERROR)

    def test_6_1_padding(self) -> None:
        """Padding is taken off, and counts for the windows."""
        body = encode_frame(b"abc")
        self.accepted(self.open() + frame(DATA, PADDED, 1, b"\x04" + body + bytes(4)))
        message = self.peer.events[-1]
        assert isinstance(message, MessageReceived)
        self.assertEqual(message.payload, b"abc")

    def test_6_1_padding_too_long(self) -> None:
        """Padding as long as the frame or longer."""
        self.connection_error(self.open() + frame(DATA, PADDED, 1, b"\x05abcd"), PROTOCOL_ERROR)

    def test_6_1_padding_without_length(self) -> None:
        """A padded frame without even the length of its padding."""
        self.connection_error(self.open() + frame(DATA, PADDED, 1), PROTOCOL_ERROR, FRAME_SIZE_ERROR)

    def test_6_2_padding_too_long(self) -> None:
        """So it is for HEADERS."""
        block = self.peer.block(REQUEST)
        self.connection_error(
            frame(HEADERS, END_HEADERS | PADDED, 1, bytes([len(block) + 1]) + block), PROTOCOL_ERROR, FRAME_SIZE_ERROR
        )

    def test_6_2_padding(self) -> None:
        """HEADERS with good padding."""
        self.accepted(frame(HEADERS, END_HEADERS | PADDED, 1, b"\x02" + self.peer.block(REQUEST) + bytes(2)))
        self.assertIsInstance(self.peer.events[-1], CallStarted)

    def test_6_3_priority_on_the_connection(self) -> None:
        """PRIORITY belongs to a stream."""
        self.connection_error(frame(PRIORITY, 0, 0, bytes(5)), PROTOCOL_ERROR)

    def test_6_3_priority_of_another_length(self) -> None:
        """PRIORITY has five bytes."""
        self.connection_error(frame(PRIORITY, 0, 1, bytes(6)), FRAME_SIZE_ERROR)

    def test_6_4_rst_stream_on_the_connection(self) -> None:
        """RST_STREAM belongs to a stream."""
        self.connection_error(rst_stream(0, 8), PROTOCOL_ERROR)

    def test_6_4_rst_stream_of_another_length(self) -> None:
        """RST_STREAM has four bytes."""
        self.connection_error(self.open() + frame(RST_STREAM, 0, 1, bytes(5)), FRAME_SIZE_ERROR)

    def test_6_4_unknown_code(self) -> None:
        """Unknown error codes end the stream like any other (section 7)."""
        self.accepted(self.open() + rst_stream(1, 0xFFFF))

    def test_6_6_push_promise(self) -> None:
        """Clients cannot push."""
        call, promise = self.open(), (2).to_bytes(4, "big") + self.peer.block(REQUEST)
        self.connection_error(call + frame(PUSH_PROMISE, END_HEADERS, 1, promise), PROTOCOL_ERROR)

    def test_6_7_ping(self) -> None:
        """PING is answered with the same eight bytes."""
        (answer,) = self.peer.send(frame(PING, 0, 0, b"12345678"))
        self.assertEqual((answer.opaque_data, "ACK" in answer.flags), (b"12345678", True))

    def test_6_7_ping_answer_that_nobody_asked_for(self) -> None:
        """An answer is not answered."""
        self.assertEqual(self.peer.send(frame(PING, ACK, 0, b"12345678")), [])

    def test_6_7_ping_on_a_stream(self) -> None:
        """PING belongs to the connection."""
        self.connection_error(frame(PING, 0, 1, bytes(8)), PROTOCOL_ERROR)

    def test_6_7_ping_of_another_length(self) -> None:
        """PING has eight bytes."""
        self.connection_error(frame(PING, 0, 0, bytes(9)), FRAME_SIZE_ERROR)

    def test_6_8_goaway_on_a_stream(self) -> None:
        """GOAWAY belongs to the connection."""
        self.connection_error(frame(GOAWAY, 0, 1, bytes(8)), PROTOCOL_ERROR)

    def test_6_8_goaway(self) -> None:
        """A graceful GOAWAY leaves the open calls alone."""
        self.accepted(self.open() + frame(GOAWAY, 0, 0, bytes(8)))
        self.assertIsInstance(self.peer.events[-1], PeerLeaving)

    def test_6_10_continuation_after_the_end(self) -> None:
        """CONTINUATION after END_HEADERS."""
        self.connection_error(self.open() + frame(CONTINUATION, END_HEADERS, 1, b""), PROTOCOL_ERROR)

    def test_6_10_continuation_of_another_stream(self) -> None:
        """CONTINUATION of another stream, or of the connection."""
        for other in (3, 0):
            self.setUp()
            block = self.peer.block(REQUEST)
            self.connection_error(
                frame(HEADERS, 0, 1, block[:2]) + frame(CONTINUATION, END_HEADERS, other, block[2:]), PROTOCOL_ERROR
            )

    def test_6_10_continuation_after_data(self) -> None:
        """DATA within a header block, then CONTINUATION."""
        block = self.peer.block(REQUEST)
        self.connection_error(frame(HEADERS, 0, 1, block[:2]) + frame(DATA, 0, 1, b"x"), PROTOCOL_ERROR)


class Settings(ServerConformance):
    def test_6_5_acknowledged(self) -> None:
        """SETTINGS is acknowledged at once, with an empty frame."""
        (answer,) = self.peer.send(settings((4, 1000)))
        self.assertEqual((type(answer).__name__, "ACK" in answer.flags, answer.settings), ("SettingsFrame", True, {}))

    def test_6_5_acknowledgement_with_content(self) -> None:
        """An acknowledgement is empty."""
        self.connection_error(frame(SETTINGS, ACK, 0, bytes(6)), FRAME_SIZE_ERROR)

    def test_6_5_on_a_stream(self) -> None:
        """SETTINGS belongs to the connection."""
        self.connection_error(frame(SETTINGS, 0, 1), PROTOCOL_ERROR)

    def test_6_5_of_another_length(self) -> None:
        """A length that is no multiple of six."""
        self.connection_error(frame(SETTINGS, 0, 0, bytes(7)), FRAME_SIZE_ERROR)

    def test_6_5_2_push(self) -> None:
        """SETTINGS_ENABLE_PUSH is 0 or 1."""
        self.connection_error(settings((2, 2)), PROTOCOL_ERROR)

    def test_6_5_2_window(self) -> None:
        """SETTINGS_INITIAL_WINDOW_SIZE is below 2**31."""
        self.connection_error(settings((4, 2**31)), FLOW_CONTROL_ERROR)

    def test_6_5_2_frame_size(self) -> None:
        """SETTINGS_MAX_FRAME_SIZE is 2**14 to 2**24-1."""
        for size in (16383, 2**24):
            self.setUp()
            self.connection_error(settings((5, size)), PROTOCOL_ERROR)

    def test_6_5_2_unknown(self) -> None:
        """Unknown settings are ignored."""
        self.accepted(settings((0xFF, 1)))

    def test_6_5_3_in_order(self) -> None:
        """Of a setting that appears twice the last value counts."""
        self.accepted(settings((4, 5), (4, 7)) + self.open())
        self.server.send_message(1, b"x" * 100)
        self.assertEqual([len(sent.data) for sent in self.peer.read() if type(sent).__name__ == "DataFrame"], [7])


class Windows(ServerConformance):
    def data(self) -> list[int]:
        """How much data is sent now, frame by frame."""
        return [len(sent.data) for sent in self.peer.read() if type(sent).__name__ == "DataFrame"]

    def test_6_9_increment_zero(self) -> None:
        """An increment of nothing: on the connection an error of the connection, on a stream at least of the stream."""
        self.connection_error(window_update(0, 0), PROTOCOL_ERROR)
        self.setUp()
        self.connection_error(self.open() + window_update(1, 0), PROTOCOL_ERROR)

    def test_6_9_of_another_length(self) -> None:
        """WINDOW_UPDATE has four bytes."""
        self.connection_error(frame(WINDOW_UPDATE, 0, 0, bytes(5)), FRAME_SIZE_ERROR)

    def test_6_9_1_obeyed(self) -> None:
        """Nothing is sent beyond a stream's window, byte for byte."""
        self.peer.send(settings((4, 1)), self.open())
        self.server.send_message(1, b"abc")
        self.assertEqual(self.data(), [1])
        self.server.receive(window_update(1, 2))
        self.assertEqual(self.data(), [2])

    def test_6_9_1_connection_obeyed(self) -> None:
        """Nothing is sent beyond the connection's window."""
        self.peer.send(settings((4, LARGEST_WINDOW)), self.open())
        self.server.send_message(1, bytes(100_000))
        self.assertEqual(sum(self.data()), 65535)
        self.server.receive(window_update(0, 10))
        self.assertEqual(self.data(), [10])

    def test_6_9_1_connection_overflow(self) -> None:
        """A window of the connection beyond 2**31-1."""
        self.connection_error(window_update(0, LARGEST_WINDOW), FLOW_CONTROL_ERROR)

    def test_6_9_1_stream_overflow(self) -> None:
        """A window of a stream beyond 2**31-1 ends the stream."""
        self.stream_error(self.open() + window_update(1, LARGEST_WINDOW), 1, FLOW_CONTROL_ERROR)

    def test_6_9_1_peer_exceeds_the_stream(self) -> None:
        """More data than the stream's window allows."""
        chunks = frame(DATA, 0, 1, bytes(16384)) * (STREAM_WINDOW // 16384)
        # The window comes back with consumption, and nobody consumes the empty message.
        whole = frame(DATA, 0, 1, encode_frame(b"")) + frame(DATA, 0, 1, b"\0" + (9_000_000).to_bytes(4, "big"))
        self.connection_error(self.open() + whole + chunks, FLOW_CONTROL_ERROR)

    def test_6_9_1_peer_exceeds_the_connection(self) -> None:
        """More data than the connection's window allows, while nothing of it could be given back."""
        self.peer.send(b"".join(self.open(number) for number in range(1, 101, 2)))
        self.server._connection_credit = -2 * CONNECTION_WINDOW
        chunk = b"\0" + (9_000_000).to_bytes(4, "big") + bytes(16384 - 5)
        flood = b"".join(frame(DATA, 0, number, chunk) for _ in range(6) for number in range(1, 101, 2))
        self.connection_error(flood, FLOW_CONTROL_ERROR)

    def test_6_9_2_changed_while_open(self) -> None:
        """A new initial window changes those of the open streams, also below zero."""
        self.peer.send(settings((4, 10)), self.open())
        self.server.send_message(1, bytes(95))
        self.assertEqual(self.data(), [10])
        self.peer.send(settings((4, 4)))  # the window is -6 now
        self.server.receive(window_update(1, 6))
        self.assertEqual(self.data(), [])
        self.server.receive(window_update(1, 1))
        self.assertEqual(self.data(), [1])
        self.server.receive(settings((4, 14)))
        self.assertEqual(self.data(), [10])

    def test_6_9_2_overflow_by_settings(self) -> None:
        """A new initial window that lifts an open stream's window beyond 2**31-1."""
        self.connection_error(
            self.open() + window_update(1, 1_000_000) + settings((4, LARGEST_WINDOW)), FLOW_CONTROL_ERROR
        )


class AtClient(ClientConformance):
    def test_6_5_2_server_enables_push(self) -> None:
        """A server may not allow itself to be pushed to."""
        self.connection_error(settings((2, 1)), PROTOCOL_ERROR)

    def test_6_6_push(self) -> None:
        """We switched push off, so a promise is an error."""
        promise = (2).to_bytes(4, "big") + self.peer.block(REQUEST)
        self.connection_error(frame(PUSH_PROMISE, END_HEADERS, 1, promise), PROTOCOL_ERROR)

    def test_6_9_1_obeyed(self) -> None:
        """The client keeps to windows too."""
        self.peer.send(settings((4, 3)))
        stream = self.client.start_call("/s/m", {})
        self.client.send_last_message(stream, b"abcdef")
        sent = [found for found in self.peer.read() if type(found).__name__ == "DataFrame"]
        self.assertEqual([(len(found.data), "END_STREAM" in found.flags) for found in sent], [(3, False)])
        sent = self.peer.send(window_update(stream, 8))
        self.assertEqual([(len(found.data), "END_STREAM" in found.flags) for found in sent], [(8, True)])

    def test_6_4_reset_ends_the_call(self) -> None:
        """RST_STREAM of an unknown code ends the call, not the connection."""
        self.accepted(rst_stream(1, 0xFFFF))
        self.assertEqual(self.client.open_streams, 0)

    def test_6_1_end_of_data(self) -> None:
        """DATA with END_STREAM ends a call without a status, and only that."""
        head = self.peer.headers(1, [(b":status", b"200"), (b"content-type", b"application/grpc")])
        self.accepted(head + frame(DATA, END_STREAM, 1, b""))
        self.assertEqual(self.client.open_streams, 0)
