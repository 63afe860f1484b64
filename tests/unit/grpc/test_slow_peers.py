"""Peers that take their time: with their preface, their headers, their messages, and with our answers."""

from __future__ import annotations

from hpack import Encoder
from tests.unit.grpc.test_limits import ECHO_PATH, JOIN_PATH, NO_WINDOW, PARK_PATH, Attacker, Limited

from txdagu.grpc.limits import ServerLimits
from txdagu.testing.frames import frame
from txdagu.testing.wire import REQUEST
from txdagu.wire.framing import encode_frame


class Slow(Limited):
    """Clients that begin and do not go on."""

    limits = ServerLimits(handshake_seconds=30, header_seconds=20, message_seconds=100, unread_seconds=60)

    def later(self, seconds: float, attacker: Attacker | None = None, data: bytes = b"") -> None:
        """Let time pass, and bytes arrive a second at a time."""
        for _ in range(int(seconds)):
            if data and attacker is not None and not attacker.lost:
                attacker.send(data)
            self.clock.advance(1)

    def test_preface(self) -> None:
        """A preface that arrives byte by byte does not put the end off."""
        attacker, _ = self.attacker(preface=False)
        for byte in attacker.raw.preface()[:29]:
            attacker.send(bytes([byte]))
            self.clock.advance(1)
        self.assertFalse(attacker.lost)
        self.later(2)
        self.assert_cut(attacker, "no HTTP/2 settings within 30 s")

    def test_headers(self) -> None:
        """A header block that stops within a frame, or goes on in small pieces for ever."""
        attacker, _ = self.attacker()
        attacker.send(attacker.raw.open()[1][:12])
        self.later(41)
        self.assert_cut(attacker, "header block")
        self.lines.clear()
        attacker, _ = self.attacker()
        attacker.send(frame(0x1, 0, 1))
        self.later(41, attacker, frame(0x9, 0, 1))
        self.assert_cut(attacker, "header block")

    def test_one_request_that_never_comes(self) -> None:
        """A unary call whose message never begins, or trickles, gets an answer; its connection lives."""
        attacker, _ = self.attacker()
        attacker.send(attacker.raw.open(ECHO_PATH)[1])
        stream_id, opening = attacker.raw.open(ECHO_PATH)
        attacker.send(opening + frame(0x0, 0, stream_id, b"\x00\x00\x01\x00\x00"))
        self.later(99, attacker, frame(0x0, 0, stream_id, b"x"))
        self.assertEqual(self.server.call_count, 2)
        self.later(42, attacker, frame(0x0, 0, stream_id, b"x"))
        self.assertEqual(self.server.call_count, 0)
        self.assertEqual(attacker.messages(), ["the request was not complete within 100 s"] * 2)
        self.assertFalse(attacker.lost)
        self.honest()

    def test_no_call_that_never_ends(self) -> None:
        """Requests that are no gRPC calls are answered at their end; those that never end are reset like the others."""
        attacker, _ = self.attacker()
        headers = [(name, b"text/html" if name == b"content-type" else value) for name, value in REQUEST]
        attacker.send(b"".join(frame(0x1, 0x4, number, Encoder().encode(headers)) for number in (1, 3)))
        self.clock.advance(0)
        (connection,) = [one for one in self.server._connections if one.core.open_streams]
        self.assertEqual(connection.core.open_streams, 2)
        self.later(142)
        self.assertEqual(connection.core.open_streams, 0)
        self.assertFalse(attacker.lost)
        self.honest()

    def test_streamed_message_that_never_ends(self) -> None:
        """A message of a stream that was begun must end too; a silent stream, and one that goes on, are left alone."""
        attacker, _ = self.attacker()
        silent, opening = attacker.raw.open(JOIN_PATH)
        attacker.send(opening + frame(0x0, 0, silent, encode_frame(b"a")))
        busy, opening = attacker.raw.open(JOIN_PATH)
        attacker.send(opening + frame(0x0, 0, busy, b"\x00"))
        stuck, opening = attacker.raw.open(JOIN_PATH)
        attacker.send(opening + frame(0x0, 0, stuck, b"\x00"))
        # The rest of each message and the first byte of the next.
        self.later(1000, attacker, frame(0x0, 0, busy, b"\x00\x00\x00\x01x\x00"))
        self.assertEqual(self.server.call_count, 2)
        self.assertEqual(attacker.messages(), ["the request was not complete within 100 s"])
        attacker.send(frame(0x0, 0x1, busy, b"\x00\x00\x00\x01x"))
        attacker.send(frame(0x0, 0x1, silent))
        self.clock.advance(0)
        self.assertEqual(self.server.call_count, 0)

    def test_our_own_slowness(self) -> None:
        """A message that cannot go on because our handler does not take the one before is not the client's fault."""
        attacker, _ = self.attacker()
        stream_id, opening = attacker.raw.open(JOIN_PATH)
        attacker.send(opening + frame(0x0, 0, stream_id, encode_frame(b"wait") + encode_frame(b"b") + b"\x00"))
        self.later(500)
        self.assertEqual(self.server.call_count, 1)
        self.service.parked[0].callback(b"")
        self.clock.advance(0)
        attacker.send(frame(0x0, 0x1, stream_id, b"\x00\x00\x00\x00"))
        self.clock.advance(0)
        self.assertIn(b"waitb", attacker.received)

    def test_answer_nobody_takes(self) -> None:
        """An answer whose window stays shut is dropped in the end, with its memory; one that is taken slowly is not."""
        attacker, _ = self.attacker(NO_WINDOW)
        for _ in range(2):
            attacker.send(attacker.raw.call(ECHO_PATH, bytes(5000))[1])
        self.clock.advance(0)
        self.assertEqual(self.server.held_bytes, 10_010)
        self.later(121, attacker, frame(0x8, 0, 3, b"\x00\x00\x00\x01"))
        self.assertIn(attacker.raw.reset(1), attacker.received)
        self.assertEqual(self.server.held_bytes, 5005 - 121)
        self.assertFalse(attacker.lost)
        self.honest()

    def test_answer_after_silence(self) -> None:
        """So is the answer to a poll that was parked for long before."""
        attacker, _ = self.attacker(NO_WINDOW)
        attacker.send(attacker.raw.call(PARK_PATH)[1])
        self.later(300)
        self.service.parked[0].callback(bytes(1000))
        self.later(121)
        self.assertEqual(self.server.held_bytes, 0)

    def test_transport_nobody_reads(self) -> None:
        """A client that has stopped reading altogether is cut, though it goes on sending."""
        attacker, connection = self.attacker(b"\x00\x04\x7f\xff\xff\xff")
        connection.server.held = True
        for _ in range(6):
            attacker.send(attacker.raw.call(ECHO_PATH, bytes(16_000))[1])
        self.later(81, attacker, frame(0x6, 0, 0, b"12345678"))
        self.assert_cut(attacker, "it has read nothing for 60 s")
