"""What we lean on in h2: each private name and each cure of `txdagu.wire.http2`, pinned."""

from __future__ import annotations

from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    Event,
    PingReceived,
    RemoteSettingsChanged,
    RequestReceived,
    ResponseReceived,
)
from h2.settings import SettingCodes
from twisted.trial.unittest import SynchronousTestCase

from txdagu.wire.http2 import CONNECTION_WINDOW, STREAM_WINDOW, Http2Connection, PeerError

REQUEST = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/s/m"), (b":authority", b"x")]


def plain(*, client_side: bool) -> H2Connection:
    """The library as it comes."""
    connection = H2Connection(H2Configuration(client_side=client_side, header_encoding=None))
    connection.initiate_connection()
    return connection


class Pins(SynchronousTestCase):
    """An Http2Connection as server against plain h2, unless said otherwise."""

    def setUp(self) -> None:
        """Both ends, settings exchanged."""
        self.client = plain(client_side=True)
        self.server = Http2Connection(client_side=False)
        self.server.start()
        self.first = self.client.receive_data(self.server.data_to_send())
        self.exchange()

    def exchange(self) -> list[Event]:
        """Let the server read what the client sent, and the client the answer; the server's events."""
        events = list(self.server.events(self.client.data_to_send()))
        self.client.receive_data(self.server.data_to_send())
        return events

    def request(self, stream_id: int) -> None:
        """One whole call."""
        self.client.send_headers(stream_id, REQUEST, end_stream=True)
        self.exchange()
        self.server.send_headers(stream_id, [(b":status", b"200")], end_stream=True)
        self.server.forget(stream_id)
        self.client.receive_data(self.server.data_to_send())

    def test_settings(self) -> None:
        """The first frame has no stream limit and our windows, and it holds from the first byte on."""
        (changed,) = [event for event in self.first if isinstance(event, RemoteSettingsChanged)]
        self.assertNotIn(SettingCodes.MAX_CONCURRENT_STREAMS, changed.changed_settings)
        self.assertEqual(changed.changed_settings[SettingCodes.INITIAL_WINDOW_SIZE].new_value, STREAM_WINDOW)
        self.assertEqual(self.client.outbound_flow_control_window, CONNECTION_WINDOW)

    def test_streams_are_dropped(self) -> None:
        """Finished streams leave at once, and the memory of them is bounded."""
        for stream_id in range(1, 4001, 2):
            self.request(stream_id)
            self.assertEqual(self.server.streams, {})
        self.assertEqual(self.server.open_inbound_streams, 0)
        self.assertLessEqual(len(self.server._closed_streams), Http2Connection.MAX_CLOSED_STREAMS)

    def test_late_frames(self) -> None:
        """Resets, windows and data for a stream that was reset are no reason to end the connection."""
        self.client.send_headers(1, REQUEST)
        self.exchange()
        self.server.reset_stream(1, ErrorCodes.CANCEL)
        self.server.forget(1)
        self.client.send_data(1, b"crossed")
        self.client.increment_flow_control_window(10, 1)
        self.client.send_headers(1, [(b"late", b"trailers")], end_stream=True)
        self.exchange()
        self.client.ping(b"12345678")
        self.assertIsInstance(self.exchange()[0], PingReceived)

    def test_data_for_unknown_streams_returns_the_window(self) -> None:
        """Data that arrives for a stream already reset does not use the connection's window up for ever."""
        self.client.send_headers(1, REQUEST)
        self.exchange()
        self.server.reset_stream(1, ErrorCodes.CANCEL)
        self.server.forget(1)
        before = self.client.outbound_flow_control_window
        for _ in range(200):
            # Not read by the client's h2, which therefore goes on sending
            self.client.streams[1].outbound_flow_control_window = 20_000
            self.client.send_data(1, bytes(16_000))
            list(self.server.events(self.client.data_to_send()))
            if self.client.outbound_flow_control_window < CONNECTION_WINDOW // 4:
                break
        self.client.receive_data(self.server.data_to_send())
        self.assertGreater(self.client.outbound_flow_control_window, before // 2)

    def test_goaway_received(self) -> None:
        """After a graceful GOAWAY the connection stays open and what was queued before is kept."""
        self.client.send_headers(1, REQUEST, end_stream=True)
        list(self.server.events(self.client.data_to_send()))
        self.server.send_headers(1, [(b":status", b"200")])
        self.client.close_connection()
        goaway = self.client.data_to_send()
        self.client.state_machine.state = ConnectionState.CLIENT_OPEN
        self.assertIsInstance(next(self.server.events(goaway)), ConnectionTerminated)
        self.assertFalse(self.server.is_closed)
        self.server.send_data(1, b"rest", end_stream=True)
        self.assertIsInstance(self.client.receive_data(self.server.data_to_send())[0], ResponseReceived)

    def test_goaway_with_error(self) -> None:
        """A GOAWAY with an error closes it."""
        self.client.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
        list(self.server.events(self.client.data_to_send()))
        self.assertTrue(self.server.is_closed)

    def test_goaway_sent(self) -> None:
        """Announcing the end leaves the open streams alone."""
        self.client.send_headers(1, REQUEST)
        self.exchange()
        self.server.announce_end(2**31 - 1)
        self.server.send_headers(1, [(b":status", b"200")], end_stream=True)
        kinds = [type(event) for event in Http2Events(self.client).read(self.server.data_to_send())]
        self.assertEqual(kinds[0], ConnectionTerminated)
        self.assertIn(ResponseReceived, kinds)

    def test_earlier_frames_survive(self) -> None:
        """The frames before a bad one are reported before the error is raised."""
        self.client.send_headers(1, REQUEST, end_stream=True)
        events = self.server.events(self.client.data_to_send() + b"\x00\x00\x01\x06\x00\x00\x00\x00\x00x")
        self.assertIsInstance(next(events), RequestReceived)
        self.assertRaises(PeerError, list, events)


class Http2Events:
    """Plain h2 reading on after a GOAWAY, as foreign clients do."""

    def __init__(self, connection: H2Connection) -> None:
        self.connection = connection

    def read(self, data: bytes) -> list[Event]:
        """Frame by frame, ignoring what a GOAWAY does to the state."""
        events: list[Event] = []
        while data:
            end = 9 + int.from_bytes(data[:3], "big")
            before = self.connection.state_machine.state
            events += self.connection.receive_data(data[:end])
            self.connection.state_machine.state = before
            data = data[end:]
        return events
