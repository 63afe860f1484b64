"""Both ends of a gRPC connection without any transport, and plain h2 ends that can be made to misbehave."""

from __future__ import annotations

from collections.abc import Iterable

from h2.config import H2Configuration
from h2.connection import H2Connection
from hpack import Encoder

from txdagu.testing.frames import PREFACE, frame
from txdagu.wire.client import ClientConnection
from txdagu.wire.events import Event, MessageReceived
from txdagu.wire.framing import encode_frame
from txdagu.wire.server import ServerConnection

REQUEST = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/s/m"),
    (b":authority", b"x"),
    (b"content-type", b"application/grpc"),
    (b"te", b"trailers"),
]


def client_connection() -> ClientConnection:
    """A started client."""
    client = ClientConnection(authority="host:1", scheme="http", user_agent="test/1", max_message_size=10_000_000)
    client.start()
    return client


def server_connection(max_message_size: int = 10_000_000) -> ServerConnection:
    """A started server."""
    server = ServerConnection(max_message_size=max_message_size)
    server.start()
    return server


class Pair:
    """A client and a server; `run` exchanges bytes until both are silent and collects events."""

    def __init__(self, client: ClientConnection | None = None, server: ServerConnection | None = None) -> None:
        self.client = client or client_connection()
        self.server = server or server_connection()
        self.auto_consume = True
        self.run()

    def run(self) -> tuple[list[Event], list[Event]]:
        """What the client and what the server reported."""
        at_client: list[Event] = []
        at_server: list[Event] = []
        while True:
            to_server, to_client = self.client.outgoing(), self.server.outgoing()
            if not to_server and not to_client:
                return at_client, at_server
            for end, data, seen in ((self.server, to_server, at_server), (self.client, to_client, at_client)):
                new = end.receive(data)
                seen.extend(new)
                for event in new:
                    if isinstance(event, MessageReceived) and self.auto_consume:
                        end.consumed(event.stream_id, event.credit)


def foreign_client() -> H2Connection:
    """A bare h2 client, to misbehave with."""
    connection = H2Connection(
        H2Configuration(client_side=True, validate_outbound_headers=False, normalize_outbound_headers=False)
    )
    connection.initiate_connection()
    return connection


def foreign_server() -> H2Connection:
    """A bare h2 server."""
    connection = H2Connection(
        H2Configuration(client_side=False, validate_outbound_headers=False, normalize_outbound_headers=False)
    )
    connection.initiate_connection()
    return connection


def recorded_request() -> bytes:
    """All that a client sends for two calls, one of them with a message of several frames."""
    client = client_connection()
    recorded = b""
    client.receive(server_connection().outgoing())
    recorded += client.outgoing()
    for size in (0, 30_000):
        stream = client.start_call("/s/m", {"key": "value"}, 5)
        client.send_last_message(stream, bytes(size))
        recorded += client.outgoing()
    return recorded


class RawClient:
    """Writes the bytes of calls and of attacks without looking at what comes back."""

    def __init__(self) -> None:
        self._encoder = Encoder()
        self._next = 1

    def preface(self, settings: bytes = b"") -> bytes:
        """The first bytes of a connection."""
        return PREFACE + frame(0x4, body=settings)

    def open(self, path: bytes = b"/s/m", extra: Iterable[tuple[bytes, bytes]] = ()) -> tuple[int, bytes]:
        """HEADERS of a new call, whose requests follow: the stream and the frame."""
        stream_id, self._next = self._next, self._next + 2
        headers = [(name, path if name == b":path" else value) for name, value in REQUEST]
        return stream_id, frame(0x1, 0x4, stream_id, self._encoder.encode([*headers, *extra]))

    def call(self, path: bytes = b"/s/m", message: bytes = b"") -> tuple[int, bytes]:
        """A whole unary call."""
        stream_id, opening = self.open(path)
        return stream_id, opening + frame(0x0, 0x1, stream_id, encode_frame(message))

    def reset(self, stream_id: int) -> bytes:
        """RST_STREAM with CANCEL."""
        return frame(0x3, 0, stream_id, b"\x00\x00\x00\x08")
