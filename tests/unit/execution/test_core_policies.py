"""The run core: conditions, continueOn, retries and repetition."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txdagu.execution.plan import CheckConditions, SearchLog, StepEnd
from txdagu.execution.plan.policies import LONGEST_PAUSE, Again, after_round, pause
from txdagu.execution.plan.settling import run_state
from txdagu.model.conditions import Condition
from txdagu.model.dag import Dag, Step
from txdagu.model.policies import ContinueOn, RepeatMode, RepeatPolicy, RetryPolicy
from txdagu.model.run import ChildRun
from txdagu.model.status import NodeState, RunState
from txdagu.testing.plan import BEGINNING, PlanDriver

TRUE = Condition("true")
A, R, S = NodeState.ABORTED, NodeState.RUNNING, NodeState.SKIPPED
FAILED, SUCCEEDED, NOT_STARTED = NodeState.FAILED, NodeState.SUCCEEDED, NodeState.NOT_STARTED


def chain(first: Step, *more: str, **options: object) -> Dag:
    names = (first.name, *more)
    steps = (first, *(Step(name, depends=(before,)) for before, name in zip(names, more, strict=False)))
    return Dag("d", steps, **options)  # type: ignore[arg-type]


class ConditionTests(SynchronousTestCase):
    def test_met(self) -> None:
        """A step with conditions waits for them, and runs when all are met."""
        driver = PlanDriver(chain(Step("a", preconditions=(TRUE, Condition("x", "y")))))
        self.assertEqual(driver.open["a"], CheckConditions(0, (TRUE, Condition("x", "y"))))
        driver.verdicts("a", True, True)
        driver.end("a")
        self.assertIs(driver.state, RunState.SUCCEEDED)
        self.assertEqual(driver.node("a").step.preconditions, (TRUE, Condition("x", "y")))

    def test_unmet(self) -> None:
        """An unmet one skips the step without an error; it and the others get their messages; dependants are skipped."""
        driver = PlanDriver(chain(Step("a", preconditions=(TRUE, Condition("x", "y"))), "b"))
        driver.verdicts("a", True, False)
        self.assertEqual(driver.started, [])
        self.assertEqual(driver.states(), {"a": S, "b": S})
        self.assertEqual((driver.node("a").error, driver.node("b").error), ("", "upstream skipped"))
        messages = [condition.error for condition in driver.node("a").step.preconditions]
        self.assertEqual(messages, ["other condition was not met", "not met"])
        self.assertIs(driver.state, RunState.SUCCEEDED)

    def test_broken(self) -> None:
        """One that cannot be evaluated skips the step, which says so."""
        driver = PlanDriver(chain(Step("a", preconditions=(TRUE,))))
        driver.verdicts("a", False, broken=True)
        self.assertEqual((driver.node("a").state, driver.node("a").error), (S, "not met"))

    def test_stopped_while_checking(self) -> None:
        """A stop while conditions are evaluated ends that, and the step counts as aborted whatever comes out."""
        driver = PlanDriver(chain(Step("a", preconditions=(TRUE,)), "b"))
        driver.cancel()
        self.assertEqual(driver.stops, [("a", "", False)])
        driver.verdicts("a", True)
        self.assertEqual(driver.states(), {"a": A, "b": NOT_STARTED})


class ContinueOnTests(SynchronousTestCase):
    def run_failing(self, policy: ContinueOn, code: int = 1, found: bool | None = None) -> PlanDriver:
        driver = PlanDriver(chain(Step("a", continue_on=policy), "b"))
        driver.fail("a", code)
        if found is not None:
            driver.search("a", found)
        if "b" in driver.open:
            driver.end("b")
        return driver

    def test_failure(self) -> None:
        """An excused failure lets others go on; with something that succeeded the run is partially succeeded."""
        driver = self.run_failing(ContinueOn(failure=True))
        self.assertEqual((driver.states(), driver.state), ({"a": FAILED, "b": SUCCEEDED}, RunState.PARTIALLY_SUCCEEDED))

    def test_exit_codes(self) -> None:
        """Only the codes in the list are excused, a death by signal (-1) too."""
        for code, state in (
            (3, RunState.PARTIALLY_SUCCEEDED),
            (-1, RunState.PARTIALLY_SUCCEEDED),
            (4, RunState.FAILED),
        ):
            self.assertIs(self.run_failing(ContinueOn(exit_codes=(3, -1)), code).state, state)

    def test_output(self) -> None:
        """The log is searched only if nothing else excuses, and what is found excuses."""
        policy = ContinueOn(exit_codes=(3,), outputs=("x", "re:y"))
        driver = PlanDriver(chain(Step("a", continue_on=policy), "b"))
        driver.fail("a")
        self.assertEqual(driver.open["a"], SearchLog(0, ("x", "re:y")))
        self.assertIs(driver.node("a").state, R)
        self.assertIs(self.run_failing(policy, 1, found=True).state, RunState.PARTIALLY_SUCCEEDED)
        self.assertIs(self.run_failing(policy, 1, found=False).state, RunState.FAILED)
        self.assertIs(self.run_failing(policy, 3).state, RunState.PARTIALLY_SUCCEEDED)

    def test_mark_success(self) -> None:
        """An excused failure that is marked is a success whose error stays; one that is not excused is not marked."""
        driver = self.run_failing(ContinueOn(failure=True, mark_success=True))
        self.assertEqual((driver.states()["a"], driver.state), (SUCCEEDED, RunState.SUCCEEDED))
        self.assertEqual(driver.node("a").error, "exit status 1")
        driver = self.run_failing(ContinueOn(exit_codes=(3,), mark_success=True))
        self.assertEqual((driver.states()["a"], driver.state), (FAILED, RunState.FAILED))

    def test_skipped(self) -> None:
        """A skipped step is excused by `skipped` alone."""
        for policy, state in (
            (ContinueOn(skipped=True), SUCCEEDED),
            (ContinueOn(failure=True, exit_codes=(0,)), S),
        ):
            driver = PlanDriver(chain(Step("a", preconditions=(TRUE,), continue_on=policy), "b"))
            driver.verdicts("a", False)
            if "b" in driver.open:
                driver.end("b")
            self.assertIs(driver.states()["b"], state)
            self.assertIs(driver.state, RunState.SUCCEEDED)

    def test_broken_preparation(self) -> None:
        """A step that fails before its first execution is excused like any other."""
        driver = PlanDriver(chain(Step("a", preconditions=(TRUE,), continue_on=ContinueOn(failure=True)), "b"))
        driver.fail("a")
        driver.end("b")
        self.assertIs(driver.state, RunState.PARTIALLY_SUCCEEDED)
        self.assertEqual(driver.node("a").done_count, 0)

    def test_kept_skip(self) -> None:
        """A skipped step that a retry keeps excuses by what the DAG says now."""
        policy = ContinueOn(skipped=True)
        first = PlanDriver(chain(Step("a", preconditions=(TRUE,), continue_on=policy), "b"))
        first.verdicts("a", False)
        first.fail("b")
        again = PlanDriver(chain(Step("a", preconditions=(TRUE,), continue_on=policy), "b"), first.core.nodes)
        self.assertEqual(again.started, ["b"])

    def test_run_states(self) -> None:
        """The table of section 18: what the ends of the steps make of the run."""
        partial = NodeState.PARTIALLY_SUCCEEDED
        for states, excused, handler_failed, expected in (
            ((SUCCEEDED, S), 0, False, RunState.SUCCEEDED),
            ((S, S), 0, False, RunState.SUCCEEDED),
            ((SUCCEEDED,), 0, True, RunState.FAILED),
            ((FAILED, SUCCEEDED), 1, False, RunState.PARTIALLY_SUCCEEDED),
            ((FAILED, SUCCEEDED), 1, True, RunState.PARTIALLY_SUCCEEDED),
            ((FAILED, S), 1, False, RunState.FAILED),
            ((FAILED, FAILED, SUCCEEDED), 1, False, RunState.FAILED),
            ((FAILED, partial), 1, False, RunState.PARTIALLY_SUCCEEDED),
            ((partial,), 0, False, RunState.PARTIALLY_SUCCEEDED),
            ((partial, FAILED), 0, False, RunState.FAILED),
            ((partial, NodeState.WAITING), 0, False, RunState.WAITING),
            ((FAILED, NodeState.WAITING, NodeState.REJECTED), 0, False, RunState.REJECTED),
        ):
            counts = {state: states.count(state) for state in NodeState}
            self.assertIs(run_state(counts, excused, handler_failed), expected, (states, excused))


class RetryTests(SynchronousTestCase):
    def test_until_success(self) -> None:
        """Failures are tried again after the pause, and counted; the round counts once."""
        driver = PlanDriver(chain(Step("a", retry_policy=RetryPolicy(3, 10)), "b"))
        driver.fail("a")
        self.assertEqual((driver.states()["a"], driver.open), (R, {}))
        driver.advance(9.9)
        self.assertEqual(driver.started, ["a"])
        driver.advance(0.1)
        driver.fail("a")
        driver.advance(10)
        driver.end("a")
        node = driver.node("a")
        self.assertEqual((node.state, node.retry_count, node.done_count, node.error), (SUCCEEDED, 2, 1, ""))
        self.assertEqual((node.retried_at - BEGINNING).total_seconds(), 10)  # type: ignore[operator]
        self.assertEqual(driver.started, ["a", "a", "a", "b"])

    def test_limit(self) -> None:
        """The limit counts retries; without an interval they follow at once."""
        driver = PlanDriver(chain(Step("a", retry_policy=RetryPolicy(2, 0))))
        for _ in range(3):
            driver.fail("a")
        self.assertEqual((driver.started, driver.state), (["a"] * 3, RunState.FAILED))

    def test_exit_codes(self) -> None:
        """A code outside of the list is final."""
        driver = PlanDriver(chain(Step("a", retry_policy=RetryPolicy(5, 0, exit_codes=(3,)))))
        driver.fail("a", 3)
        driver.fail("a", 4)
        self.assertEqual((driver.node("a").retry_count, driver.state), (1, RunState.FAILED))

    def test_back_off(self) -> None:
        """The pause before retry k is interval times backoff to the k-1, capped."""
        driver = PlanDriver(chain(Step("a", retry_policy=RetryPolicy(4, 2, backoff=3.0, max_interval=20))))
        times = []
        for _ in range(4):
            driver.fail("a")
            before = driver.seconds
            while "a" not in driver.open:
                driver.advance(1)
            times.append(driver.seconds - before)
        self.assertEqual(times, [2, 6, 18, 20])

    def test_endless_back_off(self) -> None:
        """Back-off beyond what times can say is a very long pause, not an error."""
        self.assertEqual(pause(10, 10.0, 400, 0).total_seconds(), LONGEST_PAUSE)
        self.assertEqual(pause(-5, 0.0, 3, 0).total_seconds(), 0)

    def test_texts(self) -> None:
        """Texts are evaluated once, before the first execution."""
        driver = PlanDriver(chain(Step("a", retry_policy=RetryPolicy("$N", "5"))))
        self.assertEqual(driver.started, [])
        driver.retry_texts("a", 1, 5)
        driver.fail("a")
        driver.advance(5)
        driver.fail("a")
        self.assertEqual((driver.started, driver.state), (["a", "a"], RunState.FAILED))

    def test_text_that_is_no_number(self) -> None:
        """A policy that cannot be evaluated fails the step before it runs."""
        driver = PlanDriver(chain(Step("a", retry_policy=RetryPolicy("$N", 5))))
        driver.fail("a")
        self.assertEqual((driver.started, driver.state, driver.node("a").done_count), ([], RunState.FAILED, 0))

    def test_stop_in_the_pause(self) -> None:
        """A stop during the pause ends the step at once, as aborted, with the error it had."""
        driver = PlanDriver(chain(Step("a", retry_policy=RetryPolicy(3, 1000)), "b"))
        driver.fail("a")
        driver.cancel()
        self.assertEqual((driver.states(), driver.state), ({"a": A, "b": NOT_STARTED}, RunState.ABORTED))
        self.assertEqual((driver.node("a").error, driver.stops), ("exit status 1", []))

    def test_same_child_again(self) -> None:
        """A retry that calls the same run again tells it once."""
        driver = PlanDriver(chain(Step("a", retry_policy=RetryPolicy(3, 0))))
        driver.core.step_calls(0, [ChildRun("c")])
        driver.fail("a")
        driver.core.step_calls(0, [ChildRun("c")])
        driver.end("a")
        self.assertEqual(driver.node("a").children, (ChildRun("c"),))


class RepeatTests(SynchronousTestCase):
    def test_modes(self) -> None:
        """Every mode of the table: what is looked at, and which answer means another round."""
        good, bad = StepEnd(SUCCEEDED), StepEnd(FAILED, exit_code=3)
        while_, until = RepeatMode.WHILE, RepeatMode.UNTIL
        for policy, rounds, end, expected in (
            (RepeatPolicy(while_), 1, good, Again.YES),
            (RepeatPolicy(while_), 1, bad, Again.NO),
            (RepeatPolicy(until), 1, good, Again.NO),
            (RepeatPolicy(until), 1, bad, Again.YES),
            (RepeatPolicy(while_, exit_codes=(3,)), 1, bad, Again.YES),
            (RepeatPolicy(while_, exit_codes=(0,)), 1, bad, Again.NO),
            (RepeatPolicy(until, exit_codes=(3,)), 1, bad, Again.NO),
            (RepeatPolicy(until, exit_codes=(0,)), 1, bad, Again.YES),
            (RepeatPolicy(until, TRUE, exit_codes=(0,)), 1, good, Again.ASK),
            (RepeatPolicy(while_, limit=2), 1, good, Again.YES),
            (RepeatPolicy(while_, limit=2), 2, good, Again.NO),
            (RepeatPolicy(until, TRUE, limit=2), 2, bad, Again.NO),
        ):
            self.assertIs(after_round(policy, rounds, end), expected, policy)

    def test_condition(self) -> None:
        """The condition is asked after each round; rounds are counted, earlier children kept apart."""
        driver = PlanDriver(chain(Step("a", repeat_policy=RepeatPolicy(RepeatMode.UNTIL, TRUE, interval=5)), "b"))
        driver.core.step_calls(0, [ChildRun("c1")])
        driver.end("a")
        self.assertEqual(driver.open, {"a": CheckConditions(0, (TRUE,))})
        self.assertFalse(driver.node("a").repeated)
        driver.verdicts("a", False)
        driver.advance(5)
        driver.core.step_calls(0, [ChildRun("c2")])
        driver.end("a")
        driver.verdicts("a", True)
        node = driver.node("a")
        self.assertEqual((node.state, node.done_count, node.repeated), (SUCCEEDED, 2, True))
        self.assertEqual((node.children, node.children_repeated), ((ChildRun("c2"),), (ChildRun("c1"),)))
        self.assertEqual(driver.started, ["a", "a", "b"])

    def test_back_off(self) -> None:
        """The pause before round n+1 is interval times backoff to the n."""
        policy = RepeatPolicy(RepeatMode.WHILE, limit=4, interval=1, backoff=2.0, max_interval=5)
        driver = PlanDriver(chain(Step("a", repeat_policy=policy)))
        times = []
        while driver.state is None:
            driver.end("a")
            before = driver.seconds
            while "a" not in driver.open and driver.state is None:
                driver.advance(1)
            times.append(driver.seconds - before)
        self.assertEqual(times, [2, 4, 5, 0])

    def test_failing_last_round(self) -> None:
        """A failing last round fails the step, unless it is excused."""
        for policy, state in (
            (ContinueOn(), RunState.FAILED),
            (ContinueOn(failure=True), RunState.PARTIALLY_SUCCEEDED),
        ):
            step = Step("a", repeat_policy=RepeatPolicy(RepeatMode.WHILE), continue_on=policy)
            driver = PlanDriver(chain(step, "b"))
            driver.end("a")
            driver.fail("a")
            if "b" in driver.open:
                driver.end("b")
            self.assertEqual((driver.state, driver.node("a").done_count), (state, 2))

    def test_retry_comes_first(self) -> None:
        """A failing round is tried again before the repetition is asked; the limit of retries holds for all rounds."""
        step = Step("a", repeat_policy=RepeatPolicy(RepeatMode.WHILE, limit=3), retry_policy=RetryPolicy(1, 0))
        driver = PlanDriver(chain(step))
        driver.end("a")
        driver.fail("a")
        driver.end("a")
        driver.fail("a")
        self.assertEqual(
            (driver.node("a").retry_count, driver.node("a").done_count, driver.state), (1, 3, RunState.FAILED)
        )

    def test_stop(self) -> None:
        """A stop lets the round finish, which counts as it ends, and no further one starts."""
        driver = PlanDriver(chain(Step("a", repeat_policy=RepeatPolicy(RepeatMode.WHILE)), "b"))
        driver.cancel()
        self.assertEqual(driver.stops, [])
        driver.end("a")
        self.assertEqual((driver.states(), driver.state), ({"a": SUCCEEDED, "b": NOT_STARTED}, RunState.ABORTED))

    def test_stop_in_the_pause(self) -> None:
        """A stop between rounds ends the step at once, with what its last round was."""
        driver = PlanDriver(chain(Step("a", repeat_policy=RepeatPolicy(RepeatMode.WHILE, interval=100))))
        driver.end("a")
        driver.cancel()
        self.assertEqual((driver.states(), driver.state), ({"a": SUCCEEDED}, RunState.SUCCEEDED))

    def test_stop_while_asking(self) -> None:
        """A stop while the condition is evaluated ends that; the last round counts."""
        driver = PlanDriver(chain(Step("a", repeat_policy=RepeatPolicy(RepeatMode.UNTIL, TRUE))))
        driver.end("a")
        driver.cancel()
        self.assertEqual(driver.stops, [("a", "", False)])
        driver.end("a", A)  # nothing came of asking
        self.assertEqual((driver.states(), driver.state), ({"a": SUCCEEDED}, RunState.SUCCEEDED))

    def test_stop_that_takes_too_long(self) -> None:
        """A round that is not over when the time to clean up is, is killed and counts as aborted."""
        driver = PlanDriver(chain(Step("a", repeat_policy=RepeatPolicy(RepeatMode.WHILE)), max_clean_up_seconds=7))
        driver.cancel()
        driver.advance(7)
        self.assertEqual(driver.stops, [("a", "", True)])
        driver.end("a")
        self.assertEqual((driver.states(), driver.state), ({"a": A}, RunState.ABORTED))
