"""The run core: time limits, delays, stops with their signals, and handlers."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from txdagu.execution.plan import FinishRun, RunHandler
from txdagu.model.conditions import Condition
from txdagu.model.dag import Dag, Handler, Step
from txdagu.model.policies import ContinueOn, RepeatMode, RepeatPolicy, RetryPolicy
from txdagu.model.status import NodeState, RunState
from txdagu.testing.plan import PlanDriver

FAILED, ABORTED, SUCCEEDED, SKIPPED, WAITING, NOT_STARTED = (
    NodeState.FAILED,
    NodeState.ABORTED,
    NodeState.SUCCEEDED,
    NodeState.SKIPPED,
    NodeState.WAITING,
    NodeState.NOT_STARTED,
)
ALL = tuple(Handler)
INIT = {"onInit": SUCCEEDED}


def dag(*steps: Step, handlers: Sequence[Handler] = (), **options: object) -> Dag:
    named = {handler: Step("on" + handler.value.capitalize()) for handler in handlers}
    return Dag("d", steps, handlers=named, **options)  # type: ignore[arg-type]


class StepTimeLimitTests(SynchronousTestCase):
    def test_over_time(self) -> None:
        """A step that takes too long is killed; it failed with 124 and is not tried again; continueOn applies."""
        step = Step("a", timeout_seconds=3, retry_policy=RetryPolicy(5, 0), continue_on=ContinueOn(exit_codes=(124,)))
        driver = PlanDriver(dag(step, Step("b", depends=("a",))))
        driver.advance(3)
        self.assertEqual(driver.stops, [("a", "", True)])
        driver.end("a", ABORTED, -1, "signal: killed")
        node = driver.node("a")
        self.assertEqual((node.state, node.error), (FAILED, "step timed out after 3s (timeout: 3s)"))
        self.assertEqual((driver.core.exit_code(0), driver.started), (124, ["a", "b"]))

    def test_each_attempt_has_its_time(self) -> None:
        """The limit counts from the start of each execution, not over retries and pauses."""
        driver = PlanDriver(dag(Step("a", timeout_seconds=3, retry_policy=RetryPolicy(2, 2))))
        driver.advance(2)
        driver.fail("a")
        driver.advance(4)
        self.assertEqual((driver.stops, driver.started), ([], ["a", "a"]))
        driver.advance(1)
        self.assertEqual(driver.stops, [("a", "", True)])

    def test_in_time(self) -> None:
        """What ends in time leaves no alarm behind."""
        driver = PlanDriver(dag(Step("a", timeout_seconds=3), Step("b")))
        driver.end("a")
        driver.advance(10)
        self.assertEqual(driver.stops, [])

    def test_stopped_before(self) -> None:
        """A step that was asked to end counts as aborted, also if its time is over meanwhile."""
        driver = PlanDriver(dag(Step("a", timeout_seconds=3)))
        driver.cancel()
        driver.advance(3)
        driver.end("a", ABORTED)
        self.assertEqual(driver.states(), {"a": ABORTED})

    def test_rounds_go_on(self) -> None:
        """A round that took too long is a failed one; the repeat policy decides what follows."""
        policy = RepeatPolicy(RepeatMode.WHILE, exit_codes=(124,), limit=2)
        driver = PlanDriver(dag(Step("a", timeout_seconds=1, repeat_policy=policy)))
        driver.advance(1)
        driver.end("a", ABORTED)
        self.assertEqual(driver.started, ["a", "a"])
        driver.end("a")
        self.assertEqual((driver.states(), driver.state), ({"a": SUCCEEDED}, RunState.SUCCEEDED))


class DagTimeLimitTests(SynchronousTestCase):
    def test_over_time(self) -> None:
        """What runs is killed and aborted, what has not started is aborted, the run failed, and its handlers run."""
        steps = (
            Step("done"),
            Step("runs"),
            Step("pauses", retry_policy=RetryPolicy(9, 1000)),
            Step("rounds", repeat_policy=RepeatPolicy(RepeatMode.WHILE)),
            Step("later", depends=("runs",)),
        )
        driver = PlanDriver(dag(*steps, handlers=ALL, timeout_seconds=60))
        driver.end("onInit")
        driver.end("done")
        driver.fail("pauses")
        driver.advance(60)
        self.assertEqual(driver.stops, [("runs", "", True), ("rounds", "", True)])
        self.assertIs(driver.core.state, RunState.RUNNING)
        driver.end("rounds")
        driver.end("runs", FAILED)
        self.assertEqual(driver.open["onFailure"], RunHandler(Handler.FAILURE, Step("onFailure"), RunState.FAILED))
        driver.advance(1000)
        driver.end("onFailure")
        driver.end("onExit")
        self.assertEqual(driver.stops[2:], [])
        self.assertEqual(
            driver.finished, [FinishRun(RunState.FAILED, "the run took longer than its time limit of 60 s")]
        )
        states = [driver.states()[step.name] for step in steps]
        self.assertEqual(states, [SUCCEEDED, ABORTED, ABORTED, ABORTED, ABORTED])

    def test_in_time(self) -> None:
        """The limit is that of the steps: handlers after them are not cut off."""
        driver = PlanDriver(dag(Step("a"), handlers=(Handler.EXIT,), timeout_seconds=5))
        driver.advance(4)
        driver.end("a")
        driver.advance(10)
        driver.end("onExit")
        self.assertIs(driver.state, RunState.SUCCEEDED)

    def test_during_conditions_and_init(self) -> None:
        """The limit holds for the conditions of the DAG and for its init handler, too."""
        driver = PlanDriver(dag(Step("a"), preconditions=(Condition("x"),), timeout_seconds=5))
        driver.advance(5)
        self.assertEqual(driver.stops, [("dag", "", True)])
        driver.verdicts("dag", False)
        self.assertEqual((driver.states(), driver.state), ({"a": ABORTED}, RunState.FAILED))
        driver = PlanDriver(dag(Step("a"), handlers=(Handler.INIT,), timeout_seconds=5))
        driver.advance(5)
        driver.end("onInit", ABORTED)
        self.assertEqual((driver.states()["a"], driver.state), (ABORTED, RunState.FAILED))


class DelayTests(SynchronousTestCase):
    def test_delay(self) -> None:
        """After each launch the next one waits, also where steps became ready long ago."""
        driver = PlanDriver(dag(Step("a"), Step("b"), Step("c", depends=("a",)), delay_seconds=2))
        driver.end("a")
        self.assertEqual(driver.started, ["a"])
        driver.advance(2)
        self.assertEqual(driver.started, ["a", "b"])
        driver.end("b")
        self.assertIsNone(driver.state)
        driver.advance(2)
        driver.end("c")
        self.assertEqual((driver.seconds, driver.state), (4, RunState.SUCCEEDED))

    def test_stop_during_the_delay(self) -> None:
        """A stop between two launches ends the run at once."""
        driver = PlanDriver(dag(Step("a"), Step("b"), delay_seconds=100))
        driver.end("a")
        driver.cancel()
        self.assertIs(driver.state, RunState.ABORTED)


class StopTests(SynchronousTestCase):
    def test_signal(self) -> None:
        """A signal to pass on is told with each stop."""
        driver = PlanDriver(dag(Step("a"), Step("b")))
        driver.cancel("SIGINT")
        self.assertEqual(driver.stops, [("a", "SIGINT", False), ("b", "SIGINT", False)])

    def test_clean_up_time(self) -> None:
        """What still runs after the time to clean up is killed, not before, and not the handlers that came since."""
        driver = PlanDriver(dag(Step("a"), handlers=ALL, max_clean_up_seconds=5))
        driver.end("onInit")
        driver.cancel()
        driver.advance(4.9)
        driver.end("a", ABORTED)
        driver.advance(10)
        self.assertEqual(driver.stops, [("a", "", False)])
        driver.end("onCancel")
        driver.end("onExit")
        self.assertIs(driver.state, RunState.ABORTED)

    def test_kill(self) -> None:
        """Being made to end leaves no time for handlers."""
        driver = PlanDriver(dag(Step("a"), handlers=ALL))
        driver.end("onInit")
        driver.cancel()
        driver.escalate()
        self.assertEqual(driver.stops[1:], [("a", "", True)])
        driver.end("a", ABORTED)
        self.assertEqual((driver.started, driver.state), (["onInit", "a"], RunState.ABORTED))

    def test_during_init(self) -> None:
        """A stop during init ends that; the steps never start; cancel and exit run."""
        driver = PlanDriver(dag(Step("a"), handlers=ALL))
        driver.cancel()
        self.assertEqual(driver.stops, [("onInit", "", False)])
        driver.end("onInit")
        driver.end("onCancel")
        driver.end("onExit")
        self.assertEqual((driver.states()["a"], driver.state), (NOT_STARTED, RunState.ABORTED))

    def test_during_conditions(self) -> None:
        """A stop while the DAG's conditions are evaluated aborts the run, whatever they say."""
        driver = PlanDriver(dag(Step("a"), preconditions=(Condition("x"),)))
        driver.cancel()
        driver.verdicts("dag", True)
        self.assertEqual((driver.started, driver.state), ([], RunState.ABORTED))

    def test_kill_during_conditions(self) -> None:
        """A run without steps that is made to end while its conditions are evaluated was aborted, too."""
        driver = PlanDriver(dag(preconditions=(Condition("x"),)))
        driver.escalate()
        driver.verdicts("dag", False)
        self.assertEqual((driver.stops, driver.state), ([("dag", "", True)], RunState.ABORTED))

    def test_during_a_closing_handler(self) -> None:
        """A stop ends the handler that runs; exit still runs; the run was aborted."""
        driver = PlanDriver(dag(Step("a"), handlers=(Handler.SUCCESS, Handler.EXIT), max_clean_up_seconds=5))
        driver.end("a")
        driver.cancel()
        driver.advance(5)
        self.assertEqual(driver.stops, [("onSuccess", "", False), ("onSuccess", "", True)])
        driver.end("onSuccess", ABORTED)
        driver.end("onExit")
        self.assertIs(driver.state, RunState.ABORTED)


class HandlerTests(SynchronousTestCase):
    def finish(self, driver: PlanDriver) -> list[str]:
        """Let all handlers end well; which ran after the steps."""
        while driver.open:
            [name] = driver.open
            driver.end(name)
        return [name for name in driver.started if name.startswith("on") and name != "onInit"]

    def test_which_run(self) -> None:
        """The table of section 16: the one that fits the state, then exit; waiting runs have theirs only."""
        for end, expected in (
            (SUCCEEDED, ["onSuccess", "onExit"]),
            (NodeState.PARTIALLY_SUCCEEDED, ["onSuccess", "onExit"]),
            (FAILED, ["onFailure", "onExit"]),
            (NodeState.REJECTED, ["onFailure", "onExit"]),
            (WAITING, ["onWait"]),
        ):
            driver = PlanDriver(dag(Step("a"), handlers=ALL))
            self.assertEqual(driver.started, ["onInit"])
            driver.end("onInit")
            driver.end("a", end)
            self.assertEqual(self.finish(driver), expected)

    def test_failing_handler(self) -> None:
        """A failing success handler makes the run failed, which exit is told; a partial success stands before that."""
        for end, state in (
            (SUCCEEDED, RunState.FAILED),
            (NodeState.PARTIALLY_SUCCEEDED, RunState.PARTIALLY_SUCCEEDED),
        ):
            driver = PlanDriver(dag(Step("a"), handlers=(Handler.SUCCESS, Handler.EXIT)))
            driver.end("a", end)
            driver.fail("onSuccess")
            self.assertEqual(driver.open["onExit"], RunHandler(Handler.EXIT, Step("onExit"), state))
            driver.end("onExit")
            self.assertIs(driver.state, state)

    def test_failing_exit_handler(self) -> None:
        """A failing exit handler makes the run failed, too, but not one that was aborted."""
        driver = PlanDriver(dag(Step("a"), handlers=(Handler.EXIT,)))
        driver.end("a")
        driver.fail("onExit")
        self.assertIs(driver.state, RunState.FAILED)
        driver = PlanDriver(dag(Step("a"), handlers=(Handler.EXIT,)))
        driver.cancel()
        driver.end("a", ABORTED)
        driver.fail("onExit")
        self.assertIs(driver.state, RunState.ABORTED)

    def test_failing_init(self) -> None:
        """A failing init aborts the run before its steps: cancel and exit run, and the reason is told."""
        driver = PlanDriver(dag(Step("a"), handlers=ALL))
        driver.fail("onInit")
        self.assertEqual(self.finish(driver), ["onCancel", "onExit"])
        self.assertEqual(driver.finished, [FinishRun(RunState.ABORTED, "the init handler failed")])

    def test_unmet_conditions_of_the_dag(self) -> None:
        """Unmet: aborted, init does not run, cancel and exit do; the messages are on the conditions."""
        conditions = (Condition("x"), Condition("y"))
        driver = PlanDriver(dag(Step("a"), handlers=ALL, preconditions=conditions))
        self.assertEqual(driver.started, [])
        driver.verdicts("dag", True, False)
        self.assertEqual(self.finish(driver), ["onCancel", "onExit"])
        self.assertEqual(
            [condition.error for condition in driver.core.preconditions], ["other condition was not met", "not met"]
        )
        self.assertEqual((driver.states()["a"], driver.state), (NOT_STARTED, RunState.ABORTED))

    def test_met_conditions_of_the_dag(self) -> None:
        """Met: init runs, then the steps."""
        driver = PlanDriver(dag(Step("a"), handlers=(Handler.INIT,), preconditions=(Condition("x"),)))
        driver.verdicts("dag", True)
        driver.end("onInit")
        self.assertEqual(driver.started, ["onInit", "a"])

    def test_conditions_of_handlers(self) -> None:
        """A handler whose conditions are not met is skipped, init too, and the run goes on."""
        handlers = {
            Handler.INIT: Step("onInit", preconditions=(Condition("x"),)),
            Handler.EXIT: Step("onExit", preconditions=(Condition("x"),)),
        }
        driver = PlanDriver(Dag("d", (Step("a"),), handlers=handlers))
        driver.verdicts("onInit", False)
        driver.end("a")
        driver.verdicts("onExit", False)
        self.assertEqual(driver.states(), {"a": SUCCEEDED, "onInit": SKIPPED, "onExit": SKIPPED})
        self.assertIs(driver.state, RunState.SUCCEEDED)

    def test_policies_of_handlers(self) -> None:
        """Handlers are neither tried again nor repeated, and nothing excuses them; time limits hold."""
        handler = Step(
            "onExit",
            retry_policy=RetryPolicy(3, 0),
            repeat_policy=RepeatPolicy(RepeatMode.UNTIL, limit=5),
            continue_on=ContinueOn(failure=True, mark_success=True),
            timeout_seconds=2,
        )
        driver = PlanDriver(Dag("d", (Step("a"),), handlers={Handler.EXIT: handler}))
        driver.end("a")
        driver.advance(2)
        self.assertEqual(driver.stops, [("onExit", "", True)])
        driver.end("onExit", ABORTED)
        self.assertEqual((driver.started, driver.state), (["a", "onExit"], RunState.FAILED))
        self.assertEqual(driver.node("onExit").done_count, 0)

    def test_waiting_step(self) -> None:
        """What depends on a waiting step waits; the rest goes on; the run waits when nothing else runs."""
        steps = (Step("ask"), Step("after", depends=("ask",)), Step("other"))
        driver = PlanDriver(dag(*steps, handlers=ALL))
        driver.end("onInit")
        driver.end("ask", WAITING)
        self.assertIsNone(driver.state)
        driver.end("other")
        self.assertEqual(self.finish(driver), ["onWait"])
        self.assertIs(driver.states()["after"], NOT_STARTED)
        self.assertIs(driver.state, RunState.WAITING)


class HandBackTests(SynchronousTestCase):
    """Runs that end here only: somebody else goes on."""

    def test_interrupted_steps_stand_as_new(self) -> None:
        """What had ended is kept, failures too; what was interrupted has not begun; no handler follows."""
        failing = Step("bad", continue_on=ContinueOn(failure=True))
        driver = PlanDriver(dag(Step("a"), failing, Step("b", depends=("a",)), Step("c", depends=("b",)), handlers=ALL))
        driver.end("onInit")
        driver.end("a")
        driver.fail("bad")
        driver.hand_back()
        self.assertEqual(driver.stops, [("b", "", False)])
        driver.end("b", SUCCEEDED)
        self.assertEqual(driver.states(), {"a": SUCCEEDED, "bad": FAILED, "b": NOT_STARTED, "c": NOT_STARTED} | INIT)
        self.assertEqual((driver.state, driver.started), (RunState.ABORTED, ["onInit", "a", "bad", "b"]))

    def test_resumed(self) -> None:
        """Who goes on runs what was interrupted and what follows, and nothing else."""
        plan = dag(Step("a"), Step("b", depends=("a",)), Step("c", depends=("b",)))
        first = PlanDriver(plan)
        first.end("a")
        first.hand_back()
        first.end("b", ABORTED, -1, "signal: terminated")
        second = PlanDriver(plan, first.core.nodes, resumes=True)
        second.end("b")
        second.end("c")
        self.assertEqual((second.started, second.state), (["b", "c"], RunState.SUCCEEDED))

    def test_between_the_last_step_and_its_handlers(self) -> None:
        """A handler that is interrupted runs again, for a run that is not over until it has run."""
        plan = dag(Step("a"), handlers=[Handler.EXIT])
        first = PlanDriver(plan)
        first.end("a")
        first.hand_back()
        first.end("onExit", ABORTED)
        self.assertEqual((first.state, first.states()), (RunState.ABORTED, {"a": SUCCEEDED}))
        second = PlanDriver(plan, first.core.nodes, resumes=True)
        second.end("onExit")
        self.assertEqual((second.started, second.state), (["onExit"], RunState.SUCCEEDED))

    def test_stubborn_step(self) -> None:
        """A step that ignores its signal is killed when its time to clean up is over, or at once with force."""
        driver = PlanDriver(dag(Step("a"), max_clean_up_seconds=3))
        driver.hand_back()
        driver.advance(3)
        self.assertEqual(driver.stops, [("a", "", False), ("a", "", True)])
        driver.escalate()
        driver.end("a", ABORTED)
        self.assertEqual(driver.states(), {"a": NOT_STARTED})

    def test_after_a_cancellation(self) -> None:
        """A run that somebody has cancelled is not handed back: it ends."""
        driver = PlanDriver(dag(Step("a"), handlers=[Handler.EXIT]))
        driver.cancel()
        driver.hand_back()
        driver.end("a", ABORTED)
        self.assertEqual((driver.states()["a"], driver.started), (ABORTED, ["a", "onExit"]))
