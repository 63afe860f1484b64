"""A coordinator on a clock, with real gRPC in memory, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txdagu.coordinator.dispatcher import Dispatcher
from txdagu.coordinator.explaining import ExplainService
from txdagu.coordinator.handover import Owner
from txdagu.coordinator.rpc import CoordinatorService
from txdagu.coordinator.workers import WorkerService
from txdagu.dispatch.core import DispatchCore
from txdagu.dispatch.journal import Kept, MemoryJournal
from txdagu.dispatch.records import Entry, StandingEntry
from txdagu.grpc.server import GrpcServerFactory, GrpcService
from txdagu.model.errors import UnavailableError
from txdagu.model.run import RunRef, RunStatus
from txdagu.model.task import Task
from txdagu.protocol import coordinator_pb2 as pb
from txdagu.protocol import services
from txdagu.protocol.conversion import task_to_message
from txdagu.testing.channel import MemoryEndpoint, memory_channel
from txdagu.testing.dispatch import CountedNames
from txdagu.wire.status import RpcError, StatusCode

OWNER = Owner("host1@50055", "host1", 50055)
WALL = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class SlowJournal(MemoryJournal):
    """
    A journal whose commits wait until the test lets them through or fail.

    While it is `broken`, commits fail; while it is `unloadable`, it does not load either, as on a full disk.
    """

    def __init__(self) -> None:
        super().__init__()
        self.held: list[Deferred[None]] | None = None
        self.broken = False
        self.unloadable = False

    async def load(self) -> Kept:
        """What is kept."""
        if self.unloadable:
            raise UnavailableError("database or disk is full")
        return await super().load()

    async def commit(self, entries: Sequence[Entry], standings: Sequence[StandingEntry] = ()) -> None:
        """Keep these entries, late or never."""
        if self.held is not None:
            waiting: Deferred[None] = Deferred()
            self.held.append(waiting)
            await waiting
        if self.broken:
            raise OSError("no space left on device")
        await super().commit(entries, standings)

    def let_through(self) -> None:
        """All commits that wait, in their order."""
        held, self.held = self.held or [], None
        for waiting in held:
            waiting.callback(None)


class RecordedStore:
    """A run store of which only the states of runs are asked."""

    def __init__(self) -> None:
        self.statuses: dict[str, RunStatus] = {}
        self.error: Exception | None = None

    async def read_status(self, run: RunRef, _root: RunRef) -> RunStatus | None:
        """What the test put there."""
        if self.error is not None:
            raise self.error
        return self.statuses.get(run.id)


class CoordinatorTestCase(SynchronousTestCase):
    """A coordinator, and a channel to it."""

    def setUp(self) -> None:
        """Start the coordinator on a clock."""
        self.clock = self.make_clock()
        self.journal = SlowJournal()
        self.store = RecordedStore()
        core = DispatchCore(CountedNames())
        self.dispatcher = Dispatcher(core, self.journal, self.clock, lambda: WALL, self.store)  # type: ignore[arg-type]
        self.successResultOf(Deferred.fromCoroutine(self.dispatcher.start()))
        rpc: GrpcService = CoordinatorService(self.dispatcher, lambda: OWNER)
        ours = (ExplainService(self.dispatcher), WorkerService(self.dispatcher))
        self.server = GrpcServerFactory([rpc, *ours], self.clock)
        self.endpoint = MemoryEndpoint(self.server, self.clock)
        self.channel = memory_channel(self.endpoint, self.clock)

    def make_clock(self) -> Any:
        """What stands for the reactor."""
        return Clock()

    def call(self, method: Any, request: Any) -> Deferred[Any]:
        """Begin a call and deliver it."""
        reply = Deferred.fromCoroutine(self.channel.unary(method, request))
        self.deliver()
        return reply

    def deliver(self) -> None:
        """Let everything arrive that is on its way."""
        for _ in range(8):
            self.clock.advance(0)

    def wait(self, seconds: int) -> None:
        """Let time pass, second by second."""
        for _ in range(seconds):
            self.clock.advance(1)
            self.deliver()

    def answer(self, method: Any, request: Any) -> Any:
        """The response of a call that is answered at once."""
        return self.successResultOf(self.call(method, request))

    def refusal(self, method: Any, request: Any) -> tuple[StatusCode, str]:
        """Code and text of a call that is refused."""
        error = self.failureResultOf(self.call(method, request), RpcError).value  # type: ignore[no-untyped-call]
        assert isinstance(error, RpcError)
        return error.code, error.message

    def dispatch(self, task: Task) -> None:
        """Hand in a task."""
        self.answer(services.DISPATCH, pb.DispatchRequest(task=task_to_message(task)))

    def poll(self, worker_id: str = "w1", incarnation: str = "one", **labels: str) -> Deferred[Any]:
        """A call for work."""
        request = pb.PollRequest(
            worker_id=worker_id,
            poller_id="p",
            labels=labels,
            incarnation=incarnation,
            free_slots=1 if incarnation else 0,
        )
        return self.call(services.POLL, request)

    def beat(self, worker_id: str = "w1", incarnation: str = "one", *running: pb.RunningTask) -> Any:
        """A heartbeat."""
        stats = pb.WorkerStats(total_pollers=2, busy_pollers=len(running), running_tasks=running)
        request = pb.HeartbeatRequest(worker_id=worker_id, stats=stats, incarnation=incarnation)
        return self.answer(services.HEARTBEAT, request)

    def ack(self, task: pb.Task) -> Any:
        """Confirm an offer."""
        request = pb.AckTaskClaimRequest(worker_id=task.worker_id, claim_token=task.claim_token)
        return self.answer(services.ACK_TASK_CLAIM, request)
