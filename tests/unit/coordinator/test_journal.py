"""What the coordinator does with its journal: nothing before the commit, nothing without it, and on when it is back."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from txdagu.coordinator.dispatcher import Dispatcher
from txdagu.dispatch.core import Beat, DispatchCore
from txdagu.dispatch.journal import MemoryJournal
from txdagu.dispatch.machine import State
from txdagu.model.run import RunRef, RunStatus
from txdagu.model.status import RunState
from txdagu.peers.statuses import status_to_message
from txdagu.protocol import coordinator_pb2 as pb
from txdagu.protocol import services
from txdagu.protocol.conversion import task_to_message
from txdagu.testing.coordinator import WALL, CoordinatorTestCase
from txdagu.testing.dispatch import CountedNames, make_poll, make_task
from txdagu.testing.journal import WatchedDisk, journal_in
from txdagu.wire.status import RpcError, StatusCode

RUN = RunRef("job", "r1")
DISPATCH = pb.DispatchRequest(task=task_to_message(make_task("r1")))


class CommitTests(CoordinatorTestCase):
    """Commits that are late, and commits that fail."""

    def refused(self, method: Any, request: Any) -> RpcError:
        """The error with which a call is refused."""
        error = self.failureResultOf(self.call(method, request), RpcError).value
        assert isinstance(error, RpcError)
        return error

    def started(self) -> pb.Task:
        """A task that runs at w1."""
        self.dispatch(make_task("r1"))
        task: pb.Task = self.successResultOf(self.poll()).task
        self.ack(task)
        return task

    def test_reason(self) -> None:
        """Who is refused learns why, what to do, and that nothing is given away meanwhile."""
        self.journal.broken = self.journal.unloadable = True
        error = self.refused(services.DISPATCH, DISPATCH)
        self.flushLoggedErrors(OSError)
        self.assertEqual(
            (
                StatusCode.UNAVAILABLE,
                "the coordinator's journal cannot be written (no space left on device); nothing was accepted, try again later",
            ),
            (error.code, error.message),
        )
        self.assertEqual(services.LEASES_STAND, error.trailing_metadata.get(services.LEASES))

    def test_call_whose_offer_was_lost(self) -> None:
        """A parked call whose offer could not be kept is ended, so that its worker calls again."""
        waiting = self.poll()
        self.journal.broken = True
        self.refused(services.DISPATCH, DISPATCH)
        self.flushLoggedErrors(OSError)
        self.deliver()
        self.failureResultOf(waiting, RpcError)
        self.journal.broken = False
        again = self.poll()
        self.dispatch(make_task("r1"))
        self.deliver()
        self.assertEqual("r1", self.successResultOf(again).task.dag_run_id)

    def test_refused_call_leaves_nothing_behind(self) -> None:
        """A call for work whose own offer could not be kept is refused once; no second error turns up in the log."""
        self.dispatch(make_task("r1"))
        self.journal.broken = True
        self.failureResultOf(self.poll(), RpcError)
        self.flushLoggedErrors(OSError)
        gc.collect()
        self.assertEqual([], self.flushLoggedErrors())

    def test_call_cut_while_the_journal_fails(self) -> None:
        """That an offer cannot be taken back because the journal fails is no news, and no traceback in the log."""
        waiting = self.poll()
        self.journal.held = []
        dispatched = self.call(services.DISPATCH, DISPATCH)
        waiting.addErrback(lambda failure: failure.trap(RpcError, CancelledError))
        waiting.cancel()
        self.deliver()
        self.journal.broken = True
        self.journal.let_through()
        self.deliver()
        self.failureResultOf(dispatched, RpcError)
        self.flushLoggedErrors(OSError)
        gc.collect()
        self.assertEqual([], self.flushLoggedErrors())

    def test_end_is_not_told_before_it_is_kept(self) -> None:
        """Who asks for a run's end hears of it when it can no longer be lost."""
        task = self.started()
        status = RunStatus(RUN, RUN, RunState.SUCCEEDED, worker_id="w1")
        self.journal.held = []
        request = pb.ReportStatusRequest(worker_id="w1", status=status_to_message(status), epoch=task.epoch)
        reported = self.call(services.REPORT_STATUS, request)
        asked = self.call(services.GET_DAG_RUN_STATUS, pb.GetDAGRunStatusRequest(dag_name="job", dag_run_id="r1"))
        self.assertNoResult(reported)
        self.assertNoResult(asked)
        self.journal.let_through()
        self.deliver()
        self.assertTrue(self.successResultOf(reported).accepted)
        self.assertIn('"status":4', self.successResultOf(asked).status.json_data)

    def test_full_disk_for_ten_minutes(self) -> None:
        """Meanwhile everybody is refused and no lease ends; when there is space again, all goes on as it was."""
        task = self.started()
        self.journal.broken = self.journal.unloadable = True
        self.refused(services.DISPATCH, pb.DispatchRequest(task=task_to_message(make_task("r2"))))
        self.flushLoggedErrors(OSError)
        for _ in range(600):
            self.wait(1)
        beat = pb.HeartbeatRequest(worker_id="w1", incarnation="one")
        error = self.refused(services.HEARTBEAT, beat)
        self.assertIn("database or disk is full", error.message)
        self.journal.broken = self.journal.unloadable = False
        self.wait(2)
        self.beat()
        listed = pb.RunningTask(dag_run_id="r1", dag_name="job", attempt_key=task.attempt_key, epoch=task.epoch)
        request = pb.RunHeartbeatRequest(worker_id="w1", incarnation="one", running_tasks=[listed])
        self.assertEqual([], list(self.answer(services.RUN_HEARTBEAT, request).cancelled_runs))
        self.dispatch(make_task("r2"))
        self.assertEqual(2, len(self.dispatcher.core))

    def test_stop_while_it_cannot_load(self) -> None:
        """A coordinator that ends in that time leaves no timer behind."""
        self.journal.broken = self.journal.unloadable = True
        self.refused(services.DISPATCH, DISPATCH)
        self.flushLoggedErrors(OSError)
        self.dispatcher.stop()
        self.assertEqual([], [call for call in self.clock.getDelayedCalls() if "_reload" in str(call)])

    def test_timeline(self) -> None:
        """The flight recorder is asked through the dispatcher."""
        self.started()
        lines = self.successResultOf(Deferred.fromCoroutine(self.dispatcher.timeline(RUN, "r1")))
        self.assertEqual([State.QUEUED, State.OFFERED, State.RUNNING], [line.state for line in lines])

    def test_clock_set_back(self) -> None:
        """Somebody sets the reactor's clock back by an hour: deadlines are kept all the same, as soon as anybody calls."""
        reactor, now = Clock(), Clock()
        reactor.advance(7200)
        dispatcher = Dispatcher(DispatchCore(CountedNames()), MemoryJournal(), reactor, lambda: WALL, None, now.seconds)
        core = dispatcher.core
        self.successResultOf(Deferred.fromCoroutine(dispatcher.settle(core.submit(make_task("r1"), 0.0))))
        self.successResultOf(Deferred.fromCoroutine(dispatcher.settle(core.poll(make_poll("w1"), 0.0))))
        reactor.rightNow -= 3600
        now.advance(10)
        turn = core.heartbeat(Beat("w1", {}, "one", slots=1), now.seconds())
        self.successResultOf(Deferred.fromCoroutine(dispatcher.settle(turn)))
        reactor.advance(0)
        self.assertEqual(State.QUEUED, core.open_state(RUN, "r1"))


class DurableTests(CoordinatorTestCase):
    """The same coordinator with the journal that is on disk."""

    def setUp(self) -> None:
        """A journal whose disk can be filled."""
        super().setUp()
        self.disk = WatchedDisk()
        self.durable = journal_in(Path(self.mktemp()), self.clock, self.disk)
        self.successResultOf(Deferred.fromCoroutine(self.durable.open()))
        self.addCleanup(lambda: self.successResultOf(Deferred.fromCoroutine(self.durable.close())))
        self.dispatcher._journal = self.durable
        self.successResultOf(Deferred.fromCoroutine(self.dispatcher.start()))

    def test_full_disk(self) -> None:
        """A disk that is full refuses the next task with its reason; what was accepted before is there when space is back."""
        self.dispatch(make_task("kept"))
        self.disk.pages = 1
        accepted = 1
        while True:
            dispatched = self.call(
                services.DISPATCH, pb.DispatchRequest(task=task_to_message(make_task(f"more{accepted}")))
            )
            if dispatched.result.__class__ is not pb.DispatchResponse:
                break
            accepted += 1
        error = self.failureResultOf(dispatched, RpcError).value
        self.assertIn("database or disk is full", str(error))
        self.disk.pages = 0
        self.wait(3)
        self.assertEqual(accepted, len(self.dispatcher.core))
        self.dispatch(make_task("later"))
        self.assertEqual("kept", self.successResultOf(self.poll()).task.dag_run_id)
