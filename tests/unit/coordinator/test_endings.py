"""How tasks end at the coordinator and who hears of it; and that nothing is told before the journal has it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred

from txdagu.model.policies import LostWorkerPolicy, OnWorkerLost
from txdagu.model.run import RunRef, RunStatus
from txdagu.model.status import RunState
from txdagu.model.task import Operation
from txdagu.peers.statuses import status_from_message, status_to_message
from txdagu.protocol import coordinator_pb2 as pb
from txdagu.protocol import services
from txdagu.protocol.conversion import task_to_message
from txdagu.testing.coordinator import WALL, CoordinatorTestCase
from txdagu.testing.dispatch import make_task
from txdagu.wire.status import RpcError, StatusCode


class EndTests(CoordinatorTestCase):
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

    def start(self, lost: OnWorkerLost = OnWorkerLost()) -> pb.Task:
        """A task that runs at w1."""
        self.dispatch(make_task("r1", lost=lost))
        task: pb.Task = self.successResultOf(self.poll()).task
        self.ack(task)
        return task

    def test_reported_end_is_told(self) -> None:
        """A running state changes nothing; the final one ends the task and is told to whoever asks, word for word."""
        self.start()
        self.assertTrue(self.report(self.status(RunState.RUNNING)).accepted)
        self.assertIs(status_from_message(self.ask().status).state, RunState.RUNNING)
        final = self.status(RunState.FAILED, error="step a failed")
        self.assertTrue(self.report(final).accepted)
        told = self.ask()
        self.assertTrue(told.found)
        self.assertEqual(final, status_from_message(told.status))

    def test_open_and_unknown_tasks_are_told_apart(self) -> None:
        """A task that waits is queued; of one that nobody handed in there is nothing, so that its caller may hand it in again."""
        self.assertFalse(self.ask().found)
        self.dispatch(make_task("r1"))
        self.assertIs(status_from_message(self.ask().status).state, RunState.QUEUED)

    def test_lost_task_is_told_as_failed(self) -> None:
        """T10: a task that may not run again is failed when its silent worker's lease ends, and the state says why."""
        self.start(OnWorkerLost(LostWorkerPolicy.FAIL))
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

    def test_retry_right_after_the_start_at_an_old_worker(self) -> None:
        """What an old peer executed a moment before a retry was handed in is not taken for the retry; the journal knows it."""
        run = RunRef("job", "r1")
        done = RunStatus(run, run, RunState.SUCCEEDED, attempt_id="abcdef", worker_id="old", started_at=WALL)
        self.store.statuses["r1"] = done
        self.dispatch(make_task("r1", operation=Operation.RETRY))
        self.assertEqual("r1", self.successResultOf(self.poll("old", "")).task.dag_run_id)
        (kept,) = self.successResultOf(Deferred.fromCoroutine(self.journal.load())).open
        self.assertEqual("abcdef", kept.task.earlier_attempt)
        waiting = self.poll("w2")
        for _ in range(20):
            self.wait(1)
            self.beat("old", "")
            self.beat("w2", "one")
        self.assertEqual("r1", self.successResultOf(waiting).task.dag_run_id)

    def test_retry_of_a_run_that_an_old_worker_has_just_ended(self) -> None:
        """A retry that arrives before the end of a short run was noticed is the next attempt; the same call twice is one."""
        first = replace(make_task("r1", operation=Operation.RETRY), earlier_attempt="queued")
        self.dispatch(first)
        self.successResultOf(self.poll("old", ""))
        self.dispatch(first)
        waiting = self.poll("w2")
        self.assertNoResult(waiting)
        run = RunRef("job", "r1")
        done = RunStatus(run, run, RunState.FAILED, attempt_id="abcdef", worker_id="old", started_at=WALL)
        self.store.statuses["r1"] = done
        self.dispatch(first)
        self.assertNoResult(waiting)
        self.dispatch(replace(first, earlier_attempt="abcdef"))
        self.assertEqual("r1", self.successResultOf(waiting).task.dag_run_id)

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


class JournalTests(CoordinatorTestCase):
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
