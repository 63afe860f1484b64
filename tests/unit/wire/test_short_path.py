"""The short path does what h2 does: the same frames and orders, both ways, must leave the same of everything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from h2.events import Event, ResponseReceived
from h2.exceptions import ProtocolError
from h2.stream import H2Stream
from hpack import Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from txdagu.testing.wire import REQUEST, foreign_client
from txdagu.wire.http2 import Http2Connection, PeerError
from txdagu.wire.short_path import ShortPathConnection

ANSWER = ((b":status", b"200"), (b"content-type", b"application/grpc"))
TRAILERS = ((b"grpc-status", b"0"), (b"grpc-message", b""))
STREAMS = st.sampled_from([1, 3, 5, 7])
VARIANTS: list[list[tuple[bytes, bytes]]] = [
    [],
    [(b"content-length", b"10")],
    [(b"content-length", b"nonsense")],
    [(b":status", b"100")],
    [(b"x", b"y" * 300)],
]
ENDS = st.sampled_from([[], ["END_STREAM"]])
STEP = st.one_of(
    # What the peer sends; the ordinary more often than the rest
    st.tuples(st.just("request"), STREAMS, ENDS, st.just(VARIANTS[0])),
    st.tuples(st.just("request"), STREAMS, ENDS, st.sampled_from(VARIANTS)),
    st.tuples(st.just("odd request"), STREAMS, st.sampled_from(["PADDED", "PRIORITY", "CONTINUED", "CUT"])),
    st.tuples(st.just("data"), STREAMS, ENDS, st.sampled_from([0, 5, 10, 200])),
    st.tuples(st.just("data"), STREAMS, ENDS, st.sampled_from([0, 5, 10, 200])),
    st.tuples(st.just("padded data"), STREAMS, ENDS),
    st.tuples(st.just("reset"), STREAMS),
    st.tuples(st.just("window"), st.sampled_from([0, 1, 3]), st.sampled_from([1, 70_000, 2**31 - 1])),
    st.tuples(st.just("settings"), st.sampled_from([{4: 3}, {4: 100_000}, {1: 0}, {5: 20_000}, {}])),
    st.tuples(st.just("ping")),
    # What we do
    st.tuples(st.just("answer"), STREAMS, st.booleans()),
    st.tuples(st.just("say"), STREAMS, st.sampled_from([0, 5, 20_000]), st.booleans()),
    st.tuples(st.just("finish"), STREAMS),
    st.tuples(st.just("cancel"), STREAMS),
    st.tuples(st.just("forget"), STREAMS),
)


class Peer:
    """Frames as hyperframe writes them, with one header table."""

    def __init__(self) -> None:
        self.encoder = Encoder()

    def frames(self, step: Sequence[Any]) -> list[Frame]:
        """The frames of a step; none if it is something that we do."""
        match step:
            case ["request", stream_id, flags, more]:
                return [HeadersFrame(stream_id, self.encoder.encode([*REQUEST, *more]), flags=["END_HEADERS", *flags])]
            case ["odd request", stream_id, "CONTINUED" | "CUT" as kind]:
                block = self.encoder.encode(REQUEST)
                rest = [ContinuationFrame(stream_id, block[4:], flags=["END_HEADERS"])] if kind == "CONTINUED" else []
                return [HeadersFrame(stream_id, block[:4]), *rest]
            case ["odd request", stream_id, flag]:
                return [
                    HeadersFrame(stream_id, self.encoder.encode(REQUEST), flags=["END_HEADERS", flag], pad_length=3)
                ]
            case ["data", stream_id, flags, size]:
                return [DataFrame(stream_id, bytes(size), flags=flags)]
            case ["padded data", stream_id, flags]:
                return [DataFrame(stream_id, b"padded", flags=[*flags, "PADDED"], pad_length=7)]
            case ["reset", stream_id]:
                return [RstStreamFrame(stream_id, 8)]
            case ["window", stream_id, size]:
                return [WindowUpdateFrame(stream_id, size)]
            case ["settings", values]:
                return [SettingsFrame(0, values)]
            case ["ping"]:
                return [PingFrame(0, b"12345678"), PriorityFrame(1, depends_on=0, stream_weight=1)]
        return []


class Subject:
    """A server: what it reports, writes and raises is noted, whichever way it works."""

    def __init__(self, connection: Http2Connection) -> None:
        self.connection = connection
        self.notes: list[object] = []
        connection.start()
        self.feed(foreign_client().data_to_send())

    def feed(self, data: bytes) -> None:
        """Read."""
        seen: list[Event] = []
        try:
            seen.extend(self.connection.events(data))
        except PeerError as error:
            self.notes.append(
                "peer error" if "status of a response" in str(error) or "INFORM" in str(error) else str(error)
            )
        self.notes.append([(type(event), repr(vars(event))) for event in seen])

    def do(self, step: Sequence[Any]) -> None:
        """Act."""
        try:
            match step:
                case ["answer", stream_id, ends]:
                    self.connection.send_headers(stream_id, ANSWER, end_stream=ends)
                case ["say", stream_id, size, ends]:
                    self.connection.send_data(stream_id, bytes(size), end_stream=ends)
                case ["finish", stream_id]:
                    self.connection.send_headers(stream_id, TRAILERS, end_stream=True)
                case ["cancel", stream_id]:
                    self.connection.reset_stream(stream_id)
                case ["forget", stream_id]:
                    self.connection.forget(stream_id)
        except (ProtocolError, KeyError) as error:
            self.notes.append(repr(error))

    def state(self) -> object:
        """All that h2 holds of the connection and its streams."""
        connection = self.connection
        streams = {number: stream_state(stream) for number, stream in connection.streams.items()}
        return (
            connection.state_machine.state,
            streams,
            dict(connection._closed_streams),
            connection.highest_inbound_stream_id,
            connection.outbound_flow_control_window,
            vars(connection._inbound_flow_control_window_manager),
            connection.decoder.header_table.dynamic_entries,
            connection.encoder.header_table.dynamic_entries,
        )


def stream_state(stream: H2Stream) -> object:
    """The same of one stream. `request_method` matters to clients alone."""
    values = {key: value for key, value in vars(stream).items() if key not in {"config", "request_method"}}
    values["state_machine"] = {key: value or None for key, value in vars(stream.state_machine).items()}
    values["_inbound_window_manager"] = vars(stream._inbound_window_manager)
    return values


class BothWays(SynchronousTestCase):
    """`ShortPathConnection` against its plain parent."""

    def compare(self, steps: Sequence[Sequence[Any]]) -> None:
        """Let both live through the same."""
        peer = Peer()
        short, plain = Subject(ShortPathConnection(client_side=False)), Subject(Http2Connection(client_side=False))
        for step in steps:
            data = b"".join(frame.serialize() for frame in peer.frames(step))
            for subject in (short, plain):
                subject.feed(data) if data else subject.do(step)
            self.assertEqual(short.notes, plain.notes, step)
            self.assertEqual(short.connection.data_to_send(), plain.connection.data_to_send(), step)
            if short.connection.is_closed:
                return
            self.assertEqual(short.state(), plain.state(), step)

    @settings(max_examples=400)
    @given(st.lists(STEP, max_size=14))
    def test_any_order(self, steps: list[tuple[Any, ...]]) -> None:
        """Whatever comes in whatever order, also what is forbidden."""
        self.compare([("request", 1, [], []), *steps])

    def test_ordinary_call(self) -> None:
        """A whole call, and another with the same headers, whose blocks are known by then."""
        for stream_id in (1, 3, 5):
            call = [
                ("request", stream_id, [], []),
                ("data", stream_id, ["END_STREAM"], 100),
                ("answer", stream_id, False),
                ("say", stream_id, 50, False),
                ("finish", stream_id),
            ]
            self.compare(
                [step for number in range(1, stream_id + 1, 2) for step in [(s[0], number, *s[2:]) for s in call]]
            )

    def test_windows(self) -> None:
        """Data beyond the stream's window ends the connection."""
        self.compare([("request", 1, [], []), *[("data", 1, [], 16_000)] * 20])

    def test_ordinary_frames_never_reach_h2(self) -> None:
        """The short path is really taken for what makes up a unary call."""
        connection = ShortPathConnection(client_side=False)
        subject, peer = Subject(connection), Peer()
        for step in [("request", 1, [], []), ("data", 1, ["END_STREAM"], 5), ("answer", 1, True)]:
            data = b"".join(frame.serialize() for frame in peer.frames(step))
            subject.feed(data) if data else subject.do(step)
        long_way: list[object] = []
        self.patch(connection, "_receive_frame", long_way.append)
        self.patch(H2Stream, "send_headers", long_way.append)
        self.patch(H2Stream, "send_data", long_way.append)
        for step in [
            ("request", 3, [], []),
            ("data", 3, ["END_STREAM"], 5),
            ("answer", 3, False),
            ("say", 3, 5, False),
            ("finish", 3),
        ]:
            data = b"".join(frame.serialize() for frame in peer.frames(step))
            subject.feed(data) if data else subject.do(step)
        self.assertEqual(long_way, [])

    def test_long_headers(self) -> None:
        """A block larger than a frame is continued, and a plain client reads it."""
        client = foreign_client()
        server = ShortPathConnection(client_side=False)
        server.start()
        client.send_headers(1, REQUEST, end_stream=True)
        list(server.events(client.data_to_send()))
        server.max_outbound_frame_size = 50
        long = ((b"x", bytes(range(33, 127)) * 3), (b"y", b"z"))
        server.send_headers(1, ANSWER + long)
        server.send_headers(1, TRAILERS, end_stream=True)
        events = client.receive_data(server.data_to_send())
        (answered,) = [event for event in events if isinstance(event, ResponseReceived)]
        self.assertEqual(answered.headers, [*ANSWER, *long])
