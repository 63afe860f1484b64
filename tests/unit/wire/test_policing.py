"""Attacks with wire bytes: each ends with a GOAWAY that names it, and honest peers that look alike are served."""

from __future__ import annotations

from collections.abc import Callable

from h2.errors import ErrorCodes
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from txdagu.testing.frames import frame
from txdagu.testing.wire import (
    RawClient,
    server_connection,
)
from txdagu.wire.connection import Connection
from txdagu.wire.events import (
    CallStarted,
    ConnectionBroken,
    MessageReceived,
    RequestsEnded,
)
from txdagu.wire.framing import encode_frame
from txdagu.wire.policing import BUDGETS, PING, RST_STREAM, Policing, TooMuchError
from txdagu.wire.server import ServerConnection
from txdagu.wire.status import StatusCode

BDP_PING = frame(0x6, 0, 0, bytes.fromhex("02041010090e0707"))


def goaway(connection: Connection) -> tuple[int, bytes] | None:
    """Code and debug data of the GOAWAY in what a connection sends, and no frame after it."""
    data, found = connection.outgoing(), None
    while data:
        end = 9 + int.from_bytes(data[:3], "big")
        assert found is None, "frames after GOAWAY"
        if data[3] == 0x7:
            found = (int.from_bytes(data[13:17], "big"), data[17:end])
        data = data[end:]
    return found


class Attacked(SynchronousTestCase):
    """A server and a client that writes raw bytes."""

    def setUp(self) -> None:
        """Settings exchanged."""
        self.raw = RawClient()
        self.server = server_connection()
        self.server.at(1000.0)
        self.server.receive(self.raw.preface())
        self.server.outgoing()

    def call(self) -> bool:
        """One honest call, answered; whether it was served."""
        stream_id, data = self.raw.call()
        events = self.server.receive(data)
        for event in events:
            if isinstance(event, MessageReceived):
                self.server.consumed(event.stream_id, event.credit)
        self.server.send_message(stream_id, b"answer")
        self.server.finish(stream_id, StatusCode.OK)
        self.server.outgoing()
        return CallStarted in map(type, events)

    def flood(self, frame: Callable[[], bytes], reads: int = 200, frames: int = 200) -> tuple[int, ConnectionBroken]:
        """Frames until the connection breaks: how many reads of `frames` it took, and the event."""
        for read in range(reads):
            data = b"".join(frame() for _ in range(frames))
            for event in self.server.receive(data):
                if isinstance(event, ConnectionBroken):
                    return read + 1, event
        raise self.failureException("the flood was never stopped")

    def assert_stopped(self, name: str, frame: Callable[[], bytes]) -> None:
        """A flood ends the connection with ENHANCE_YOUR_CALM and this name, before half of it was worked on."""
        _, broken = self.flood(frame)
        self.assertIn(name, broken.reason)
        self.assertEqual(goaway(self.server), (ErrorCodes.ENHANCE_YOUR_CALM, name.encode()))
        self.assertEqual(self.server.receive(frame()), [])


class Floods(Attacked):
    """Frames that cost us more than the peer."""

    def test_rapid_reset(self) -> None:
        """CVE-2023-44487: calls opened and reset at once."""

        def attack() -> bytes:
            stream_id, opening = self.raw.open()
            return opening + self.raw.reset(stream_id)

        self.assert_stopped("too_many_resets", attack)

    def test_made_to_reset(self) -> None:
        """CVE-2025-8671: the server is made to reset calls: by a window that overflows, by data or headers after the end."""
        for kind, flags, payload in ((0x8, 0, b"\x7f\xff\xff\xff"), (0x0, 0, b"x" * 300), (0x1, 0x5, b"\x82")):
            self.setUp()

            def attack(kind: int = kind, flags: int = flags, payload: bytes = payload) -> bytes:
                stream_id, call = self.raw.call()
                return call + frame(kind, flags, stream_id, payload)

            self.assert_stopped("too_many_resets", attack)

    def test_pings(self) -> None:
        """CVE-2019-9512: pings for nothing, also those that pretend to be answers."""
        for flags in (0, 1):
            self.setUp()
            self.assert_stopped("too_many_pings", lambda flags=flags: frame(0x6, flags, 0, b"12345678"))  # type: ignore[misc]

    def test_settings(self) -> None:
        """CVE-2019-9515: settings, empty or acknowledgements of nothing."""
        for flags in (0, 1):
            self.setUp()
            self.assert_stopped("too_many_settings", lambda flags=flags: frame(0x4, flags))  # type: ignore[misc]

    def test_unknown_settings(self) -> None:
        """A few frames with thousands of settings that would all be remembered."""
        pairs = b"".join(number.to_bytes(2, "big") + bytes(4) for number in range(100, 2800))
        self.assertIn("too_many_settings", self.flood(lambda: frame(0x4, body=pairs), frames=1)[1].reason)
        self.assertLess(len(self.server._http2.remote_settings), 100)

    def test_header_table(self) -> None:
        """A peer that offers a huge header table does not get our encoder to fill and search it."""
        self.server.receive(frame(0x4, body=b"\x00\x01\xff\xff\xff\xff"))
        for number in range(500):
            stream_id, data = self.raw.call()
            self.server.receive(data)
            self.server.finish(stream_id, StatusCode.ABORTED, f"{number}" * 100)
        encoder = self.server._http2.encoder
        self.assertLessEqual(encoder.header_table._current_size, 4096)

    def test_empty_data(self) -> None:
        """CVE-2019-9518: DATA of length 0 that does not end the stream."""
        stream_id, opening = self.raw.open()
        self.server.receive(opening)
        self.assert_stopped("too_many_small_frames", lambda: frame(0x0, 0, stream_id))

    def test_dribbled_message(self) -> None:
        """A large message in frames of one byte."""
        stream_id, opening = self.raw.open()
        self.server.receive(opening + frame(0x0, 0, stream_id, b"\x00\x00\x10\x00\x00"))
        self.assert_stopped("too_many_small_frames", lambda: frame(0x0, 0, stream_id, b"x"))

    def test_data_for_refused_messages(self) -> None:
        """Small frames for a call whose requests are not read any more."""
        stream_id, opening = self.raw.open()
        self.server.receive(opening + frame(0x0, 0, stream_id, b"\x00\xff\xff\xff\xff"))
        self.assert_stopped("too_many_small_frames", lambda: frame(0x0, 0, stream_id, b"x"))

    def test_late_data(self) -> None:
        """DATA without end for a call that is over."""
        stream_id, opening = self.raw.open()
        self.server.receive(opening)
        self.server.cancel(stream_id)
        self.assert_stopped("too_many_late_frames", lambda: frame(0x0, 0, stream_id))

    def test_windows(self) -> None:
        """Window updates for nothing, on the connection and on a stream."""
        for stream_id in (0, 1):
            self.setUp()
            self.server.receive(self.raw.open()[1])
            self.assert_stopped(
                "too_many_window_updates",
                lambda stream_id=stream_id: frame(0x8, 0, stream_id, b"\x00\x00\x00\x01"),  # type: ignore[misc]
            )

    def test_dribbled_windows(self) -> None:
        """CVE-2019-9511: a window opened byte by byte, which would make us send the answer in frames of one byte."""
        self.server.receive(frame(0x4, body=b"\x00\x04\x00\x00\x00\x00"))
        stream_id, data = self.raw.call()
        self.server.receive(data)
        self.server.send_message(stream_id, bytes(1_000_000))
        self.assert_stopped("too_many_window_updates", lambda: frame(0x8, 0, stream_id, b"\x00\x00\x00\x01"))

    def test_priorities(self) -> None:
        """CVE-2019-9513: priorities, of streams that never existed."""
        self.assert_stopped("too_many_priorities", lambda: frame(0x2, 0, 1, b"\x00\x00\x00\x00\x10"))

    def test_unknown_frames(self) -> None:
        """Frame types nobody knows must be ignored, but not for ever."""
        for kind in (0xA, 0xC, 0xFA):
            self.setUp()
            self.assert_stopped("too_many_unknown_frames", lambda kind=kind: frame(kind, body=b"\x00\x00"))  # type: ignore[misc]

    def test_continuations_of_one_block(self) -> None:
        """CVE-2024-27316: a header block that never ends."""
        self.server.receive(frame(0x1, 0, 1))
        reads, _ = self.flood(lambda: frame(0x9, 0, 1), frames=10)
        self.assertLess(reads, 50)
        self.assertNotEqual(goaway(self.server), None)

    def test_large_block(self) -> None:
        """A header block of full frames is not collected beyond what would be decoded."""
        self.server.receive(frame(0x1, 0, 1))
        reads, broken = self.flood(lambda: frame(0x9, 0, 1, bytes(16_384)), frames=1)
        self.assertLessEqual(reads, 17)
        self.assertIn("header block", broken.reason)
        self.assertEqual(goaway(self.server), (ErrorCodes.ENHANCE_YOUR_CALM, b"header_block_too_large"))

    def test_continuations_of_many_blocks(self) -> None:
        """Header blocks in many empty pieces, each of which ends."""

        def attack() -> bytes:
            stream_id, opening = self.raw.open()
            pieces = opening[:4] + b"\x01" + opening[5:]
            return pieces + frame(0x9, 0, stream_id) * 40 + frame(0x9, 4, stream_id)

        self.assert_stopped("too_many_continuations", attack)

    def test_refused_calls(self) -> None:
        """Calls beyond the limit are refused so that they can be repeated, but not without end."""
        self.server = ServerConnection(max_streams=3)
        self.server.start()
        self.server.receive(self.raw.preface())
        self.server.outgoing()
        opened = [self.raw.open() for _ in range(4)]
        events = self.server.receive(b"".join(data for _, data in opened))
        self.assertEqual([event.stream_id for event in events if isinstance(event, CallStarted)], [1, 3, 5])
        self.assertIn(frame(0x3, 0, 7, b"\x00\x00\x00\x07"), self.server.outgoing())
        self.server.finish(1, StatusCode.OK)
        stream_id, data = self.raw.open()
        self.assertEqual(
            [event.stream_id for event in self.server.receive(data) if isinstance(event, CallStarted)], [stream_id]
        )
        self.server.outgoing()
        self.assert_stopped("too_many_refused_calls", lambda: self.raw.open()[1])

    def test_stream_window(self) -> None:
        """More DATA than the stream's window allows ends the connection; no more than the window was kept."""
        stream_id, opening = self.raw.open()
        self.server.receive(opening + frame(0x0, 0, stream_id, b"\x00\x00\x00\x00\x00"))
        _, broken = self.flood(lambda: frame(0x0, 0, stream_id, encode_frame(bytes(16_379))), frames=1)
        self.assertIn("Flow control window", broken.reason)
        self.assertLess(self.server.held_bytes, 300_000)


class Honest(Attacked):
    """Peers that look alike and are served."""

    def test_calls(self) -> None:
        """Complete calls are never too many, without any time passing: 5,000 with a BDP ping and two window updates each."""
        for _ in range(5_000):
            self.server.receive(BDP_PING + frame(0x8, 0, 0, b"\x00\x00\x00\x05") * 2)
            self.assertTrue(self.call())

    def test_parked_polls(self) -> None:
        """Ten thousand calls parked at once."""
        data = b"".join(self.raw.call()[1] for _ in range(10_000))
        self.assertEqual(sum(isinstance(event, RequestsEnded) for event in self.server.receive(data)), 10_000)

    def test_cancelled_polls(self) -> None:
        """Ten thousand polls parked for longer than a second and cancelled in one read; and a hundred at once when young."""
        opened = [self.raw.call() for _ in range(10_000)]
        self.server.receive(b"".join(data for _, data in opened))
        self.server.at(1060.0)
        self.server.receive(b"".join(self.raw.reset(stream_id) for stream_id, _ in opened))
        self.assertEqual(self.server.open_streams, 0)
        for _ in range(9):
            young = [self.raw.call() for _ in range(100)]
            self.server.receive(b"".join(data for _, data in young))
            self.server.receive(b"".join(self.raw.reset(stream_id) for stream_id, _ in young))
        self.assertTrue(self.call())

    def test_short_deadlines(self) -> None:
        """A client half of whose calls run out of time, for as long as it likes."""
        for _ in range(3_000):
            stream_id, opening = self.raw.open()
            self.server.receive(opening + self.raw.reset(stream_id))
            self.assertTrue(self.call())

    def test_age_counts_from_the_opening(self) -> None:
        """Calls that are younger than a second are not old only because the connection is."""
        for tenth in range(50):
            self.server.at(1000.0 + tenth / 10)
            self.server.receive(self.raw.call()[1])
        opened = [self.raw.call() for _ in range(BUDGETS[RST_STREAM].burst + 500)]
        self.server.receive(b"".join(data for _, data in opened))
        self.server.at(1005.5)
        events = self.server.receive(b"".join(self.raw.reset(stream_id) for stream_id, _ in opened))
        self.assertIsInstance(events[-1], ConnectionBroken)

    def test_small_messages(self) -> None:
        """A stream of small messages, each in two frames, and empty frames between."""
        stream_id, opening = self.raw.open()
        self.server.receive(opening)
        for _ in range(5_000):
            data = frame(0x0, 0, stream_id, b"\x00\x00\x00\x00\x01") + frame(0x0, 0, stream_id, b"x")
            (message,) = self.server.receive(data + frame(0x0, 0, stream_id))
            assert isinstance(message, MessageReceived)
            self.server.consumed(stream_id, message.credit)

    def test_pings_in_time(self) -> None:
        """Two pings a second for an hour while nothing else happens, as a fast clock would have it."""
        for second in range(3_600):
            self.server.at(1000.0 + second)
            self.assertEqual(self.server.receive(BDP_PING * 2), [])
        self.assertTrue(self.call())

    def test_messages_after_a_refusal(self) -> None:
        """Messages too large, again and again, with a window's worth of each on its way: the calls fail, the connection lives."""
        for _ in range(1_000):
            stream_id, opening = self.raw.open()
            (*_, rejected) = self.server.receive(opening + frame(0x0, 0, stream_id, b"\x00\xff\xff\xff\xff"))
            self.assertNotIsInstance(rejected, ConnectionBroken)
            self.server.finish(stream_id, StatusCode.RESOURCE_EXHAUSTED, "too large")
            self.assertEqual(self.server.receive(frame(0x0, 0, stream_id, bytes(16_000)) * 15), [])
            self.server.outgoing()

    @settings(max_examples=100, deadline=None)
    @given(st.sampled_from(sorted(BUDGETS)), st.lists(st.tuples(st.floats(0, 2), st.integers(0, 50)), max_size=60))
    def test_budget(self, kind: int, steps: list[tuple[float, int]]) -> None:
        """However time passes, no more is allowed than burst and rate; and all of it is when used at the rate."""
        policing, budget, now, allowed = Policing(), BUDGETS[kind], 50.0, 0
        policing.at(now, 0)
        begun = now
        for pause, count in steps:
            now += pause
            policing.at(now, 0)
            for _ in range(count):
                try:
                    policing.charge(kind)
                except TooMuchError:
                    self.assertGreater(allowed + 1, budget.burst)
                    break
                allowed += 1
        self.assertLessEqual(allowed, budget.burst + (now - begun) * budget.per_second + 1e-6)

    @given(st.floats(0.1, 1.0))
    def test_budget_at_its_rate(self, share: float) -> None:
        """Whoever keeps to the rate is never stopped, even with an empty bucket."""
        policing, budget = Policing(), BUDGETS[PING]
        policing.at(0.0, 0)
        for _ in range(budget.burst):
            policing.charge(PING)
        for tick in range(1, 300):
            policing.at(tick * 1.001 / budget.per_second / share, 0)
            policing.charge(PING)
