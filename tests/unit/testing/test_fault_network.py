"""Proxies that can be cut."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from txdagu.testing.faults.network import Proxies


class Echo(Protocol):
    """What the coordinator would be."""

    transport: Any

    def dataReceived(self, data: bytes) -> None:
        """Send it back."""
        self.transport.write(data)


class Asking(LineReceiver):
    """What a worker would be."""

    transport: Any

    def __init__(self) -> None:
        self.answers: list[bytes] = []
        self.waiting: Deferred[None] = Deferred()
        self.ended: Deferred[None] = Deferred()

    async def ask(self, line: bytes) -> bytes:
        """What comes back."""
        self.waiting = Deferred()
        self.sendLine(line)
        await self.waiting
        return self.answers[-1]

    def lineReceived(self, line: bytes) -> None:
        """An answer."""
        self.answers.append(line)
        self.waiting.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The end."""
        self.ended.callback(None)


class ProxyTests(TestCase):
    """Two workers on real ports of this host. Each wait ends with an event, or the test's time is up."""

    timeout = 20

    async def asking(self, worker: str) -> Asking:
        """A connection of that worker's."""
        host, _, port = self.network.address(worker).rpartition(":")
        asking: Asking = await connectProtocol(HostnameEndpoint(self.reactor, host, int(port)), Asking())
        self.addCleanup(lambda: asking.ended)
        self.addCleanup(asking.transport.loseConnection)
        return asking

    def setUp(self) -> None:
        """The server, and the proxies before it."""
        from twisted.internet import reactor  # noqa: TID251 - real ports need the real one

        self.reactor = cast("Any", reactor)
        port = self.reactor.listenTCP(0, Factory.forProtocol(Echo), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.network = Proxies(reactor, ("w1", "w2"))
        self.network.coordinator_listens(port.getHost().port)
        self.addCleanup(self.network.close)

    async def test_cut_and_mended(self) -> None:
        """Who is cut off gets no answer, on open and on new connections, while others do; afterwards all is delivered."""
        one, other = await self.asking("w1"), await self.asking("w2")
        self.assertEqual(await one.ask(b"before"), b"before")
        self.network.cut("w1")
        waiting = Deferred.fromCoroutine(one.ask(b"within"))
        late = await self.asking("w1")
        waiting_too = Deferred.fromCoroutine(late.ask(b"new"))
        for _ in range(3):
            self.assertEqual(await other.ask(b"still"), b"still")
        self.assertEqual((one.answers, late.answers), ([b"before"], []))
        self.network.mend("w1")
        self.assertEqual((await waiting, await waiting_too), (b"within", b"new"))
