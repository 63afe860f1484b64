"""Runs that wait for a person: how they come to rest, and how they go on."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from txdagu.execution.approvals import Approvals, Decided
from txdagu.execution.plan.approval import NotWaitingError, approved
from txdagu.execution.request import RunRequest
from txdagu.model.dag import ChildCall, Command, Dag, Handler, Output, Secret, Step
from txdagu.model.errors import NotFoundError
from txdagu.model.policies import ContinueOn, RepeatMode, RepeatPolicy
from txdagu.model.run import NodeStatus, RunRef, RunStatus
from txdagu.model.status import NodeState, RunState
from txdagu.testing.engine import BEGINNING, EngineHarness
from txdagu.testing.plan import PlanDriver
from txdagu.testing.processes import Script, by_command

FAILED, SUCCEEDED, WAITING, NOT_STARTED = (
    NodeState.FAILED,
    NodeState.SUCCEEDED,
    NodeState.WAITING,
    NodeState.NOT_STARTED,
)
ASK = Step("ask", type="hitl", config={"prompt": "Deploy ${ONE}?", "input": ["WHO"], "required": ["WHO"]})
RUN = RunRef("d", "run-1")


def command(name: str, text: str, *depends: str, **more: object) -> Step:
    """A step with one command."""
    return Step(name, commands=(Command(text),), depends=depends, **more)  # type: ignore[arg-type]


class ResumingTests(SynchronousTestCase):
    """The core, when a run goes on."""

    def previous(self, *steps: Step, **states: NodeState) -> tuple[NodeStatus, ...]:
        """The nodes of the attempt before."""
        return tuple(NodeStatus(step, states[step.name]) for step in steps)

    def test_settled_steps_stay(self) -> None:
        """Nothing that was settled runs again, failures that were excused count as such, and the rest goes on from there."""
        excused = Step("excused", continue_on=ContinueOn(exit_codes=(3,)))
        policy = Step("policy", continue_on=ContinueOn(failure=True))
        steps = (
            excused,
            policy,
            Step("ask", depends=("excused", "policy")),
            Step("call"),
            Step("after", depends=("ask", "call")),
        )
        states = {"excused": FAILED, "policy": FAILED, "ask": SUCCEEDED, "call": WAITING, "after": NOT_STARTED}
        previous = list(self.previous(*steps, **states))
        previous[0] = replace(previous[0], excused=True)
        driver = PlanDriver(Dag("d", steps), previous, resumes=True)
        self.assertEqual(driver.started, ["call"])
        driver.end("call")
        driver.end("after")
        self.assertEqual(driver.started, ["call", "after"])
        self.assertIs(driver.state, RunState.PARTIALLY_SUCCEEDED)

    def test_failures_stay(self) -> None:
        """A failure that nothing excused is not tried again, and what it stopped stays so."""
        steps = (Step("bad"), Step("ask"), Step("never", depends=("bad",)), Step("after", depends=("ask",)))
        states = {"bad": FAILED, "ask": SUCCEEDED, "never": NodeState.ABORTED, "after": NOT_STARTED}
        driver = PlanDriver(Dag("d", steps), self.previous(*steps, **states), resumes=True)
        driver.end("after")
        self.assertEqual((driver.started, driver.state), (["after"], RunState.FAILED))

    def test_excuse_is_told(self) -> None:
        """The node of an excused failure says so, for the attempt that goes on; a marked success needs none."""
        steps = (
            Step("a", continue_on=ContinueOn(failure=True)),
            Step("b", continue_on=ContinueOn(failure=True, mark_success=True)),
            Step("c"),
        )
        driver = PlanDriver(Dag("d", steps))
        for step in steps:
            driver.end(step.name, FAILED)
        self.assertEqual([driver.node(step.name).excused for step in steps], [True, False, False])

    def test_no_rounds(self) -> None:
        """A step that waits is not repeated: it would ask again at once, and for ever."""
        step = Step("ask", repeat_policy=RepeatPolicy(RepeatMode.WHILE, limit=3))
        driver = PlanDriver(Dag("d", (step,)))
        driver.end("ask", WAITING)
        self.assertEqual((driver.node("ask").done_count, driver.state), (1, RunState.WAITING))

    def test_handlers_cannot_wait(self) -> None:
        """A handler that asks fails, rather than let a run go on which nobody has approved."""
        driver = PlanDriver(Dag("d", (Step("a"),), handlers={Handler.INIT: Step("onInit")}))
        driver.end("onInit", WAITING)
        self.assertEqual((driver.started, driver.state), (["onInit"], RunState.ABORTED))
        self.assertIn("a handler cannot wait for a person", driver.node("onInit").error)


class WaitingCase(SynchronousTestCase):
    def setUp(self) -> None:
        """An engine in memory, and who decides in its store."""
        directory = mkdtemp()
        self.addCleanup(rmtree, directory)
        self.harness = EngineHarness(
            directory,
            by_command([("echo one", Script(stdout="one")), ("false", Script(1))]),
            environ={"TOKEN": "hunter2"},
        )
        self.approvals = Approvals(self.harness.store, lambda: BEGINNING + timedelta(hours=1))

    def end(self, dag: Dag, previous: RunStatus | None = None) -> RunStatus:
        """The state in which a run, or what is left of it, comes to rest."""
        request = replace(self.harness.request(dag), previous=previous)
        return self.successResultOf(self.harness.engine.start(request).wait())

    def approve(self, run: RunRef, step: str, **inputs: str) -> Decided:
        """A step is approved."""
        return self.successResultOf(Deferred.fromCoroutine(self.approvals.approve(run, RUN, step, inputs, "eve")))

    def reject(self, run: RunRef, step: str) -> Decided:
        """A step is rejected."""
        return self.successResultOf(Deferred.fromCoroutine(self.approvals.reject(run, RUN, step, "no", "eve")))

    def go_on(self, dag: Dag) -> RunStatus:
        """Execute the rest of the run."""
        return self.end(dag, self.successResultOf(Deferred.fromCoroutine(self.harness.store.requeue(RUN))))


class StepTests(WaitingCase):
    """The step type, and the run around it."""

    def test_waits(self) -> None:
        """The step prints what it asks and keeps it evaluated; the wait handler learns the step's name; nothing else starts."""
        steps = (
            command("first", "echo one", output=Output("ONE")),
            replace(ASK, depends=("first",)),
            command("next", "use $WHO of ${ONE}", "ask"),
        )
        handlers = {
            Handler.WAIT: command("onWait", "told $DAG_WAITING_STEPS"),
            Handler.EXIT: command("onExit", "never"),
        }
        dag = Dag("d", steps, handlers=handlers)
        status = self.end(dag)
        self.assertEqual(
            (status.state, status.node("ask").state, status.node("next").state),
            (RunState.WAITING, WAITING, NOT_STARTED),
        )
        self.assertEqual(status.node("ask").step.config["prompt"], "Deploy one?")
        self.assertEqual(
            Path(status.node("ask").stdout).read_text(),
            "Waiting for human approval...\n\nPrompt:\nDeploy one?\n\nExpected inputs: [WHO]\nRequired inputs: [WHO]\n",
        )
        self.assertEqual(self.harness.lines()[-1], "told ask")

        decided = self.approve(RUN, "ask", WHO="ada")
        self.assertTrue(decided.goes_on)
        status = self.go_on(dag)
        self.assertIs(status.state, RunState.SUCCEEDED)
        self.assertEqual(self.harness.lines()[2:], ["use ada of one", "never"])
        self.assertEqual(status.node("ask").decision, decided.status.node("ask").decision)

    def test_secrets_in_a_prompt(self) -> None:
        """The value of a secret is shown to nobody, neither in the prompt nor in what a person typed."""
        ask = Step("ask", type="hitl", config={"prompt": "use $KEY?", "input": ["X", "Y"]})
        dag = Dag("d", (ask,), secrets=(Secret("KEY", "env", "TOKEN"),))
        status = self.end(dag)
        self.assertEqual(status.node("ask").step.config["prompt"], "use *******?")
        self.approve(RUN, "ask", X="hunter2")
        decision = self.go_on(dag).node("ask").decision
        assert decision
        self.assertEqual(decision.inputs, {"X": "*******"})

    def test_bad_options(self) -> None:
        """Options of the wrong kind fail the step by name."""
        status = self.end(Dag("d", (Step("ask", type="hitl", config={"prompt": ["a"], "input": {"a": 1}}),)))
        self.assertIs(status.state, RunState.FAILED)
        for key in ("prompt", "input"):
            self.assertIn(f"hitl config: {key} must be", status.node("ask").error)


class ChildTests(WaitingCase):
    """Runs that were called."""

    def setUp(self) -> None:
        """A DAG that calls another, which calls the one that asks."""
        super().setUp()
        leaf = Dag("leaf", (replace(ASK, config={"input": ["WHO"]}), command("use", "use $WHO", "ask")))
        between = Dag("between", (command("b", "before"), Step("deep", child=ChildCall("leaf"), depends=("b",))))
        self.dag = Dag(
            "d",
            (Step("call", child=ChildCall("between"), output=Output("R")), command("last", "last ${R.status}", "call")),
            local_dags={"leaf": leaf, "between": between},
        )

    def leaf(self) -> RunRef:
        """The run that asks."""
        _, waits = self.successResultOf(Deferred.fromCoroutine(self.approvals.waits(RUN)))
        (wait,) = waits
        return wait.run

    def test_callers_wait_and_go_on(self) -> None:
        """All callers come to rest with the run that asks, and go on with it; what had ended below is not run again."""
        status = self.end(self.dag)
        self.assertEqual((status.state, status.node("call").state), (RunState.WAITING, WAITING))
        decided = self.approve(self.leaf(), "ask", WHO="ada")
        self.assertEqual((decided.root.run, decided.goes_on), (RUN, True))
        status = self.go_on(self.dag)
        self.assertIs(status.state, RunState.SUCCEEDED)
        self.assertEqual(self.harness.lines(), ["before", "use ada", "last succeeded"])

    def test_rejected_below(self) -> None:
        """A rejection ends the run that asked; its callers go on, and fail for it instead of asking again."""
        self.end(self.dag)
        decided = self.reject(self.leaf(), "ask")
        self.assertEqual((decided.status.state, decided.goes_on), (RunState.REJECTED, True))
        status = self.go_on(self.dag)
        self.assertIs(status.state, RunState.FAILED)
        self.assertIn("failed with status: failed", status.node("call").error)
        self.assertEqual(self.harness.lines(), ["before"])

    def test_found_by_id(self) -> None:
        """A called run is found by its id at any depth; others are not."""
        self.end(self.dag)
        leaf = self.leaf()
        found = Deferred.fromCoroutine(self.approvals.find_child(RUN, leaf.id))
        self.assertEqual(self.successResultOf(found), leaf)
        self.failureResultOf(Deferred.fromCoroutine(self.approvals.find_child(RUN, "nope")), NotFoundError)

    def test_while_the_caller_works(self) -> None:
        """As long as the caller does something else, the run below cannot be decided on: nobody would go on with it."""
        status = self.end(self.dag)
        leaf = self.leaf()
        self.harness.store.put(replace(status, state=RunState.RUNNING))
        approving = Deferred.fromCoroutine(self.approvals.approve(leaf, RUN, "ask", {"WHO": "x"}))
        self.assertIn("is running and does not wait", str(self.failureResultOf(approving, NotWaitingError).value))

    def test_several_wait(self) -> None:
        """The run goes on when the last of its steps was decided on."""
        steps = (ASK, replace(ASK, name="also", config={}))
        dag = Dag("d", steps)
        self.end(dag)
        decided = self.approve(RUN, "also")
        self.assertEqual(([wait.node.step.name for wait in decided.waits], decided.goes_on), (["ask"], False))
        self.assertTrue(self.approve(RUN, "ask", WHO="x").goes_on)

    def test_unknown_run(self) -> None:
        """A run that is not there is named."""
        for asked in (self.approvals.waits(RUN), self.approvals.approve(RUN, RUN, "ask", {})):
            error = self.failureResultOf(Deferred.fromCoroutine(asked), NotFoundError).value
            self.assertEqual(str(error), "dag-run ID run-1 not found for DAG d")


class RequestTests(SynchronousTestCase):
    def test_resumes(self) -> None:
        """A run that was queued or waits goes on; one that ended, or whose process was lost, is tried again."""
        for state in RunState:
            request = RunRequest(Dag("d"), RUN, RUN, previous=RunStatus(RUN, RUN, state))
            self.assertIs(request.resumes, state in (RunState.QUEUED, RunState.WAITING), state)
        self.assertFalse(RunRequest(Dag("d"), RUN, RUN).resumes)

    def test_approved_record_is_kept(self) -> None:
        """What a decision leaves of the state is all that it does not change."""
        status = RunStatus(RUN, RUN, RunState.WAITING, nodes=(NodeStatus(ASK, WAITING),), params=("A=1",), log="/l")
        changed = approved(status, "ask", {"WHO": "x"}, "", BEGINNING)
        self.assertEqual(replace(changed, nodes=status.nodes), status)
