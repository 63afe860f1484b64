"""A coordinator's process: the real service, dispatcher and core on a simulated journal, started again after each end."""

from __future__ import annotations

from dataclasses import dataclass

from twisted.internet.defer import Deferred

from txdagu.coordinator.dispatcher import Dispatcher
from txdagu.coordinator.handover import Owner
from txdagu.coordinator.naming import RandomNames
from txdagu.coordinator.rpc import CoordinatorService
from txdagu.coordinator.workers import WorkerService
from txdagu.dispatch.core import DispatchCore
from txdagu.model.errors import UnavailableError
from txdagu.peers.discovery import Member
from txdagu.testing.simulation.disk import Disk, DiskJournal
from txdagu.testing.simulation.files import Files, Store
from txdagu.testing.simulation.network import Network, Server
from txdagu.testing.simulation.world import Process
from txdagu.worker.tasks import Tasks

PORT = 50055


@dataclass(frozen=True)
class Parts:
    """The classes that are put together: those of production, unless a test wants to see a fault found."""

    core: type[DispatchCore] = DispatchCore
    dispatcher: type[Dispatcher] = Dispatcher
    tasks: type[Tasks] = Tasks


PARTS = Parts()


@dataclass(frozen=True)
class Times:
    """Seconds: how long an offer stands, and how long a lease."""

    offer_timeout: float = 4.0
    lease_ttl: float = 12.0


class Coordinator:
    """
    One coordinator with its disk. `process` is the present one; while it is down, its host refuses connections.

    `loads` are the times at which a core began with what the journal has.
    """

    def __init__(self, network: Network, files: Files, disk: Disk, name: str, parts: Parts, times: Times) -> None:
        self.name = name
        self.member = Member(f"{name}@{PORT}", name, PORT)
        self.disk = disk
        self.up = False
        self.stopping = False
        self.process: Process
        self.core: DispatchCore
        self.dispatcher: Dispatcher
        self.journal: DiskJournal
        self.loads: list[float] = []
        self._network = network
        self._files = files
        self._parts = parts
        self._times = times
        self._server: Server | None = None

    def start(self, process: Process) -> None:
        """Start it in this process; without a readable journal it tries again every second."""
        self.process = process
        self._begin(process)

    def _begin(self, process: Process) -> None:
        if process is not self.process or not process.alive:
            return
        names = RandomNames(process.wall, lambda count: process.random.randbytes(count).hex())
        core = self._parts.core(names, self._times.offer_timeout, self._times.lease_ttl)
        journal = DiskJournal(process, self.disk, lambda: self.loads.append(process.world.now))
        store = Store(self._files, process, self.name)
        dispatcher = self._parts.dispatcher(core, journal, process, process.wall, store, process.seconds)  # type: ignore[arg-type]

        def ready(_: object) -> None:
            service = CoordinatorService(dispatcher, lambda: Owner(self.member.id, self.name, PORT))
            handlers = {**service.handlers(), **WorkerService(dispatcher).handlers()}
            self._server = Server(process, self.name, handlers)
            self.core, self.dispatcher, self.journal = core, dispatcher, journal
            self.up = True
            self._network.listen(self._server)

        def failed(failure: object) -> None:
            failure.trap(UnavailableError)  # type: ignore[attr-defined]
            process.callLater(1.0, self._begin, process)

        Deferred.fromCoroutine(dispatcher.start()).addCallbacks(ready, failed)

    def kill(self) -> None:
        """It ends without a word, and so does its host."""
        self._gone()
        self.disk.crash()

    def stop(self) -> None:
        """It ends in order: waiting calls are answered, what was committed is written."""
        self.stopping = True
        self.dispatcher.stop()
        process = self.process
        process.callLater(0.5, self.stopped, process)

    def stopped(self, process: Process) -> None:
        """The time that it had to end is over."""
        if process is self.process and process.alive:
            self._gone()

    def _gone(self) -> None:
        self.up = self.stopping = False
        self.process.kill()
        if self._server is not None:
            self._network.died(self._server)
            self._server = None
