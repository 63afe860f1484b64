"""Test cases that judge a connection of ours as h2spec judges a server: by the frames which come back."""

from __future__ import annotations

from h2.errors import ErrorCodes
from twisted.trial.unittest import SynchronousTestCase

from txdagu.testing.frames import END_HEADERS, END_STREAM, PREFACE, RawPeer, settings
from txdagu.testing.wire import REQUEST, client_connection, server_connection
from txdagu.wire.client import ClientConnection
from txdagu.wire.server import ServerConnection

PROTOCOL_ERROR, FLOW_CONTROL_ERROR = ErrorCodes.PROTOCOL_ERROR, ErrorCodes.FLOW_CONTROL_ERROR
STREAM_CLOSED, FRAME_SIZE_ERROR = ErrorCodes.STREAM_CLOSED, ErrorCodes.FRAME_SIZE_ERROR
COMPRESSION_ERROR, NO_ERROR = ErrorCodes.COMPRESSION_ERROR, ErrorCodes.NO_ERROR


class Conformance(SynchronousTestCase):
    """A raw peer and what may become of its connection."""

    peer: RawPeer

    def connection_error(self, data: bytes, *codes: ErrorCodes) -> None:
        """These bytes end the connection, with GOAWAY of one of the codes as the last frame, and nothing after it."""
        self.peer.send(data)
        self.assertIsNotNone(self.peer.broken)
        self.assertIn(self.peer.goaway_code(), codes)
        self.assertEqual(type(self.peer.frames[-1]).__name__, "GoAwayFrame")
        self.assertFalse(self.peer.is_alive())
        self.assertFalse(self.peer.connection.is_usable)

    def stream_error(self, data: bytes, stream_id: int, *codes: ErrorCodes) -> None:
        """These bytes end one stream with RST_STREAM of one of the codes, and the connection goes on."""
        answers = self.peer.send(data)
        self.assertIn((stream_id, True), [(number, code in codes) for number, code in self.peer.resets()], answers)
        self.assertTrue(self.peer.is_alive())

    def accepted(self, data: bytes) -> None:
        """These bytes are fine: no stream and no connection ends."""
        self.peer.send(data)
        self.assertEqual(self.peer.resets(), [])
        self.assertIsNone(self.peer.goaway_code())
        self.assertTrue(self.peer.is_alive())


class ServerConformance(Conformance):
    """Our server, after the preface; stream 1 is not open yet."""

    def setUp(self) -> None:
        """Exchange the prefaces."""
        self.server: ServerConnection = server_connection()
        self.peer = RawPeer(self.server)
        self.peer.send(PREFACE, settings())

    def open(self, stream_id: int = 1, *, ended: bool = False) -> bytes:
        """The headers of a call, and nothing more of it unless `ended`."""
        return self.peer.headers(stream_id, REQUEST, END_HEADERS | (END_STREAM if ended else 0))


class ClientConformance(Conformance):
    """Our client, with the server's settings received and one call on stream 1, completely sent."""

    def setUp(self) -> None:
        """Exchange the prefaces and start a call."""
        self.client: ClientConnection = client_connection()
        self.peer = RawPeer(self.client)
        self.peer.send(settings())
        self.client.send_last_message(self.client.start_call("/s/m", {}), b"")
        self.peer.read()
