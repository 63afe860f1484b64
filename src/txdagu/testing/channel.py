"""
Client and server joined in memory, for tests: no sockets, no threads, and time is a `twisted.internet.task.Clock`.

::

    clock = Clock()
    channel = memory_channel(GrpcServerFactory([service], clock), clock)
    reply = Deferred.fromCoroutine(channel.unary(METHOD, request))
    clock.advance(0)  # delivers everything that is on its way, and what that causes

Bytes take `latency` seconds in each direction and are never lost, unless the test cuts, freezes or holds the connection.
"""

# ruff: noqa: N802  # transports have the method names of Twisted's interfaces
from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import cast

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectError, ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IProducer,
    IProtocol,
    IProtocolFactory,
    IPushProducer,
    IReactorTime,
    IStreamClientEndpoint,
    ITransport,
)
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from zope.interface import implementer

from txdagu.grpc.channel import Channel
from txdagu.grpc.options import DEFAULT_OPTIONS, ChannelOptions

# A real transport asks its producer to stop at this many unsent bytes.
BUFFER_SIZE = 64 * 1024


@implementer(ITransport, IConsumer)
class MemoryTransport:
    """One end of a connection in memory, with the behaviour of a TCP transport as far as protocols can see it."""

    def __init__(self, clock: IReactorTime, latency: float, host: IAddress, peer: IAddress) -> None:
        self.protocol: IProtocol | None = None
        self.other: MemoryTransport | None = None
        self.disconnecting = False
        self.unread = 0
        """Bytes written here that the other end has not received."""
        self.held = False
        """The other end reads nothing, as if its process were stopped; bytes wait in our buffer."""
        self.frozen = False
        """What is written here vanishes, as if the cable were pulled; neither end is told."""
        self._clock = clock
        self._latency = latency
        self._host = host
        self._peer = peer
        self._waiting: list[bytes] = []
        self._producer: IPushProducer | None = None
        self._paused = False

    def write(self, data: bytes) -> None:
        """Send bytes on their way."""
        if self.protocol is None or not data or self.frozen:
            return
        self.unread += len(data)
        if self.held:
            self._waiting.append(data)
        else:
            self._clock.callLater(self._latency, self._arrive, data)
        if self.unread > BUFFER_SIZE and self._producer is not None and not self._paused:
            self._paused = True
            self._producer.pauseProducing()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Send several pieces."""
        self.write(b"".join(data))

    def release(self) -> None:
        """The other end reads again."""
        self.held = False
        waiting, self._waiting = self._waiting, []
        for data in waiting:
            self._clock.callLater(self._latency, self._arrive, data)

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Whom to ask for a pause when too much is unread."""
        if not streaming:
            raise TypeError("only push producers can be registered with a connection in memory")
        self._producer = cast("IPushProducer", producer)

    def unregisterProducer(self) -> None:
        """Nobody needs to be asked any more."""
        self._producer = None

    def loseConnection(self) -> None:
        """Close once everything written has arrived."""
        if not self.disconnecting:
            self.disconnecting = True
            self._clock.callLater(self._latency, self._finish)

    def abortConnection(self) -> None:
        """Close at once."""
        self._clock.callLater(0, self.end, ConnectionAborted(), ConnectionLost())

    def getPeer(self) -> IAddress:
        """The address of the other end."""
        return self._peer

    def getHost(self) -> IAddress:
        """Our own address."""
        return self._host

    def end(self, here: Exception, there: Exception) -> None:
        """End the connection on both sides; the other hears of it after the latency, unless it is frozen."""
        self._drop(here)
        other = self.other
        if other is not None and not self.frozen:
            self._clock.callLater(self._latency, other._drop, there)  # noqa: SLF001  # the other half of ourselves

    def _arrive(self, data: bytes) -> None:
        self.unread -= len(data)
        receiver = None if self.other is None else self.other.protocol
        if receiver is not None and not self.frozen:
            receiver.dataReceived(data)
        if self._paused and self.unread <= BUFFER_SIZE:
            self._paused = False
            if self._producer is not None:
                self._producer.resumeProducing()

    def _finish(self) -> None:
        if self.unread and self.protocol is not None and not self.frozen:
            if not self.held:
                self._clock.callLater(self._latency, self._finish)
            else:
                self._clock.callLater(1.0, self._finish)
        else:
            self.end(ConnectionDone(), ConnectionDone())

    def _drop(self, reason: Exception) -> None:
        protocol, self.protocol = self.protocol, None
        self._producer = None
        self._waiting.clear()
        if protocol is not None:
            protocol.connectionLost(Failure(reason))


class MemoryConnection:
    """Both ends of one connection, and what can happen to it."""

    def __init__(self, client: MemoryTransport, server: MemoryTransport) -> None:
        self.client = client
        self.server = server

    def cut(self) -> None:
        """End it for both ends at once, as when the server's process dies."""
        self.client.end(ConnectionLost(), ConnectionLost())

    def freeze(self) -> None:
        """Let everything written from now on vanish in silence, as when a host loses power."""
        self.client.frozen = self.server.frozen = True


@implementer(IStreamClientEndpoint)
class MemoryEndpoint:
    """
    Connects to a server's factory in memory.

    Set `refusal` to let attempts fail with that exception, and `silent` to let them succeed but never be answered.
    `connections` has all that were made.
    """

    def __init__(self, server: Factory, clock: IReactorTime, *, latency: float = 0.0) -> None:
        self.refusal: Exception | None = None
        self.silent = False
        self.attempts = 0
        self.connections: list[MemoryConnection] = []
        self._server = server
        self._clock = clock
        self._latency = latency

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803  # the interface's name
        """Make a connection now."""
        self.attempts += 1
        if self.refusal is not None:
            return fail(self.refusal)
        client_address = IPv4Address("TCP", "127.0.0.1", 40000 + self.attempts)
        server_address = IPv4Address("TCP", "127.0.0.1", 50055)
        served = None if self.silent else self._server.buildProtocol(client_address)
        client = protocolFactory.buildProtocol(server_address)
        if client is None:
            return fail(ConnectError(string="the factory made no protocol"))
        near = MemoryTransport(self._clock, self._latency, client_address, server_address)
        far = MemoryTransport(self._clock, self._latency, server_address, client_address)
        near.other, far.other = far, near
        near.protocol, far.protocol = client, served
        self.connections.append(MemoryConnection(near, far))
        if served is not None:
            served.makeConnection(far)
        elif not self.silent:
            self._clock.callLater(self._latency, far.end, ConnectionDone(), ConnectionDone())
        client.makeConnection(near)
        return succeed(client)


def memory_channel(
    server: Factory | MemoryEndpoint,
    clock: IReactorTime,
    *,
    authority: str = "server.example:50055",
    random: Callable[[], float] = lambda: 0.5,
    options: ChannelOptions = DEFAULT_OPTIONS,
) -> Channel:
    """
    A channel to a server in memory. Give a `MemoryEndpoint` to be able to disturb the connection.

    Back-off has no jitter unless `random` says so.
    """
    endpoint = server if isinstance(server, MemoryEndpoint) else MemoryEndpoint(server, clock)
    return Channel(lambda: endpoint, clock, authority=authority, options=options, random=random)
