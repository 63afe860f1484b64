"""What a coordinator tells of its tasks and of places, over real gRPC in memory."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txdagu.coordinator.dispatcher import Dispatcher
from txdagu.coordinator.explaining import MOST_WISHES, ExplainService
from txdagu.dispatch.core import DispatchCore
from txdagu.dispatch.machine import State
from txdagu.dispatch.whatif import AddedWorker, FleetChange, Wish
from txdagu.model.run import RunRef
from txdagu.model.task import Task
from txdagu.peers.told import Told
from txdagu.peers.toldmessages import places_from_message, plan_to_message, told_from_message
from txdagu.protocol import explain_pb2 as pb
from txdagu.protocol import services
from txdagu.testing.coordinator import WALL, CoordinatorTestCase
from txdagu.testing.dispatch import CountedNames, make_task
from txdagu.testing.journal import UNIX_START, journal_in
from txdagu.wire.status import StatusCode

if TYPE_CHECKING:
    from txdagu.grpc.context import CallContext


class ExplainTests(CoordinatorTestCase):
    def setUp(self) -> None:
        """A coordinator whose time of day moves with its clock."""
        super().setUp()
        self.dispatcher._wall = self.wall

    def wall(self) -> datetime:
        """The time of day."""
        return WALL + timedelta(seconds=self.clock.seconds())

    def told(self, run_id: str, most_below: int = 5) -> Told:
        """What it tells of a run of DAG ``job``."""
        request = pb.ExplainRequest(root_name="job", root_id=run_id, run_id=run_id, most_below=most_below)
        return told_from_message(self.answer(services.EXPLAIN, request), "here")

    def test_history_on_the_wall_clock(self) -> None:
        """Every transition comes with its time of day in UTC, worker, epoch and reason, whenever it is asked for."""
        self.dispatch(make_task("r1", {"gpu": "true"}))
        self.wait(3)
        task = self.successResultOf(self.poll(gpu="true")).task
        self.ack(task)
        self.wait(4)
        told = self.told("r1")
        assert told.task is not None
        self.assertEqual(told.at, self.wall())
        self.assertEqual((told.task.state, told.task.worker_id), (State.RUNNING, "w1"))
        self.assertEqual(told.since(told.task), WALL + timedelta(seconds=3))
        self.assertEqual(
            [
                (line.at - WALL.astimezone(UTC), line.state, line.worker_id, line.epoch, line.reason)
                for line in told.history
            ],
            [
                (timedelta(0), State.QUEUED, "", 0, "accepted; waits for a worker"),
                (timedelta(seconds=3), State.OFFERED, "w1", 1, "offered to worker w1"),
                (timedelta(seconds=3), State.RUNNING, "w1", 1, "worker w1 confirmed"),
            ],
        )

    def test_why_it_waits(self) -> None:
        """A waiting task comes with a verdict on each worker and with what it asks for, but not with its definition."""
        self.beat("w1")
        self.dispatch(make_task("r1", {"gpu": "true"}))
        answer = self.answer(services.EXPLAIN, pb.ExplainRequest(root_name="job", root_id="r1", run_id="r1"))
        (verdict,) = answer.task.verdicts
        self.assertEqual((verdict.worker_id, verdict.fit), ("w1", "labels"))
        self.assertEqual(verdict.reason, "label gpu wanted true, has nothing")
        self.assertNotIn(b"echo hi", answer.SerializeToString())

    def test_below(self) -> None:
        """With a root run come the open tasks that it has called, as many as asked for."""
        root = RunRef("job", "r1")
        for number in range(3):
            self.dispatch(make_task(f"k{number}", parent=root, root=root))
        told = self.told("r1", most_below=2)
        self.assertIsNone(told.task)
        self.assertEqual((told.below_count, [task.run.id for task in told.below]), (3, ["k0", "k1"]))

    def test_unknown_and_unsaid(self) -> None:
        """Of an unknown run nothing is told; a question without a run, or with too much, is refused."""
        self.assertFalse(self.told("nobody").knows)
        self.assertEqual(
            (StatusCode.INVALID_ARGUMENT, "root_id and run_id are required"),
            self.refusal(services.EXPLAIN, pb.ExplainRequest(root_id="r1")),
        )
        many = pb.PlanRequest(wishes=[pb.TaskWish()] * (MOST_WISHES + 1))
        self.assertEqual(StatusCode.INVALID_ARGUMENT, self.refusal(services.PLAN, many)[0])

    def test_nothing_that_is_not_kept(self) -> None:
        """What the journal does not have yet is told to nobody: the question waits for it."""
        self.journal.held = []
        self.call(services.DISPATCH, pb_dispatch("r1"))
        question = self.call(services.EXPLAIN, pb.ExplainRequest(root_name="job", root_id="r1", run_id="r1"))
        self.assertNoResult(question)
        self.journal.let_through()
        self.deliver()
        self.assertEqual("queued", self.successResultOf(question).task.state)

    def test_plan(self) -> None:
        """Places come in the order of the wishes, with the changes that were asked for, and change nothing."""
        self.poll("w1", zone="a")
        wishes = [Wish({"zone": "a"}), Wish({"gpu": "true"})]
        plain = self.answer(services.PLAN, plan_to_message(wishes, FleetChange()))
        self.assertEqual(["w1", ""], [place.worker_id for place in places_from_message(plain)])
        change = FleetChange(frozenset({"w1"}), (AddedWorker("new-1", {"gpu": "true"}, 2),))
        other = self.answer(services.PLAN, plan_to_message(wishes, change))
        self.assertEqual(["", "new-1"], [place.worker_id for place in places_from_message(other)])
        self.assertEqual(plain, self.answer(services.PLAN, plan_to_message(wishes, FleetChange())))


def pb_dispatch(run_id: str) -> object:
    """The request that hands in a task."""
    from txdagu.protocol import coordinator_pb2
    from txdagu.protocol.conversion import task_to_message

    return coordinator_pb2.DispatchRequest(task=task_to_message(make_task(run_id)))


class RestartTests(SynchronousTestCase):
    """The history lies in the journal, not in the process."""

    def told(self, directory: Path, seconds: float, unix_start: float, task: Task | None = None) -> Told:
        """What a coordinator that begins now tells of run ``r1``; first it takes the task, if one is given."""
        clock = Clock()
        clock.advance(seconds)
        journal = journal_in(directory, clock, unix_start=unix_start)

        def wall() -> datetime:
            return datetime.fromtimestamp(unix_start + clock.seconds(), UTC)

        async def ask() -> Told:
            await journal.open()
            dispatcher = Dispatcher(DispatchCore(CountedNames()), journal, clock, wall)
            await dispatcher.start()
            if task is not None:
                await dispatcher.settle(dispatcher.core.submit(task, dispatcher.now))
            request = pb.ExplainRequest(root_name="job", root_id="r1", run_id="r1")
            answer = await ExplainService(dispatcher).explain(request, cast("CallContext", None))
            dispatcher.stop()
            await journal.close()
            return told_from_message(answer, "here")

        return self.successResultOf(Deferred.fromCoroutine(ask()))

    def test_times_of_day_survive_a_restart(self) -> None:
        """After a restart on a host whose monotonic clock shows something else, the same times are told, and since when."""
        directory = Path(self.mktemp())
        before = self.told(directory, 100.0, UNIX_START, make_task("r1"))
        after = self.told(directory, 7.0, UNIX_START + 153.0)
        self.assertEqual(after.history, before.history)
        self.assertEqual(after.history[0].at, datetime.fromtimestamp(UNIX_START + 100, UTC))
        assert after.task is not None
        self.assertEqual((after.task.age, after.since(after.task)), (60.0, before.history[0].at))
