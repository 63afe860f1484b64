"""The coordinator's calls over real gRPC in memory: texts, codes, fields, and what survives a broken call or journal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txdagu.coordinator.dispatcher import Dispatcher
from txdagu.coordinator.handover import Owner
from txdagu.coordinator.rpc import CoordinatorService
from txdagu.dispatch.core import DispatchCore
from txdagu.dispatch.journal import MemoryJournal
from txdagu.dispatch.records import Entry
from txdagu.grpc.server import GrpcServerFactory
from txdagu.model.run import RunRef, RunStatus
from txdagu.model.status import RunState
from txdagu.model.task import Task
from txdagu.peers.statuses import status_from_message, status_to_message
from txdagu.protocol import coordinator_pb2 as pb
from txdagu.protocol import services
from txdagu.protocol.conversion import attempt_key, task_to_message
from txdagu.testing.channel import MemoryEndpoint, memory_channel
from txdagu.testing.dispatch import CountedNames, make_task
from txdagu.wire.status import RpcError, StatusCode

OWNER = Owner("host1@50055", "host1", 50055)
WALL = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class SlowJournal(MemoryJournal):
    """A journal whose commits wait until the test lets them through or fail."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[Deferred[None]] | None = None
        self.broken = False

    async def commit(self, entries: Sequence[Entry]) -> None:
        """Keep these entries, late or never."""
        if self.held is not None:
            waiting: Deferred[None] = Deferred()
            self.held.append(waiting)
            await waiting
        if self.broken:
            raise OSError("no space left on device")
        await super().commit(entries)

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


class Base(SynchronousTestCase):
    """A coordinator, and a channel to it."""

    def setUp(self) -> None:
        """Start the coordinator on a clock."""
        self.clock = Clock()
        self.journal = SlowJournal()
        self.store = RecordedStore()
        core = DispatchCore(CountedNames())
        self.dispatcher = Dispatcher(core, self.journal, self.clock, lambda: WALL, self.store)  # type: ignore[arg-type]
        self.successResultOf(Deferred.fromCoroutine(self.dispatcher.start()))
        self.server = GrpcServerFactory([CoordinatorService(self.dispatcher, lambda: OWNER)], self.clock)
        self.endpoint = MemoryEndpoint(self.server, self.clock)
        self.channel = memory_channel(self.endpoint, self.clock)

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
        error = self.failureResultOf(self.call(method, request), RpcError).value
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


class TextTests(Base):
    """What 1.30.2 says, we say."""

    def test_refusals(self) -> None:
        """Codes and texts for requests without their required fields are those of 1.30.2."""
        invalid = StatusCode.INVALID_ARGUMENT
        cases = [
            (services.POLL, pb.PollRequest(worker_id="w"), "poller_id is required"),
            (services.POLL, pb.PollRequest(poller_id="p"), "worker_id is required"),
            (services.DISPATCH, pb.DispatchRequest(), "task is required"),
            (services.HEARTBEAT, pb.HeartbeatRequest(), "worker_id is required"),
            (services.DISPATCH, pb.DispatchRequest(task=pb.Task(dag_run_id="r")), "operation not specified"),
            (
                services.DISPATCH,
                pb.DispatchRequest(task=pb.Task(operation=pb.OPERATION_START)),
                "dag_run_id is required",
            ),
            (services.ACK_TASK_CLAIM, pb.AckTaskClaimRequest(worker_id="w"), "claim_token is required"),
        ]
        for method, request, text in cases:
            self.assertEqual((invalid, text), self.refusal(method, request))

    def test_status_that_cannot_be_read(self) -> None:
        """A report that is no status is refused with the reason, and for good."""
        request = pb.ReportStatusRequest(worker_id="w", status=pb.DAGRunStatusProto(json_data="{"))
        code, text = self.refusal(services.REPORT_STATUS, request)
        self.assertEqual(StatusCode.INVALID_ARGUMENT, code)
        self.assertIn("the status cannot be read", text)

    def test_announcement(self) -> None:
        """Every answer says that this coordinator knows our additions; methods that it does not serve are UNIMPLEMENTED."""
        reply = self.successResultOf(
            self.deferred(self.channel.unary_call(services.GET_WORKERS, pb.GetWorkersRequest()))
        )
        self.assertEqual("1", dict(reply.initial_metadata)["txdagu-protocol"])
        code, _ = self.refusal(services.HEALTH_CHECK, pb.GetWorkersRequest())
        self.assertEqual(StatusCode.UNIMPLEMENTED, code)

    def deferred(self, call: Any) -> Deferred[Any]:
        """The result of a coroutine, with everything delivered."""
        result = Deferred.fromCoroutine(call)
        self.deliver()
        return result


class HandOverTests(Base):
    """Tasks on their way to workers."""

    def test_fields_for_our_worker(self) -> None:
        """Our worker gets attempt, epoch, token and owner with the task."""
        self.dispatch(make_task("r1"))
        task = self.successResultOf(self.poll()).task
        self.assertEqual(("r1", "w1", 1, "token-1"), (task.dag_run_id, task.worker_id, task.epoch, task.claim_token))
        self.assertEqual(("000001", "attempt_20260101_000001_000Z_000001"), (task.attempt_id, task.attempt_name))
        run = RunRef("job", "r1")
        self.assertEqual(attempt_key(run, run, "000001"), task.attempt_key)
        owner = (task.owner_coordinator_id, task.owner_coordinator_host, task.owner_coordinator_port)
        self.assertEqual(("host1@50055", "host1", 50055), owner)
        self.assertTrue(self.ack(task).accepted)

    def test_fields_for_an_old_worker(self) -> None:
        """A worker that confirms nothing of ours gets no attempt; it would take a field alone for a mistake."""
        self.dispatch(make_task("r1"))
        task = self.successResultOf(self.poll("old", "")).task
        self.assertEqual(("", "", 0, ""), (task.attempt_id, task.attempt_key, task.epoch, task.attempt_name))
        self.assertFalse(task.HasField("previous_status"))
        self.assertEqual(
            ("old", "token-1", "host1@50055"), (task.worker_id, task.claim_token, task.owner_coordinator_id)
        )

    def test_poll_waits_without_limit(self) -> None:
        """A poll is parked for as long as it takes, if the worker lives, and then gets the task at once."""
        waiting = self.poll(gpu="true")
        for _ in range(300):
            self.wait(1)
            self.answer(
                services.HEARTBEAT, pb.HeartbeatRequest(worker_id="w1", labels={"gpu": "true"}, incarnation="one")
            )
        self.assertNoResult(waiting)
        self.dispatch(make_task("r1", {"gpu": "true"}))
        self.deliver()
        self.assertEqual("r1", self.successResultOf(waiting).task.dag_run_id)

    def test_cancelled_poll_loses_nothing(self) -> None:
        """T01: a poll that the worker takes back is never given a task."""
        waiting = self.poll()
        waiting.cancel()
        self.deliver()
        self.failureResultOf(waiting)
        self.dispatch(make_task("r1"))
        self.assertEqual("r1", self.successResultOf(self.poll("w2")).task.dag_run_id)

    def test_poll_cut_while_its_offer_is_committed(self) -> None:
        """T01: a poll that breaks between the decision and the answer gives its task to the next worker."""
        waiting = self.poll()
        self.journal.held = []
        dispatched = self.call(services.DISPATCH, pb.DispatchRequest(task=task_to_message(make_task("r1"))))
        self.endpoint.connections[0].cut()
        self.deliver()
        self.failureResultOf(waiting)
        self.failureResultOf(dispatched)
        self.journal.let_through()
        self.deliver()
        self.assertEqual("r1", self.successResultOf(self.poll("w2")).task.dag_run_id)

    def test_unconfirmed_offer_goes_to_the_next(self) -> None:
        """T03: the timers of the core run: ten seconds after an offer that nobody confirmed the task is offered again."""
        self.dispatch(make_task("r1"))
        self.successResultOf(self.poll())
        waiting = self.poll("w2")
        self.wait(9)
        self.assertNoResult(waiting)
        self.wait(1)
        self.assertEqual(2, self.successResultOf(waiting).task.epoch)

    def test_two_workers_of_one_id(self) -> None:
        """T20: the replaced process is told with a code that it does not retry for ever without a word."""
        self.beat("w1", "one")
        self.beat("w1", "two")
        request = pb.HeartbeatRequest(worker_id="w1", incarnation="one")
        code, text = self.refusal(services.HEARTBEAT, request)
        self.assertEqual(StatusCode.FAILED_PRECONDITION, code)
        self.assertIn("another --worker.id", text)
        code, _ = self.refusal(services.POLL, pb.PollRequest(worker_id="w1", poller_id="p", incarnation="one"))
        self.assertEqual(StatusCode.FAILED_PRECONDITION, code)


class EndTests(Base):
    """How tasks end, and who hears of it."""

    def status(self, state: RunState, run_id: str = "r1", error: str = "", attempt_id: str = "") -> RunStatus:
        """The state of a run of DAG ``job``."""
        run = RunRef("job", run_id)
        return RunStatus(run, run, state, worker_id="w1", error=error, attempt_id=attempt_id, started_at=WALL)

    def report(self, status: RunStatus, epoch: int = 1, worker_id: str = "w1") -> Any:
        """A worker's report."""
        request = pb.ReportStatusRequest(worker_id=worker_id, status=status_to_message(status), epoch=epoch)
        return self.answer(services.REPORT_STATUS, request)

    def ask(self) -> Any:
        """What became of r1."""
        request = pb.GetDAGRunStatusRequest(dag_name="job", dag_run_id="r1")
        return self.answer(services.GET_DAG_RUN_STATUS, request)

    def start(self) -> pb.Task:
        """A task that runs at w1."""
        self.dispatch(make_task("r1"))
        task: pb.Task = self.successResultOf(self.poll()).task
        self.ack(task)
        return task

    def test_reported_end_is_told(self) -> None:
        """A running state changes nothing; the final one ends the task and is told to whoever asks, word for word."""
        self.start()
        self.assertTrue(self.report(self.status(RunState.RUNNING)).accepted)
        self.assertFalse(self.ask().found)
        final = self.status(RunState.FAILED, error="step a failed")
        self.assertTrue(self.report(final).accepted)
        told = self.ask()
        self.assertTrue(told.found)
        self.assertEqual(final, status_from_message(told.status))

    def test_lost_task_is_told_as_failed(self) -> None:
        """T10: when its worker falls silent the task is failed within the lease, and the state says why."""
        self.start()
        self.wait(30)
        status = status_from_message(self.ask().status)
        self.assertEqual(RunState.FAILED, status.state)
        self.assertEqual("worker w1 was silent for 30 s while running job:r1", status.error)

    def test_leases_are_renewed(self) -> None:
        """T24: a run that its worker names every second goes on, and is told to end once somebody cancels it."""
        task = self.start()
        listed = pb.RunningTask(dag_run_id="r1", dag_name="job", attempt_key=task.attempt_key, epoch=1)
        request = pb.RunHeartbeatRequest(worker_id="w1", running_tasks=[listed], incarnation="one")
        for _ in range(100):
            self.wait(1)
            self.assertEqual([], list(self.answer(services.RUN_HEARTBEAT, request).cancelled_runs))
        cancel = pb.RequestCancelRequest(dag_name="job", dag_run_id="r1")
        self.assertTrue(self.answer(services.REQUEST_CANCEL, cancel).accepted)
        (told,) = self.answer(services.RUN_HEARTBEAT, request).cancelled_runs
        self.assertEqual(task.attempt_key, told.attempt_key)
        self.assertIn("asked for by 127.0.0.1", told.reason)
        (told,) = self.beat("w1", "one", listed).cancelled_runs
        self.assertEqual(task.attempt_key, told.attempt_key)

    def test_cancel_of_a_waiting_task(self) -> None:
        """A task that waits ends at once as aborted; a second cancel finds nothing."""
        self.dispatch(make_task("r1"))
        cancel = pb.RequestCancelRequest(dag_name="job", dag_run_id="r1")
        self.assertTrue(self.answer(services.REQUEST_CANCEL, cancel).accepted)
        self.assertEqual(RunState.ABORTED, status_from_message(self.ask().status).state)
        again = self.answer(services.REQUEST_CANCEL, cancel)
        self.assertEqual((False, "run r1 is not open here"), (again.accepted, again.error))

    def test_short_run_of_an_old_worker_is_not_run_twice(self) -> None:
        """A run that ended between two heartbeats of an old peer is found by its status file, not offered again."""
        self.dispatch(make_task("r1"))
        self.successResultOf(self.poll("old", ""))
        waiting = self.poll("w2")
        run = RunRef("job", "r1")
        self.store.statuses["r1"] = RunStatus(run, run, RunState.SUCCEEDED, worker_id="old", started_at=WALL)
        for _ in range(20):
            self.wait(1)
            self.beat("old", "")
            self.beat("w2", "one")
        self.assertNoResult(waiting)
        self.assertIn("its status file says succeeded", status_from_message(self.ask().status).error)

    def test_unreadable_store_is_asked_again(self) -> None:
        """T47: while the files cannot be read nothing is offered twice; when they can, the task moves on."""
        self.dispatch(make_task("r1"))
        self.successResultOf(self.poll("old", ""))
        waiting = self.poll("w2")
        self.store.error = OSError("stale file handle")
        for second in range(30):
            self.wait(1)
            self.beat("old", "")
            self.beat("w2", "one")
            if second == 15:
                self.assertNoResult(waiting)
                self.store.error = None
        self.assertEqual("r1", self.successResultOf(waiting).task.dag_run_id)

    def test_next_attempt_before_the_end_was_reported(self) -> None:
        """A retry that arrives before the report of the former attempt is a new attempt, not a repetition of the old call."""
        task = self.start()
        self.store.statuses["r1"] = self.status(RunState.FAILED, attempt_id=task.attempt_id)
        self.dispatch(make_task("r1"))
        self.assertEqual(2, self.successResultOf(self.poll("w2")).task.epoch)

    def test_repeated_dispatch_of_a_running_task(self) -> None:
        """A dispatcher that repeats its call because the answer got lost starts nothing."""
        task = self.start()
        self.store.statuses["r1"] = self.status(RunState.RUNNING, attempt_id=task.attempt_id)
        self.dispatch(make_task("r1"))
        self.assertNoResult(self.poll("w2"))


class JournalTests(Base):
    """Nothing is told before it is kept."""

    def test_no_answer_before_the_commit(self) -> None:
        """Neither dispatcher nor worker hears of a task that the journal does not have yet."""
        waiting = self.poll()
        self.journal.held = []
        dispatched = self.call(services.DISPATCH, pb.DispatchRequest(task=task_to_message(make_task("r1"))))
        self.assertNoResult(dispatched)
        self.assertNoResult(waiting)
        self.journal.let_through()
        self.deliver()
        self.successResultOf(dispatched)
        self.assertEqual("r1", self.successResultOf(waiting).task.dag_run_id)

    def test_failed_commit_is_unavailable_and_undone(self) -> None:
        """If the journal cannot be written the answer is UNAVAILABLE and the core forgets; afterwards all goes on."""
        self.journal.broken = True
        request = pb.DispatchRequest(task=task_to_message(make_task("r1")))
        code, _ = self.refusal(services.DISPATCH, request)
        self.assertEqual(StatusCode.UNAVAILABLE, code)
        self.flushLoggedErrors(OSError)
        self.journal.broken = False
        waiting = self.poll()
        self.assertNoResult(waiting)
        self.dispatch(make_task("r1"))
        self.deliver()
        self.assertEqual("r1", self.successResultOf(waiting).task.dag_run_id)

    def test_failed_ack_does_not_start(self) -> None:
        """A confirmation that could not be kept is refused, and can be repeated."""
        self.dispatch(make_task("r1"))
        task = self.successResultOf(self.poll()).task
        self.journal.broken = True
        request = pb.AckTaskClaimRequest(worker_id="w1", claim_token=task.claim_token)
        self.assertEqual(StatusCode.UNAVAILABLE, self.refusal(services.ACK_TASK_CLAIM, request)[0])
        self.flushLoggedErrors(OSError)
        self.journal.broken = False
        self.assertTrue(self.ack(task).accepted)

    def test_abandoned_dispatch_is_carried_out(self) -> None:
        """A dispatcher that hangs up during the commit has handed its task in nevertheless; its repetition is the same task."""
        self.journal.held = []
        dispatched = self.call(services.DISPATCH, pb.DispatchRequest(task=task_to_message(make_task("r1"))))
        dispatched.cancel()
        self.deliver()
        self.failureResultOf(dispatched)
        self.journal.let_through()
        self.dispatch(make_task("r1"))
        self.assertEqual(1, len(self.dispatcher.core))

    def test_stop_answers_everybody(self) -> None:
        """When the coordinator ends, parked polls get UNAVAILABLE at once, and so does every new call."""
        waiting = self.poll()
        self.dispatcher.stop()
        self.deliver()
        error = self.failureResultOf(waiting, RpcError).value
        assert isinstance(error, RpcError)
        self.assertEqual(StatusCode.UNAVAILABLE, error.code)
        code, text = self.refusal(services.GET_WORKERS, pb.GetWorkersRequest())
        self.assertEqual((StatusCode.UNAVAILABLE, "the coordinator is shutting down"), (code, text))


class WorkerListTests(Base):
    """The list of workers."""

    def test_what_is_listed(self) -> None:
        """Each worker with labels, slots, runs, age and word; one that is offline is told as unhealthy with its age."""
        running = pb.RunningTask(
            dag_run_id="c1",
            dag_name="child",
            root_dag_run_name="top",
            root_dag_run_id="r1",
            parent_dag_run_name="mid",
            parent_dag_run_id="m1",
            started_at=1_700_000_000,
        )
        self.beat("b", "one", running)
        self.wait(31)
        self.beat("a", "one")
        workers = self.answer(services.GET_WORKERS, pb.GetWorkersRequest()).workers
        self.assertEqual(["a", "b"], [worker.worker_id for worker in workers])
        self.assertEqual([1, 3], [worker.health_status for worker in workers])
        self.assertEqual([0, 31_000], [worker.heartbeat_age_ms for worker in workers])
        self.assertEqual((2, 1), (workers[1].total_pollers, workers[1].busy_pollers))
        self.assertEqual("mid", workers[1].running_tasks[0].parent_dag_run_name)
        self.assertEqual(int(WALL.timestamp()) - 31, workers[1].last_heartbeat_at)
