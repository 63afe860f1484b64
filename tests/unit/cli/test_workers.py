"""`dagu worker list`, `cordon`, `drain` and `resume`: what they ask for and what they say."""

from __future__ import annotations

import io
import os
import sys
import time
from typing import Any

from rich.console import Console
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txdagu.cli.arguments import parse
from txdagu.cli.reactor import Interruption
from txdagu.cli.workers import CordonOptions, DrainOptions, cordon, drain, empty, give, list_workers, state_of, table
from txdagu.model.errors import InvalidInputError, NotFoundError
from txdagu.model.health import Health
from txdagu.model.run import RunRef
from txdagu.model.standing import Action, Mode, Standing, WorkerOrder
from txdagu.model.task import RunningTask, WorkerStatus
from txdagu.peers.interfaces import WorkersView
from txdagu.testing.coordinators import ScriptedCoordinators

RUN = RunRef("etl", "r1")
AT = 1_767_350_520.0  # 2026-01-02 10:42 UTC


def worker(name: str, *running: RunRef, standing: Standing | None = None) -> WorkerStatus:
    tasks = tuple(RunningTask(run, run) for run in running)
    return WorkerStatus(name, {"gpu": "true"}, Health.HEALTHY, 4, len(tasks), tasks, standing=standing)


class OptionTests(SynchronousTestCase):
    """Arguments as orders."""

    def test_drain(self) -> None:
        """Ids and selector, reason and deadline become one order in the name of who gives it."""
        words = ["w1", "--selector", "gpu=true", "--reason", "disk swap", "--deadline", "10m", "w2"]
        order = parse(DrainOptions(), "worker drain", words).order(Action.DRAIN)
        self.assertEqual((("w1", "w2"), {"gpu": "true"}, 600.0), (order.ids, order.selector, order.patience))
        self.assertEqual("disk swap", order.reason)
        self.assertRegex(order.by, ".+@.+")

    def test_deadlines(self) -> None:
        """Without a deadline a drain has no limit; at once is one."""
        for words, patience in ((["w1"], None), (["w1", "--deadline=0"], 0.0)):
            self.assertEqual(patience, parse(DrainOptions(), "worker drain", words).order(Action.DRAIN).patience)

    def test_refused(self) -> None:
        """Nobody named, no label, no duration, and an output that there is not are told with what to do."""
        for command, words, text in (
            (cordon, [], "no worker is named: give ids, or --selector key=value"),
            (cordon, ["--selector", "gpu"], "'gpu' is not key=value"),
            (drain, ["w1", "--deadline", "soon"], '--deadline: "soon" is not a duration'),
            (cordon, ["w1", "--deadline", "5m"], "option --deadline not recognized"),
            (list_workers, ["--output", "xml"], '"xml" is neither of table and json'),
        ):
            error = self.assertRaises(InvalidInputError, command, words)
            self.assertIn(text, str(error))

    def test_selector_alone(self) -> None:
        """A selector names workers too."""
        order = parse(CordonOptions(), "worker cordon", ["-l", "gpu=true"]).order(Action.CORDON)
        self.assertEqual(((), {"gpu": "true"}), (order.ids, order.selector))


class OrderTests(SynchronousTestCase):
    """What is said of an order."""

    def setUp(self) -> None:
        """Two workers, one of them busy."""
        self.clock: Any = Clock()
        self.coordinators = ScriptedCoordinators(WorkersView((worker("w1", RUN), worker("w2"))))
        self.out = io.StringIO()
        self.patch(sys, "stdout", self.out)

    def give(self, *ids: str) -> Deferred[Any]:
        """Drain these."""
        return Deferred.fromCoroutine(give(self.coordinators, WorkerOrder(Action.DRAIN, ids)))

    def test_reached(self) -> None:
        """A line for each worker that was reached."""
        self.assertEqual((("w1", "w2"), 0), self.successResultOf(self.give("w1", "w2")))
        self.assertEqual("w1: draining, gets no new tasks\nw2: draining, gets no new tasks\n", self.out.getvalue())

    def test_unknown(self) -> None:
        """Ids that nobody knows are an error that names those that are known; the others were reached."""
        error = self.failureResultOf(self.give("w1", "w9"), NotFoundError).value
        self.assertEqual("no such worker: w9 (known: w1, w2)", str(error))
        self.assertEqual("w1: draining, gets no new tasks\n", self.out.getvalue())

    def test_wait(self) -> None:
        """It says what still runs whenever that changes, and returns when nothing does."""
        done = Deferred.fromCoroutine(empty(self.coordinators, ["w1"], self.clock, Interruption()))
        self.clock.advance(1)
        self.assertNoResult(done)
        self.coordinators.view = WorkersView((worker("w1"),))
        self.clock.advance(1)
        self.successResultOf(done)
        self.assertEqual("w1 still runs etl:r1\nnothing runs any more\n", self.out.getvalue())

    def test_interrupted(self) -> None:
        """A signal ends the waiting at once."""
        interruption = Interruption()
        done = Deferred.fromCoroutine(empty(self.coordinators, ["w1"], self.clock, interruption))
        interruption.arrived("SIGINT")
        self.failureResultOf(done, CancelledError)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_no_answer_is_not_empty(self) -> None:
        """While no coordinator answers nothing is known: it goes on waiting and says why."""
        self.coordinators.view = WorkersView((), ("coordinator c: refused",))
        done = Deferred.fromCoroutine(empty(self.coordinators, ["w1"], self.clock, Interruption()))
        self.clock.advance(5)
        self.assertNoResult(done)
        self.assertEqual("coordinator c: refused\n", self.out.getvalue())
        done.cancel()
        self.failureResultOf(done, CancelledError)


class ListTests(SynchronousTestCase):
    """What is shown."""

    def setUp(self) -> None:
        """Times are local."""
        former = os.environ.get("TZ")
        self.addCleanup(time.tzset)
        self.addCleanup(os.environ.__setitem__ if former else os.environ.pop, "TZ", former or "")
        os.environ["TZ"] = "UTC"
        time.tzset()

    def test_states(self) -> None:
        """One phrase says what keeps tasks from a worker, until when, since when, why and by whom."""
        drain = Standing(Mode.DRAINING, AT, AT + 600, "disk swap", "ada@host1")
        for standing, running, phrase in (
            (None, (RUN,), "schedulable"),
            (Standing(Mode.CORDONED, AT), (RUN,), "cordoned since 2026-01-02 10:42"),
            (drain, (RUN,), "draining until 2026-01-02 10:52 since 2026-01-02 10:42 (disk swap, by ada@host1)"),
            (drain, (), "drained since 2026-01-02 10:42 (disk swap, by ada@host1)"),
        ):
            self.assertEqual(phrase, state_of(worker("w1", *running, standing=standing)))

    def test_table(self) -> None:
        """A row for each worker, with its slots and its runs."""
        out = io.StringIO()
        Console(file=out, width=160).print(table([worker("[w1]", RUN), worker("w2")]))
        rows = [line.split() for line in out.getvalue().splitlines()]
        self.assertIn(["[w1]", "gpu=true", "healthy", "1/4", "schedulable", "etl:r1"], rows)
        self.assertIn(["w2", "gpu=true", "healthy", "0/4", "schedulable", "-"], rows)
