"""RFC 9113 section 8: requests, answers and trailers that are malformed, and those that are not."""

from collections.abc import Sequence

from txdagu.testing.conformance import (
    PROTOCOL_ERROR,
    ClientConformance,
    ServerConformance,
)
from txdagu.testing.frames import DATA, END_HEADERS, END_STREAM, frame
from txdagu.testing.wire import REQUEST
from txdagu.wire.events import CallCancelled, CallEnded, CallStarted, HeadersReceived
from txdagu.wire.framing import encode_frame
from txdagu.wire.metadata import Header
from txdagu.wire.status import StatusCode

ANSWER = [(b":status", b"200"), (b"content-type", b"application/grpc")]


class Requests(ServerConformance):
    def malformed(self, fields: Sequence[Header]) -> None:
        """Such a request ends its stream, and no call is told of it."""
        self.stream_error(self.peer.headers(1, fields), 1, PROTOCOL_ERROR)
        self.assertFalse([event for event in self.peer.events if isinstance(event, CallStarted)])
        self.assertEqual(self.server.open_streams, 0)

    def started(self, fields: Sequence[Header]) -> CallStarted:
        """Such a request is a call."""
        self.accepted(self.peer.headers(1, fields))
        (event,) = [event for event in self.peer.events if isinstance(event, CallStarted)]
        return event

    def without(self, name: bytes) -> list[Header]:
        """A request that lacks a field."""
        return [field for field in REQUEST if field[0] != name]

    def changed(self, name: bytes, value: bytes) -> list[Header]:
        """A request with another value of a field."""
        return [(key, value if key == name else old) for key, old in REQUEST]

    def test_8_2_1_upper_case(self) -> None:
        """Names are in lower case."""
        self.malformed([*REQUEST, (b"X-Key", b"v")])

    def test_8_2_1_characters(self) -> None:
        """Names have no spaces, controls, colons or other bytes that are no token, and at least one byte."""
        for name in (b"a b", b"a\0", b"a\n", b"a:b", b"a\x7f", b"\xc3\xa4", b"a\r", b""):
            self.setUp()
            self.malformed([*REQUEST, (name, b"v")])

    def test_8_2_1_values(self) -> None:
        """Values have no NUL, line feed or carriage return."""
        for value in (b"a\0", b"\nb", b"a\r"):
            self.setUp()
            self.malformed([*REQUEST, (b"key", value)])
            self.setUp()
            self.malformed([*REQUEST, (b"key", value), (b"key", b"good")])

    def test_8_2_1_spaces(self) -> None:
        """Spaces around a value are let through, as gRPC allows them (a deviation)."""
        self.assertEqual(self.started([*REQUEST, (b"key", b" v ")]).metadata, {"key": " v "})

    def test_8_2_2_connection_specific(self) -> None:
        """Fields that speak of an HTTP/1.1 connection."""
        for name in (b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"):
            self.setUp()
            self.malformed([*REQUEST, (name, b"x")])

    def test_8_2_2_te(self) -> None:
        """The field te is "trailers" or not there."""
        self.malformed(self.changed(b"te", b"trailers, deflate;q=0.5"))
        self.setUp()
        self.malformed([*self.without(b"te"), (b"te", b"gzip"), (b"te", b"trailers")])
        self.setUp()
        self.started(self.without(b"te"))

    def test_8_3_unknown(self) -> None:
        """Pseudo-header fields that nobody defined."""
        self.malformed([(b":test", b"x"), *REQUEST])

    def test_8_3_of_responses(self) -> None:
        """The pseudo-header field of answers."""
        self.malformed([*REQUEST[:4], (b":status", b"200"), *REQUEST[4:]])

    def test_8_3_protocol(self) -> None:
        """Extended CONNECT (RFC 8441) was not offered."""
        self.malformed([(b":protocol", b"websocket"), *REQUEST])

    def test_8_3_after_a_regular_field(self) -> None:
        """Pseudo-header fields come first."""
        self.malformed([*REQUEST[1:], REQUEST[0]])

    def test_8_3_order(self) -> None:
        """Among themselves they come in any order."""
        self.started([*reversed(REQUEST[:4]), *REQUEST[4:]])

    def test_8_3_1_twice(self) -> None:
        """Each of them once, also with the same value."""
        for field in REQUEST[:4]:
            self.setUp()
            self.malformed([field, *REQUEST])

    def test_8_3_1_missing(self) -> None:
        """Without a method, scheme or path."""
        for name in (b":method", b":scheme", b":path"):
            self.setUp()
            self.malformed(self.without(name))
        self.setUp()
        self.malformed([])

    def test_8_3_1_no_authority(self) -> None:
        """The authority may be left out."""
        self.started(self.without(b":authority"))

    def test_8_3_1_empty_path(self) -> None:
        """The path is not empty."""
        self.malformed(self.changed(b":path", b""))

    def test_8_5_connect(self) -> None:
        """CONNECT has neither scheme nor path, and is refused as a method; with them it is malformed."""
        self.malformed(self.changed(b":method", b"CONNECT"))
        self.setUp()
        self.peer.send(
            self.peer.headers(1, [(b":method", b"CONNECT"), (b":authority", b"x:1")], END_HEADERS | END_STREAM)
        )
        self.assertEqual(self.answer()[b":status"], b"405")

    def answer(self) -> dict[bytes, bytes]:
        """The header fields of the answer."""
        (head,) = [sent for sent in self.peer.frames if type(sent).__name__ == "HeadersFrame"]
        return dict(self.peer.fields(head.data))


class Exchanges(ServerConformance):
    def test_8_1_trailers_without_end(self) -> None:
        """A second block of header fields ends the request; without END_STREAM it is malformed."""
        self.connection_error(self.open() + self.peer.headers(1, [(b"x", b"y")]), PROTOCOL_ERROR)

    def test_8_1_trailers(self) -> None:
        """Trailers of a request are accepted and mean nothing."""
        self.accepted(self.open() + self.peer.headers(1, [(b"x", b"y")], END_HEADERS | END_STREAM))

    def test_8_1_trailers_with_pseudo_header(self) -> None:
        """Trailers have no pseudo-header fields; the call that they end is cancelled."""
        call = self.open()
        self.stream_error(
            call + self.peer.headers(1, [(b":method", b"POST")], END_HEADERS | END_STREAM), 1, PROTOCOL_ERROR
        )
        cancelled = self.peer.events[-1]
        assert isinstance(cancelled, CallCancelled)
        self.assertEqual(cancelled.reason, "the request is malformed: trailers with the pseudo-header field :method")

    def test_8_1_1_content_length(self) -> None:
        """A content-length that is not that of the data: too little, too much, or none at all where data was promised."""
        body = encode_frame(b"abc")
        for data in (
            frame(DATA, END_STREAM, 1, body[:-1]),
            frame(DATA, 0, 1, body) + frame(DATA, END_STREAM, 1, b"x"),
            frame(DATA, END_STREAM, 1),
        ):
            self.setUp()
            head = self.peer.headers(1, [*REQUEST, (b"content-length", b"8")])
            self.connection_error(head + data, PROTOCOL_ERROR)

    def test_8_1_1_content_length_that_fits(self) -> None:
        """The right one is fine."""
        head = self.peer.headers(1, [*REQUEST, (b"content-length", b"8")])
        self.accepted(head + frame(DATA, END_STREAM, 1, encode_frame(b"abc")))

    def test_8_1_1_content_length_that_is_no_number(self) -> None:
        """Something that is no length, or two that differ."""
        for fields in ([(b"content-length", b"x")], [(b"content-length", b"1"), (b"content-length", b"2")]):
            self.setUp()
            self.connection_error(self.peer.headers(1, [*REQUEST, *fields]), PROTOCOL_ERROR)

    def test_refused_when_ended(self) -> None:
        """What is no gRPC call is answered in text when it has ended, within the window that it allows."""
        self.peer.send(self.peer.headers(1, [(b":method", b"PUT"), *REQUEST[1:]]))
        self.accepted(frame(DATA, 0, 1, bytes(1000)))
        head, body, *_ = self.peer.send(frame(DATA, END_STREAM, 1, b""))
        fields = dict(self.peer.fields(head.data))
        self.assertEqual((fields[b":status"], fields[b"allow"]), (b"405", b"POST"))
        self.assertEqual((body.data, "END_STREAM" in body.flags), (b"grpc: a call must be sent with POST\n", True))
        self.assertEqual(self.server.open_streams, 0)

    def test_refused_when_too_long(self) -> None:
        """A body that does not end is not read for ever: the answer comes first, then a request to stop."""
        self.peer.send(self.peer.headers(1, [(b":method", b"PUT"), *REQUEST[1:]]))
        self.peer.send(frame(DATA, 0, 1, bytes(16000)) * 5)
        self.assertEqual(self.peer.resets(), [(1, 0)])
        self.assertEqual(self.server.open_streams, 0)


class Answers(ClientConformance):
    def malformed(self, data: bytes, word: str) -> None:
        """Such an answer ends the call with INTERNAL, and its stream, but not the connection."""
        self.stream_error(data, 1, PROTOCOL_ERROR)
        self.ended_with(word)

    def ended_with(self, word: str) -> None:
        """The call ended with INTERNAL, once, and says why."""
        (ended,) = [event for event in self.peer.events if isinstance(event, CallEnded)]
        self.assertEqual(ended.code, StatusCode.INTERNAL)
        self.assertIn(word, ended.message)
        self.assertEqual(self.client.open_streams, 0)

    def test_8_3_2_no_status(self) -> None:
        """An answer has a :status."""
        self.malformed(self.peer.headers(1, ANSWER[1:]), "not none")

    def test_8_3_2_twice(self) -> None:
        """Exactly one."""
        self.malformed(self.peer.headers(1, [ANSWER[0], *ANSWER]), ":status :status")

    def test_8_3_2_of_requests(self) -> None:
        """And no other pseudo-header field."""
        self.malformed(self.peer.headers(1, [(b":path", b"/"), *ANSWER]), ":path")

    def test_8_2_fields(self) -> None:
        """Names and values are checked as in requests."""
        for field in ((b"Upper", b"v"), (b"key", b"a\nb"), (b"connection", b"close"), (b":late", b"x")):
            self.setUp()
            self.malformed(self.peer.headers(1, [*ANSWER, field]), field[0].decode())

    def test_8_1_trailers_with_pseudo_header(self) -> None:
        """Trailers have none. The stream is over with them, so there is nothing to reset."""
        head = self.peer.headers(1, ANSWER)
        trailers = self.peer.headers(1, [(b":status", b"200"), (b"grpc-status", b"0")], END_HEADERS | END_STREAM)
        self.accepted(head + trailers)
        self.ended_with("trailers")

    def test_8_1_trailers_without_end(self) -> None:
        """Trailers end the answer."""
        head = self.peer.headers(1, ANSWER)
        self.connection_error(head + self.peer.headers(1, [(b"grpc-status", b"0")]), PROTOCOL_ERROR)

    def test_8_1_data_first(self) -> None:
        """Data before any header fields."""
        self.connection_error(frame(DATA, 0, 1, b"x"), PROTOCOL_ERROR)

    def test_8_1_informational(self) -> None:
        """Interim answers (1xx) are skipped."""
        self.accepted(self.peer.headers(1, [(b":status", b"103")]) + self.peer.headers(1, ANSWER))
        self.assertIsInstance(self.peer.events[-1], HeadersReceived)

    def test_8_1_informational_at_the_end(self) -> None:
        """An interim answer cannot be the last."""
        self.connection_error(self.peer.headers(1, [(b":status", b"103")], END_HEADERS | END_STREAM), PROTOCOL_ERROR)
