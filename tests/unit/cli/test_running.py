"""What a followed run's end means for the command: exit status and sentence."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txdagu.cli.progress import Silence
from txdagu.cli.running import Foreground, ForegroundRun, exit_code, failure_sentence
from txdagu.execution.request import RunRequest
from txdagu.model.dag import Dag, Handler, Step
from txdagu.model.errors import UnavailableError
from txdagu.model.run import NodeStatus, RunRef, RunStatus
from txdagu.model.status import NodeState, RunState
from txdagu.model.task import Operation, Task
from txdagu.testing.coordinators import ScriptedCoordinators
from txdagu.testing.store import MemoryStore

RUN = RunRef("d", "r")


def ended(state: RunState, *nodes: NodeState, **handlers: NodeState) -> RunStatus:
    return RunStatus(
        RUN,
        RUN,
        state,
        nodes=tuple(NodeStatus(Step(f"s{number}"), node) for number, node in enumerate(nodes)),
        handlers={
            Handler[name]: NodeStatus(Step(name), node, error="exit status 3") for name, node in handlers.items()
        },
    )


class ExitCodeTests(SynchronousTestCase):
    def test_states(self) -> None:
        """The table of exit statuses; a partial success is 1 where a step failed, and so is a wait."""
        good, bad, partial = NodeState.SUCCEEDED, NodeState.FAILED, NodeState.PARTIALLY_SUCCEEDED
        for status, code in (
            (ended(RunState.SUCCEEDED, good), 0),
            (ended(RunState.WAITING, NodeState.WAITING), 0),
            (ended(RunState.WAITING, NodeState.WAITING, bad), 1),
            (ended(RunState.WAITING, NodeState.WAITING, WAIT=bad), 0),
            (ended(RunState.ABORTED, NodeState.ABORTED), 0),
            (ended(RunState.ABORTED, NodeState.NOT_STARTED, INIT=bad), 1),
            (ended(RunState.ABORTED, NodeState.ABORTED, ABORT=bad), 1),
            (ended(RunState.PARTIALLY_SUCCEEDED, good, bad), 1),
            (ended(RunState.PARTIALLY_SUCCEEDED, partial), 0),
            (ended(RunState.PARTIALLY_SUCCEEDED, partial, SUCCESS=bad), 1),
            (ended(RunState.FAILED, good), 1),
            (ended(RunState.REJECTED, NodeState.REJECTED), 1),
        ):
            self.assertEqual(exit_code(status), code, status)

    def test_kept_failures(self) -> None:
        """A failed step that a retry of another one kept says nothing about the attempt that ended."""
        began = datetime(2026, 1, 1, tzinfo=UTC)
        for started, code in ((began - timedelta(seconds=1), 0), (began, 1)):
            status = ended(RunState.PARTIALLY_SUCCEEDED, NodeState.SUCCEEDED, NodeState.FAILED)
            nodes = tuple(replace(node, started_at=started) for node in status.nodes)
            self.assertEqual(exit_code(replace(status, nodes=nodes, started_at=began)), code)

    def test_sentence(self) -> None:
        """Where no step has an error, that of the handler is told."""
        self.assertEqual(
            failure_sentence(ended(RunState.FAILED, NodeState.SUCCEEDED, EXIT=NodeState.FAILED)), "exit status 3"
        )


class GoingOnTests(SynchronousTestCase):
    """The rest of a run that waited for a person, on a worker."""

    def setUp(self) -> None:
        """A run in memory that waits, and coordinators with nobody behind them."""
        self.clock: Any = Clock()
        self.store = MemoryStore(
            self.clock, lambda: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.clock.seconds())
        )
        self.coordinators = ScriptedCoordinators(taken=self.begin)
        self.dag = Dag("d", (Step("s0"),), yaml_text="steps: []\n")
        self.rest(RunState.WAITING)

    def rest(self, state: RunState) -> None:
        """An attempt comes to this end."""
        sink = self.successResultOf(Deferred.fromCoroutine(self.store.open_attempt(self.dag, RUN, RUN)))
        self.successResultOf(Deferred.fromCoroutine(sink.close(ended(state, NodeState.SUCCEEDED))))

    def begin(self, task: Task) -> None:
        """The worker that takes a task ends it at once."""
        self.rest(RunState.SUCCEEDED)

    def go_on(self) -> Deferred[Any]:
        """What `dagu approve` does after a decision."""
        queued = self.successResultOf(Deferred.fromCoroutine(self.store.requeue(RUN, queued=False)))
        engine: Any = None  # nothing runs here
        parts = Foreground(self.store, engine, self.coordinators, self.clock, "distributed")
        running = ForegroundRun(parts, RunRequest(self.dag, RUN, RUN, previous=queued), Silence())
        return Deferred.fromCoroutine(running.follow())

    def test_on_a_worker(self) -> None:
        """The run is handed in again as the same run, and followed to its end."""
        family = self.successResultOf(self.go_on())
        self.assertIs(family.top.state, RunState.SUCCEEDED)
        expected = Task(RUN, RUN, Operation.RETRY, "d", definition="steps: []\n")
        (task,) = self.coordinators.tasks
        queued = self.store.attempts(RUN, RUN)[-2].status
        self.assertEqual(task, replace(expected, earlier_attempt=queued.attempt_id if queued else None))

    def test_nobody_takes_it(self) -> None:
        """Where no coordinator takes it the run waits as before, and can be let go on again."""
        for _ in range(2):
            self.coordinators.refusal = UnavailableError("no coordinator answers")
            self.failureResultOf(self.go_on(), UnavailableError)
            status = self.successResultOf(Deferred.fromCoroutine(self.store.read_status(RUN, RUN)))
            assert status is not None
            self.assertIs(status.state, RunState.WAITING)
        self.coordinators.refusal = None
        self.assertIs(self.successResultOf(self.go_on()).top.state, RunState.SUCCEEDED)
