"""A worker's process: the real sessions, tasks and slots; beside it the steps that it starts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from txdagu.model.labels import Labels
from txdagu.peers.discovery import Member
from txdagu.protocol import coordinator_pb2 as pb
from txdagu.system.repeating import Repeating
from txdagu.testing.simulation.coordinators import Parts, Times
from txdagu.testing.simulation.files import Files, Store
from txdagu.testing.simulation.network import Call, Network, Reply
from txdagu.testing.simulation.reaping import SimulatedReaper
from txdagu.testing.simulation.runs import Engine, Host, Observer
from txdagu.testing.simulation.world import Process
from txdagu.worker.identity import Identity
from txdagu.worker.leases import WorkerLeases
from txdagu.worker.session import Session
from txdagu.worker.slots import Slots
from txdagu.worker.surroundings import Surroundings

FREEZE_LIMIT = 60.0
FENCE_INTERVAL = 0.5
# Seconds: what a leaving worker gives its tasks to end, then to end cancelled, then for their reports.
PATIENCE = (4.0, 6.0, 5.0)


class Channel:
    """One process's connection to one coordinator, as `txdagu.peers.connecting.RpcChannel`."""

    def __init__(self, network: Network, process: Process, host: str, server: str) -> None:
        self._network = network
        self._process = process
        self._host = host
        self._server = server
        self._calls: dict[Call, None] = {}

    @property
    def calls(self) -> list[Call]:
        """Those that are open."""
        return list(self._calls)

    def unary_call(self, method: Any, request: Any, *, timeout: float | None = None) -> Deferred[Reply]:
        """Call and wait for the answer, with its metadata."""
        call = self._network.call(self._process, self._host, self._server, method, request, timeout)
        self._calls[call] = None

        def over(result: Any) -> Any:
            self._calls.pop(call, None)
            return result

        return call.done.addBoth(over)

    def unary(self, method: Any, request: Any, *, timeout: float | None = None) -> Deferred[Any]:
        """The same, without."""
        return self.unary_call(method, request, timeout=timeout).addCallback(lambda reply: reply.message)

    def cut(self) -> None:
        """End all calls, as when the connection is closed here."""
        for call in self.calls:
            self._network.close(call, "the connection was closed")


class Directory:
    """The coordinators as one process knows them: always all of them."""

    def __init__(self, network: Network, process: Process, host: str, members: tuple[Member, ...]) -> None:
        self._network = network
        self._process = process
        self._host = host
        self._members = members
        self._channels: dict[Member, Channel] = {}

    def known(self) -> tuple[Member, ...]:
        """All of them."""
        return self._members

    def channel(self, member: Member) -> Channel:
        """The channel to that coordinator."""
        channel = self._channels.get(member)
        if channel is None:
            channel = self._channels[member] = Channel(self._network, self._process, self._host, member.host)
        return channel

    def redial(self, member: Member) -> None:
        """Its connection seems dead."""
        channel = self._channels.pop(member, None)
        if channel is not None:
            channel.cut()

    def answered(self, member: Member) -> None:
        """Somebody got an answer; membership does not depend on it here."""

    def review(self) -> None:
        """Membership never changes here."""

    def died(self, abruptly: bool) -> None:
        """The process is gone with all its connections."""
        for channel in self._channels.values():
            self._network.client_died(channel.calls, abruptly)


class Worker:
    """One life of a worker, from its start to its end; the next one under the same id is another incarnation."""

    confirms = True

    def __init__(
        self,
        process: Process,
        network: Network,
        files: Files,
        observer: Observer,
        members: tuple[Member, ...],
        worker_id: str,
        labels: Labels,
        slots: int,
        parts: Parts,
        times: Times,
        longest: float,
        offered: Callable[[Worker, Member, pb.Task], None],
        gone: tuple[str, ...],
    ) -> None:
        self.id = worker_id
        self.process = process
        self.labels = labels
        self.gone = False
        self.incarnation = process.random.randbytes(8).hex()
        self.host = Host(process, worker_id, worker_id, slots, observer)
        self.directory = Directory(network, process, worker_id, members)
        self.slots = Slots(slots)
        self.reaper = SimulatedReaper(self.host, self._beside, self._told_again, self._killed)
        self.leases = WorkerLeases(times.lease_ttl, FREEZE_LIMIT, self.reaper.tell)
        self._fencing = Repeating(process, FENCE_INTERVAL, self._fence, "looking at leases")
        who = Identity(worker_id, labels, self.incarnation)
        around = Surroundings(
            process,
            self.directory,  # type: ignore[arg-type]
            who,
            self.slots,
            process.random,
            process.seconds,
            process.wall,
            self.leases,
            self.reaper,
            gone=gone,
        )
        store = Store(files, process, self.incarnation)
        self.tasks = parts.tasks(around, store, Engine(self.host, store, longest))  # type: ignore[arg-type]
        self._offered = offered
        self._sessions = [Session(around, member, self.tasks.in_hand, self._accept) for member in members]

    def start(self) -> None:
        """Beat, and ask for work."""
        self._fencing.start()
        for session in self._sessions:
            session.start(polling=True)

    def _accept(self, member: Member, announced: bool, message: pb.Task) -> None:
        self._offered(self, member, message)
        self.tasks.accept(member, announced, message)

    @property
    def finished(self) -> bool:
        """Whether nothing of it lives, so that another one may take its id."""
        return self.gone and self.reaper.finished

    def _beside(self) -> Process:
        process = self.process
        reaper = Process(
            process.world, f"{self.id} reaper", process.random.randbytes(8).hex(), process.rate, zero=process.zero
        )
        self.host.beside.append(reaper)
        return reaper

    def _told_again(self) -> list[str]:
        return self.leases.lines()

    def _killed(self, token: str) -> None:
        self.leases.killed(token, self.process.seconds())

    def _fence(self) -> None:
        self.leases.tick(self.process.seconds())

    def kill(self) -> None:
        """The worker's process is gone without a word; its host and its reaper are not."""
        self.gone = True
        self.process.kill()
        self.reaper.worker_gone()
        self.directory.died(abruptly=False)

    def power_off(self) -> None:
        """The host is gone without a word."""
        self.gone = True
        self.host.power_off()
        self.directory.died(abruptly=True)

    def leave(self, left: Callable[[], None]) -> None:
        """Go in order, as the service does it; `left` is called when it is gone."""
        self.process.do(lambda: self._leave(left))

    def _leave(self, left: Callable[[], None]) -> None:
        self.tasks.close(f"worker {self.id} is leaving")
        leaving = Deferred.fromCoroutine(self._leaving())

        def gone(result: object) -> object:
            if not self.gone:
                self._fencing.stop()
                self.kill()
                left()
            return result

        leaving.addBoth(gone)
        self.process.world.remains.append(leaving)

    async def _leaving(self) -> None:
        for session in self._sessions:
            await session.stop_polling()
        patience, ending, reporting = PATIENCE
        await self._until(lambda: not self.tasks.in_hand.running(), patience)
        for task in self.tasks.in_hand.running():
            task.cancel(f"worker {self.id} is leaving")
        await self._until(lambda: not self.tasks.in_hand.running(), ending)
        await self._until(lambda: not self.tasks.busy, reporting)
        await self.tasks.abandon()
        for session in self._sessions:
            await session.stop(leaving=True)

    async def _until(self, reached: Callable[[], bool], seconds: float) -> None:
        end = self.process.seconds() + seconds
        while not reached() and self.process.seconds() < end:
            tick: Deferred[None] = Deferred()
            self.process.callLater(0.2, tick.callback, None)
            await tick
