"""The scheduler as a service."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import SystemRandom
from typing import Any

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from txdagu.config.settings import Settings
from txdagu.peers.connecting import connector
from txdagu.peers.coordinators import Coordinators
from txdagu.peers.protection import Protection
from txdagu.registry.entries import Activity
from txdagu.registry.publication import scheduler_publication
from txdagu.scheduler.carrier import Means, RunsHere
from txdagu.scheduler.consumer import QueueConsumer
from txdagu.scheduler.leadership import Leadership
from txdagu.scheduler.lockdir import LockDirectory
from txdagu.store.interfaces import IRunQueue, IRunStore
from txdagu.system.clock import monotonic, unix_now


class SchedulerServer(Service):
    """
    A scheduler: registered at once, at work while it leads.

    Ends: starts nothing more, lets runs of this process end for ``worker.drainTimeout`` before it cancels them, gives
    the lock back, takes its registry entry away.
    """

    log = Logger()

    def __init__(
        self,
        settings: Settings,
        reactor: Any,
        store: IRunStore,
        queue: IRunQueue,
        coordinators: Coordinators,
        engine: RunsHere,
        now: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._coordinators = coordinators
        self._publication = scheduler_publication(settings, reactor, settings.scheduler.port)
        self.leadership = Leadership(
            reactor,
            LockDirectory(str(Path(settings.paths.data_dir, "scheduler", "locks"))),
            settings.scheduler.lock_stale_threshold,
            settings.scheduler.lock_retry_interval,
            now,
            wall,
            self._gained,
            self._lost,
        )
        self._consumer = QueueConsumer(
            Means(store, queue, coordinators, engine, reactor, settings.default_execution_mode),
            settings.queues.limits,
            lambda: self.leadership.leading,
        )

    def startService(self) -> None:
        """Register, and try to lead."""
        super().startService()  # type: ignore[no-untyped-call]
        self._publication.startService()
        self._coordinators.startService()
        self.leadership.startService()

    def _gained(self) -> None:
        self._tell(Activity.ACTIVE)
        if self._settings.queues.enabled:
            self._consumer.start()
        else:
            self.log.info("queues are disabled in the configuration: queued runs are not started")

    def _lost(self) -> None:
        self._tell(Activity.INACTIVE)
        self._consumer.pause()

    def _tell(self, activity: Activity) -> None:
        self._publication.update(activity).addErrback(
            lambda failure: self.log.failure("the registry entry cannot be changed", failure)
        )

    def stopService(self) -> Deferred[None]:
        """End in order; fires when nothing is left."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await self._consumer.stop(self._settings.worker.drain_timeout)
        await self.leadership.stopService()
        await self._publication.stopService()
        await self._coordinators.stopService()


def scheduler_service(settings: Settings, reactor: Any, protected: Protection | None = None) -> IService:
    """The scheduler set up as `settings` say. `protected`: see `connector`."""
    from txdagu.execution.assembly import engine, run_store
    from txdagu.execution.reaping import Watch

    coordinators = Coordinators(settings, reactor, SystemRandom(), monotonic, connector(settings, reactor, protected))
    store = run_store(settings, reactor)
    runs_here = engine(settings, reactor, store, coordinators, Watch(reactor))
    return SchedulerServer(settings, reactor, store, store.queue, coordinators, runs_here, monotonic, unix_now)
