"""The coordinators as one."""

from __future__ import annotations

from collections.abc import Coroutine
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from txdagu.config.settings import PathSettings, PeerSettings, Settings, WorkerSettings
from txdagu.model.errors import ConflictError, InvalidInputError, UnavailableError
from txdagu.model.health import Health
from txdagu.model.run import RunRef, RunStatus
from txdagu.model.standing import Action, Mode, Standing, WorkerOrder
from txdagu.model.status import RunState
from txdagu.model.task import Operation, Task, WorkerStatus
from txdagu.peers.coordinators import Coordinators
from txdagu.peers.interfaces import ICoordinators
from txdagu.peers.statuses import status_to_message
from txdagu.protocol import coordinator_pb2 as pb
from txdagu.protocol import worker_pb2
from txdagu.protocol.conversion import order_from_message, worker_to_message
from txdagu.registry.entries import ServiceEntry, entry_to_json
from txdagu.registry.files import write_entry
from txdagu.testing.scripted import ScriptedChannel
from txdagu.wire.status import RpcError, StatusCode

RUN = RunRef("etl", "run1")
TASK = Task(RUN, RUN, Operation.RETRY, "etl", definition="steps: []")
REFUSED = RpcError(StatusCode.UNAVAILABLE, "connection refused")
IDLE = RpcError(StatusCode.FAILED_PRECONDITION, "no available workers")


def settings(registry: str, host: str = "", insecure: bool = True) -> Settings:
    paths = PathSettings("/d", "/d", "/l", "/a", "/s", "/b", "/r", "/q", "/p", registry)
    return Settings(paths, worker=WorkerSettings(coordinator_host=host), peer=PeerSettings(insecure=insecure))


class CoordinatorsTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A registry without coordinators, and scripted channels by address."""
        self.reactor = MemoryReactorClock()
        self.registry = self.mktemp()
        self.channels: dict[tuple[str, int], ScriptedChannel] = {}
        self.coordinators = self._coordinators(settings(self.registry))

    def _coordinators(self, chosen: Settings, tries: int = 12) -> Coordinators:
        return Coordinators(chosen, self.reactor, Random(7), self.reactor.seconds, self._connect, tries)

    def _connect(self, host: str, port: int) -> ScriptedChannel:
        return self.channels.setdefault((host, port), ScriptedChannel(self.reactor))

    def _register(self, name: str, port: int = 1) -> ScriptedChannel:
        entry = entry_to_json(ServiceEntry(f"{name}@{port}", name, port, 1))
        write_entry(Path(self.registry, "coordinator", f"{name}.json"), entry)
        return self._connect(name, port)

    def _do(self, coroutine: Coroutine[Any, Any, Any]) -> Deferred[Any]:
        return Deferred.fromCoroutine(coroutine)

    def test_interface(self) -> None:
        """It provides what dispatchers and viewers use."""
        verifyObject(ICoordinators, self.coordinators)

    # -- dispatch

    def test_first_success_wins(self) -> None:
        """Coordinators that fail are passed over; the first that accepts ends it."""
        bad, good = self._register("bad"), self._register("good")
        bad.answers["Dispatch"] = REFUSED
        good.answers["Dispatch"] = pb.DispatchResponse()
        for _ in range(5):
            self.successResultOf(self._do(self.coordinators.dispatch(TASK)))
        self.assertEqual(len(good.calls), 5)
        self.assertEqual(good.requests("Dispatch")[0].task.dag_run_id, "run1")

    def test_all_unhealthy_is_an_error(self) -> None:
        """No success without an acceptance: the error names every address and what was wrong there."""
        self._register("one").answers["Dispatch"] = REFUSED
        self._register("two").answers["Dispatch"] = IDLE
        done = self._do(self.coordinators.dispatch(TASK))
        self.reactor.pump([30.0] * 12)
        error = self.failureResultOf(done, UnavailableError).value
        self.assertIn("one@1 at one:1: UNAVAILABLE: connection refused", str(error))
        self.assertIn("two@1 at two:1: no matching worker is idle (no available workers)", str(error))
        self.assertEqual(len(self.channels["one", 1].calls), 12)

    def test_nobody(self) -> None:
        """Without any coordinator the error says where was searched and what to do."""
        done = self._do(self._coordinators(settings(self.registry), tries=2).dispatch(TASK))
        self.reactor.advance(30)
        message = str(self.failureResultOf(done, UnavailableError).value)
        self.assertIn(str(Path(self.registry, "coordinator")), message)
        self.assertIn("dagu coordinator", message)
        self.assertIn("worker.coordinator-host", message)

    def test_coordinator_appears(self) -> None:
        """A dispatch that found nobody goes through when a coordinator registers."""
        done = self._do(self.coordinators.dispatch(TASK))
        self._register("late").answers["Dispatch"] = pb.DispatchResponse()
        self.assertNoResult(done)
        self.reactor.advance(1.0)
        self.successResultOf(done)

    def test_busy_cluster_is_waited_out(self) -> None:
        """A coordinator of 1.30.2 refuses while its workers are busy; the task is offered again."""
        channel = self._register("old")
        channel.answers["Dispatch"] = lambda _: IDLE if len(channel.calls) < 4 else pb.DispatchResponse()
        done = self._do(self.coordinators.dispatch(TASK))
        self.reactor.pump([1.0] * 20)
        self.successResultOf(done)
        self.assertEqual(len(channel.calls), 4)

    def test_permanent_errors(self) -> None:
        """What is wrong with the task itself is told at once and not tried again."""
        channel = self._register("c")
        channel.answers["Dispatch"] = RpcError(StatusCode.INVALID_ARGUMENT, "task is required")
        self.failureResultOf(self._do(self.coordinators.dispatch(TASK)), InvalidInputError)
        channel.answers["Dispatch"] = RpcError(StatusCode.ALREADY_EXISTS, "run exists")
        self.failureResultOf(self._do(self.coordinators.dispatch(TASK)), ConflictError)
        self.assertEqual(len(channel.calls), 2)

    def test_silent_coordinator(self) -> None:
        """One that accepts connections and says nothing is given up after the deadline, and the next is asked."""
        self._register("mute").hanging = True
        self._register("good").answers["Dispatch"] = pb.DispatchResponse()
        for _ in range(3):
            done = self._do(self.coordinators.dispatch(TASK))
            self.reactor.advance(10)
            self.successResultOf(done)
        self.assertGreater(len(self.channels["mute", 1].calls), 0)

    def test_cancelled(self) -> None:
        """A dispatch that nobody wants any more stops, also while it waits."""
        self._register("c").answers["Dispatch"] = REFUSED
        done = self._do(self.coordinators.dispatch(TASK))
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.reactor.advance(100)
        self.assertEqual(len(self.channels["c", 1].calls), 1)

    # -- discovery

    def test_static_address(self) -> None:
        """With worker.coordinator-host the registry is not looked into; IPv6 works."""
        chosen = settings("/nonexistent", host="::1")
        coordinators = self._coordinators(chosen)
        self._connect("::1", 50055).answers["Dispatch"] = pb.DispatchResponse()
        self.successResultOf(self._do(coordinators.dispatch(TASK)))
        (member,) = coordinators.directory.known()
        self.assertEqual(str(member), "[::1]:50055")

    def test_channel_follows_address(self) -> None:
        """A coordinator that comes back at another port under its id gets a new channel, and the old one is closed."""
        old = self._register("c", 1)
        old.answers["Dispatch"] = pb.DispatchResponse()
        self.coordinators.startService()
        self.addCleanup(self.coordinators.stopService)
        self.successResultOf(self._do(self.coordinators.dispatch(TASK)))
        entry = entry_to_json(ServiceEntry("c@1", "c", 2, 1))
        write_entry(Path(self.registry, "coordinator", "c.json"), entry)
        self._connect("c", 2).answers["Dispatch"] = pb.DispatchResponse()
        self.reactor.advance(2)
        self.assertTrue(old.closed)
        self.successResultOf(self._do(self.coordinators.dispatch(TASK)))
        self.assertEqual(len(self.channels["c", 2].calls), 1)

    def test_stale_but_answering(self) -> None:
        """When a shared disk stops all beats, a coordinator that still answers remains one; one that is silent does not."""
        self._register("c").answers["Dispatch"] = pb.DispatchResponse()
        self.coordinators.startService()
        self.addCleanup(self.coordinators.stopService)
        directory = self.coordinators.directory
        (member,) = directory.known()
        for _ in range(30):
            self.reactor.advance(2)
            directory.answered(member)
            directory.review()
        self.assertEqual(directory.known(), (member,))
        self.reactor.pump([2.0] * 6)
        directory.review()
        self.assertEqual(directory.known(), ())

    def test_stop_closes_channels(self) -> None:
        """No channel outlives the service."""
        self._register("c").answers["Dispatch"] = pb.DispatchResponse()
        self.coordinators.startService()
        self.successResultOf(self._do(self.coordinators.dispatch(TASK)))
        self.successResultOf(self.coordinators.stopService())
        self.assertTrue(self.channels["c", 1].closed)

    def test_tls_is_refused(self) -> None:
        """TLS that is asked for and cannot be had is never replaced by talking in clear."""
        with self.assertRaises(InvalidInputError) as caught:
            Coordinators(settings(self.registry, insecure=False), self.reactor, Random(1), self.reactor.seconds)
        self.assertIn("TLS enabled but no certificates provided", str(caught.exception))

    # -- questions

    def test_task_status(self) -> None:
        """The end of a task is told; an open task, an unknown one and an old coordinator tell nothing."""
        old, new = self._register("old"), self._register("new")
        old.answers["GetDAGRunStatus"] = RpcError(StatusCode.UNIMPLEMENTED, "unknown method")
        new.answers["GetDAGRunStatus"] = pb.GetDAGRunStatusResponse(found=False)
        self.assertIsNone(self.successResultOf(self._do(self.coordinators.task_status(RUN, RUN))))
        status = RunStatus(RUN, RUN, RunState.RUNNING)
        new.answers["GetDAGRunStatus"] = pb.GetDAGRunStatusResponse(found=True, status=status_to_message(status))
        self.assertIsNone(self.successResultOf(self._do(self.coordinators.task_status(RUN, RUN))))
        status = RunStatus(RUN, RUN, RunState.FAILED, error="lost")
        new.answers["GetDAGRunStatus"] = pb.GetDAGRunStatusResponse(found=True, status=status_to_message(status))
        found = self.successResultOf(self._do(self.coordinators.task_status(RUN, RUN)))
        self.assertEqual((found.run, found.state), (RUN, RunState.FAILED))

    def test_forgotten(self) -> None:
        """Only when all coordinators answer, are ours, and know nothing, is a task forgotten."""
        one, two = self._register("one"), self._register("two")
        one.metadata = two.metadata = {"txdagu-protocol": "1"}
        unknown, known = (pb.GetDAGRunStatusResponse(found=found) for found in (False, True))
        old = RpcError(StatusCode.UNIMPLEMENTED, "unknown method")
        for first, second, expected in ((unknown, unknown, True), (unknown, known, False), (unknown, old, False)):
            one.answers["GetDAGRunStatus"], two.answers["GetDAGRunStatus"] = first, second
            self.assertIs(self.successResultOf(self._do(self.coordinators.forgotten(RUN, RUN))), expected)
        two.answers["GetDAGRunStatus"], two.metadata = unknown, {}
        self.assertIs(self.successResultOf(self._do(self.coordinators.forgotten(RUN, RUN))), False)

    def test_holds(self) -> None:
        """A task is held while any coordinator says that it waits or runs."""
        one, two = self._register("one"), self._register("two")
        one.answers["GetDAGRunStatus"] = pb.GetDAGRunStatusResponse(found=False)
        for state, expected in ((RunState.QUEUED, True), (RunState.RUNNING, True), (RunState.FAILED, False)):
            answer = status_to_message(RunStatus(RUN, RUN, state))
            two.answers["GetDAGRunStatus"] = pb.GetDAGRunStatusResponse(found=True, status=answer)
            self.assertIs(self.successResultOf(self._do(self.coordinators.holds(RUN, RUN))), expected)

    def test_unreadable_status(self) -> None:
        """A state that cannot be read is no answer, and no crash."""
        answer = pb.GetDAGRunStatusResponse(found=True, status=pb.DAGRunStatusProto(json_data="{"))
        self._register("c").answers["GetDAGRunStatus"] = answer
        self.assertIsNone(self.successResultOf(self._do(self.coordinators.task_status(RUN, RUN))))

    def test_cancel(self) -> None:
        """Everybody is asked; old coordinators are fine, silence of all is an error, nobody at all is fine."""
        self.successResultOf(self._do(self.coordinators.cancel(RUN, RUN)))
        self._register("a").answers["RequestCancel"] = RpcError(StatusCode.UNIMPLEMENTED, "unknown method")
        self.successResultOf(self._do(self.coordinators.cancel(RUN, RUN)))
        self._register("b").answers["RequestCancel"] = pb.RequestCancelResponse(accepted=True)
        self.successResultOf(self._do(self.coordinators.cancel(RUN, RUN)))
        self.assertEqual(self.channels["b", 1].requests("RequestCancel")[0].dag_run_id, "run1")
        for channel in self.channels.values():
            channel.answers["RequestCancel"] = REFUSED
        self.failureResultOf(self._do(self.coordinators.cancel(RUN, RUN)), UnavailableError)

    def test_order(self) -> None:
        """All coordinators are told; an id is unknown if nobody knows it; who could not be told is named."""
        order = WorkerOrder(Action.DRAIN, ("w1", "w9"), {"gpu": "true"}, "disk swap", "ada", 600.0)
        one, two = self._register("one"), self._register("two")
        one.answers["Order"] = worker_pb2.OrderResponse(worker_ids=["w1", "w3"], unknown_ids=["w9"])
        two.answers["Order"] = RpcError(StatusCode.UNIMPLEMENTED, "unknown service")
        done = self.successResultOf(self._do(self.coordinators.order(order)))
        self.assertEqual((("w1", "w3"), ("w9",)), (done.workers, done.unknown))
        self.assertIn("it cannot keep tasks from workers", done.errors[0])
        (request,) = one.requests("Order")
        self.assertEqual(order, order_from_message(request, "somebody"))
        one.answers["Order"] = REFUSED
        self.failureResultOf(self._do(self.coordinators.order(order)), UnavailableError)

    def test_standing_over_the_wire(self) -> None:
        """What keeps tasks from a worker is told with it."""
        standing = Standing(Mode.DRAINING, 1000.5, 1600.0, "disk swap", "ada")
        worker = WorkerStatus("w", {}, Health.HEALTHY, 2, 0, standing=standing)
        self._register("one").answers["GetWorkers"] = pb.GetWorkersResponse(workers=[worker_to_message(worker)])
        view = self.successResultOf(self._do(self.coordinators.workers()))
        self.assertEqual([standing], [each.standing for each in view.workers])

    def test_workers(self) -> None:
        """Workers of all coordinators that answer in two seconds; who did not is named."""
        info = pb.WorkerInfo(
            worker_id="w", total_pollers=4, health_status=pb.WORKER_HEALTH_STATUS_HEALTHY, heartbeat_age_ms=300
        )
        self._register("good").answers["GetWorkers"] = pb.GetWorkersResponse(workers=[info])
        self._register("mute").hanging = True
        done = self._do(self.coordinators.workers())
        self.assertNoResult(done)
        self.reactor.advance(2)
        view = self.successResultOf(done)
        self.assertEqual([worker.id for worker in view.workers], ["w"])
        (error,) = view.errors
        self.assertIn("mute@1 at mute:1", error)

    def test_no_workers(self) -> None:
        """Without coordinators the view is empty and no error."""
        view = self.successResultOf(self._do(self.coordinators.workers()))
        self.assertEqual((view.workers, view.errors), ((), ()))
