"""Steps that call a DAG for many items."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from shutil import rmtree
from tempfile import mkdtemp

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from txdagu.execution.interfaces import ExitStatus
from txdagu.model.dag import ChildCall, Command, Dag, Output, Parallel, Step
from txdagu.model.errors import ConflictError
from txdagu.model.ids import child_run_id
from txdagu.model.labels import WorkerSelector
from txdagu.model.policies import RepeatMode, RepeatPolicy, RetryPolicy
from txdagu.model.run import NodeStatus, RunRef, RunStatus
from txdagu.model.status import NodeState, RunState
from txdagu.model.task import Operation
from txdagu.testing.coordinators import ScriptedCoordinators
from txdagu.testing.engine import EngineHarness
from txdagu.testing.processes import Script, by_command

ROOT = RunRef("main", "run-1")
CHILD = Dag(
    "child",
    (Step("c", commands=(Command("work $1"),), output=Output("SAID")),),
    yaml_text="name: child\nsteps:\n  - work\n",
)
HANGING = Script(None)
GPU = WorkerSelector({"gpu": "true"})


def caller(
    items: tuple[str | Mapping[str, str], ...] = ("a", "b", "c"),
    most: int = 10,
    params: str = "",
    child: Dag = CHILD,
    **more: object,
) -> Dag:
    """A DAG whose only step calls `child` for each item."""
    call = Step(
        "call",
        child=ChildCall("child", params),
        parallel=Parallel(items=items, max_concurrent=most),
        output=Output("OUT"),
        **more,  # type: ignore[arg-type]
    )
    return Dag("main", (call,), local_dags={"child": child}, yaml_text="ignored")


def child_id(params: str, round_name: str = "") -> str:
    return child_run_id("run-1", "call", params, round_name)


class ParallelCase(SynchronousTestCase):
    def harness(self, *scripts: tuple[str, Script], **options: object) -> EngineHarness:
        directory = mkdtemp()
        self.addCleanup(rmtree, directory)
        return EngineHarness(directory, by_command(scripts), **options)  # type: ignore[arg-type]

    def run_to_end(self, harness: EngineHarness, dag: Dag) -> RunStatus:
        return self.successResultOf(harness.start(dag).wait())


class ResultTests(ParallelCase):
    def test_result(self) -> None:
        """Results stand in the order of the items, beside a summary and the outputs of those that ended well."""
        harness = self.harness(("work b", Script(2, "bad")), ("work", Script(stdout="good")))
        status = self.run_to_end(harness, caller())
        node = status.node("call")
        result = json.loads(node.outputs["OUT"])
        self.assertEqual(result["summary"], {"total": 3, "succeeded": 2, "failed": 1})
        told = [(one["dagRunId"], one["params"], one["outputs"], one["status"]) for one in result["results"]]
        self.assertEqual(
            told,
            [
                (child_id("a"), "1=a", {"SAID": "good"}, "succeeded"),
                (child_id("b"), "1=b", {"SAID": "bad"}, "failed"),
                (child_id("c"), "1=c", {"SAID": "good"}, "succeeded"),
            ],
        )
        self.assertEqual(result["outputs"], [{"SAID": "good"}] * 2)
        self.assertEqual([child.run_id for child in node.children], [child_id(text) for text in "abc"])
        self.assertIs(node.state, NodeState.FAILED)
        failed = f"sub DAG run {child_id('b')} failed with status: failed (params: b)"
        self.assertEqual(node.error, f'failed to execute step "call": 1 of 3 sub DAG runs failed: {failed}')

    def test_many_failures(self) -> None:
        """However many children fail, the error names a few."""
        harness = self.harness(("work", Script(1)))
        error = self.run_to_end(harness, caller(tuple(map(str, range(40))))).node("call").error
        self.assertIn("40 of 40 sub DAG runs failed", error)
        self.assertTrue(error.endswith("; and 35 more"), error)

    def test_child_that_cannot_begin(self) -> None:
        """A child that cannot even begin fails for itself; the others run."""
        harness = self.harness(("work a", HANGING))
        run = harness.start(caller(most=1))
        harness.store.refuse = ConflictError("somebody runs it")
        harness.processes.started[0].end(ExitStatus(0))
        status = self.successResultOf(run.wait())
        result = json.loads(status.node("call").outputs["OUT"])
        self.assertEqual([one["status"] for one in result["results"]], ["succeeded", "failed", "succeeded"])
        self.assertIn("failed with status: failed: somebody runs it", status.node("call").error)

    def test_child_with_a_defect(self) -> None:
        """What nobody foresaw fails the child to which it happens, and the step still ends."""
        coordinators = ScriptedCoordinators()
        coordinators.refusal = ZeroDivisionError("ours")
        harness = self.harness(coordinators=coordinators)
        error = self.run_to_end(harness, caller(("a",), worker_selector=GPU)).node("call").error
        self.assertIn("internal error: ZeroDivisionError: ours", error)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_nothing_to_run(self) -> None:
        """Without items, or with too many of them, the step fails and calls nothing."""
        for parallel, error in (
            (Parallel("${NOBODY}"), "parallel execution requires at least one item"),
            (Parallel(items=("", {})), "parallel execution requires at least one item"),
            (Parallel(",".join(map(str, range(1001)))), "exceeds maximum limit: 1001 items (max: 1000)"),
        ):
            harness = self.harness()
            dag = caller()
            node = self.run_to_end(harness, replace(dag, steps=(replace(dag.steps[0], parallel=parallel),))).node(
                "call"
            )
            self.assertIn(error, node.error)
            self.assertEqual((node.state, node.children, harness.lines()), (NodeState.FAILED, (), []))

    def test_params(self) -> None:
        """Params with ITEM in them are what each child is given; equal ones are one child."""
        harness = self.harness()
        items = ({"K": "v w", "N": "1"}, {"K": "v w", "N": "2"}, "x")
        child = replace(CHILD, steps=(Step("c", commands=(Command("work $P"),)),))
        self.run_to_end(harness, caller(items, params='P="<${ITEM.K}>"', child=child))
        self.assertEqual(harness.lines(), ["work <v w>", "work <>"])


class OrderTests(ParallelCase):
    def test_never_more_at_once(self) -> None:
        """So many children run at once as were allowed; the next begins when one ends, also when it fails."""
        harness = self.harness(("work", HANGING))
        run = harness.start(caller(("a", "b", "c", "d"), most=2))
        self.assertEqual(harness.lines(), ["work a", "work b"])
        harness.processes.started[1].end(ExitStatus(3))
        self.assertEqual(harness.lines(), ["work a", "work b", "work c"])
        harness.processes.started[0].end(ExitStatus(0))
        harness.processes.started[2].end(ExitStatus(0))
        self.assertNoResult(run.wait())
        harness.processes.started[3].end(ExitStatus(0))
        self.assertIs(self.successResultOf(run.wait()).state, RunState.FAILED)

    @settings(deadline=None, max_examples=25)
    @given(st.lists(st.integers(0, 30), min_size=1, max_size=40), st.integers(1, 12), st.randoms(use_true_random=False))
    def test_any_items(self, numbers: list[int], most: int, chance: object) -> None:
        """Whatever the items, and in whatever order children end: each item runs once, and never more than `most` at once."""
        harness = self.harness(("work", HANGING))
        run = harness.start(caller(tuple(f"i{number}" for number in numbers), most))
        while running := harness.processes.running:
            left = len(set(numbers)) - len(harness.processes.started)
            self.assertLessEqual(len(running), most)
            self.assertTrue(len(running) == most or not left)
            chance.choice(running).end(ExitStatus(chance.choice((0, 1))))  # type: ignore[attr-defined]
        self.successResultOf(run.wait())
        self.assertEqual(Counter(harness.lines()), Counter({f"work i{number}": 1 for number in set(numbers)}))

    def test_a_thousand(self) -> None:
        """A thousand children one after the other need no deep stack, and are told of once, not each in a state of its own."""
        harness = self.harness()
        status = self.run_to_end(harness, caller(tuple(map(str, range(1000))), most=1))
        self.assertIs(status.state, RunState.SUCCEEDED)
        self.assertEqual(len(harness.lines()), 1000)
        self.assertLess(len(harness.store.sink("run-1").statuses), 10)


class StopTests(ParallelCase):
    def test_stop(self) -> None:
        """A stop reaches all children that run, and no more of them begin."""
        harness = self.harness(("work", HANGING))
        run = harness.start(caller(("a", "b", "c"), most=2))
        run.cancel("enough", "SIGINT")
        status = self.successResultOf(run.wait())
        self.assertEqual((status.state, status.node("call").state), (RunState.ABORTED, NodeState.ABORTED))
        self.assertEqual([process.signals for process in harness.processes.started], [[2], [2]])
        for text in "ab":
            final = harness.store.sink(child_id(text)).final
            assert final is not None
            self.assertIs(final.state, RunState.ABORTED)

    def test_time_limit_of_the_step(self) -> None:
        """A step out of time kills all its children, and has ended only when they have."""
        harness = self.harness(("work", Script(None, stubborn=True)))
        run = harness.start(caller(most=2, timeout_seconds=5))
        harness.clock.advance(5)
        status = self.successResultOf(run.wait())
        self.assertIn("timed out after 5s", status.node("call").error)
        self.assertEqual([process.signals for process in harness.processes.started], [[9], [9]])
        self.assertEqual(harness.processes.running, [])

    def test_time_limit_of_the_run(self) -> None:
        """So does a run out of time."""
        harness = self.harness(("work", HANGING))
        run = harness.start(replace(caller(), timeout_seconds=7))
        harness.clock.advance(7)
        status = self.successResultOf(run.wait())
        self.assertEqual((status.state, status.node("call").state), (RunState.FAILED, NodeState.ABORTED))
        self.assertEqual(harness.processes.running, [])


class AgainTests(ParallelCase):
    def test_retry(self) -> None:
        """A step that is tried again runs the children that failed, and takes the results of the others."""
        fails = Counter({"work b": 1})

        def behave(spec: object) -> Script:
            line = spec.argv[-1]  # type: ignore[attr-defined]
            fails[line] -= 1
            return Script(int(fails[line] >= 0), stdout=line)

        directory = mkdtemp()
        self.addCleanup(rmtree, directory)
        harness = EngineHarness(directory, behave)
        status = self.run_to_end(harness, caller(retry_policy=RetryPolicy(2, 0)))
        self.assertIs(status.state, RunState.SUCCEEDED)
        self.assertEqual(harness.lines(), ["work a", "work b", "work c", "work b"])
        result = json.loads(status.outputs["OUT"])
        self.assertEqual([one["outputs"]["SAID"] for one in result["results"]], ["work a", "work b", "work c"])
        self.assertEqual(len(status.node("call").children), 3)

    def test_repeat(self) -> None:
        """Each round calls runs of its own; those of earlier rounds are kept apart."""
        harness = self.harness()
        policy = RepeatPolicy(RepeatMode.WHILE, limit=2)
        node = self.run_to_end(harness, caller(("a", "b"), repeat_policy=policy)).node("call")
        self.assertEqual(harness.lines(), ["work a", "work b"] * 2)
        self.assertEqual([child.run_id for child in node.children_repeated], [child_id("a"), child_id("b")])
        attempt = harness.store.sink("run-1").attempt_id
        self.assertEqual([child.run_id for child in node.children], [child_id(text, f"{attempt}.1") for text in "ab"])


class RemoteTests(ParallelCase):
    def setUp(self) -> None:
        self.coordinators = ScriptedCoordinators()
        self.cluster = self.harness(coordinators=self.coordinators)
        self.dag = caller(most=2, worker_selector=GPU)

    def end(self, text: str, state: RunState) -> None:
        """A worker writes the end of a child."""
        nodes = (NodeStatus(CHILD.steps[0], outputs={"SAID": "far"}),)
        run = RunRef("child", child_id(text))
        self.cluster.store.put(RunStatus(run, ROOT, state, attempt_id="aa", params=(f"1={text}",), nodes=nodes))

    def test_tasks(self) -> None:
        """Each child is a task of its own, and no more are handed in than may run at once."""
        run = self.cluster.start(self.dag)
        tasks = self.coordinators.tasks
        self.assertEqual([(task.run.id, task.params) for task in tasks], [(child_id(text), text) for text in "ab"])
        self.end("b", RunState.PARTIALLY_SUCCEEDED)
        self.assertEqual([task.params for task in tasks], ["a", "b", "c"])
        self.assertEqual({task.operation for task in tasks}, {Operation.START})
        self.end("a", RunState.SUCCEEDED)
        self.end("c", RunState.SUCCEEDED)
        status = self.successResultOf(run.wait())
        self.assertIs(status.node("call").state, NodeState.PARTIALLY_SUCCEEDED)
        self.assertEqual(json.loads(status.outputs["OUT"])["summary"], {"total": 3, "succeeded": 3, "failed": 0})

    def test_stop(self) -> None:
        """A stop asks for the end of every child that runs elsewhere, and waits for it."""
        run = self.cluster.start(self.dag)
        self.end("a", RunState.RUNNING)
        self.end("b", RunState.RUNNING)
        run.cancel("enough")
        self.assertEqual({ref.id for ref in self.cluster.store.cancelled}, {child_id("a"), child_id("b")})
        self.assertNoResult(run.wait())
        self.end("a", RunState.ABORTED)
        self.assertNoResult(run.wait())
        self.end("b", RunState.ABORTED)
        self.assertIs(self.successResultOf(run.wait()).state, RunState.ABORTED)
        self.assertEqual(len(self.coordinators.tasks), 2)
