"""What goes wrong, and when: drawn by chance, healed at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from txdagu.model.policies import LostWorkerPolicy
from txdagu.model.standing import Action, WorkerOrder
from txdagu.peers.discovery import Member
from txdagu.testing.simulation.coordinators import Coordinator
from txdagu.testing.simulation.disk import FAST
from txdagu.testing.simulation.workers import Worker

if TYPE_CHECKING:
    from txdagu.testing.simulation.cluster import Cluster

# What is drawn, and what follows from it by chance; all of it must occur somewhere within a campaign.
KINDS = (
    "partition",
    "loss",
    "duplication",
    "delay",
    "worker killed",
    "worker restarted",
    "worker stopped",
    "reaper killed",
    "host suspended",
    "host loses power",
    "worker leaves",
    "coordinator killed",
    "coordinator stopped",
    "coordinator suspended",
    "disk fails",
    "disk slow",
    "clock jumps",
    "journal lost",
    "long silence",
    "confirmation unanswered",
    "workers drained",
)
FOLLOWING = (
    "partition one-way",
    "partition two-way",
    "delay and reorder",
    "lost un-synced write",
    "torn last record",
    "failed commit",
)
# Lost disks and long silences would crowd out everything else; a confirmation must be met in the very moment.
RARE = ("journal lost", "long silence", "confirmation unanswered", "workers drained")
# Seconds after which nothing that was sent can arrive any more.
LATE = 15.0


class Faults:
    """Draws faults for a cluster. `seen` are those that occurred."""

    def __init__(self, cluster: Cluster, kinds: tuple[str, ...]) -> None:
        self.seen: set[str] = set()
        self._cluster = cluster
        self._kinds = tuple(kind for kind in kinds if kind not in RARE)
        self._rare = kinds
        self._until = 0.0
        self._down: set[str] = set()
        self._unanswered_from = float("inf")
        self._resumed_from: tuple[Member, ...] = ()

    def begin(self, until: float) -> None:
        """From now on, things go wrong."""
        self._until = until
        random = self._cluster.random
        if self._cluster.long and "long silence" in self._rare:
            self._after(random.uniform(3.0, 15.0), self._long_silence)
            return
        if self._cluster.seed % 10 == 3 and "journal lost" in self._rare:
            self._after(random.uniform(5.0, 25.0), self._journal_lost)
        if self._cluster.seed % 10 == 6 and "confirmation unanswered" in self._rare:
            self._unanswered_from = random.uniform(0.0, 8.0)
        if self._cluster.seed % 10 == 8 and "workers drained" in self._rare:
            self._after(random.uniform(0.0, 5.0), self._workers_drained)
        if self._kinds:
            self._later()

    def offered(self, worker_id: str, coordinator: str, policy: LostWorkerPolicy) -> None:
        """
        A worker was offered a task. If it is one that may be left to it, and this is wished for, its confirmations arrive from
        now on and are not answered, for longer than it repeats them.
        """
        if policy is LostWorkerPolicy.WAIT and self._unanswered_from <= self._cluster.world.now < self._until:
            self._unanswered_from = float("inf")
            seconds = self._cluster.random.uniform(20.0, 30.0)
            self._tell("confirmation unanswered", f"{coordinator} to {worker_id}", seconds)
            blocked = {(coordinator, worker_id)}
            self._cluster.network.blocked |= blocked
            self._after(seconds, lambda: self._cluster.network.blocked.difference_update(blocked))

    def heal(self) -> None:
        """Nothing goes wrong any more, and everybody is back."""
        cluster = self._cluster
        cluster.world.tell("faults", "all healed")
        cluster.network.heal()
        for coordinator in cluster.coordinators:
            coordinator.disk.failing = False
            coordinator.disk.slow = FAST
            if coordinator.process.paused:
                coordinator.process.resume()
            if coordinator.stopping:
                coordinator.stopped(coordinator.process)
            if not coordinator.process.alive:
                cluster.start_coordinator(coordinator)
        for place in cluster.places:
            worker = cluster.workers[place.worker_id]
            if worker.host.suspended:
                worker.host.resume()
            elif worker.process.paused:
                worker.process.resume()
            if worker.gone:
                cluster.start_worker(place)
        # Not before what was asked for until now has arrived, perhaps late and twice.
        cluster.world.after(LATE, self._all_resumed)
        self._down.clear()

    def _later(self) -> None:
        self._after(self._cluster.random.uniform(0.2, 6.0), self._draw)

    def _after(self, seconds: float, what: Callable[[], None]) -> None:
        def due() -> None:
            if self._cluster.world.now < self._until:
                what()

        self._cluster.world.after(seconds, due)

    def _draw(self) -> None:
        random = self._cluster.random
        kind = random.choice(self._kinds)
        getattr(self, "_" + kind.replace(" ", "_"))(self._long())
        self._later()

    def _long(self) -> float:
        random = self._cluster.random
        return random.choice((random.uniform(0.1, 2.0), random.uniform(2.0, 12.0), random.uniform(10.0, 30.0)))

    def _tell(self, kind: str, whom: str, seconds: float) -> None:
        self.seen.add(kind)
        self._cluster.world.tell("faults", f"{kind}: {whom}, {seconds:.1f} s")

    # -- the network ---------------------------------------------------------------------------------------------------

    def _partition(self, seconds: float) -> None:
        cluster, random = self._cluster, self._cluster.random
        clients = [place.worker_id for place in cluster.places] + ["dispatcher"]
        some = random.sample(clients, random.randint(1, len(clients)))
        servers = random.sample(cluster.coordinators, random.randint(1, len(cluster.coordinators)))
        pairs = {(one, server.name) for one in some for server in servers}
        back = {(server, one) for one, server in pairs}
        blocked = random.choice((pairs, back, pairs | back))
        self._tell("partition", ", ".join(f"{source} to {target}" for source, target in sorted(blocked)), seconds)
        cluster.network.blocked |= blocked
        self._after(seconds, lambda: cluster.network.blocked.difference_update(blocked))

    def _loss(self, seconds: float) -> None:
        network = self._cluster.network
        network.loss = self._cluster.random.uniform(0.02, 0.3)
        self._tell("loss", f"{network.loss:.0%}", seconds)
        self._after(seconds, lambda: setattr(network, "loss", 0.0))

    def _duplication(self, seconds: float) -> None:
        network = self._cluster.network
        network.repetition = self._cluster.random.uniform(0.05, 0.4)
        self._tell("duplication", f"{network.repetition:.0%}", seconds)
        self._after(seconds, lambda: setattr(network, "repetition", 0.0))

    def _delay(self, seconds: float) -> None:
        network = self._cluster.network
        network.slow = self._cluster.random.uniform(0.5, 4.0)
        self._tell("delay", f"up to {network.slow:.1f} s", seconds)
        self._after(seconds, lambda: setattr(network, "slow", 0.05))

    # -- workers -------------------------------------------------------------------------------------------------------

    def _some_worker(self) -> str | None:
        there = [one for one, worker in self._cluster.workers.items() if not worker.gone and one not in self._down]
        return self._cluster.random.choice(there) if there else None

    def _back(self, worker_id: str, seconds: float) -> None:
        def restart() -> None:
            self._down.discard(worker_id)
            (place,) = [place for place in self._cluster.places if place.worker_id == worker_id]
            self._cluster.start_worker(place)

        self._down.add(worker_id)
        if self._cluster.world.now < self._until:
            self._after(seconds, restart)
        else:
            restart()

    def _worker_killed(self, seconds: float) -> None:
        worker_id = self._some_worker()
        worker = self._cluster.workers[worker_id] if worker_id is not None else None
        if worker_id is not None and isinstance(worker, Worker):
            self._tell("worker killed", worker_id, seconds)
            worker.kill()
            self._back(worker_id, seconds)

    def _worker_restarted(self, _seconds: float) -> None:
        self._worker_killed(0.0)
        self.seen.add("worker restarted")

    def _worker_stopped(self, seconds: float) -> None:
        worker_id = self._some_worker()
        worker = self._cluster.workers[worker_id] if worker_id is not None else None
        if worker_id is not None and isinstance(worker, Worker) and not worker.process.paused:
            process = worker.process
            self._tell("worker stopped", worker_id, seconds)
            process.pause()
            self._after(seconds, lambda: process.resume() if process.paused and not worker.host.suspended else None)

    def _reaper_killed(self, _seconds: float) -> None:
        worker_id = self._some_worker()
        worker = self._cluster.workers[worker_id] if worker_id is not None else None
        if worker_id is not None and isinstance(worker, Worker) and not worker.host.suspended:
            self._tell("reaper killed", worker_id, 0.0)
            worker.reaper.kill()

    def _host_loses_power(self, seconds: float) -> None:
        worker_id = self._some_worker()
        if worker_id is not None:
            self._tell("host loses power", worker_id, seconds)
            self._cluster.workers[worker_id].power_off()
            self._back(worker_id, seconds)

    def _host_suspended(self, seconds: float) -> None:
        worker_id = self._some_worker()
        if worker_id is None:
            return
        host = self._cluster.workers[worker_id].host
        if not host.suspended and not host.process.paused:
            self._tell("host suspended", worker_id, seconds)
            host.suspend()
            self._after(seconds, lambda: host.resume() if host.suspended else None)

    def _worker_leaves(self, seconds: float) -> None:
        worker_id = self._some_worker()
        worker = self._cluster.workers[worker_id] if worker_id is not None else None
        if worker_id is None or not isinstance(worker, Worker) or worker.process.paused:
            return
        self._tell("worker leaves", worker_id, seconds)
        self._down.add(worker_id)
        worker.leave(lambda: self._back(worker_id, seconds))

    # -- orders of people ----------------------------------------------------------------------------------------------

    def _workers_drained(self) -> None:
        """People empty workers, with little patience, cordon others, and let them take tasks again."""
        cluster, random = self._cluster, self._cluster.random
        for member in cluster.members:
            given = []
            for _ in range(random.randint(3, 9)):
                ids = tuple(random.sample([place.worker_id for place in cluster.places], random.choice((1, 1, 2))))
                patience = random.choice((0.0, random.uniform(0.0, 5.0), None))
                given.append(WorkerOrder(random.choice(tuple(Action)), ids, reason="work", by="us", patience=patience))
            self._tell("workers drained", f"by {member.host}, {len(given)} orders", 0.0)
            cluster.ordered(member, given)
        self._resumed_from = cluster.members

    def _all_resumed(self) -> None:
        cluster = self._cluster
        everybody = tuple(place.worker_id for place in cluster.places)
        for member in self._resumed_from:
            cluster.ordered(member, [WorkerOrder(Action.RESUME, everybody, by="us")])

    # -- coordinators --------------------------------------------------------------------------------------------------

    @staticmethod
    def _serves(coordinator: Coordinator) -> bool:
        process = coordinator.process
        return coordinator.up and process.alive and not process.paused and not coordinator.stopping

    def _coordinator_killed(self, seconds: float) -> None:
        cluster = self._cluster
        if cluster.random.random() < 0.5:
            self._coordinator_ends("coordinator killed", seconds)
            return
        # While it writes, which a time drawn by chance would seldom meet.
        coordinator = cluster.random.choice(cluster.coordinators)
        moment = cluster.random.uniform(0.0, coordinator.disk.slow)
        coordinator.disk.written = lambda: self._after(
            moment, lambda: self._coordinator_ends("coordinator killed", seconds, coordinator)
        )

    def _coordinator_stopped(self, seconds: float) -> None:
        self._coordinator_ends("coordinator stopped", seconds)

    def _coordinator_ends(self, kind: str, seconds: float, which: Coordinator | None = None) -> None:
        cluster = self._cluster
        coordinator = which or cluster.random.choice(cluster.coordinators)
        if not self._serves(coordinator):
            return
        self._tell(kind, coordinator.name, seconds)
        if kind == "coordinator stopped":
            coordinator.stop()
            seconds = max(seconds, 1.0)
        else:
            coordinator.kill()

        def again() -> None:
            if not coordinator.process.alive:
                cluster.start_coordinator(coordinator)

        self._after(seconds, again)

    def _coordinator_suspended(self, seconds: float) -> None:
        coordinator = self._cluster.random.choice(self._cluster.coordinators)
        process = coordinator.process
        if self._serves(coordinator):
            self._tell("coordinator suspended", coordinator.name, seconds)
            process.pause()
            self._after(seconds, lambda: process.resume() if process.alive and process.paused else None)

    def _disk_fails(self, seconds: float) -> None:
        disk = self._cluster.random.choice(self._cluster.coordinators).disk
        self._tell("disk fails", "of a coordinator", seconds)
        disk.failing = True
        self._after(seconds, lambda: setattr(disk, "failing", False))

    def _disk_slow(self, seconds: float) -> None:
        disk = self._cluster.random.choice(self._cluster.coordinators).disk
        disk.slow = self._cluster.random.uniform(0.2, 1.5)
        self._tell("disk slow", f"up to {disk.slow:.1f} s", seconds)
        self._after(seconds, lambda: setattr(disk, "slow", FAST))

    def _journal_lost(self) -> None:
        cluster = self._cluster
        coordinator = cluster.random.choice(cluster.coordinators)
        if not self._serves(coordinator):
            return
        self._tell("journal lost", coordinator.name, 0.0)
        coordinator.kill()
        coordinator.disk.wipe()
        cluster.invariants.disk_lost(coordinator.name)
        cluster.start_coordinator(coordinator)

    # -- time ----------------------------------------------------------------------------------------------------------

    def _clock_jumps(self, _seconds: float) -> None:
        cluster = self._cluster
        processes = [one.process for one in (*cluster.coordinators, *cluster.workers.values())]
        process = cluster.random.choice(processes)
        # Not by more than an hour: for so long are ended tasks remembered, by that very clock.
        offset = cluster.random.uniform(-cluster.wall_error, cluster.wall_error)
        self._tell("clock jumps", process.name, offset - process.wall_offset)
        process.wall_offset = cluster.wall_offsets[process.name] = offset

    def _long_silence(self) -> None:
        """A worker is not heard of for so long that it is forgotten."""
        worker_id = self._some_worker()
        if worker_id is None:
            return
        self._tell("long silence", worker_id, 620.0)
        blocked = {(worker_id, coordinator.name) for coordinator in self._cluster.coordinators}
        self._cluster.network.blocked |= blocked
        self._after(620.0, lambda: self._cluster.network.blocked.difference_update(blocked))
