"""Tasks from offer to report, with a scripted coordinator, engine and store."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from txdagu.config.settings import PathSettings, Settings, WorkerSettings
from txdagu.execution.engine import Engine
from txdagu.execution.request import RunRequest
from txdagu.model.chat import ChatMessage
from txdagu.model.dag import Dag
from txdagu.model.errors import DaguError
from txdagu.model.run import RunRef, RunStatus
from txdagu.model.status import RunState
from txdagu.peers.discovery import CoordinatorDirectory
from txdagu.peers.statuses import status_from_message
from txdagu.protocol import coordinator_pb2 as pb
from txdagu.store.interfaces import IRunSink, IRunStore, StepLogs
from txdagu.testing.scripted import ScriptedChannel
from txdagu.wire.status import RpcError, StatusCode
from txdagu.worker.identity import Identity
from txdagu.worker.leases import WorkerLeases
from txdagu.worker.running import TaskInHand
from txdagu.worker.slots import Slots
from txdagu.worker.surroundings import Surroundings
from txdagu.worker.tasks import Tasks

DEFINITION = "steps:\n  - name: one\n    command: echo hello\n"


class ScriptedRun:
    """A run that ends when the test says so."""

    def __init__(self, request: RunRequest) -> None:
        self.request = request
        self.cancelled: list[str] = []
        self.given_up: list[tuple[str, bool]] = []
        self._end: Deferred[RunStatus] = Deferred()

    def wait(self) -> Deferred[RunStatus]:
        """Fires at the end."""
        return self._end

    def cancel(self, reason: str) -> None:
        """Note the reason."""
        self.cancelled.append(reason)

    def hand_back(self, reason: str) -> None:
        """Stop, and be queued again."""
        self.cancelled.append(reason)
        self.end(RunState.QUEUED, reason)

    def kill(self) -> None:
        """Nothing is left to kill."""

    def give_up(self, reason: str, fenced: bool = False) -> None:
        """Note the reason, and end."""
        self.given_up.append((reason, fenced))
        self.end(RunState.FAILED, reason)

    def end(self, state: RunState, error: str = "") -> None:
        """End the run."""
        self._end.callback(RunStatus(self.request.run, self.request.root, state, error=error))


class ScriptedEngine:
    """Starts runs that do nothing."""

    def __init__(self) -> None:
        self.runs: list[ScriptedRun] = []
        self.slots: list[Any] = []

    def start(self, request: RunRequest, on_status: Any = None, slot: Any = None, guard: Any = None) -> ScriptedRun:
        """Note the request."""
        run = ScriptedRun(request)
        self.runs.append(run)
        self.slots.append(slot)
        return run


@implementer(IRunSink)
class NotedSink:
    """Keeps the final status."""

    attempt_id = "abc123"
    attempt_name = "attempt_1"
    log = "/logs/run.log"

    def __init__(self, store: NotedStore) -> None:
        self._store = store

    def step_logs(self, step_name: str, at: datetime, merged: bool = False) -> Deferred[StepLogs]:
        """No step ever starts here."""
        raise AssertionError(step_name)

    def write_messages(self, step_name: str, messages: Any) -> Deferred[None]:
        """No step ever speaks here."""
        raise AssertionError(step_name)

    def read_messages(self, step_name: str) -> Deferred[tuple[ChatMessage, ...]]:
        """Nothing was said."""
        return succeed(())

    def write_log(self, line: str) -> None:
        """Note the line."""
        self._store.lines.append(line)

    def write_status(self, status: RunStatus) -> None:
        """Note the state."""
        self._store.written.append(status)

    def close(self, status: RunStatus) -> Deferred[None]:
        """Note the final state."""
        self._store.written.append(status)
        return succeed(None)

    def abandon(self) -> Deferred[None]:
        """Nothing is written."""
        return succeed(None)

    def watch_cancel(self, requested: Any) -> None:
        """Nobody cancels here."""


class NotedStore:
    """What the worker asks of a store."""

    def __init__(self) -> None:
        self.statuses: list[RunStatus | None] = []
        self.dag: Dag | None = None
        self.broken = ""
        self.opened: list[tuple[Dag, RunRef, str]] = []
        self.written: list[RunStatus] = []
        self.lines: list[str] = []

    def read_status(self, run: RunRef, root: RunRef) -> Deferred[RunStatus | None]:
        """The next of the given states; the last one stays."""
        if len(self.statuses) > 1:
            return succeed(self.statuses.pop(0))
        return succeed(self.statuses[0] if self.statuses else None)

    def read_dag(self, run: RunRef, root: RunRef) -> Deferred[Dag | None]:
        """The given snapshot."""
        return succeed(self.dag)

    async def open_attempt(self, dag: Dag, run: RunRef, root: RunRef, attempt_name: str = "", new: bool = False) -> Any:
        """Note it."""
        if self.broken:
            raise DaguError(self.broken)
        self.opened.append((dag, run, attempt_name))
        return NotedSink(self)


class TasksTests(SynchronousTestCase):
    def setUp(self) -> None:
        """One slot, and a coordinator that confirms and takes reports."""
        self.reactor = MemoryReactorClock()
        temporary = self.mktemp()
        Path(temporary).mkdir()
        self.patch(tempfile, "tempdir", temporary)
        self.channel = ScriptedChannel(self.reactor)
        self.channel.answers["AckTaskClaim"] = pb.AckTaskClaimResponse(accepted=True)
        self.channel.answers["ReportStatus"] = pb.ReportStatusResponse(accepted=True)
        settings = Settings(PathSettings(*["/x"] * 10), worker=WorkerSettings(coordinator_host="c"))
        directory = CoordinatorDirectory(settings, self.reactor, self.reactor.seconds, lambda *_: self.channel)
        self.member = directory.known()[0]
        self.engine = ScriptedEngine()
        self.store = NotedStore()
        self.base = Path(self.mktemp())
        self.slots = Slots(1)
        self.told: list[str] = []
        self.leases = WorkerLeases(30.0, 900.0, self.told.append)
        around = Surroundings(
            self.reactor,
            directory,
            Identity("w1", {}, "life-1"),
            self.slots,
            Random(5),
            self.reactor.seconds,
            lambda: datetime(2026, 1, 1, tzinfo=UTC),
            self.leases,
            base_config=str(self.base),
        )
        self.tasks = Tasks(around, cast("IRunStore", self.store), cast("Engine", self.engine))

    def _message(self, run_id: str = "r1", **fields: Any) -> pb.Task:
        given: dict[str, Any] = {
            "dag_run_id": run_id,
            "target": "etl",
            "operation": pb.OPERATION_START,
            "definition": DEFINITION,
            "claim_token": f"token-{run_id}",
            "attempt_key": f"key-{run_id}",
            "attempt_name": "attempt_7",
            "epoch": 1,
            "owner_coordinator_id": "host1@50055",
        }
        return pb.Task(**{**given, **fields})

    def _offer(self, run_id: str = "r1", announced: bool = True, **fields: Any) -> None:
        self.tasks.accept(self.member, announced, self._message(run_id, **fields))

    def _reports(self) -> list[Any]:
        return self.channel.requests("ReportStatus")

    # -- offer and confirmation

    def test_from_offer_to_report(self) -> None:
        """Confirmed, started with everything the task says, in hand meanwhile, reported at the end, slot free."""
        self._offer(
            parent_dag_run_name="p",
            parent_dag_run_id="p1",
            root_dag_run_name="p",
            root_dag_run_id="p1",
            params="A=1",
            trace_parent="00-1-2-01",
        )
        ack = self.channel.requests("AckTaskClaim")[0]
        self.assertEqual((ack.worker_id, ack.claim_token), ("w1", "token-r1"))
        request = self.engine.runs[0].request
        self.assertEqual((request.dag.name, request.run, request.root), ("etl", RunRef("etl", "r1"), RunRef("p", "p1")))
        self.assertEqual((request.parent, request.params, request.worker_id), (RunRef("p", "p1"), "A=1", "w1"))
        self.assertEqual((request.attempt_name, request.epoch, request.trace_parent), ("attempt_7", 1, "00-1-2-01"))
        self.assertEqual([task.attempt_key for task in self.tasks.in_hand], ["key-r1"])
        self.engine.runs[0].end(RunState.SUCCEEDED)
        (report,) = self._reports()
        self.assertEqual((report.worker_id, report.attempt_key, report.epoch), ("w1", "key-r1", 1))
        self.assertEqual(report.owner_coordinator_id, "host1@50055")
        self.assertEqual(status_from_message(report.status).state, RunState.SUCCEEDED)
        self.assertEqual((len(self.tasks.in_hand), self.slots.busy, self.tasks.busy), (0, 0, False))

    def test_base_configuration(self) -> None:
        """What the file of this host says is inherited; one that is wrong fails the task with its name and line."""
        self.base.write_text("env: [A=base]\n")
        self._offer()
        self.assertEqual(self.engine.runs[0].request.dag.env, ("A=base",))
        self.engine.runs[0].end(RunState.SUCCEEDED)
        self.base.write_text("env: base\n")
        self._offer("r2")
        self.assertEqual(len(self.engine.runs), 1)
        self.assertIn(f"{self.base}:1:6: field 'env'", status_from_message(self._reports()[-1].status).error)

    def test_refused_confirmation(self) -> None:
        """An offer that the coordinator took back is never started, and its slot is free."""
        self.channel.answers["AckTaskClaim"] = pb.AckTaskClaimResponse(accepted=False, error="taken back")
        self._offer()
        self.assertEqual((self.engine.runs, self._reports(), self.slots.busy), ([], [], 0))

    def test_lost_confirmation(self) -> None:
        """A confirmation whose answer was lost is said again, and the run starts once."""
        late = RpcError(StatusCode.DEADLINE_EXCEEDED, "lost")
        answers: list[Any] = [late, late, pb.AckTaskClaimResponse(accepted=True)]
        self.channel.answers["AckTaskClaim"] = lambda _: answers.pop(0)
        self._offer()
        self.assertEqual(self.engine.runs, [])
        self.reactor.pump([1.0] * 10)
        self.assertEqual(len(self.engine.runs), 1)

    def test_coordinator_restarts_at_the_confirmation(self) -> None:
        """T04: a coordinator that is away for some time may have kept the first confirmation: it is said again, for a lease."""
        answers: list[Any] = [RpcError(StatusCode.UNAVAILABLE, "refused")]
        self.channel.answers["AckTaskClaim"] = lambda _: answers[0]
        self._offer()
        self.reactor.pump([1.0] * 25)
        answers[0] = pb.AckTaskClaimResponse(accepted=True)
        self.reactor.pump([1.0] * 3)
        self.assertEqual(len(self.engine.runs), 1)
        (task,) = self.tasks.in_hand
        since = self.reactor.seconds() - self.leases.silence(task, self.reactor.seconds())
        self.assertGreaterEqual(since, 25, "the lease counts from the confirmation that was accepted")

    def test_unanswered_confirmation(self) -> None:
        """When no confirmation comes through nothing starts."""
        self.channel.answers["AckTaskClaim"] = RpcError(StatusCode.UNAVAILABLE, "down")
        self._offer()
        self.reactor.pump([1.0] * 60)
        self.assertEqual((self.engine.runs, self.slots.busy, self.tasks.busy), ([], 0, False))

    def _stopped_at_the_confirmation(self) -> TaskInHand:
        """A worker that was stopped as a whole, as by SIGSTOP, from its confirmation until after the end of the lease."""
        del self.channel.answers["AckTaskClaim"]
        self._offer()
        acks = self.channel.parked["AckTaskClaim"]
        self.reactor.rightNow += 31
        acks[0].callback(pb.AckTaskClaimResponse(accepted=True))
        self.assertEqual(self.engine.runs, [])
        (task,) = self.tasks.in_hand
        return task

    def test_slow_confirmation(self) -> None:
        """T06: with a confirmation that took longer than the lease nothing starts: the task was given away meanwhile."""
        task = self._stopped_at_the_confirmation()
        self.leases.given_away(task, "it was given away")
        self.assertEqual((self.engine.runs, self.store.written), ([], []))
        self.assertEqual(len(self.tasks.in_hand), 0)
        self.assertEqual(self.channel.requests("ReportStatus"), [])

    def test_slow_confirmation_of_what_is_still_ours(self) -> None:
        """T06: the same task starts when the next renewal shows that it was not given away."""
        task = self._stopped_at_the_confirmation()
        now = self.reactor.seconds()
        self.leases.renewed([task], now, now)
        self.assertEqual(len(self.engine.runs), 1)

    def test_offer_without_slot(self) -> None:
        """An offer that meets no free slot is confirmed only when one is there."""
        self._offer("r1")
        self._offer("r2")
        self.assertEqual(len(self.channel.requests("AckTaskClaim")), 1)
        self.engine.runs[0].end(RunState.SUCCEEDED)
        self.assertEqual([ack.claim_token for ack in self.channel.requests("AckTaskClaim")], ["token-r1", "token-r2"])

    def test_old_coordinator(self) -> None:
        """A task of 1.30.2 starts without confirmation and is reported to nobody; one too many waits here, not lost."""
        self._offer("r1", announced=False, claim_token="", attempt_key="", epoch=0)
        self._offer("r2", announced=False, claim_token="", attempt_key="", epoch=0)
        self.assertEqual(self.channel.calls, [])
        self.assertEqual(len(self.tasks.in_hand), 2)
        self.engine.runs[0].end(RunState.FAILED)
        self.assertEqual([run.request.run.id for run in self.engine.runs], ["r1", "r2"])
        self.engine.runs[1].end(RunState.SUCCEEDED)
        self.assertEqual(self.channel.calls, [])

    def test_waiting_task_is_cancelled(self) -> None:
        """A task of 1.30.2 that waits for a slot here and is cancelled ends as aborted with the reason; it never vanishes."""
        self._offer("r1", announced=False, claim_token="")
        self._offer("r2", announced=False, claim_token="")
        next(task for task in self.tasks.in_hand if task.run.id == "r2").cancel("worker w1 is leaving")
        self.assertEqual(
            [(s.run.id, s.state, s.error) for s in self.store.written],
            [("r2", RunState.ABORTED, "worker w1 is leaving")],
        )
        self.assertEqual(self.slots.busy, 1)

    def test_no_task(self) -> None:
        """A message that is no task is logged and harms nothing."""
        self._offer(run_id="", claim_token="t")
        self._offer(operation=pb.OPERATION_UNSPECIFIED)
        self.assertEqual((self.engine.runs, self.slots.busy), ([], 0))

    # -- what cannot start

    def test_bad_definition(self) -> None:
        """A definition that does not load ends the run as failed, in the store and at the owner, with the place."""
        self._offer(definition="steps: 7\n")
        (written,) = self.store.written
        self.assertIs(written.state, RunState.FAILED)
        self.assertIn("definition of etl", written.error)
        self.assertEqual((written.attempt_id, written.worker_id), ("abc123", "w1"))
        self.assertEqual(self.store.opened[0][2], "attempt_7")
        self.assertIs(status_from_message(self._reports()[0].status).state, RunState.FAILED)
        self.assertEqual(self.slots.busy, 0)

    def test_broken_store(self) -> None:
        """Where not even that can be written, the owner learns it."""
        self.store.broken = "disk full"
        self._offer(definition="")
        self.assertEqual(self.store.written, [])
        self.assertIs(status_from_message(self._reports()[0].status).state, RunState.FAILED)

    def test_unexpected_fault(self) -> None:
        """A fault of our own ends the run as failed too."""
        self.engine.start = None  # type: ignore[method-assign,assignment]
        self._offer()
        self.assertIn("internal error", self.store.written[0].error)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)

    def test_single_step(self) -> None:
        """A retry of a single step is handed to the engine as such; a step that is not there fails the task, by name."""
        self._offer("r1", step="one")
        self.assertEqual(self.engine.runs[0].request.step, "one")
        self.engine.runs[0].end(RunState.SUCCEEDED)
        self._offer("r2", step="two")
        self.assertIn('no step "two"', self.store.written[0].error)

    # -- what runs

    def test_own_directory(self) -> None:
        """A child without a working directory gets a fresh one, which is gone afterwards."""
        self._offer()
        directory = Path(self.engine.runs[0].request.working_dir)
        self.assertTrue(directory.is_dir())
        (directory / "left.txt").write_text("x")
        self.engine.runs[0].end(RunState.SUCCEEDED)
        self.assertFalse(directory.exists())

    def test_retry_takes_snapshot(self) -> None:
        """A queued run is executed as it was queued, with what is known of it."""
        self.store.dag = Dag("etl", working_dir="/srv")
        queued = RunStatus(RunRef("etl", "r1"), RunRef("etl", "r1"), RunState.QUEUED)
        self.store.statuses = [queued]
        self._offer(operation=pb.OPERATION_RETRY)
        request = self.engine.runs[0].request
        self.assertIs(request.dag, self.store.dag)
        self.assertIs(request.previous, queued)
        self.assertEqual(request.working_dir, "")

    def test_retry_without_snapshot(self) -> None:
        """Without a snapshot the definition serves; without both the run fails and says what may be wrong."""
        self._offer("r1", operation=pb.OPERATION_RETRY)
        self.assertEqual(self.engine.runs[0].request.dag.steps[0].name, "one")
        self.engine.runs[0].end(RunState.SUCCEEDED)
        self._offer("r2", operation=pb.OPERATION_RETRY, definition="")
        self.assertIn("share their data directory", self.store.written[0].error)

    def test_handed_on(self) -> None:
        """A run that another worker had begun goes on from what the store knows, in the attempt that the coordinator named."""
        ref = RunRef("etl", "r1")
        begun = RunStatus(ref, ref, RunState.RUNNING)
        self.store.statuses = [begun]
        self._offer(epoch=2, attempt_name="attempt_8")
        request = self.engine.runs[0].request
        self.assertIs(request.previous, begun)
        self.assertEqual(request.attempt_name, "attempt_8")

    def test_cancel(self) -> None:
        """Cancelling reaches the run, with the reason."""
        self._offer()
        (task,) = self.tasks.in_hand
        task.cancel("asked for")
        self.assertEqual(self.engine.runs[0].cancelled, ["asked for"])

    # -- reports

    def test_run_that_does_not_end_is_killed(self) -> None:
        """A worker that leaves with a run which did not end kills it, tells the reaper first, and reports nothing of it."""
        self._offer()
        self.tasks.close("worker w1 is leaving")
        self.successResultOf(Deferred.fromCoroutine(self.tasks.abandon()))
        self.assertEqual([("worker w1 is leaving", True)], self.engine.runs[0].given_up)
        words = [line.split()[0] for line in self.told]
        self.assertLess(words.index("lost"), words.index("done"))
        self.assertEqual(([], 0), (self._reports(), len(self.tasks.in_hand)))

    def test_report_is_repeated(self) -> None:
        """An owner that is away learns of the end when it is back; until then the lease is kept, the slot is not."""
        self.channel.answers["ReportStatus"] = RpcError(StatusCode.UNAVAILABLE, "away")
        self._offer()
        self.engine.runs[0].end(RunState.SUCCEEDED)
        self.reactor.pump([1.0] * 120)
        self.assertEqual((self.slots.busy, len(self.tasks.in_hand), len(self.tasks.in_hand.running())), (0, 1, 0))
        self.assertEqual(len(self.tasks.in_hand.owned_by(self.member)), 1)
        self.channel.answers["ReportStatus"] = pb.ReportStatusResponse(accepted=True)
        self.reactor.advance(5)
        self.assertEqual((len(self.tasks.in_hand), self.tasks.busy), (0, False))

    def test_report_is_refused(self) -> None:
        """A refusal ends it: the task is somebody else's by now."""
        self.channel.answers["ReportStatus"] = pb.ReportStatusResponse(accepted=False, error="stale attempt")
        self._offer()
        self.engine.runs[0].end(RunState.SUCCEEDED)
        self.assertEqual((len(self._reports()), len(self.tasks.in_hand)), (1, 0))
