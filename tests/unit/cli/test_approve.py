"""Asking people and taking their answers on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txdagu.cli.approve import ApproveOptions, RejectOptions, chosen
from txdagu.cli.arguments import parse
from txdagu.cli.asking import answers
from txdagu.cli.report import decision_text
from txdagu.execution.approvals import Approvals
from txdagu.execution.plan.approval import NotWaitingError, Wait
from txdagu.model.dag import Step
from txdagu.model.errors import InvalidInputError, NotFoundError
from txdagu.model.run import Decision, NodeStatus, RunRef
from txdagu.model.status import NodeState
from txdagu.testing.store import MemoryStore

ROOT = RunRef("job", "r1")
CHILD = RunRef("sub", "k1")
AT = datetime(2026, 11, 24, 2, 16, 56, tzinfo=UTC)


def wait(name: str, run: RunRef = ROOT, **config: object) -> Wait:
    """A step that waits."""
    return Wait(run, NodeStatus(Step(name, type="hitl", config=config), NodeState.WAITING))


class AskingTests(SynchronousTestCase):
    def test_what_is_asked(self) -> None:
        """Prompt, inputs and commands; names that a shell would take apart are quoted, runs that were called are named."""
        waits = (
            wait("ask me", prompt="Deploy?\nReally?", input=["WHO", "WHY"], required=["WHO"]),
            wait("deep", CHILD),
        )
        self.assertEqual(
            answers(ROOT, waits),
            "ask me waits for approval:\n"
            "  Deploy?\n"
            "  Really?\n"
            "  inputs:  WHO (required), WHY\n"
            "  approve: dagu approve job --run-id r1 --step 'ask me' WHO=… [WHY=…]\n"
            "  reject:  dagu reject job --run-id r1 --step 'ask me' --reason …\n"
            "deep of sub (run k1) waits for approval\n"
            "  approve: dagu approve job --run-id r1 --child k1 --step deep\n"
            "  reject:  dagu reject job --run-id r1 --child k1 --step deep --reason …\n",
        )

    def test_decisions(self) -> None:
        """What was decided, by whom, when, with what."""
        for decision, text in (
            (None, ""),
            (Decision(True), "approved"),
            (
                Decision(True, AT, "eve", {"A": "1", "B": "x y"}),
                "approved by eve at 2026-11-24T02:16:56Z: A=1 B=x y",
            ),
            (Decision(False, AT, reason="too late"), "rejected at 2026-11-24T02:16:56Z: too late"),
        ):
            self.assertEqual(decision_text(decision), text)


class OptionTests(SynchronousTestCase):
    def test_inputs(self) -> None:
        """Inputs are NAME=value, of which only the first sign counts."""
        options = parse(ApproveOptions(), "approve", ["job", "--run-id=r1", "A=1=2", "B="])
        self.assertEqual(options.inputs(), {"A": "1=2", "B": ""})

    def test_all_that_is_wrong(self) -> None:
        """What is missing and what cannot be understood is told at once."""
        options = parse(ApproveOptions(), "approve", ["job", "oops", "=x"])
        with self.assertRaises(InvalidInputError) as caught:
            options.inputs()
        problems = [problem.message for problem in caught.exception.problems]
        self.assertEqual(problems, ['"oops" is no input', '"" is no input', "the run is not named"])
        with self.assertRaisesRegex(InvalidInputError, "the DAG is missing .*the run is not named"):
            parse(RejectOptions(), "reject", []).check()
        with self.assertRaisesRegex(InvalidInputError, '"more" is not expected here'):
            parse(RejectOptions(), "reject", ["job", "more", "-r", "r1"]).check()


class ChoiceTests(SynchronousTestCase):
    """Which step is meant."""

    def choose(self, waits: Sequence[Wait], *arguments: str) -> Deferred[Wait]:
        """The choice that these options make."""
        options = parse(ApproveOptions(), "approve", ["job", "-r", "r1", *arguments])
        store = MemoryStore(Clock(), lambda: AT)
        return Deferred.fromCoroutine(chosen(Approvals(store, lambda: AT), ROOT, waits, options))

    def test_only_one(self) -> None:
        """The only step that waits need not be named; of several, name or run make the choice."""
        one, two, below = wait("a"), wait("b"), wait("b", CHILD)
        self.assertIs(self.successResultOf(self.choose([one])), one)
        self.assertIs(self.successResultOf(self.choose([one, two], "--step=b")), two)
        self.assertIs(self.successResultOf(self.choose([one, two, below], "--step=b", "--child=k1")), below)

    def test_several(self) -> None:
        """Several that fit are all told, with the options that name them."""
        error: Any = self.failureResultOf(
            self.choose([wait("b"), wait("b", CHILD)], "--step=b"), InvalidInputError
        ).value
        self.assertEqual([problem.advice for problem in error.problems], ["--step b", "--step b --child k1"])

    def test_none(self) -> None:
        """A step that does not wait is passed on, to be told why; without a name there is nothing to decide on."""
        self.assertEqual(self.successResultOf(self.choose([], "--step=b")).node.step.name, "b")
        self.failureResultOf(self.choose([]), NotWaitingError)
        self.failureResultOf(self.choose([], "--step=b", "--child=k9"), NotFoundError)
