"""The worker as a service: what starts in which order, and how it leaves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from random import Random, SystemRandom
from typing import Any

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from txdagu.config.settings import Settings
from txdagu.execution.assembly import engine, run_store
from txdagu.execution.engine import Engine
from txdagu.execution.guarding import IWatcher, Nobody
from txdagu.execution.reaping import Reaping
from txdagu.peers.connecting import connector
from txdagu.peers.coordinators import Coordinators
from txdagu.peers.discovery import Member
from txdagu.peers.protection import Protection
from txdagu.registry.publication import Publication, WorkerState, worker_publication
from txdagu.store.interfaces import IRunStore
from txdagu.system.clock import boottime, local_now, monotonic
from txdagu.system.repeating import Repeating
from txdagu.worker.custody import Custody
from txdagu.worker.identity import Identity, identity
from txdagu.worker.leases import WorkerLeases
from txdagu.worker.session import Session
from txdagu.worker.slots import Slots
from txdagu.worker.surroundings import Surroundings
from txdagu.worker.tasks import Tasks

# How long cancelled runs may take to end, beyond their own time to clean up, before we leave without them.
ENDING_TIME = 15.0
# How long a coordinator may take to note the ends of runs, and to hear our good-bye.
REPORTING_TIME = 5.0
GOODBYE_TIME = 4.0
# How long all of that may take together once somebody is in a hurry.
HURRY_TIME = 1.0
# The reaper is exact; we follow it to tell why nothing goes on, and to start nothing.
FENCE_INTERVAL = 0.5


class WorkerService(Service):
    """
    A worker. Starts: registry file, view of the coordinators, beats and calls for work at each.

    Leaves in order: no more calls for work while beats go on, running tasks get ``worker.drainTimeout`` to end, are handed back
    then to be gone on with elsewhere, that is reported, a last beat says good-bye, the registry file goes, the channels close.
    Every phase is bounded. Tasks that no other worker may have are cancelled in place of handed back: those of coordinators of
    Dagu, and those with ``onWorkerLost: fail``. With `hurry`, all of it happens within a second.
    """

    log = Logger()

    def __init__(
        self,
        settings: Settings,
        reactor: Any,
        who: Identity,
        store: IRunStore,
        engine: Engine,
        coordinators: Coordinators,
        random: Random,
        now: Callable[[], float],
        wall: Callable[[], datetime] = local_now,
        custody: Custody | None = None,
    ) -> None:
        self.identity = who
        self.slots = Slots(settings.worker.max_active_runs)
        self._settings = settings
        self._reactor = reactor
        self._coordinators = coordinators
        self._directory = coordinators.directory
        self._custody = custody
        self._reaping: Reaping | None = None
        watcher: IWatcher = Nobody()
        if custody is not None:
            watcher = self._reaping = Reaping(reactor, self._told_again, self._killed, lambda: custody.descriptor)
        self._leases = WorkerLeases(settings.coordinator.lease_ttl, settings.worker.freeze_limit, watcher.tell)
        self._now = now
        self._fencing = Repeating(reactor, FENCE_INTERVAL, lambda: self._leases.tick(now()), "looking at leases")
        self._around = Surroundings(
            reactor,
            self._directory,
            who,
            self.slots,
            random,
            now,
            wall,
            self._leases,
            watcher,
            self._reaping.outer if self._reaping is not None else "",
            settings.paths.base_config,
            custody.gone if custody is not None else (),
        )
        self.tasks = Tasks(self._around, store, engine)
        self._publication: Publication = worker_publication(settings, reactor, who.id, self._state, wall)
        self._sessions: dict[Member, Session] = {}
        self._leaving = False
        self._hurried = False
        self._given_up = False
        self._patience: IDelayedCall | None = None
        self._begun = False
        self._unsubscribe: Callable[[], None] | None = None

    # -- start ---------------------------------------------------------------------------------------------------------

    def startService(self) -> None:
        """Register, look for coordinators, and begin to ask them for work."""
        Service.startService(self)
        self.log.info(
            "worker {worker_id} starts with {slots} slots and labels {labels}",
            worker_id=self.identity.id,
            slots=self.slots.total,
            labels=", ".join(f"{key}={value}" for key, value in sorted(self.identity.labels.items())) or "(none)",
        )
        if not self.slots.total:
            self.log.warn("worker.maxActiveRuns is 0: this worker only shows itself and takes no tasks")
        self._publication.startService()
        self._fencing.start()
        self._unsubscribe = self._directory.subscribe(self._members_changed)
        self._coordinators.startService()
        Deferred.fromCoroutine(self._first_look()).addErrback(
            lambda failure: self.log.failure("looking for coordinators failed", failure)
        )

    async def _first_look(self) -> None:
        await self._begin_custody()
        self._begun = True
        members = await self._directory.members()
        self._members_changed()
        if not members:
            self.log.warn("{nobody}; this worker goes on looking", nobody=self._directory.nobody)

    async def _begin_custody(self) -> None:
        """Have a reaper, and nothing left of the worker before us."""
        if self._custody is None or self._reaping is None:
            return
        self._reaping.start()
        unreaped = self._custody.unreaped
        if unreaped:
            self.log.warn("ending what is left of an earlier worker {worker_id}", worker_id=self.identity.id)
            await self._reaping.swept(unreaped)
        self._custody.begin(self.identity.incarnation)

    def _told_again(self) -> list[str]:
        return self._leases.lines()

    def _killed(self, token: str) -> None:
        self._leases.killed(token, self._now())

    def _members_changed(self) -> None:
        if self._leaving or not self.running or not self._begun:
            return
        members = self._directory.known()
        for member in members:
            if member not in self._sessions:
                self.log.info("found coordinator {member}", member=str(member))
                session = self._sessions[member] = Session(self._around, member, self.tasks.in_hand, self.tasks.accept)
                session.start(polling=self.slots.total > 0)
        for member in [member for member in self._sessions if member not in members]:
            self.log.info("coordinator {member} is gone", member=str(member))
            self._quietly(self._sessions.pop(member).stop(leaving=False))

    def _state(self) -> WorkerState:
        if self._leaving:
            health = "draining"
        elif any(session.reachable for session in self._sessions.values()):
            health = "healthy"
        else:
            health = "no coordinator answers"
        return WorkerState(health, len(self.tasks.in_hand.running()))

    # -- stop ----------------------------------------------------------------------------------------------------------

    def stopService(self) -> Deferred[None]:
        """Leave in order; fires when done."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._leave())

    async def _leave(self) -> None:
        self._leaving = True
        if self._unsubscribe is not None:
            self._unsubscribe()
        self.tasks.close(self._reason)
        ends_at = self._around.now() + self._settings.worker.drain_timeout
        await self._all(session.drain(ends_at) for session in self._sessions.values())
        # Who says good-bye says that nothing of it is alive.
        gone = await self._drain()
        if gone:
            self.log.info("worker {worker_id} says good-bye", worker_id=self.identity.id)
        goodbyes = self._all(session.stop(leaving=gone) for session in self._sessions.values())
        await self._bounded(Deferred.fromCoroutine(goodbyes), HURRY_TIME if self._hurried else GOODBYE_TIME)
        if self._patience is not None:
            self._patience.cancel()
        self._fencing.stop()
        if self._reaping is not None and self._custody is not None:
            self._reaping.stop()
            self._custody.release(forget=not self._settings.worker.id)
        await self._publication.stopService()
        await self._coordinators.stopService()
        self.log.info("worker {worker_id} is gone", worker_id=self.identity.id)

    @property
    def _reason(self) -> str:
        return f"worker {self.identity.id} is shutting down"

    def hurry(self) -> None:
        """Leave at once: what runs is killed and handed back, and nobody is waited for longer than a second."""
        self._hurried = True
        self._patience = self._reactor.callLater(HURRY_TIME, self._give_up)
        for task in self.tasks.in_hand.running():
            task.hand_back(self._reason)
            task.kill()
        self.tasks.in_hand.tell()

    def _give_up(self) -> None:
        self._patience = None
        self._given_up = True
        self.tasks.in_hand.tell()

    async def _drain(self) -> bool:
        """Let the tasks end, in one way or another; whether nothing of them is alive any more."""
        running = self.tasks.in_hand.running()
        patience = self._settings.worker.drain_timeout
        if running:
            self.log.info(
                "worker {worker_id} takes no more tasks; {count} running get {seconds:g} s to end, and are handed back to be "
                "gone on with elsewhere then; a second signal kills them and hands them back at once: {runs}",
                worker_id=self.identity.id,
                count=len(running),
                seconds=patience,
                runs=", ".join(str(task.run) for task in running),
            )
            await self._until(lambda: self._hurried or not self.tasks.in_hand.running(), patience)
        running = self.tasks.in_hand.running()
        if running:
            self.log.warn(
                "{count} tasks are stopped and handed back, because they did not end in time: {runs}",
                count=len(running),
                runs=", ".join(str(task.run) for task in running),
            )
            for task in running:
                task.hand_back(self._reason)
            clean_up = max(task.clean_up_seconds for task in running)
            if not await self._until(lambda: not self.tasks.in_hand.running(), clean_up + ENDING_TIME):
                self.log.error(
                    "leaving although these runs did not end: {runs}",
                    runs=", ".join(str(task.run) for task in self.tasks.in_hand.running()),
                )
        gone = not self.tasks.in_hand.running()
        if not await self._until(lambda: not self.tasks.busy, REPORTING_TIME):
            self.log.warn(
                "the ends of these runs could not be reported: {runs}",
                runs=", ".join(str(task.run) for task in self.tasks.in_hand),
            )
            await self.tasks.abandon()
        return gone

    async def _until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait until something about the tasks is so, at most that long; whether it is."""
        if condition() or self._given_up:
            return condition()
        reached: Deferred[None] = Deferred()

        def look() -> None:
            if (condition() or self._given_up) and not reached.called:
                reached.callback(None)

        unsubscribe = self.tasks.in_hand.subscribe(look)
        try:
            await self._bounded(reached, seconds)
        finally:
            unsubscribe()
        return condition()

    async def _bounded(self, waiting: Deferred[Any], seconds: float) -> None:
        try:
            await waiting.addTimeout(seconds, self._reactor)
        except DeferredTimeout:
            return

    async def _all(self, coroutines: Any) -> None:
        await gatherResults([self._quietly(coroutine) for coroutine in coroutines])

    def _quietly(self, coroutine: Awaitable[None]) -> Deferred[None]:
        def broke(failure: Failure) -> None:
            self.log.failure("ending the talk with a coordinator failed", failure)

        async def end() -> None:
            await coroutine

        return Deferred.fromCoroutine(end()).addErrback(broke)


def worker_service(settings: Settings, reactor: Any, protected: Protection | None = None) -> IService:
    """
    A worker that is set up as `settings` say and starts with the service. `protected`: see `connector`.

    Raises `InvalidInputError` for settings that a worker cannot work with, and if there is such a worker on this host already.
    """
    random = SystemRandom()
    coordinators = Coordinators(settings, reactor, random, monotonic, connector(settings, reactor, protected))
    store = run_store(settings, reactor)
    runs = engine(settings, reactor, store, coordinators)
    who = identity(settings)
    custody = Custody(settings.paths.data_dir, who.id)
    custody.take()
    return WorkerService(settings, reactor, who, store, runs, coordinators, random, boottime, custody=custody)
