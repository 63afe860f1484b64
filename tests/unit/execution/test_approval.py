"""What a person's word makes of a run's state."""

from __future__ import annotations

from datetime import UTC, datetime

from twisted.trial.unittest import SynchronousTestCase

from txdagu.execution.plan.approval import NotWaitingError, Question, approved, question_of, rejected, waits_of
from txdagu.model.dag import ChildCall, Step
from txdagu.model.errors import InvalidInputError, NotFoundError
from txdagu.model.run import ChildRun, Decision, NodeStatus, RunRef, RunStatus
from txdagu.model.status import NodeState, RunState

RUN = RunRef("d", "r1")
AT = datetime(2026, 11, 24, 2, 16, 56, tzinfo=UTC)
ASK = Step("ask", type="hitl", config={"prompt": "Go?", "input": ["WHO", "WHY"], "required": ["WHO"]})


def waiting(*nodes: NodeStatus, state: RunState = RunState.WAITING, run: RunRef = RUN) -> RunStatus:
    """A run with these nodes behind one that asks."""
    return RunStatus(run, RUN, state, nodes=(NodeStatus(ASK, NodeState.WAITING, outputs={"LOG": "x"}), *nodes))


def after(name: str, *depends: str, state: NodeState = NodeState.NOT_STARTED) -> NodeStatus:
    """A step that waits for others."""
    return NodeStatus(Step(name, depends=depends), state)


class QuestionTests(SynchronousTestCase):
    def test_all_that_is_wrong(self) -> None:
        """What is missing and what was not asked for is told at once; an empty text is no answer to what is required."""
        question = Question("", ("A", "B", "C"), ("A", "B"))
        with self.assertRaises(InvalidInputError) as caught:
            question.check({"B": "", "X": "1", "Y": "2"})
        self.assertEqual(
            str(caught.exception),
            "missing required inputs: [A B]; unknown inputs: [X Y] (the step asks for A, B, C)",
        )
        with self.assertRaisesRegex(InvalidInputError, r"unknown inputs: \[X\] \(the step asks for none\)$"):
            Question().check({"X": "1"})
        question.check({"A": "1", "B": "2"})

    def test_from_records(self) -> None:
        """Options are read in any case of letters; a single text is a list of one."""
        step = Step("a", type="hitl", config={"Prompt": 3, "INPUT": "A", "required": None})
        self.assertEqual(question_of(NodeStatus(step)), Question("3", ("A",), ()))
        self.assertEqual(question_of(NodeStatus(Step("a"))), Question())


class DecisionTests(SynchronousTestCase):
    def test_approved(self) -> None:
        """The step has succeeded, its inputs are outputs beside what it printed; the run still waits to go on."""
        status = approved(waiting(after("next", "ask")), "ask", {"WHO": "ada"}, "eve", AT)
        node = status.node("ask")
        self.assertEqual((node.state, node.outputs), (NodeState.SUCCEEDED, {"LOG": "x", "WHO": "ada"}))
        self.assertEqual(node.decision, Decision(True, AT, "eve", {"WHO": "ada"}))
        self.assertEqual((status.state, status.node("next").state), (RunState.WAITING, NodeState.NOT_STARTED))

    def test_rejected(self) -> None:
        """The run ends; what depends on the step never starts, however far behind it stands; the rest is as it was."""
        others = (
            after("far", "next", "free"),
            after("next", "ask"),
            after("free"),
            after("done", "ask", state=NodeState.SKIPPED),
        )
        status = rejected(waiting(*others), "ask", "too late", "eve", AT)
        told = {node.step.name: (node.state, node.error) for node in status.nodes}
        self.assertEqual(
            told,
            {
                "ask": (NodeState.REJECTED, ""),
                "far": (NodeState.ABORTED, ""),
                "next": (NodeState.ABORTED, "upstream rejected"),
                "free": (NodeState.NOT_STARTED, ""),
                "done": (NodeState.SKIPPED, ""),
            },
        )
        self.assertEqual((status.state, status.finished_at), (RunState.REJECTED, AT))
        self.assertEqual(status.node("ask").decision, Decision(False, AT, "eve", reason="too late"))

    def test_twice(self) -> None:
        """A second word is told what the first was, by whom and when."""
        once = approved(waiting(), "ask", {"WHO": "ada"}, "eve", AT)
        phrase = (
            r"step ask is not waiting for approval \(status: succeeded, approved by eve at 2026-11-24T02:16:56\+00:00\)"
        )
        for again in (
            lambda: approved(once, "ask", {"WHO": "bob"}, "", AT),
            lambda: rejected(once, "ask", "", "", AT),
        ):
            with self.assertRaisesRegex(NotWaitingError, phrase):
                again()
        no = rejected(waiting(), "ask", "", "", AT)
        with self.assertRaisesRegex(NotWaitingError, r"\(status: rejected, rejected at 2026"):
            approved(no, "ask", {}, "", AT)

    def test_nobody_is_asked(self) -> None:
        """Unknown steps, steps that call a run which waits, and runs that work or have ended are refused with the reason."""
        call = NodeStatus(Step("call", child=ChildCall("c")), NodeState.WAITING, children=(ChildRun("k1"),))
        with self.assertRaisesRegex(NotFoundError, "step nope not found in DAG d"):
            approved(waiting(), "nope", {}, "", AT)
        for status, step, phrase in (
            (waiting(call), "call", r"waits for the run that it called \(k1\)"),
            (waiting(state=RunState.RUNNING), "ask", "run d:r1 is running: .* once the run waits for nothing else"),
            (waiting(state=RunState.REJECTED), "ask", "run d:r1 is rejected: nothing waits in it any more"),
        ):
            with self.assertRaisesRegex(NotWaitingError, phrase):
                approved(status, step, {"WHO": "x"}, "", AT)


class WaitsTests(SynchronousTestCase):
    def test_below(self) -> None:
        """Steps are found in called runs too, in the order of the steps; a call itself asks nothing."""
        call = NodeStatus(
            Step("call", child=ChildCall("c")), NodeState.WAITING, children=(ChildRun("k1"), ChildRun("gone"))
        )
        child = waiting(run=RunRef("c", "k1"))
        found = [(wait.run.id, wait.node.step.name) for wait in waits_of(waiting(call), {"k1": child})]
        self.assertEqual(found, [("r1", "ask"), ("k1", "ask")])
        self.assertEqual(list(waits_of(waiting(state=RunState.REJECTED), {})), [])
