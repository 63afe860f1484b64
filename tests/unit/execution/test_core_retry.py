"""Retries of one step: what is kept, what starts anew, and what becomes of the run."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from txdagu.model.dag import Dag, Handler, Step
from txdagu.model.errors import InvalidInputError
from txdagu.model.policies import ContinueOn
from txdagu.model.run import NodeStatus
from txdagu.model.status import NodeState, RunState
from txdagu.testing.plan import PlanDriver

GOOD, BAD, GONE, SKIPPED = NodeState.SUCCEEDED, NodeState.FAILED, NodeState.ABORTED, NodeState.SKIPPED
CHAIN = (Step("a"), Step("b", depends=("a",)), Step("c", depends=("b",)))


def retry(only: str, *states: NodeState, steps: tuple[Step, ...] = CHAIN, **handlers: Step) -> PlanDriver:
    """A retry of one step of a run whose steps came to these states."""
    nodes = [
        NodeStatus(step, state, error={BAD: f'failed to execute step "{step.name}": exit status 3'}.get(state, ""))
        for step, state in zip(steps, states, strict=True)
    ]
    dag = Dag("d", steps, handlers={Handler[name]: replace(step, name=name) for name, step in handlers.items()})
    return PlanDriver(dag, nodes, only)


class OneStepTests(SynchronousTestCase):
    def test_that_one_alone(self) -> None:
        """Only the named step runs; what follows it stays as it was, also where it would run in a retry of the whole."""
        driver = retry("b", GOOD, BAD, GONE)
        driver.end("b")
        self.assertEqual(driver.started, ["b"])
        self.assertEqual(driver.states(), {"a": GOOD, "b": GOOD, "c": GONE})
        self.assertIs(driver.state, RunState.SUCCEEDED)

    def test_one_that_had_succeeded(self) -> None:
        """It runs again too; its fresh failure makes the run fail."""
        driver = retry("a", GOOD, GOOD, GOOD)
        driver.fail("a")
        self.assertEqual(driver.states(), {"a": BAD, "b": GOOD, "c": GOOD})
        self.assertIs(driver.state, RunState.FAILED)

    def test_dependencies_count(self) -> None:
        """A step whose dependency failed has no turn, and the run is still a failed one."""
        driver = retry("c", GOOD, BAD, GONE)
        self.assertEqual(driver.started, [])
        self.assertEqual(driver.node("c").error, "upstream failed")
        self.assertIs(driver.state, RunState.FAILED)

    def test_excused_dependencies(self) -> None:
        """Whether an earlier failure was excused is known by policy, by the exit code in its error, or by what it held up."""
        for policy, others, starts in (
            (ContinueOn(failure=True), GONE, True),
            (ContinueOn(exit_codes=(3,)), GONE, True),
            (ContinueOn(exit_codes=(4,)), GONE, False),
            (ContinueOn(outputs=("x",)), GOOD, True),
            (ContinueOn(outputs=("x",)), GONE, False),
        ):
            steps = (Step("a", continue_on=policy), Step("b", depends=("a",)), Step("c", depends=("a",)))
            driver = retry("c", BAD, others, GOOD, steps=steps)
            self.assertEqual(driver.started, ["c"] if starts else [], policy)

    def test_never_started_ones_go_on(self) -> None:
        """Steps that a stop kept from starting have their turn after the retried one."""
        driver = retry("a", GONE, NodeState.NOT_STARTED, NodeState.NOT_STARTED)
        for name in "abc":
            driver.end(name)
        self.assertIs(driver.state, RunState.SUCCEEDED)

    def test_skipped_ones_stay(self) -> None:
        """A step that was skipped with its dependency is skipped again, for that is what the dependency says."""
        driver = retry("b", SKIPPED, SKIPPED, SKIPPED)
        self.assertEqual(driver.node("b").error, "upstream skipped")
        self.assertIs(driver.state, RunState.SUCCEEDED)

    def test_handlers_run_again(self) -> None:
        """Init before, the one that fits and exit after, as in any attempt."""
        step = Step("")
        driver = retry("a", BAD, GONE, GONE, INIT=step, SUCCESS=step, EXIT=step)
        for name in ("INIT", "a", "SUCCESS", "EXIT"):
            driver.end(name)
        self.assertIs(driver.state, RunState.SUCCEEDED)

    def test_unknown_step(self) -> None:
        """A name of no step is refused, with those there are."""
        self.assertIn(
            'no step "x" (its steps are a, b, c)', str(self.assertRaises(InvalidInputError, retry, "x", BAD, BAD, BAD))
        )
