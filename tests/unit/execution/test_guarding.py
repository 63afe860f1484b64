"""Runs under a guard: frozen, going on, given up, fenced."""

from __future__ import annotations

from tempfile import mkdtemp

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from txdagu.execution.engine import Run
from txdagu.execution.guarding import Guard
from txdagu.execution.interfaces import ExitStatus
from txdagu.model.dag import Command, Dag, Step
from txdagu.model.status import NodeState, RunState
from txdagu.testing.engine import EngineHarness
from txdagu.testing.processes import Script, by_command

STEPS = (Step("one", commands=(Command("first"),)), Step("two", commands=(Command("second"),), depends=("one",)))
TWO = Dag("d", STEPS, timeout_seconds=100)


class Watcher:
    """A reaper that notes what it is told, and may be away."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.away: Deferred[None] | None = None

    def tell(self, line: str) -> None:
        """Noted."""
        self.told.append(line)

    def watching(self) -> Deferred[None] | None:
        """As the test wants."""
        return self.away


class GuardTests(SynchronousTestCase):
    def setUp(self) -> None:
        """An engine whose programs run until the test ends them."""
        self.harness = EngineHarness(mkdtemp(), by_command([], Script(code=None)))
        self.watcher = Watcher()
        self.valid = True
        self.guard = Guard("life.1", self.watcher, "outer", valid=lambda: self.valid, look=self._look)

    def _look(self) -> None:
        self.guard.freeze("the clock says so")

    def start(self, dag: Dag = TWO) -> Run:
        """Start it under the guard."""
        return self.harness.engine.start(self.harness.request(dag), guard=self.guard)

    def end_process(self) -> None:
        """The program that runs ends well."""
        (process,) = self.harness.processes.running
        process.end(ExitStatus(0))

    def names(self) -> list[str]:
        """What was started."""
        return [line.split()[-1] for line in self.harness.lines()]

    def test_token(self) -> None:
        """Programs carry the token, after the one that we were given; the reaper learns of their groups and their ends."""
        self.start()
        (process,) = self.harness.processes.started
        self.assertEqual(process.spec.env["DAGU_REAPER_TOKEN"], "outer:life.1")
        self.end_process()
        self.assertEqual(self.watcher.told[:2], [f"group life.1 {process.pid}", f"ended life.1 {process.pid}"])

    def test_frozen(self) -> None:
        """While it is frozen nothing new starts, and status and log say why; then it goes on."""
        run = self.start()
        self.guard.freeze("nobody renewed it")
        self.assertEqual(run.status.nodes[0].waits, "frozen: nobody renewed it")
        self.end_process()
        self.assertEqual(len(self.names()), 1)
        self.guard.thaw()
        self.assertEqual(len(self.names()), 2)
        self.assertEqual([node.waits for node in run.status.nodes], ["", ""])
        self.end_process()
        self.assertIs(self.successResultOf(run.wait()).state, RunState.SUCCEEDED)
        self.assertIn("nobody renewed it", "".join(self.harness.store.sinks[0].lines))

    def test_time_limits_stand_still(self) -> None:
        """Time while it is frozen counts for no time limit."""
        run = self.start()
        self.harness.clock.advance(60)
        self.guard.freeze("nobody renewed it")
        self.harness.clock.advance(1000)
        self.guard.thaw()
        self.harness.clock.advance(39)
        self.assertEqual(len(self.harness.processes.running), 1)
        self.harness.clock.advance(2)
        self.assertIs(self.successResultOf(run.wait()).state, RunState.FAILED)

    def test_overslept(self) -> None:
        """T06: a worker that slept finds out by the clock that it may start nothing, though nobody told it."""
        self.valid = False
        self.start()
        self.assertEqual((self.names(), self.guard.frozen), ([], "the clock says so"))
        self.valid = True
        self.guard.thaw()
        self.assertEqual(len(self.names()), 1)

    def test_reaper_away(self) -> None:
        """While the reaper is away nothing starts."""
        self.watcher.away = Deferred()
        self.start()
        self.assertEqual(self.names(), [])
        back, self.watcher.away = self.watcher.away, None
        back.callback(None)
        self.assertEqual(len(self.names()), 1)

    def test_given_up(self) -> None:
        """A run that is given up is killed, ends as failed for that reason, and says so in its files."""
        run = self.start()
        run.give_up("its lease ended")
        status = self.successResultOf(run.wait())
        self.assertEqual((status.state, status.error), (RunState.FAILED, "its lease ended"))
        self.assertEqual(self.harness.store.sinks[0].final, status)
        self.assertEqual(self.harness.processes.running, [])

    def test_fenced(self) -> None:
        """T23: a run that is somebody else's writes nothing more, not even its end, and starts nothing."""
        run = self.start()
        sink = self.harness.store.sinks[0]
        self.guard.freeze("nobody renewed it")
        written = (len(sink.statuses), len(sink.lines))
        run.give_up("it was given away", fenced=True)
        self.successResultOf(run.wait())
        self.assertEqual((len(sink.statuses), len(sink.lines)), written)
        self.assertEqual((sink.final, sink.abandoned), (None, True))
        self.assertEqual(len(self.names()), 1)

    def test_cancelled_while_frozen(self) -> None:
        """Who is stopped cannot clean up: a cancelled run that is frozen is killed at once."""
        run = self.start()
        self.guard.freeze("nobody renewed it")
        run.cancel("somebody asked")
        status = self.successResultOf(run.wait())
        self.assertEqual((status.state, status.nodes[0].state), (RunState.ABORTED, NodeState.ABORTED))
        self.assertEqual(self.harness.processes.started[0].signals, [9])
