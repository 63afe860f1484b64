"""The run core under any events in any order: what must hold whatever happens."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from txdagu.execution.plan import CheckConditions, EvaluateRetry, RunHandler, SearchLog, StartStep
from txdagu.model.conditions import Condition
from txdagu.model.dag import Dag, Handler, Step
from txdagu.model.policies import ContinueOn, RepeatMode, RepeatPolicy, RetryPolicy
from txdagu.model.status import NodeState, RunState
from txdagu.testing.plan import PlanDriver

WELL = (NodeState.SUCCEEDED, NodeState.PARTIALLY_SUCCEEDED, NodeState.SKIPPED)
CONDITION = Condition("x")
conditions = st.sampled_from(((), (CONDITION,)))
limits = st.sampled_from((0, 0, 3))
continue_ons = st.builds(
    ContinueOn,
    st.booleans(),
    st.booleans(),
    st.sampled_from(((), (2,))),
    st.sampled_from(((), ("text",))),
    st.booleans(),
)
retries = st.none() | st.builds(
    RetryPolicy, st.integers(0, 2), st.sampled_from((0, 5, "$N")), st.sampled_from(((), (1,)))
)
repeats = st.none() | st.builds(
    RepeatPolicy,
    st.sampled_from(RepeatMode),
    st.none() | st.just(CONDITION),
    st.sampled_from(((), (1, 2))),
    st.integers(1, 3),
    st.sampled_from((0, 4)),
)


def some_step(draw: st.DrawFn, name: str, depends: tuple[str, ...]) -> Step:
    return Step(
        name,
        depends=depends,
        preconditions=draw(conditions),
        continue_on=draw(continue_ons),
        retry_policy=draw(retries),
        repeat_policy=draw(repeats),
        timeout_seconds=draw(limits),
    )


@st.composite
def dags(draw: st.DrawFn) -> Dag:
    """DAGs of up to seven steps in any order, with every policy, and any handlers."""
    count = draw(st.integers(0, 7))
    order = draw(st.permutations(range(count)))
    depends: dict[int, tuple[str, ...]] = {}
    for position, index in enumerate(order):
        chosen = draw(st.sets(st.sampled_from(order[:position]), max_size=3)) if position else set()
        depends[index] = tuple(f"s{other}" for other in sorted(chosen))
    handlers = draw(st.sets(st.sampled_from(Handler)))
    return Dag(
        "d",
        tuple(some_step(draw, f"s{index}", depends[index]) for index in range(count)),
        handlers={handler: Step(handler.name, preconditions=draw(conditions)) for handler in handlers},
        preconditions=draw(conditions),
        max_active_steps=draw(st.integers(0, 2)),
        timeout_seconds=draw(st.sampled_from((0, 0, 0, 6))),
        delay_seconds=draw(st.sampled_from((0, 0, 1))),
        max_clean_up_seconds=draw(st.sampled_from((0, 5))),
    )


class Story:
    """One run with events drawn by `data`, and what is checked after each of them."""

    def __init__(self, test: SynchronousTestCase, dag: Dag, data: st.DataObject) -> None:
        self.test = test
        self.dag = dag
        self.data = data
        self.excused: set[str] = set()
        self.codes: dict[str, int] = {}
        self.stops = data.draw(st.sampled_from(((), ("cancel",), ("cancel", "kill"))))
        self.passed_conditions = False
        self.driver = PlanDriver(dag)

    def tell(self) -> None:
        """Something happens: an answer, time, a stop, a kill."""
        driver, draw = self.driver, self.data.draw
        what = draw(st.sampled_from(("answer",) * 12 + ("time",) * 3 + self.stops))
        if what == "answer" and driver.open:
            self.answer(draw(st.sampled_from(sorted(driver.open))))
        elif what == "cancel":
            driver.cancel()
        elif what == "kill":
            driver.escalate()
        else:
            driver.advance(draw(st.sampled_from((1, 5))))

    def answer(self, name: str) -> None:
        """What was asked for one step is answered."""
        driver, draw = self.driver, self.data.draw
        match driver.open[name]:
            case CheckConditions(_, asked):
                driver.verdicts(name, *(draw(st.booleans()) for _ in asked))
            case EvaluateRetry(_, policy):
                driver.retry_texts(name, int(policy.limit), 2)
            case SearchLog():
                found = draw(st.booleans())
                if found:
                    self.excused.add(name)
                driver.search(name, found)
            case StartStep() | RunHandler():
                states = (*("SUCCEEDED", "FAILED") * 3, "PARTIALLY_SUCCEEDED", "WAITING", "REJECTED", "ABORTED")
                state = NodeState[draw(st.sampled_from(states))]
                code = draw(st.sampled_from((1, 2))) if state is NodeState.FAILED else 0
                driver.end(name, state, code)

    def lets_go_on(self, name: str) -> bool:
        """Section 13 and 18, told anew: whether dependants of a step may start."""
        node, policy = self.driver.node(name), self.dag.step(name).continue_on
        if node.state is NodeState.SKIPPED:
            return policy.skipped
        if node.state is NodeState.FAILED:
            code = self.driver.core.exit_code(self.driver.core.nodes.index(node))
            return policy.failure or code in policy.exit_codes or name in self.excused
        return node.state in (NodeState.SUCCEEDED, NodeState.PARTIALLY_SUCCEEDED)

    def check_starts(self, begun: list[str], stopped: bool) -> None:
        """Nothing starts against its dependencies, beyond the limit, or after a stop."""
        test, driver = self.test, self.driver
        for name in begun:
            if name.startswith("s"):
                test.assertFalse(stopped, f"{name} started after the stop")
                test.assertTrue(all(map(self.lets_go_on, self.dag.step(name).depends)), name)
        running = [target for target in driver.core.running if isinstance(target, int)]
        test.assertTrue(self.dag.max_active_steps == 0 or len(running) <= self.dag.max_active_steps)
        test.assertTrue(not running or len(running) == len(driver.core.running), "a handler beside a step")

    def expected_state(self) -> RunState:
        """Section 18, told anew: the state of a run that has ended."""
        core, states = self.driver.core, self.driver.states()
        steps = [states[step.name] for step in self.dag.steps]
        handlers = [state for name, state in states.items() if not name.startswith("s")]
        if core.timed_out:
            return RunState.FAILED
        never = any(condition.error for condition in core.preconditions)
        init = states.get("INIT") in (NodeState.FAILED, NodeState.ABORTED)
        before_steps = core.cancelled and self.dag.preconditions and not self.passed_conditions
        if never or init or before_steps or (core.cancelled and not all(state in WELL for state in steps)):
            return RunState.ABORTED
        if NodeState.ABORTED in handlers:
            return RunState.ABORTED
        for state in (NodeState.REJECTED, NodeState.WAITING):
            if state in steps:
                return RunState[state.name]
        bad = [step.name for step in self.dag.steps if states[step.name] is NodeState.FAILED]
        unexcused = NodeState.ABORTED in steps or not all(map(self.lets_go_on, bad))
        good = Counter(steps)
        partial = good[NodeState.PARTIALLY_SUCCEEDED]
        if not unexcused and (bad or partial) and (good[NodeState.SUCCEEDED] or partial):
            return RunState.PARTIALLY_SUCCEEDED
        return RunState.FAILED if unexcused or bad or NodeState.FAILED in handlers else RunState.SUCCEEDED

    def run(self) -> None:
        """Until it ends; the events drawn are followed by answers alone."""
        driver = self.driver
        drawn = self.data.draw(st.integers(0, 60))
        for number in range(2000):
            if driver.finished:
                break
            stopped, before = driver.core.cancelled or driver.core.timed_out, len(driver.started)
            asked = "dag" in driver.open
            if number < drawn:
                self.tell()
            elif driver.open:
                self.answer(min(driver.open))
            else:
                driver.advance(5)
            self.passed_conditions |= asked and "dag" not in driver.open and not driver.core.cancelled
            self.check_starts(driver.started[before:], stopped)
        self.check_end()

    def check_end(self) -> None:
        """The run ended once, with nothing left open, everybody settled once, and the state of the table."""
        test, driver, dag = self.test, self.driver, self.dag
        test.assertEqual((len(driver.finished), driver.open, driver.core.running), (1, {}, frozenset()))
        test.assertEqual({name: n for name, n in Counter(driver.settled).items() if n > 1}, {})
        test.assertLessEqual(set(driver.started), set(driver.settled))
        for step in dag.steps:
            node, policy = driver.node(step.name), step.retry_policy
            test.assertIsNot(node.state, NodeState.RUNNING)
            limit = 0 if policy is None else int(policy.limit)
            test.assertLessEqual(node.retry_count, limit)
            rounds = 1 if step.repeat_policy is None else step.repeat_policy.limit
            test.assertLessEqual(node.done_count, rounds)
            test.assertLessEqual(Counter(driver.started)[step.name], rounds + limit)
            if not driver.core.cancelled and driver.state not in (RunState.WAITING, RunState.ABORTED):
                waits = (
                    {NodeState.NOT_STARTED} if any(n.state is NodeState.WAITING for n in driver.core.nodes) else set()
                )
                test.assertNotIn(node.state, {NodeState.NOT_STARTED} - waits)
        test.assertIs(driver.state, self.expected_state())
        after = len(driver.started)
        driver.advance(10_000)
        driver.cancel()
        driver.escalate()
        test.assertEqual((len(driver.started), len(driver.finished)), (after, 1))


class PropertyTests(SynchronousTestCase):
    @settings(max_examples=200, deadline=None)
    @given(dags(), st.data())
    def test_any_story(self, dag: Dag, data: st.DataObject) -> None:
        """
        Any DAG, any answers, times, stops: every step settles once at most and exactly once where it started, none starts before
        its dependencies allow it, beyond the limits or after a stop, retries and rounds stay within theirs, and the run ends
        once, in the state of the table.
        """
        Story(self, dag, data).run()
