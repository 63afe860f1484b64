"""The coordinator as a service: what starts in which order, and how it ends."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.logger import Logger

from txdagu.config.settings import Settings
from txdagu.coordinator.address import Advertised, advertised_host, outward_address, resolve
from txdagu.coordinator.dispatcher import Dispatcher
from txdagu.coordinator.explaining import ExplainService
from txdagu.coordinator.handover import Owner
from txdagu.coordinator.naming import RandomNames
from txdagu.coordinator.rpc import CoordinatorService
from txdagu.coordinator.workers import WorkerService
from txdagu.dispatch.core import DispatchCore
from txdagu.dispatch.journal import Journal
from txdagu.grpc.health import HealthService
from txdagu.grpc.reflection import ReflectionService
from txdagu.grpc.server import ConnectionLimits, GrpcServerFactory, GrpcService
from txdagu.grpc.tls import ServerTls
from txdagu.grpc.tls_endpoints import TlsServerEndpoint
from txdagu.journal.assembly import durable_journal
from txdagu.model.addresses import join_host_port
from txdagu.model.errors import UnavailableError
from txdagu.peers.advice import SERVER_ADVICE
from txdagu.peers.protection import Protection, protection
from txdagu.peers.security import End
from txdagu.protocol.services import COORDINATOR_SERVICE, WORKER_SERVICE
from txdagu.registry.cleaning import StaleFileCleaner
from txdagu.registry.entries import Kind
from txdagu.registry.publication import Publication, coordinator_publication
from txdagu.store.interfaces import IRunStore
from txdagu.system.clock import local_now, monotonic
from txdagu.system.threads import threads_of

DRAIN_TIME = 2.0
# Workers speak every second. A connection that is silent for a minute is asked whether somebody is still there.
_LIMITS = ConnectionLimits(keepalive_interval=60.0, keepalive_timeout=20.0)


class CoordinatorServer(Service):
    """
    A coordinator with its port.

    Starts: journal read, port open, registry entry written. Ends: health NOT_SERVING, registry entry removed, waiting
    calls answered UNAVAILABLE, open calls finished for at most 2 s, port closed, journal closed. `startService` fails with a
    sentence if the journal or the port cannot be had. With `tls`, nothing else is spoken on the port.
    """

    log = Logger()

    def __init__(
        self,
        settings: Settings,
        reactor: Any,
        journal: Journal,
        store: IRunStore | None,
        wall: Callable[[], datetime],
        monotonic: Callable[[], float],
        tls: ServerTls | None = None,
    ) -> None:
        self._settings = settings
        self._reactor = reactor
        coordinator = settings.coordinator
        core = DispatchCore(RandomNames(wall), coordinator.offer_timeout, coordinator.lease_ttl)
        self._journal = journal
        self._dispatcher = Dispatcher(core, journal, reactor, wall, store, monotonic)
        self._health = HealthService([COORDINATOR_SERVICE, WORKER_SERVICE])
        rpc = CoordinatorService(self._dispatcher, lambda: self.owner)
        ours = (ExplainService(self._dispatcher), WorkerService(self._dispatcher))
        services: list[GrpcService] = [rpc, *ours, self._health]
        if coordinator.reflection:
            services.append(ReflectionService(services))
        self._factory = GrpcServerFactory(services, reactor, limits=_LIMITS, advice=SERVER_ADVICE)
        registry = settings.paths.service_registry_dir
        self._cleaners = [StaleFileCleaner(reactor, registry, kind, monotonic) for kind in Kind]
        self._publication: Publication | None = None
        self._tls = tls
        self._port: Any = None
        self.owner = Owner("", "", 0)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that are bound."""
        bound = self._port.getHost()
        return bound.host, bound.port

    def startService(self) -> Deferred[None]:
        """Open for work. The Deferred fails with `UnavailableError` if journal or port cannot be had."""
        super().startService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        await self._journal.open()
        try:
            await self._dispatcher.start()
            self._port = await self._listen()
        except BaseException:
            self._dispatcher.stop()
            await self._journal.close()
            raise
        host, port = self.address
        advertised = await self._advertised(host)
        publication = coordinator_publication(self._settings, self._reactor, advertised.host, port)
        self._publication = publication
        self.owner = Owner(publication.entry.id, advertised.host, port)
        publication.startService()
        for cleaner in self._cleaners:
            cleaner.startService()
        self.log.info(
            "coordinator {id} listens on {bound}{tls}; workers dial {advertised}",
            id=self.owner.id,
            tls=self._protection(),
            bound=join_host_port(host, port),
            advertised=join_host_port(advertised.host, port),
        )
        if advertised.warning:
            self.log.warn("{warning}", warning=advertised.warning)
        if self._tls is not None:
            self._tls.dialled_as = advertised.host
            if misnaming := self._tls.misnaming():
                self.log.warn("{misnaming}", misnaming=misnaming)

    def _protection(self) -> str:
        if self._tls is None:
            return ""
        return " with TLS, for clients with a certificate" if self._tls.wants_certificates else " with TLS"

    async def _listen(self) -> Any:
        host, port = self._settings.coordinator.host, self._settings.coordinator.port
        endpoint: IStreamServerEndpoint = TCP4ServerEndpoint(self._reactor, port, interface=host)  # takes IPv6 as well
        if self._tls is not None:
            endpoint = TlsServerEndpoint(endpoint, self._tls, self._reactor)
        try:
            return await endpoint.listen(self._factory)
        except CannotListenError as error:
            reason = getattr(error.socketError, "strerror", None) or error.socketError
            origins = self._settings.origins
            origin = origins.get("coordinator.port") or origins.get("coordinator.host") or "default"
            raise UnavailableError(
                f"the coordinator cannot listen on {join_host_port(host, port)} ({origin}): {reason}; "
                "end the process that uses it, or choose another with --coordinator.host and --coordinator.port"
            ) from None

    async def _advertised(self, bound: str) -> Advertised:
        configured = self._settings.coordinator.advertise
        if configured:
            return Advertised(configured)
        name = socket.gethostname()
        # The name service may take its time.
        resolved = await threads_of(self._reactor)(partial(resolve, name))
        return advertised_host(bound, "", name, resolved, outward_address())

    def stopService(self) -> Deferred[None]:
        """End in order; fires when nothing is left."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._health.shut_down()
        if self._publication is not None:
            await self._publication.stopService()
        for cleaner in self._cleaners:
            await maybeDeferred(cleaner.stopService)
        self._dispatcher.stop()
        if self._port is not None:
            await maybeDeferred(self._port.stopListening)
        await self._factory.drain(DRAIN_TIME)
        await self._journal.close()
        self.log.info("coordinator {id} has ended", id=self.owner.id)


def coordinator_service(settings: Settings, reactor: Any, protected: Protection | None = None) -> IService:
    """
    A coordinator set up as `settings` say. `protected` is what TLS is spoken with, if that was made; else it is made here.

    Raises `InvalidInputError` for settings that ask for TLS in a way that cannot be: an open port in its place would be worse
    than none.
    """
    from txdagu.execution.assembly import run_store

    if protected is None:
        protected = protection(settings, [End.SERVER])
    store = run_store(settings, reactor)
    journal = durable_journal(settings, reactor)
    return CoordinatorServer(settings, reactor, journal, store, local_now, monotonic, protected.server)
