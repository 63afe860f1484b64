"""A server made of nothing but h2, for tests of the client against servers that misbehave, refuse or have limits."""

from __future__ import annotations

from collections.abc import Callable

from h2.connection import H2Connection
from h2.events import Event, RequestReceived
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol

from txdagu.testing.wire import foreign_server
from txdagu.wire.framing import encode_frame

Script = Callable[["ForeignProtocol", Event], None]


class ForeignProtocol(Protocol):
    """One connection; `http2` is what the script works with."""

    def __init__(self, factory: ForeignServer) -> None:
        self.http2: H2Connection = foreign_server()
        self._script = factory.script

    def connectionMade(self) -> None:
        """Send the preface."""
        self.flush()

    def dataReceived(self, data: bytes) -> None:
        """Let the script react to each event."""
        for event in self.http2.receive_data(data):
            self._script(self, event)
        self.flush()

    def flush(self) -> None:
        """Write what the script has queued."""
        if self.transport is not None:
            self.transport.write(self.http2.data_to_send())

    def answer(self, event: RequestReceived, payload: bytes = b"") -> None:
        """A whole answer with status OK."""
        stream_id = event.stream_id
        assert stream_id is not None
        self.http2.send_headers(stream_id, [(b":status", b"200"), (b"content-type", b"application/grpc")])
        self.http2.send_data(stream_id, encode_frame(payload))
        self.http2.send_headers(stream_id, [(b"grpc-status", b"0")], end_stream=True)

    def hang_up(self) -> None:
        """Close the connection."""
        assert self.transport is not None
        self.transport.loseConnection()


class ForeignServer(Factory):
    """
    Calls `script` with every event of h2.

    As h2 says it, at most 100 streams may be open at once; a client that opens more breaks the connection.
    """

    noisy = False

    def __init__(self, script: Script) -> None:
        self.script = script
        self.connections: list[ForeignProtocol] = []

    def buildProtocol(self, addr: IAddress | None) -> ForeignProtocol:
        """One more connection."""
        connection = ForeignProtocol(self)
        self.connections.append(connection)
        return connection
