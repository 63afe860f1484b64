"""Random conversations and random bytes: what stays true of both ends whatever arrives, and however it is cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from txdagu.testing.frames import RawPeer, frame
from txdagu.testing.sessions import Action, ClientSession, ServerSession, Session, Step, replay
from txdagu.testing.wire import recorded_request
from txdagu.wire.connection import Connection
from txdagu.wire.events import ConnectionBroken
from txdagu.wire.http2 import FRAME_HEADER_SIZE, Http2Connection
from txdagu.wire.metadata import Header

NAMES = [
    b":method",
    b":path",
    b":status",
    b":scheme",
    b"te",
    b"content-type",
    b"grpc-status",
    b"X",
    b"",
    b"content-length",
]
VALUES = [b"POST", b"/s/m", b"200", b"103", b"http", b"trailers", b"application/grpc", b"0", b"\xff\n", b""]
STREAMS = [0, 1, 2, 3, 5, 7, 2**31 - 1]


def examples(count: int) -> settings:
    """So many cases, and a hundred times as many with the profile "fuzz" (tests/conftest.py)."""
    profile = settings.default
    assert profile is not None
    return settings(max_examples=count * profile.max_examples // 100)


def actions(session: type[Session]) -> st.SearchStrategy[list[Action]]:
    """What may happen in a conversation; it begins with two calls."""
    size = st.one_of(st.integers(0, 100), st.sampled_from([16379, 16384, 65535, 99_999]), st.integers(0, 120_000))
    action = st.tuples(st.sampled_from(session.ACTIONS), st.integers(0, 1000), size)
    return st.lists(action, max_size=40).map(lambda rest: [("call", 1, 5), ("call", 2, 5), *rest])


def play(kind: type[ServerSession | ClientSession], chosen: list[Action]) -> Session:
    """A whole conversation."""
    session = kind()
    session.play(chosen)
    return session


def flattened(results: Sequence[tuple[list[Any], bytes]]) -> tuple[list[Any], bytes]:
    """All events and all bytes."""
    return [event for events, _ in results for event in events], b"".join(sent for _, sent in results)


class AnyEnd(SynchronousTestCase):
    """What must hold of an end of ours at any time."""

    def check(self, ours: Any) -> None:
        """Nothing is kept beyond what the protocol's limits allow, and nothing of a stream that is over."""
        http2: Http2Connection = ours._http2
        if ours.is_usable:
            self.assertLess(len(http2._pending), http2.max_inbound_frame_size + FRAME_HEADER_SIZE)
            self.assertLessEqual(set(http2.streams), set(ours._streams))
        self.assertLessEqual(len(http2._closed_streams), Http2Connection.MAX_CLOSED_STREAMS)
        self.assertLessEqual(set(getattr(ours, "_initial_metadata", ())), set(ours._streams))
        self.assertLessEqual(set(getattr(ours, "_refusals", ())), set(ours._streams))
        self.assertLessEqual(set(ours._sender._turns), set(ours._streams))
        for stream in ours._streams.values():
            self.assertLessEqual(stream.reader.pending, ours._max_message_size + 5)

    def survive(self, ours: Connection, steps: Sequence[Step]) -> None:
        """Whatever arrives: nothing is raised; the end breaks at most once, as its last word, and is silent from then on."""
        broken = False
        for events, sent in replay(steps, ours):
            if broken:
                self.assertEqual((events, sent), ([], b""))
            elif any(isinstance(event, ConnectionBroken) for event in events):
                self.assertIsInstance(events.pop(), ConnectionBroken)
                self.assertFalse([event for event in events if isinstance(event, ConnectionBroken)])
                broken = True
                self.assertFalse(ours.is_usable)
            self.check(ours)


class ConversationTests(AnyEnd):
    def cut_anywhere(self, session: Session, sizes: list[int]) -> None:
        """However the bytes are cut, an end reports and sends the same; and a valid conversation breaks nothing."""
        whole = flattened(list(replay(session.steps, session.fresh())))
        self.assertEqual(flattened(list(replay(session.steps, session.fresh(), sizes))), whole)
        self.assertFalse([event for event in whole[0] if isinstance(event, ConnectionBroken)])
        self.check(session.ours)

    @examples(60)
    @given(actions(ServerSession), st.lists(st.integers(1, 3000), min_size=1, max_size=20))
    def test_server(self, chosen: list[Action], sizes: list[int]) -> None:
        """Any split of any valid byte stream gives the same events at the server."""
        self.cut_anywhere(play(ServerSession, chosen), sizes)

    @examples(60)
    @given(actions(ClientSession), st.lists(st.integers(1, 3000), min_size=1, max_size=20))
    def test_client(self, chosen: list[Action], sizes: list[int]) -> None:
        """So it is at the client."""
        self.cut_anywhere(play(ClientSession, chosen), sizes)


@st.composite
def damaged(draw: st.DrawFn, kind: type[ServerSession | ClientSession]) -> list[Step]:
    """A conversation in which bytes were changed, lost, doubled or invented, or whole frames swapped."""
    steps = list(play(kind, draw(actions(kind))).steps)
    for _ in range(draw(st.integers(1, 4))):
        arrived = [number for number, step in enumerate(steps) if isinstance(step, bytes)]
        number = draw(st.sampled_from(arrived))
        data = steps[number]
        assert isinstance(data, bytes)
        at = draw(st.integers(0, min(len(data), 200)))
        how = draw(st.sampled_from(["change", "lose", "double", "invent", "swap"]))
        if how == "change":
            data = data[:at] + bytes([draw(st.integers(0, 255))]) + data[at + 1 :]
        elif how == "lose":
            data = data[:at] + data[at + draw(st.integers(1, 20)) :]
        elif how == "double":
            data = data + data
        elif how == "invent":
            data = data[:at] + draw(st.binary(max_size=20)) + data[at:]
        else:
            other = draw(st.sampled_from(arrived))
            steps[number] = steps[other]
            number = other
        steps[number] = data
    return steps


@st.composite
def frames(draw: st.DrawFn) -> list[bytes]:
    """Well-framed frames of every type with any flags, some with header blocks or settings that make sense."""
    peer = RawPeer(ServerSession.fresh())
    fields: st.SearchStrategy[list[Header]] = st.lists(
        st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES)), max_size=8
    )
    made = []
    for _ in range(draw(st.integers(1, 15))):
        kind = draw(st.one_of(st.sampled_from([0, 1, 1, 1, 3, 4, 8, 9]), st.integers(0, 12)))
        flags = draw(st.one_of(st.sampled_from([0, 1, 4, 5]), st.integers(0, 255)))
        stream_id = draw(st.sampled_from(STREAMS))
        if kind in (1, 5, 9) and draw(st.booleans()):
            body = peer.block(draw(fields))
        elif kind == 4 and draw(st.booleans()):
            pairs = draw(
                st.lists(st.tuples(st.integers(0, 9), st.sampled_from([0, 1, 100, 16384, 2**31 - 1, 2**32 - 1])))
            )
            body = b"".join(key.to_bytes(2, "big") + value.to_bytes(4, "big") for key, value in pairs)
        else:
            body = draw(st.one_of(st.sampled_from([b"", bytes(4), bytes(5), bytes(8)]), st.binary(max_size=60)))
        made.append(frame(kind, flags, stream_id, body))
    return made


class NonsenseTests(AnyEnd):
    def both(self, arriving: list[bytes]) -> None:
        """Both ends survive these bytes, from the first byte on and in the middle of calls."""
        self.survive(ServerSession.fresh(), arriving)
        self.survive(ClientSession.fresh(), arriving)
        self.survive(
            ServerSession.fresh(),
            [recorded_request(), lambda ours: ours.send_message(1, bytes(300_000)), *arriving, self.last_words],
        )
        opening: list[Step] = [
            frame(4),
            lambda ours: ours.start_call("/s/m", {}),
            lambda ours: ours.start_call("/s/m", {}),
        ]
        self.survive(ClientSession.fresh(), [*opening, *arriving, self.last_words])

    @staticmethod
    def last_words(ours: Any) -> None:
        """All that an owner may still do."""
        ours.send_message(1, b"x")
        ours.consumed(1, 5)
        ours.ping(bytes(8))
        ours.pause_sending()
        ours.resume_sending()
        ours.cancel(1)
        ours.close("bye")

    @examples(80)
    @given(damaged(ServerSession))
    def test_damaged_requests(self, steps: list[Step]) -> None:
        """A damaged conversation breaks the server's connection at most."""
        self.survive(ServerSession.fresh(), steps)

    @examples(80)
    @given(damaged(ClientSession))
    def test_damaged_answers(self, steps: list[Step]) -> None:
        """Or the client's."""
        self.survive(ClientSession.fresh(), steps)

    @examples(200)
    @given(frames())
    def test_frames(self, arriving: list[bytes]) -> None:
        """Any frames in any order do no more than that."""
        self.both(arriving)

    @examples(100)
    @given(st.lists(st.binary(max_size=60), max_size=5))
    def test_header_blocks(self, blocks: list[bytes]) -> None:
        """Nor do header blocks of any bytes."""
        self.both([frame(1, 4, 2 * number + 1, block) for number, block in enumerate(blocks)])

    @examples(100)
    @given(st.lists(st.binary(max_size=300), max_size=4))
    def test_bytes(self, arriving: list[bytes]) -> None:
        """Nor any bytes at all."""
        self.both(arriving)
