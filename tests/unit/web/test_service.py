"""The port: opened, told to others, and closed again."""

from __future__ import annotations

import socket
from typing import Any, cast

import treq
from twisted.application.service import IService, Service
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.trial.unittest import TestCase

from txdagu.config.settings import PathSettings, ServerSettings, Settings
from txdagu.model.errors import UnavailableError
from txdagu.peers.interfaces import WorkersView
from txdagu.registry.entries import Kind
from txdagu.registry.publication import server_publication
from txdagu.testing.coordinators import ScriptedCoordinators
from txdagu.web.decisions import Decisions
from txdagu.web.explaining import Explanations
from txdagu.web.listening import host_in_links
from txdagu.web.service import WebService

PATHS = PathSettings(*["/nowhere"] * 10)


class RecordingService(Service):
    """Writes down when it is started and stopped."""

    def __init__(self, name: str, events: list[str], error: Exception | None = None) -> None:
        self.label = name
        self.events = events
        self.error = error

    def startService(self) -> None:
        """Start, or fail."""
        if self.error is not None:
            raise self.error
        self.events.append(f"{self.label} starts")

    def stopService(self) -> None:
        """Stop."""
        self.events.append(f"{self.label} stops")


class Talker(Protocol):
    """Sends a request and waits until the other side closes."""

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.received = b""
        self.first: Deferred[None] = Deferred()
        self.closed: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        """Ask."""
        assert self.transport is not None
        self.transport.write(self.request)
        if not self.request:
            self.first.callback(None)

    def dataReceived(self, data: bytes) -> None:
        """Keep what comes."""
        self.received += data
        if not self.first.called:
            self.first.callback(None)

    def connectionLost(self, reason: object = None) -> None:
        """Tell."""
        self.closed.callback(None)


class WebServiceTests(TestCase):
    def setUp(self) -> None:
        """The real reactor: sockets are the point here."""
        from twisted.internet import reactor  # noqa: TID251

        self.reactor: Any = reactor
        self.events: list[str] = []
        self.published: list[tuple[str, int]] = []
        self.coordinators = ScriptedCoordinators(WorkersView())

    def publish(self, host: str, port: int) -> IService:
        """What stands for the registry."""
        self.published.append((host, port))
        return cast("IService", RecordingService("publication", self.events))

    def service(self, **server: Any) -> WebService:
        """A web server on a free port."""
        settings = Settings(PATHS, ServerSettings(**({"port": 0} | server)), origins={"port": "--port"})
        companion = RecordingService("companion", self.events)
        decisions = cast("Decisions", None)  # nobody asks for them
        return WebService(
            settings,
            self.reactor,
            self.coordinators,
            decisions,
            cast("Explanations", None),
            self.publish,
            [cast("IService", companion)],
        )

    async def connect(self, service: WebService, talker: Talker) -> None:
        """A connection to the server."""
        endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", service.port)
        await connectProtocol(endpoint, talker)

    async def test_serves(self) -> None:
        """A free port is taken, told to the registry, and answers; everything ends in reverse order."""
        service = self.service(base_path="/d")
        await service.startService()
        try:
            self.assertGreater(service.port, 0)
            self.assertEqual(service.url, f"http://127.0.0.1:{service.port}/d/workers")
            self.assertEqual(self.published, [("127.0.0.1", service.port)])
            response = await treq.get(f"http://127.0.0.1:{service.port}/d/api/v2/workers", persistent=False)
            self.assertEqual(await response.json(), {"workers": [], "errors": []})
        finally:
            await service.stopService()
        self.assertEqual(
            self.events, ["companion starts", "publication starts", "publication stops", "companion stops"]
        )
        self.assertEqual(service.port, 0)

    async def test_head_on_the_wire(self) -> None:
        """The length in the answer to HEAD is that of GET's body, and no body follows."""
        service = self.service()
        await service.startService()
        talker = Talker(b"HEAD /api/v2/workers HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        await self.connect(service, talker)
        await talker.closed
        await service.stopService()
        head, _, body = talker.received.partition(b"\r\n\r\n")
        self.assertIn(b"Content-Length: %d" % len(b'{"errors":[],"workers":[]}'), head)
        self.assertEqual(body, b"")

    async def test_busy_port(self) -> None:
        """A taken port is one sentence with address, origin, reason and option, and nothing stays behind."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            with self.assertRaises(UnavailableError) as caught:
                await self.service(port=port).startService()
        self.assertEqual(
            str(caught.exception),
            f"the web server cannot listen on 127.0.0.1:{port} (port from --port): Address already in use; "
            "end the program that uses it, or choose another port with --port",
        )
        self.assertEqual(self.events, ["companion starts", "companion stops"])

    async def test_foreign_address(self) -> None:
        """An address of another host leads to advice about --host, not about the port."""
        with self.assertRaisesRegex(UnavailableError, r"192\.0\.2\.1:0 .*an address of this host with --host"):
            await self.service(host="192.0.2.1").startService()

    async def test_host_by_name(self) -> None:
        """A host may be given by name."""
        service = self.service(host="localhost")
        await service.startService()
        self.assertEqual(service.url, f"http://localhost:{service.port}/workers")
        await service.stopService()

    async def test_everywhere(self) -> None:
        """Bound to all addresses, others are told this host's name and people here read localhost."""
        service = self.service(host="0.0.0.0")
        await service.startService()
        self.assertEqual(self.published, [(socket.gethostname(), service.port)])
        self.assertEqual(service.url, f"http://localhost:{service.port}/workers")
        await service.stopService()

    async def test_failed_publication(self) -> None:
        """If a part cannot start, those before it are stopped and the port is closed."""
        service = self.service()
        broken = RecordingService("broken", self.events, UnavailableError("no"))
        service._publish = lambda host, port: cast("IService", broken)
        with self.assertRaisesRegex(UnavailableError, "no"):
            await service.startService()
        self.assertEqual(service.port, 0)
        self.assertEqual(self.events, ["companion starts", "companion stops"])

    async def test_open_connections_are_closed(self) -> None:
        """Browsers that keep their connection, or still wait for an answer, do not hold up the stop."""
        service = self.service()
        await service.startService()
        idle = Talker(b"GET /api/v2/health HTTP/1.1\r\nHost: x\r\n\r\n")
        silent = Talker(b"")
        for talker in (idle, silent):
            await self.connect(service, talker)
            await talker.first
        self.coordinators.slow = True
        waiting = Talker(b"GET /api/v2/workers HTTP/1.1\r\nHost: x\r\n\r\n")
        await self.connect(service, waiting)
        # The answer of a later request shows that the earlier one has arrived.
        later = await treq.get(f"http://127.0.0.1:{service.port}/api/v2/health", persistent=False)
        await later.content()
        began = self.reactor.seconds()
        await service.stopService()
        await defer.gatherResults([idle.closed, silent.closed, waiting.closed])
        self.assertLess(self.reactor.seconds() - began, 2)


class AddressTests(TestCase):
    def test_written(self) -> None:
        """IPv6 addresses stand in brackets."""
        self.assertEqual(
            [host_in_links(host) for host in ("", "::", "10.0.0.1")], ["localhost", "localhost", "10.0.0.1"]
        )

    def test_entry(self) -> None:
        """The registry entry of the web server lies in its own directory, under host name and port."""
        from twisted.internet import reactor  # noqa: TID251

        publication = server_publication(Settings(PATHS), reactor, "127.0.0.1", 8080)
        name = socket.gethostname()
        self.assertEqual(publication.entry.id, f"{name}@8080")
        self.assertEqual((publication.entry.host, publication.entry.port), ("127.0.0.1", 8080))
        self.assertIn(f"/{Kind.SERVER.value}/", publication.path)
