"""A client whose server attacks: the same budgets hold, and calls fail with a reason."""

from __future__ import annotations

from hpack import Encoder
from twisted.trial.unittest import SynchronousTestCase

from txdagu.testing.frames import frame
from txdagu.testing.wire import client_connection, foreign_server
from txdagu.wire.client import ClientConnection
from txdagu.wire.events import CallEnded, ConnectionBroken, Event, PeerReady
from txdagu.wire.http2 import MAX_HEADER_LIST_SIZE
from txdagu.wire.status import StatusCode


class Clients(SynchronousTestCase):
    """A client whose server attacks."""

    def setUp(self) -> None:
        """One call open."""
        self.client: ClientConnection = client_connection()
        self.server = foreign_server()
        self.server.receive_data(self.client.outgoing())
        self.assertIsInstance(self.client.receive(self.server.data_to_send())[0], PeerReady)
        self.stream = self.client.start_call("/s/m", {})
        self.server.receive_data(self.client.outgoing())
        self.encoder = self.server.encoder

    def flood(self, frame: bytes) -> str:
        """The reason with which a flood ends."""
        for _ in range(300):
            events: list[Event] = self.client.receive(frame * 100)
            for event in events:
                if isinstance(event, ConnectionBroken):
                    return event.reason
        raise self.failureException("the flood was never stopped")

    def test_floods(self) -> None:
        """The same budgets hold for servers."""
        cases = {
            "too_many_pings": frame(0x6, 0, 0, b"12345678"),
            "too_many_settings": frame(0x4),
            "too_many_unknown_frames": frame(0xFA),
            "too_many_window_updates": frame(0x8, 0, 1, b"\x00\x00\x00\x01"),
            "too_many_resets": frame(0x3, 0, 1, b"\x00\x00\x00\x08"),
            "too_many_goaways": frame(0x7, 0, 0, b"\x7f\xff\xff\xff\x00\x00\x00\x00"),
        }
        for name, attack in cases.items():
            self.setUp()
            self.assertIn(name, self.flood(attack))
            self.assertIn(name.encode(), self.client.outgoing())

    def test_empty_data(self) -> None:
        """DATA of no bytes after the headers of an answer."""
        self.server.send_headers(1, [(b":status", b"200"), (b"content-type", b"application/grpc")])
        self.client.receive(self.server.data_to_send())
        self.assertIn("too_many_small_frames", self.flood(frame(0x0, 0, 1)))

    def test_information_without_end(self) -> None:
        """Informational headers that are followed by others for ever."""
        block = Encoder().encode([(b":status", b"103")])
        self.assertIn("too_many_informational_headers", self.flood(frame(0x1, 4, 1, block)))

    def test_endless_block(self) -> None:
        """A header block of the answer that never ends."""
        self.client.receive(frame(0x1, 0, 1))
        self.assertTrue(self.flood(frame(0x9, 0, 1)))

    def test_large_headers(self) -> None:
        """Headers and trailers too large fail their call with RESOURCE_EXHAUSTED, and only that."""
        large = (b"large", b"x" * MAX_HEADER_LIST_SIZE)
        answer = [(b":status", b"200"), (b"content-type", b"application/grpc")]
        for first, last in (([*answer, large], None), (answer, [(b"grpc-status", b"0"), large])):
            self.setUp()
            self.server.send_headers(1, first)
            if last is not None:
                self.server.send_headers(1, last, end_stream=True)
            ended = self.client.receive(self.server.data_to_send())[-1]
            assert isinstance(ended, CallEnded)
            self.assertEqual(ended.code, StatusCode.RESOURCE_EXHAUSTED)
            self.assertTrue(self.client.is_usable)

    def test_large_answer(self) -> None:
        """An answer larger than the limit fails its call as soon as its length is known."""
        self.server.send_headers(1, [(b":status", b"200"), (b"content-type", b"application/grpc")])
        self.server.send_data(1, b"\x00\x7f\xff\xff\xff" + bytes(1000))
        ended = self.client.receive(self.server.data_to_send())[-1]
        assert isinstance(ended, CallEnded)
        self.assertEqual(ended.code, StatusCode.RESOURCE_EXHAUSTED)
        self.assertEqual(self.client.held_bytes, 0)
        self.assertTrue(self.client.is_usable)

    def test_answers_and_resets(self) -> None:
        """A server that resets each of many calls is honest."""
        for _ in range(3_000):
            stream_id = self.client.start_call("/s/m", {})
            (ended,) = self.client.receive(frame(0x3, 0, stream_id, b"\x00\x00\x00\x07"))
            self.assertIsInstance(ended, CallEnded)
            self.client.outgoing()
