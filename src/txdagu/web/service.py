"""The web server as a service."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from random import SystemRandom
from typing import Any

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.web.http import Request as HTTPRequest
from twisted.web.resource import IResource
from twisted.web.server import Site

from txdagu import __version__
from txdagu.config.settings import Settings
from txdagu.model.addresses import EVERYWHERE, join_host_port
from txdagu.peers.interfaces import ICoordinators
from txdagu.peers.protection import Protection
from txdagu.registry.publication import server_publication
from txdagu.system.clock import local_now, monotonic, unix_now
from txdagu.web.answers import Answers
from txdagu.web.assets import page_templates, static_files
from txdagu.web.census import Census
from txdagu.web.decisions import Decisions
from txdagu.web.explaining import Explanations
from txdagu.web.front import Front
from txdagu.web.listening import host_in_links, listen
from txdagu.web.routes import Routes

IDLE_TIMEOUT = 120
GRACE = 1.0

Publish = Callable[[str, int], IService]


class QuietSite(Site):
    """Tells requests to the log only when debugging: every open page asks once a second."""

    displayTracebacks = False  # noqa: N815 - twisted.web's name
    requests = Logger()

    def log(self, request: HTTPRequest) -> None:
        """Tell one request."""
        self.requests.debug(
            "{client} {method} {uri} {status}",
            client=str(request.getClientAddress()),
            method=request.method.decode("ascii", "replace"),
            uri=request.uri.decode("ascii", "replace"),
            status=request.code,
        )


class Connections(WrappingFactory):
    """Knows the open connections, so that they can be closed."""

    protocols: dict[ProtocolWrapper, int]
    noisy = False
    _ended: Deferred[None] | None = None

    def unregisterProtocol(self, p: ProtocolWrapper) -> None:  # noqa: N802 - Twisted's name
        """Take note that a connection has ended."""
        super().unregisterProtocol(p)  # type: ignore[no-untyped-call]
        if not self.protocols and self._ended is not None:
            ended, self._ended = self._ended, None
            ended.callback(None)

    def ended(self) -> Deferred[None]:
        """Fires when no connection is left."""
        ended: Deferred[None] = Deferred()
        if self.protocols:
            self._ended = ended
        else:
            ended.callback(None)
        return ended

    def close(self, *, at_once: bool) -> None:
        """Close all of them; gently means that what was written still goes out."""
        for protocol in tuple(self.protocols):
            transport: Any = protocol.transport
            if at_once:
                transport.abortConnection()
            else:
                transport.loseConnection()


class WebService(Service):
    """
    Pages and API on one port.

    `publish` makes the service that tells others host and port while we listen. `companions` are started before and stopped
    after us. `wall` gives Unix seconds.
    """

    log = Logger()

    def __init__(
        self,
        settings: Settings,
        reactor: Any,
        coordinators: ICoordinators,
        decisions: Decisions,
        explanations: Explanations,
        publish: Publish,
        companions: Sequence[IService] = (),
        wall: Callable[[], float] = unix_now,
    ) -> None:
        self._settings = settings
        self._reactor = reactor
        self._publish = publish
        self._companions = tuple(companions)
        self._census = Census(coordinators, reactor, wall)
        self.resource = site_resource(settings.server.base_path, self._census, decisions, explanations, reactor, wall)
        site = QuietSite(self.resource, timeout=IDLE_TIMEOUT, reactor=reactor)  # type: ignore[no-untyped-call]
        site.noisy = False
        self._connections = Connections(site)  # type: ignore[no-untyped-call]
        self._listening: IListeningPort | None = None
        self._started: list[IService] = []

    @property
    def port(self) -> int:
        """The port that is bound, 0 while there is none."""
        if self._listening is None:
            return 0
        bound: Any = self._listening.getHost()
        port: int = bound.port
        return port

    @property
    def url(self) -> str:
        """Where the workers page is, as people on this host write it."""
        server = self._settings.server
        return f"http://{join_host_port(host_in_links(server.host), self.port)}{server.base_path}/workers"

    def startService(self) -> Deferred[None]:
        """Open the port. The Deferred fails with `UnavailableError` if it cannot be had; then nothing is left running."""
        super().startService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._start())

    def stopService(self) -> Deferred[None]:
        """Close the port and, within a second, what is still connected."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    async def _start(self) -> None:
        try:
            for companion in self._companions:
                await self._begin(companion)
            self._listening = await listen(self._settings, self._reactor, self._connections)
            await self._begin(self._publish(_published_host(self._settings.server.host), self.port))
        except BaseException:
            await self._stop()
            raise
        self.log.info("web pages on {url}", url=self.url)

    async def _begin(self, service: IService) -> None:
        await maybeDeferred(service.startService)
        self._started.append(service)

    async def _stop(self) -> None:
        publications = self._started[len(self._companions) :]
        companions = self._started[: len(self._companions)]
        self._started = []
        for publication in publications:
            await self._end(publication)
        await self._close()
        for companion in reversed(companions):
            await self._end(companion)

    async def _close(self) -> None:
        listening, self._listening = self._listening, None
        if listening is not None:
            await maybeDeferred(listening.stopListening)
        self._census.stop()
        self._connections.close(at_once=False)
        abort = self._reactor.callLater(GRACE, self._connections.close, at_once=True)
        await self._connections.ended()
        if abort.active():
            abort.cancel()

    async def _end(self, service: IService) -> None:
        try:
            await maybeDeferred(service.stopService)
        except Exception:  # noqa: BLE001 - the rest must be stopped all the same
            self.log.failure("{service} did not stop cleanly", service=type(service).__name__)


def _published_host(host: str) -> str:
    """What others dial: the address that is bound, or this host's name when it is bound everywhere."""
    return socket.gethostname() if host in EVERYWHERE else host


def site_resource(
    base_path: str,
    census: Census,
    decisions: Decisions,
    explanations: Explanations,
    reactor: Any,
    wall: Callable[[], float],
) -> IResource:
    """Everything that is served, as one resource. Reads the package's templates and files."""
    answers = Answers(base_path, page_templates(), __version__)
    routes = Routes(census, decisions, explanations, answers, static_files(), reactor, wall)
    return Front(routes.app.resource(), answers)


def web_service(settings: Settings, reactor: Any, protected: Protection | None = None) -> IService:
    """The web server of the main instance, with its own channels to the coordinators. `protected`: see `connector`."""
    from txdagu.execution.approvals import Approvals
    from txdagu.execution.assembly import run_store
    from txdagu.execution.explaining.situation import situations
    from txdagu.peers.connecting import connector
    from txdagu.peers.coordinators import Coordinators

    store = run_store(settings, reactor)
    coordinators = Coordinators(settings, reactor, SystemRandom(), monotonic, connector(settings, reactor, protected))
    return WebService(
        settings,
        reactor,
        coordinators,
        Decisions(Approvals(store, local_now), store, queues_enabled=settings.queues.enabled),
        Explanations(situations(settings, reactor, store, coordinators)),
        lambda host, port: server_publication(settings, reactor, host, port),
        [coordinators],
    )
