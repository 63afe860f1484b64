"""The coordinator's calls over real gRPC in memory: texts, codes, fields, hand-over, and the list of workers."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from txdagu import __version__
from txdagu.model.run import RunRef
from txdagu.protocol import coordinator_pb2 as pb
from txdagu.protocol import services
from txdagu.protocol.conversion import attempt_key, task_to_message
from txdagu.testing.coordinator import WALL, CoordinatorTestCase
from txdagu.testing.dispatch import make_task
from txdagu.wire.status import StatusCode


class TextTests(CoordinatorTestCase):
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

    def test_about_itself(self) -> None:
        """With its workers a coordinator tells its program, its time, and the address that it advertises."""
        reply = self.successResultOf(
            self.deferred(self.channel.unary_call(services.GET_WORKERS, pb.GetWorkersRequest()))
        )
        told = dict(reply.initial_metadata)
        self.assertEqual(f"txdagu {__version__}", told[services.PROGRAM])
        self.assertEqual(str(int(WALL.timestamp() * 1000)), told[services.TIME])
        self.assertEqual(("host1", "50055"), (told[services.ADVERTISED_HOST], told[services.ADVERTISED_PORT]))

    def deferred(self, call: Any) -> Deferred[Any]:
        """The result of a coroutine, with everything delivered."""
        result = Deferred.fromCoroutine(call)
        self.deliver()
        return result


class HandOverTests(CoordinatorTestCase):
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
        """T20: the later process is told with a code that it does not retry for ever without a word."""
        self.beat("w1", "two")
        request = pb.HeartbeatRequest(worker_id="w1", incarnation="one")
        code, text = self.refusal(services.HEARTBEAT, request)
        self.assertEqual(StatusCode.FAILED_PRECONDITION, code)
        self.assertIn("another --worker.id", text)
        code, _ = self.refusal(services.POLL, pb.PollRequest(worker_id="w1", poller_id="p", incarnation="one"))
        self.assertEqual(StatusCode.FAILED_PRECONDITION, code)


class WorkerListTests(CoordinatorTestCase):
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
