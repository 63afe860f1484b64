"""A whole cluster in one seed: who is there, what is wanted of it, and how it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from random import Random

from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

from txdagu.dispatch.machine import State
from txdagu.dispatch.matching import matches
from txdagu.model.labels import Labels
from txdagu.model.standing import WorkerOrder
from txdagu.model.task import Task
from txdagu.peers.discovery import Member
from txdagu.protocol import coordinator_pb2 as pb
from txdagu.protocol.conversion import task_from_message
from txdagu.testing.simulation.coordinators import PARTS, Coordinator, Parts, Times
from txdagu.testing.simulation.disk import Disk
from txdagu.testing.simulation.dispatchers import Dispatcher, orders
from txdagu.testing.simulation.faults import KINDS, Faults
from txdagu.testing.simulation.files import Files
from txdagu.testing.simulation.foreign import ForeignWorker
from txdagu.testing.simulation.invariants import Edge, Invariants, ViolationError
from txdagu.testing.simulation.network import Network
from txdagu.testing.simulation.workers import Worker
from txdagu.testing.simulation.world import Process, World
from txdagu.wire.status import RpcError

# Seconds of the world: how long things go wrong, and how long the cluster then has to finish everything.
CHAOS = 40.0
BOUND = 400.0
# How long steps take at most on one worker or another.
STEP_SECONDS = (4.0, 8.0, 8.0, 20.0)
# A silence that makes a coordinator forget a worker.
LONG_SILENCE = 640.0
LONG_EVERY = 25

AnyWorker = Worker | ForeignWorker


@dataclass(frozen=True)
class Place:
    """Where a worker lives: its id, labels and slots, and whether it is one of Dagu 1.30.2."""

    worker_id: str
    labels: dict[str, str]
    slots: int
    foreign: bool


@dataclass
class Result:
    """What became of one seed: `violation` is None if everything held."""

    seed: int
    events: int
    seconds: float
    edges: set[Edge]
    faults: set[str]
    violation: ViolationError | None
    timeline: list[tuple[float, str, str]]

    def story(self) -> str:
        """The timeline, for people."""
        lines = [f"{at:9.3f}  {who:<12} {what}" for at, who, what in self.timeline]
        return "\n".join([f"seed {self.seed}", *lines, str(self.violation or "everything held")])


@implementer(ILogObserver)
class Breakages:
    """Sees in the log what broke although nobody meant it to: whatever is no refusal of a call."""

    def __init__(self, invariants: Invariants) -> None:
        self._invariants = invariants

    def __call__(self, event: LogEvent) -> None:
        """Look at one event."""
        failure = event.get("log_failure")
        if failure is not None and not isinstance(failure.value, RpcError):
            self._invariants.broken("log", failure)


class Cluster:
    """One seed. The same seed gives the same events, to the last one."""

    def __init__(self, seed: int, parts: Parts = PARTS, kinds: tuple[str, ...] = KINDS) -> None:
        self.seed = seed
        self.random = Random(seed)  # noqa: S311 - it must be repeatable
        self.world = World()
        self.invariants = Invariants(self.world)
        self.network = Network(self.world, self.random, self.invariants)
        self.files = Files(self.invariants.shown)
        self.long = seed % LONG_EVERY == LONG_EVERY - 1
        self.chaos = CHAOS + (LONG_SILENCE if self.long else 0.0)
        self.times = Times()
        self.workers: dict[str, AnyWorker] = {}
        self.ordered: Callable[[Member, Iterable[WorkerOrder]], None]
        self.faults = Faults(self, kinds)
        self._parts = parts
        self._processes = 0
        self._lives: dict[str, list[str]] = {}
        self.wall_offsets: dict[str, float] = {}
        self.coordinators = [self._coordinator(f"coordinator-{number}") for number in range(self.random.randint(1, 2))]
        self.members = tuple(coordinator.member for coordinator in self.coordinators)
        self.places = [self._place(number) for number in range(self.random.randint(2, 3))]
        # Whether a worker of Dagu 1.30.2 has started something is told by the time at which it did, so clocks must agree.
        self.wall_error = 2.0 if any(place.foreign for place in self.places) else 1500.0

    # -- who is there --------------------------------------------------------------------------------------------------

    def process(self, name: str, skewed: bool = True) -> Process:
        """A new process, whose clocks are wrong."""
        self._processes += 1
        rate = 1.0 + (self.random.uniform(-0.01, 0.01) if skewed else 0.0)
        error = self.random.uniform(-self.wall_error, self.wall_error) if skewed else 0.0
        wall_offset = self.wall_offsets.setdefault(name, error)
        return Process(self.world, name, f"{self.seed}/{self._processes}", rate, wall_offset)

    def _coordinator(self, name: str) -> Coordinator:
        disk = Disk(self.random, partial(self.invariants.kept, name))
        coordinator = Coordinator(self.network, self.files, disk, name, self._parts, self.times)
        self.invariants.loaded[name] = coordinator.loads
        return coordinator

    def _place(self, number: int) -> Place:
        labels = {"zone": "ab"[number % 2]}
        worker_id = f"worker-{number}"
        self.invariants.labels[worker_id] = labels
        return Place(worker_id, labels, self.random.randint(1, 3), number > 0 and self.random.random() < 0.25)

    def start_coordinator(self, coordinator: Coordinator) -> None:
        """Start one, the first time or again."""
        self.world.tell(coordinator.name, "starts")
        coordinator.start(self.process(coordinator.name))

    def start_worker(self, place: Place) -> None:
        """Start one, the first time or again: as soon as nothing of the one before it lives."""
        before = self.workers.get(place.worker_id)
        if before is not None and not before.finished:
            self.world.after(0.1, lambda: self.start_worker(place))
            return
        self.world.tell(place.worker_id, "starts" + (" (Dagu 1.30.2)" if place.foreign else ""))
        longest = self.random.choice(STEP_SECONDS)
        process = self.process(place.worker_id)
        if before is not None:
            self.world.remains.append(before)
        common = (process, self.network, self.files, self.invariants, self.members, place.worker_id, place.labels)
        gone = tuple(self._lives.get(place.worker_id, ()))
        worker: AnyWorker
        if place.foreign:
            worker = ForeignWorker(*common, place.slots, longest)
        else:
            worker = Worker(*common, place.slots, self._parts, self.times, longest, self._offered, gone)
            self._lives.setdefault(place.worker_id, []).append(worker.incarnation)
        self.workers[place.worker_id] = worker
        worker.start()

    def _offered(self, worker: Worker, member: Member, message: pb.Task) -> None:
        self.invariants.offer_told(member.host, worker.id, worker.labels, message)
        self.faults.offered(worker.id, member.host, task_from_message(message).on_worker_lost.policy)

    # -- the course of events ------------------------------------------------------------------------------------------

    def run(self) -> Result:
        """Let it all happen."""
        observer = Breakages(self.invariants)
        globalLogPublisher.addObserver(observer)
        violation = None
        try:
            self._run()
        except ViolationError as found:
            violation = found
        finally:
            globalLogPublisher.removeObserver(observer)
        return Result(
            self.seed,
            self.world.events,
            self.world.now,
            self.invariants.edges,
            self.faults.seen | self.network.seen | {kind for one in self.coordinators for kind in one.disk.seen},
            violation,
            self.world.timeline,
        )

    def _run(self) -> None:
        for coordinator in self.coordinators:
            self.start_coordinator(coordinator)
        for place in self.places:
            self.start_worker(place)
        wanted = orders(self.random, self.members, self.random.randint(6, 14), self.chaos * 0.8)
        process = self.process("dispatcher", skewed=False)
        dispatcher = Dispatcher(process, self.network, self.members, wanted, self.invariants.broken)
        dispatcher.start()
        self.ordered = dispatcher.keep_in_order
        self.faults.begin(self.chaos)
        self._until(self.chaos, lambda: False)
        self.faults.heal()
        self._until(self.chaos + BOUND, lambda: self._done(dispatcher))
        # A little longer, for what is only to be tidied up.
        self._until(self.world.now + 15.0, lambda: False)
        self._finally(dispatcher)

    def _until(self, at: float, finished: Callable[[], bool]) -> None:
        # Whether all is done need not be asked after each event.
        while self.world.now < at and not finished():
            self.world.run(min(at, self.world.now + 1.0), self._checked, lambda: False)
            self.invariants.look()
            self.invariants.check()

    def _checked(self) -> None:
        for worker in self.workers.values():
            if isinstance(worker, Worker) and worker.slots.busy > worker.slots.total:
                self.invariants.fail(f"4: {worker.slots.busy} of {worker.slots.total} slots of {worker.id} are taken")
        self.invariants.check()

    def _done(self, dispatcher: Dispatcher) -> bool:
        return all(order.ended or self._runs_nowhere(order.task.selector) for order in dispatcher.orders)

    def _runs_nowhere(self, selector: Labels) -> bool:
        return not any(matches(selector, place.labels) for place in self.places)

    def _finally(self, dispatcher: Dispatcher) -> None:
        for order in dispatcher.orders:
            if not order.ended and not self._runs_nowhere(order.task.selector) and not self._waits_for_ours(order.task):
                self.invariants.fail(f"7: run {order.task.run.id} has not ended {BOUND:.0f} s after the last fault")
        for entry in self.invariants.open_tasks():
            if entry.transition.state is not State.QUEUED or not (
                self._runs_nowhere(entry.task.selector) or self._waits_for_ours(entry.task)
            ):
                self.invariants.fail(f"7: run {entry.task.run.id} is still {entry.transition.state.value}")
        for coordinator in self.coordinators:
            self._explained(coordinator)
        for worker in self.workers.values():
            if worker.host.steps:
                self.invariants.fail(f"4: steps are left running on {worker.id}")
            if isinstance(worker, Worker) and (worker.slots.busy or len(worker.tasks.in_hand)):
                self.invariants.fail(f"4: {worker.id} rests, and {worker.slots.busy} of its slots are taken")
        self.invariants.check()

    def _waits_for_ours(self, task: Task) -> bool:
        """Whether only workers of ours may run it, and none of those matches."""
        return bool(task.needs) and not any(
            matches(task.selector, one.labels) for one in self.places if not one.foreign
        )

    def _explained(self, coordinator: Coordinator) -> None:
        """Every task that waits is explained, with a verdict on every worker."""
        now = coordinator.process.seconds()
        known = len(coordinator.dispatcher.core.workers(now, 0.0))
        for life in self.invariants.book(coordinator.name).tasks.values():
            entry = life.entry
            if entry.transition.state is State.QUEUED:
                verdicts = coordinator.dispatcher.core.explain(entry.task.root, entry.task.run.id, now)
                if len(verdicts) != known or not all(one.reason for one in verdicts):
                    self.invariants.fail(f"1: why run {entry.task.run.id} waits is not explained: {verdicts}")


def simulate(seed: int, parts: Parts = PARTS) -> Result:
    """One seed, from its beginning to its end."""
    return Cluster(seed, parts).run()
