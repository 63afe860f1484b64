"""What both ends do with a transport: write once per read, obey its back-pressure, close it in order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import cast

from twisted.internet.interfaces import IConsumer, IDelayedCall, IPushProducer, IReactorTime, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from txdagu.grpc.connection_errors import describe_failure
from txdagu.wire.connection import Connection
from txdagu.wire.events import Event

# What may pile up for a peer that reads nothing: replies without data, answers to its pings. Messages are held back anyway.
MAX_UNREAD = 4 * 1024 * 1024
# How long a peer may take to read the last bytes before the connection is cut.
CLOSE_TIMEOUT = 5.0


@implementer(IPushProducer)
class ConnectionProtocol(Protocol, ABC):
    """
    Joins a sans-I/O connection with a transport.

    Subclasses say what the core's events mean (`handle`, `lost`) and call `flush` after they made the core send. While
    received bytes are worked on, flushes are put off to the end, so all replies to one read leave in one write.
    """

    def __init__(self, connection: Connection, clock: IReactorTime, *, max_unread: int = MAX_UNREAD) -> None:
        self.clock = clock
        self.is_open = False
        self._connection = connection
        self.full_since: float | None = None
        """Since when the transport takes nothing more; None if it does."""
        self._max_unread = max_unread
        self._batching = False
        self._unread: int | None = None  # bytes written since the transport asked us to stop; None while it has not
        self._cutting: IDelayedCall | None = None

    @abstractmethod
    def handle(self, event: Event) -> None:
        """React to what the peer did."""

    @abstractmethod
    def lost(self, reason: str) -> None:
        """The transport is gone; called once."""

    def connectionMade(self) -> None:
        """Send the preface."""
        assert self.transport is not None
        self.is_open = True
        if hasattr(self.transport, "setTcpNoDelay"):
            tcp = cast("ITCPTransport", self.transport)
            tcp.setTcpNoDelay(True)
            tcp.setTcpKeepAlive(True)
        cast("IConsumer", self.transport).registerProducer(self, True)
        self._connection.start()
        self.flush()

    def dataReceived(self, data: bytes) -> None:
        """Work on received bytes, and write what came of it also after an error."""
        if self.is_open:
            self._connection.at(self.clock.seconds())
            self._react(self._connection.receive(data))

    def flush(self) -> None:
        """Write what the core has to say; within a batch, its end will."""
        if not self._batching:
            self._write()

    def _write(self) -> None:
        data = self._connection.outgoing() if self.is_open else b""
        if not data:
            return
        assert self.transport is not None
        if self._unread is not None:
            self._unread += len(data)
        self.transport.write(data)  # which may pause us, but then this much was not written against its will
        if self._unread is not None and self._unread > self._max_unread:
            self._unread = None
            self.cut()

    def hang_up(self, reason: str = "") -> None:
        """Say good-bye with a GOAWAY and close once everything is written; a peer that does not read is cut off."""
        if not self.is_open or self._cutting is not None:
            return
        self._connection.close(reason)
        self._write()
        assert self.transport is not None
        self._cutting = self.clock.callLater(CLOSE_TIMEOUT, self.cut)
        cast("IConsumer", self.transport).unregisterProducer()
        self.transport.loseConnection()

    def cut(self) -> None:
        """Close at once, whatever the peer has not read yet."""
        if self.is_open:
            self._write()
            assert self.transport is not None
            abort = getattr(self.transport, "abortConnection", self.transport.loseConnection)
            abort()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Forget the transport: a TLS one must not be touched any more."""
        self.is_open = False
        self.transport = None
        if self._cutting is not None and self._cutting.active():
            self._cutting.cancel()
        self.lost(describe_failure(reason))

    def pauseProducing(self) -> None:
        """The transport's buffer is full: hold messages back. Reading goes on, else two full ends would wait for ever."""
        self._unread = 0
        self.full_since = self.clock.seconds()
        self._connection.pause_sending()

    def resumeProducing(self) -> None:
        """The transport takes data again."""
        self._unread = self.full_since = None
        self._react(self._connection.resume_sending())

    def stopProducing(self) -> None:
        """The connection is closing; `connectionLost` follows."""

    def _react(self, events: Iterable[Event]) -> None:
        if self._batching:
            # A write within a batch may make the transport resume us; the batch's end flushes.
            for event in events:
                self.handle(event)
            return
        self._batching = True
        try:
            for event in events:
                self.handle(event)
        finally:
            self._batching = False
            self.flush()
