"""Cancelling a task in every state: coordinator, worker and engine as they are, over gRPC in memory, in virtual time."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random
from shutil import rmtree
from signal import SIGKILL, SIGTERM
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock

from txdagu.config.settings import PathSettings, Settings, WorkerSettings
from txdagu.dispatch.machine import State
from txdagu.execution.engine import Engine
from txdagu.execution.interfaces import ExitStatus
from txdagu.model.errors import NotFoundError
from txdagu.model.labels import Labels
from txdagu.model.run import RunRef, RunStatus
from txdagu.model.status import RunState
from txdagu.model.task import Operation, Task
from txdagu.peers.coordinators import Coordinators
from txdagu.protocol import coordinator_pb2 as pb
from txdagu.protocol import services, worker_pb2
from txdagu.testing.channel import memory_channel
from txdagu.testing.coordinator import WALL, CoordinatorTestCase
from txdagu.testing.processes import MemoryProcessRunner, Script, by_command
from txdagu.testing.recording import RecordingStore
from txdagu.worker.identity import Identity
from txdagu.worker.service import WorkerService

RUN = RunRef("job", "r1")
LONG = "steps:\n  - name: one\n    command: long\nhandlerOn:\n  exit:\n    command: tidy\n"
STUBBORN = "maxCleanUpTimeSec: 1\nsteps:\n  - name: one\n    command: stubborn\n"
PARENT = """\
steps:
  - name: call
    run: child
---
name: child
workerSelector: {gpu: "true"}
steps:
  - name: below
    command: long
"""
SOON = 2.0
STEP = 0.1


class SlowStore(RecordingStore):
    """A store that can keep somebody waiting who reads the state of a run."""

    def __init__(self, directory: str) -> None:
        super().__init__(directory)
        self.slow = False
        self.waiting: list[Deferred[None]] = []

    def read_status(self, run: RunRef, root: RunRef) -> Deferred[RunStatus | None]:
        """The latest state, perhaps later."""
        if not self.slow:
            return super().read_status(run, root)
        waiting: Deferred[None] = Deferred()
        self.waiting.append(waiting)
        return waiting.addCallback(lambda _: RecordingStore.read_status(self, run, root))

    def go_on(self) -> None:
        """Nobody waits any longer."""
        self.slow = False
        for waiting in self.waiting:
            waiting.callback(None)


class ClusterTestCase(CoordinatorTestCase):
    """A coordinator and its workers, which share a store and programs in memory."""

    def make_clock(self) -> Any:
        """A clock that services take for the reactor."""
        return MemoryReactorClock()

    def setUp(self) -> None:
        """The coordinator, and programs that run until they are told to end."""
        super().setUp()
        self.directory = tempfile.mkdtemp()
        self.addCleanup(rmtree, self.directory)
        self.runs = SlowStore(self.directory)
        scripts = (("long", Script(code=None)), ("stubborn", Script(code=None, stubborn=True)))
        self.processes = MemoryProcessRunner(by_command(scripts))
        self.services: list[WorkerService] = []

    def worker(self, name: str, labels: Labels | None = None, drain_timeout: float = 30.0) -> WorkerService:
        """A worker that has found the coordinator."""
        reactor = self.clock
        paths = replace(
            PathSettings(*["/x"] * 10), service_registry_dir=str(Path(self.directory, "registry")), base_config=""
        )
        own = WorkerSettings(max_active_runs=2, coordinator_host="host1", drain_timeout=drain_timeout)
        settings = Settings(paths, worker=own)

        def connect(_host: str, _port: int) -> Any:
            return memory_channel(self.endpoint, reactor)

        coordinators = Coordinators(settings, reactor, Random(1), reactor.seconds, connect)
        engine = Engine(
            self.runs,
            coordinators,
            self.processes,
            reactor,
            now=lambda: WALL + timedelta(seconds=reactor.seconds()),
            environ={"PATH": "/bin", "SHELL": "/bin/sh"},
            execution_mode="local",
            find_dag=self._nothing,
        )
        who = Identity(name, dict(labels or {}), f"life of {name}")
        service = WorkerService(settings, reactor, who, self.runs, engine, coordinators, Random(1), reactor.seconds)
        service.startService()
        self.services.append(service)
        self.pass_time(1)
        return service

    @staticmethod
    async def _nothing(name: str, _base_dir: str) -> Any:
        raise NotFoundError(name)

    def tearDown(self) -> None:
        """Let the workers go."""
        for service in self.services:
            if service.running:
                left = service.stopService()
                service.hurry()
                self.pass_time(5)
                self.successResultOf(left)

    def pass_time(self, seconds: float) -> None:
        """Let time pass in small steps."""
        for _ in range(round(seconds / STEP)):
            self.clock.advance(STEP)
            self.deliver()

    def submit(self, definition: str = LONG, run: RunRef = RUN) -> None:
        """Hand in a run."""
        self.dispatch(Task(run, run, Operation.START, run.name, definition=definition))

    def cancel(self) -> Deferred[Any]:
        """Ask for the end of the run."""
        return self.call(services.REQUEST_CANCEL, pb.RequestCancelRequest(dag_name=RUN.name, dag_run_id=RUN.id))

    def ends(self, run: RunRef = RUN, root: RunRef = RUN) -> list[str]:
        """Every end that the task had, with its reason."""
        lines = self.successResultOf(Deferred.fromCoroutine(self.journal.timeline(root, run.id)))
        return [line.reason for line in lines if line.state is State.ENDED]

    def how(self, run: RunRef = RUN, root: RunRef = RUN) -> RunState | None:
        """How the task has ended, as the coordinator tells."""
        ending = self.dispatcher.core.ended(root, run.id)
        return None if ending is None else ending.outcome.state

    def alive(self) -> list[str]:
        """The programs that still run."""
        return [process.spec.argv[-1] for process in self.processes.started if not process.ended.called]


class Case(NamedTuple):
    """A state, how a task comes there, what must go on after the cancellation, how it ends then, and whether it was in time."""

    state: str
    reach: Callable[[CancelTests], object]
    go_on: Callable[[CancelTests], object] = lambda test: None
    end: RunState = RunState.ABORTED
    accepted: bool = True


class CancelTests(ClusterTestCase):
    """Each state on the way; always one end, within two seconds, and no program left."""

    def test_in_every_state(self) -> None:
        """Whatever the state, the task ends once and soon, and its programs are gone."""
        for case in CASES:
            with self.subTest(case.state):
                self.setUp()
                case.reach(self)
                answer = self.cancel()
                case.go_on(self)
                self.pass_time(SOON)
                self.assertEqual(case.accepted, self.successResultOf(answer).accepted, case.state)
                self.assertEqual((1, case.end), (len(self.ends()), self.how()), case.state)
                self.assertEqual(
                    ([], [0] * len(self.services)), (self.alive(), [one.slots.busy for one in self.services])
                )
                self.assertFalse(self.successResultOf(self.cancel()).accepted, "it was open still")
                self.tearDown()

    def test_slot_after_a_failure(self) -> None:
        """The slot of a run that fails is taken by the next one well within a second."""
        self.worker("w1")
        for number in (1, 2, 3):
            self.submit(run=RunRef("job", f"r{number}"))
        self.pass_time(3)
        self.assertEqual(["long", "long"], self.alive())
        self.processes.started[0].end(ExitStatus(1))
        self.pass_time(0.4)
        self.assertEqual(2, self.alive().count("long"))
        self.assertEqual(3, len([one for one in self.processes.started if one.spec.argv[-1] == "long"]))

    def running(self, definition: str = LONG) -> None:
        """A task whose program runs."""
        self.worker("w1", {"gpu": "true"})
        self.submit(definition)
        self.pass_time(1.5)
        assert self.alive(), "nothing runs"

    def held_at(self, reach: Callable[[], object]) -> None:
        """What follows is not written before `let_through`."""
        self.journal.held = []
        reach()
        assert self.journal.held, "nothing was to be written"

    def offered(self) -> None:
        """An offer that is on its way."""
        self.submit()
        self.held_at(lambda: self.worker("w1"))

    def acknowledged(self) -> None:
        """A confirmation that is on its way to the journal."""
        self.submit()
        self.held_at(lambda: self.worker("w1"))
        self.journal.let_through()
        self.journal.held = []
        self.pass_time(0.2)
        assert self.dispatcher.core.open_state(RUN, RUN.id) is State.RUNNING, "it was not confirmed"

    def starting(self) -> None:
        """The worker prepares the run."""
        self.worker("w1")
        self.runs.slow = True
        self.submit()
        self.pass_time(0.5)
        assert self.runs.waiting, "it does not prepare anything"

    def go_on(self) -> None:
        """The worker has been told, and only then has prepared the run."""
        self.pass_time(1.1)
        self.runs.go_on()

    def finishing(self) -> None:
        """The run has ended well, and its report is being written."""
        self.running()
        self.held_at(self.finish)

    def finish(self) -> None:
        """The program ends by itself."""
        self.processes.started[0].end(ExitStatus(0))
        self.pass_time(0.2)

    def test_children_first(self) -> None:
        """The child of a cancelled run is told in the same instant; the run ends after it, and both end once."""
        self.worker("w1", {"zone": "a"})
        self.worker("w2", {"gpu": "true"})
        self.submit(PARENT)
        self.pass_time(3)
        (child,) = (sink.run for sink in self.runs.sinks if sink.run.name == "child")
        self.assertEqual(["long"], self.alive())
        self.successResultOf(self.cancel())
        lines = self.successResultOf(Deferred.fromCoroutine(self.journal.timeline(RUN, child.id)))
        self.assertEqual("worker w2 is told to end it: its parent run is being cancelled", lines[-1].reason)
        self.pass_time(SOON)
        self.assertEqual(([], RunState.ABORTED, RunState.ABORTED), (self.alive(), self.how(), self.how(child)))
        ends = [self.ends(), self.ends(child)]
        self.assertEqual([1, 1], [len(each) for each in ends])
        core = self.dispatcher.core
        self.assertLessEqual(core.timeline(RUN, child.id)[-1].at, core.timeline(RUN, RUN.id)[-1].at)


CASES = (
    Case("queued", lambda test: test.submit()),
    Case("offered", CancelTests.offered, lambda test: test.journal.let_through()),
    Case("acknowledged", CancelTests.acknowledged, lambda test: test.journal.let_through()),
    Case("starting", CancelTests.starting, CancelTests.go_on),
    Case("running", CancelTests.running),
    Case("stubborn", lambda test: test.running(STUBBORN), lambda test: test.pass_time(0.2)),
    Case("finishing", CancelTests.finishing, lambda test: test.journal.let_through(), RunState.SUCCEEDED, False),
)


class HandBackTests(ClusterTestCase):
    """The same cluster, whose workers are emptied."""

    def order(self, action: worker_pb2.WorkerAction, **fields: Any) -> Any:
        """Give an order for worker w1."""
        request = worker_pb2.OrderRequest(action=action, worker_ids=["w1"], reason="disk swap", by="ada", **fields)
        return self.answer(services.ORDER_WORKERS, request)

    def begun(self, command: str = "long") -> None:
        """A run on w1 whose second step runs."""
        self.worker("w1")
        self.submit(f"steps:\n  - name: first\n    command: short\n  - name: one\n    command: {command}\n")
        self.pass_time(1)
        self.assertEqual([command], self.alive())

    def commands(self) -> list[str]:
        """Everything that was started."""
        return [process.spec.argv[-1] for process in self.processes.started]

    def test_drained(self) -> None:
        """At the deadline the program is ended and the run goes on at another worker, with what had ended; no attempt failed."""
        self.begun()
        self.worker("w2")
        self.order(worker_pb2.WORKER_ACTION_DRAIN, patience_ms=2000)
        self.pass_time(1.5)
        self.assertEqual(1, len(self.runs.sinks))
        self.pass_time(2.5)
        self.assertEqual(["short", "long", "long"], self.commands())
        self.assertEqual([SIGTERM], self.processes.started[1].signals)
        first, second = self.runs.sinks
        assert first.final is not None
        self.assertEqual((RunState.QUEUED, "w2"), (first.final.state, second.statuses[-1].worker_id))
        self.assertIn("disk swap", first.final.error)
        self.processes.started[2].end(ExitStatus(0))
        self.pass_time(1)
        self.assertEqual((RunState.SUCCEEDED, 1), (self.how(), len(self.ends())))

    def test_worker_that_ends(self) -> None:
        """SIGTERM: shown as draining, nothing new; after its time it hands back, and the run goes on elsewhere at once."""
        self.begun()
        leaving = self.services[0].stopService()
        self.worker("w2")
        workers = self.answer(services.GET_WORKERS, pb.GetWorkersRequest()).workers
        self.assertEqual(["draining", ""], [worker.standing.mode for worker in workers])
        self.pass_time(28)
        self.assertEqual(["long"], self.alive())
        self.pass_time(2.5)
        self.successResultOf(leaving)
        self.assertEqual(["short", "long", "long"], self.commands())
        self.assertEqual("w2", self.runs.sinks[-1].statuses[-1].worker_id)

    def test_second_signal(self) -> None:
        """A second one kills what runs and hands it back within a second."""
        self.begun("stubborn")
        self.worker("w2")
        leaving = self.services[0].stopService()
        self.pass_time(1)
        self.services[0].hurry()
        self.pass_time(1)
        self.successResultOf(leaving)
        self.assertEqual([SIGTERM, SIGKILL], self.processes.started[1].signals)
        self.assertEqual(["short", "stubborn", "stubborn"], self.commands())

    def test_cordoned_worker_is_restarted(self) -> None:
        """Who comes back under the id of a cordoned worker gets nothing until that is lifted, then at once."""
        first = self.worker("w1")
        self.order(worker_pb2.WORKER_ACTION_CORDON)
        left = first.stopService()
        self.pass_time(1)
        self.successResultOf(left)
        self.submit()
        self.worker("w1")
        self.pass_time(5)
        self.assertEqual([], self.commands())
        self.order(worker_pb2.WORKER_ACTION_RESUME)
        self.pass_time(0.5)
        self.assertEqual(["long"], self.alive())
