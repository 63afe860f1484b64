"""Steps that call other DAGs, here and on workers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from twisted.trial.unittest import SynchronousTestCase

from txdagu.execution.engine import Run
from txdagu.model.dag import ChildCall, Command, Dag, Output, Step
from txdagu.model.errors import UnavailableError
from txdagu.model.health import Health
from txdagu.model.ids import child_run_id
from txdagu.model.labels import WorkerSelector
from txdagu.model.run import NodeStatus, RunRef, RunStatus
from txdagu.model.status import NodeState, RunState
from txdagu.model.task import Operation, Task, WorkerStatus
from txdagu.peers.interfaces import WorkersView
from txdagu.testing.coordinators import ScriptedCoordinators
from txdagu.testing.engine import EngineHarness
from txdagu.testing.processes import Script, by_command

GPU = WorkerSelector({"gpu": "true"})
ROOT = RunRef("main", "run-1")
CHILD = Dag(
    "child",
    (Step("c", commands=(Command("work $P"),), output=Output("R")),),
    params="P=1",
    yaml_text="name: child\nsteps:\n  - work\n",
)


def caller(**more: object) -> Dag:
    """A DAG whose only step calls `CHILD`."""
    call = Step("call", child=ChildCall("child", 'P="${V}"'), output=Output("OUT"), **more)  # type: ignore[arg-type]
    return Dag("main", (call,), params="V=7", local_dags={"child": CHILD}, yaml_text="ignored")


class ChildCase(SynchronousTestCase):
    def harness(self, *scripts: tuple[str, Script], **options: object) -> EngineHarness:
        directory = mkdtemp()
        self.addCleanup(rmtree, directory)
        return EngineHarness(directory, by_command(scripts), **options)  # type: ignore[arg-type]


class LocalTests(ChildCase):
    def test_success(self) -> None:
        """The child runs in the same process under the root run; its result is the step's output and stands in its log."""
        harness = self.harness(("work", Script(stdout="done")))
        status = self.successResultOf(harness.start(caller()).wait())
        self.assertIs(status.state, RunState.SUCCEEDED)
        run_id = child_run_id("run-1", "call", 'P="7"')
        child = harness.store.sink(run_id).final
        assert child is not None
        self.assertEqual((child.run, child.root, child.parent), (RunRef("child", run_id), ROOT, ROOT))
        expected = {
            "name": "child",
            "dagRunId": run_id,
            "params": "P=7",
            "outputs": {"R": "done"},
            "status": "succeeded",
        }
        node = status.node("call")
        self.assertEqual(node.outputs["OUT"], json.dumps(expected, indent=2))
        self.assertEqual(Path(node.stdout).read_text(), node.outputs["OUT"] + "\n")
        self.assertEqual([(made.run_id, made.params) for made in node.children], [(run_id, 'P="7"')])
        self.assertEqual(harness.lines(), ["work 7"])

    def test_result_in_later_steps(self) -> None:
        """The outputs of a child are read out of its result with a path."""
        harness = self.harness(("work", Script(stdout="0.93")))
        dag = caller()
        after = Step("after", commands=(Command("report ${OUT.outputs.R} ${OUT.status}"),), depends=("call",))
        self.successResultOf(harness.start(replace(dag, steps=(*dag.steps, after))).wait())
        self.assertEqual(harness.lines()[-1], "report 0.93 succeeded")

    def test_failure(self) -> None:
        """A failed child fails the step, which names its run; the result is captured all the same."""
        harness = self.harness(("work", Script(4)))
        status = self.successResultOf(harness.start(caller()).wait())
        run_id = child_run_id("run-1", "call", 'P="7"')
        expected = f'failed to execute step "call": sub DAG run {run_id} failed with status: failed'
        self.assertEqual(status.node("call").error, expected)
        self.assertEqual(json.loads(status.outputs["OUT"])["status"], "failed")

    def test_unknown(self) -> None:
        """A DAG that nobody finds fails the step, not the engine."""
        harness = self.harness()
        status = self.successResultOf(harness.start(Dag("main", (Step("s", child=ChildCall("nobody")),))).wait())
        self.assertEqual(status.node("s").error, 'failed to find DAG "nobody": no file nobody.yaml')

    def test_from_file_and_siblings(self) -> None:
        """The called name is evaluated; a file is found by `find_dag`; a document may call another one of its file."""
        harness = self.harness()
        harness.files["other"] = Dag("other", (Step("o", commands=(Command("from file"),)),))
        between = Dag("between", (Step("b", child=ChildCall("last")),))
        last = Dag("last", (Step("l", commands=(Command("from sibling"),)),))
        steps = (Step("s1", child=ChildCall("$N")), Step("s2", child=ChildCall("between")))
        dag = Dag("main", steps, params="N=other", local_dags={"between": between, "last": last})
        self.assertIs(self.successResultOf(harness.start(dag).wait()).state, RunState.SUCCEEDED)
        self.assertEqual(harness.lines(), ["from file", "from sibling"])

    def test_environment(self) -> None:
        """The caller's env helps to evaluate the child's env and params, but the child's steps do not see it."""
        harness = self.harness()
        dag = caller()
        child = replace(CHILD, env=("MINE=${THEIRS}!",))
        self.successResultOf(harness.start(replace(dag, env=("THEIRS=t",), local_dags={"child": child})).wait())
        env = harness.processes.started[0].spec.env
        self.assertEqual((env.get("MINE"), env.get("THEIRS"), env.get("V")), ("t!", None, None))

    def test_stop(self) -> None:
        """Stopping the caller stops the child; both are aborted."""
        harness = self.harness(("work", Script(None)))
        run = harness.start(caller())
        run.cancel("enough")
        status = self.successResultOf(run.wait())
        self.assertEqual((status.state, status.node("call").state), (RunState.ABORTED, NodeState.ABORTED))
        child = harness.store.sink(child_run_id("run-1", "call", 'P="7"')).final
        assert child is not None
        self.assertIs(child.state, RunState.ABORTED)

    def test_retry(self) -> None:
        """A child that failed is taken up where it ended; one that succeeded is not run again, its result is used."""
        two = (Step("a", commands=(Command("first"),)), Step("b", commands=(Command("work"),), depends=("a",)))
        dag = replace(caller(), local_dags={"child": replace(CHILD, steps=two)})
        harness = self.harness(("work", Script(1)))
        first = self.successResultOf(harness.start(dag).wait())
        again = harness.engine.start(replace(harness.request(dag), previous=first))
        self.successResultOf(again.wait())
        self.assertEqual(harness.lines(), ["first", "work", "work"])
        harness.store.put(
            replace(
                self.successResultOf(
                    harness.store.read_status(RunRef("child", child_run_id("run-1", "call", 'P="7"')), ROOT)
                )
                or first,
                state=RunState.SUCCEEDED,
            )
        )
        third = harness.engine.start(replace(harness.request(dag), previous=first))
        self.assertIs(self.successResultOf(third.wait()).state, RunState.SUCCEEDED)
        self.assertEqual(len(harness.processes.started), 3)


class RoutingTests(ChildCase):
    def test_where(self) -> None:
        """The child's selector with the step's laid over it, or the mode and the healthy workers, decide where it runs."""
        healthy = WorkerStatus("w", {}, Health.HEALTHY, 1, 0)
        for mode, own, steps_own, workers, selector in (
            ("local", WorkerSelector(), WorkerSelector(), (healthy,), None),
            ("local", WorkerSelector({"region": "eu"}), GPU, (), {"region": "eu", "gpu": "true"}),
            ("local", GPU, WorkerSelector(local=True), (healthy,), None),
            ("auto", WorkerSelector(), WorkerSelector(), (), None),
            ("auto", WorkerSelector(), WorkerSelector(), (healthy,), {}),
            ("auto", WorkerSelector(), WorkerSelector(), (replace(healthy, health=Health.OFFLINE),), None),
            ("distributed", WorkerSelector(), WorkerSelector(), (), {}),
        ):
            coordinators = ScriptedCoordinators(WorkersView(workers))
            harness = self.harness(coordinators=coordinators, mode=mode)
            dag = replace(caller(worker_selector=steps_own), local_dags={"child": replace(CHILD, worker_selector=own)})
            harness.start(dag).cancel("enough")
            self.assertEqual([task.selector for task in coordinators.tasks], [] if selector is None else [selector])

    def test_no_coordinator(self) -> None:
        """A child that has to run elsewhere fails its step when nobody can take it, and says why."""
        status = self.successResultOf(self.harness().start(caller(worker_selector=GPU)).wait())
        self.assertEqual(
            status.node("call").error,
            "DAG child has to run on a worker (workerSelector asks for gpu=true), but no coordinator is known",
        )


class RemoteTests(ChildCase):
    def setUp(self) -> None:
        self.coordinators = ScriptedCoordinators()
        self.cluster = self.harness(coordinators=self.coordinators)
        self.run_id = child_run_id("run-1", "call", 'P="7"')
        self.child = RunRef("child", self.run_id)

    def start(self) -> Run:
        return self.cluster.start(caller(worker_selector=GPU))

    def write(self, state: RunState, attempt: str = "aa", **more: object) -> None:
        """A worker writes a state of the child."""
        nodes = (NodeStatus(CHILD.steps[0], outputs={"R": "far"}),)
        status = RunStatus(self.child, ROOT, state, attempt_id=attempt, params=("P=7",), nodes=nodes)
        self.cluster.store.put(replace(status, **more))  # type: ignore[arg-type]

    def end(self, run: Run) -> RunStatus:
        return self.successResultOf(run.wait())

    def test_task(self) -> None:
        """The task carries all that a worker needs."""
        self.start()
        self.assertEqual(
            self.coordinators.tasks,
            [
                Task(
                    run=self.child,
                    root=ROOT,
                    operation=Operation.START,
                    target="child",
                    parent=ROOT,
                    params='P="7"',
                    selector={"gpu": "true"},
                    definition=CHILD.yaml_text,
                    earlier_attempt="",
                )
            ],
        )

    def test_trace_goes_on(self) -> None:
        """The task names the place in the trace from which the child is called; a run that sends no trace passes on its own."""
        given = f"00-{'1' * 32}-{'2' * 16}-01"
        dag = caller(worker_selector=GPU)
        cluster = self.harness(coordinators=self.coordinators, environ={"TRACEPARENT": given})
        for otel in ({}, {"enabled": True, "endpoint": "127.0.0.1:1"}):
            cluster.start(replace(dag, otel=otel))
        passed, own = (task.trace_parent for task in self.coordinators.tasks)
        self.assertEqual(passed, given)
        self.assertRegex(own, f"00-{'1' * 32}-(?!2{{16}})[0-9a-f]{{16}}-01")

    def test_end_is_learnt_at_once(self) -> None:
        """The moment the store tells of the end, the step ends, without any time passing; nobody watches any more."""
        run = self.start()
        self.write(RunState.RUNNING)
        self.assertNoResult(run.wait())
        self.write(RunState.SUCCEEDED)
        status = self.end(run)
        self.assertIs(status.state, RunState.SUCCEEDED)
        self.assertEqual(json.loads(status.outputs["OUT"])["outputs"], {"R": "far"})
        self.assertEqual((self.cluster.store.watchers, self.cluster.clock.getDelayedCalls()), (0, []))
        self.assertEqual(self.cluster.processes.started, [])

    def test_states(self) -> None:
        """Each end of a child has its meaning for the step; one that waits for a person lets its caller rest."""
        for state, node in (
            (RunState.PARTIALLY_SUCCEEDED, NodeState.PARTIALLY_SUCCEEDED),
            (RunState.FAILED, NodeState.FAILED),
            (RunState.ABORTED, NodeState.FAILED),
            (RunState.REJECTED, NodeState.FAILED),
            (RunState.WAITING, NodeState.WAITING),
        ):
            self.setUp()
            run = self.start()
            self.write(RunState.RUNNING)
            self.assertNoResult(run.wait())
            self.write(state)
            status = self.end(run).node("call")
            self.assertIs(status.state, node)
            if node is NodeState.FAILED:
                expected = f"sub DAG run {self.run_id} failed with status: {state.label}"
                self.assertEqual(status.error, f'failed to execute step "call": {expected}')

    def test_missed_notification(self) -> None:
        """An end of which the watch does not tell is seen within a second."""
        run = self.start()
        self.write(RunState.RUNNING)
        status = RunStatus(self.child, ROOT, RunState.SUCCEEDED, attempt_id="aa")
        self.cluster.store._foreign[self.run_id] = status
        self.cluster.clock.advance(1)
        self.assertIs(self.end(run).state, RunState.SUCCEEDED)

    def test_forgotten(self) -> None:
        """A task that no coordinator knows any more is handed in again, but not before they said so twice."""
        run = self.start()
        self.coordinators.forgot.add(self.run_id)
        self.cluster.clock.pump([1.0] * 4)
        self.assertEqual(len(self.coordinators.tasks), 1)
        self.cluster.clock.pump([1.0] * 3)
        self.assertEqual([task.run for task in self.coordinators.tasks], [self.child, self.child])
        self.write(RunState.SUCCEEDED)
        self.assertIs(self.end(run).state, RunState.SUCCEEDED)

    def test_forgotten_while_it_runs(self) -> None:
        """A child that has begun is never handed in again, whatever the coordinators know of it."""
        run = self.start()
        self.write(RunState.RUNNING)
        self.coordinators.forgot.add(self.run_id)
        self.cluster.clock.pump([1.0] * 20)
        self.assertEqual(len(self.coordinators.tasks), 1)
        self.assertNoResult(run.wait())

    def test_lost(self) -> None:
        """When the coordinators know the task's end while its file still says running, the step fails with their reason."""
        run = self.start()
        self.write(RunState.RUNNING)
        lost = RunStatus(self.child, ROOT, RunState.FAILED, error="worker w1 was lost 3 times")
        self.coordinators.ends[self.run_id] = lost
        self.cluster.clock.pump([1.0] * 4)
        self.assertEqual(
            self.end(run).node("call").error,
            f'failed to execute step "call": sub DAG run {self.run_id} failed with status: failed: worker w1 was lost 3 times',
        )

    def test_lost_with_steps(self) -> None:
        """What a lost child had in hand failed with it; what it had captured before stays."""
        run = self.start()
        steps = (
            NodeStatus(Step("done", output=Output("R")), NodeState.SUCCEEDED, outputs={"R": "kept"}),
            NodeStatus(Step("busy"), NodeState.RUNNING),
        )
        self.cluster.store.put(RunStatus(self.child, ROOT, RunState.RUNNING, attempt_id="aa", nodes=steps))
        self.coordinators.ends[self.run_id] = RunStatus(self.child, ROOT, RunState.FAILED, error="worker w1 was lost")
        self.cluster.clock.pump([1.0] * 4)
        self.assertEqual(json.loads(self.end(run).node("call").outputs["OUT"])["outputs"], {"R": "kept"})

    def test_lost_and_written_down(self) -> None:
        """The files of a lost child do not say for ever that it runs: its end is in an attempt of its own."""
        store = self.cluster.store
        run = self.start()
        begun = self.successResultOf(store.open_attempt(CHILD, self.child, ROOT))
        begun.write_status(
            RunStatus(
                self.child, ROOT, RunState.RUNNING, attempt_id="aa", nodes=(NodeStatus(Step("s"), NodeState.RUNNING),)
            )
        )
        self.coordinators.ends[self.run_id] = RunStatus(self.child, ROOT, RunState.FAILED, error="worker w1 was lost")
        self.cluster.clock.pump([1.0] * 4)
        self.end(run)
        sink = store.sink(self.run_id)
        assert sink.final is not None
        self.assertIsNot(sink, begun)
        self.assertEqual((sink.final.state, sink.final.error), (RunState.FAILED, "worker w1 was lost"))
        self.assertEqual(
            (sink.final.nodes[0].state, sink.final.nodes[0].error), (NodeState.FAILED, "worker w1 was lost")
        )

    def test_stopped_while_it_waits(self) -> None:
        """That a waiting child is cancelled is asked for at once, not at the next round."""
        run = self.start()
        self.coordinators.ends[self.run_id] = RunStatus(self.child, ROOT, RunState.ABORTED, error="cancelled")
        run.cancel("enough")
        self.assertIs(self.end(run).state, RunState.ABORTED)

    def test_success_told_before_it_is_written(self) -> None:
        """A success that the coordinators know first waits a little for the richer state in the store."""
        run = self.start()
        self.coordinators.ends[self.run_id] = RunStatus(self.child, ROOT, RunState.SUCCEEDED)
        self.cluster.clock.pump([1.0] * 4)
        self.assertNoResult(run.wait())
        self.write(RunState.SUCCEEDED)
        self.assertEqual(json.loads(self.end(run).outputs["OUT"])["outputs"], {"R": "far"})

    def test_success_never_written(self) -> None:
        """If that state never comes, the coordinators' word is enough."""
        run = self.start()
        self.coordinators.ends[self.run_id] = RunStatus(self.child, ROOT, RunState.SUCCEEDED)
        self.cluster.clock.pump([1.0] * 10)
        self.assertIs(self.end(run).state, RunState.SUCCEEDED)

    def test_refused(self) -> None:
        """A task that nobody takes fails the step with the reason."""
        reason = "no coordinator answers at 10.0.0.1:50055: connection refused"
        self.coordinators.refusal = UnavailableError(reason)
        self.assertEqual(self.end(self.start()).node("call").error, reason)
        self.assertEqual(self.cluster.store.watchers, 0)

    def test_retry(self) -> None:
        """An ended child is taken up again, and its old end is not taken for the new one."""
        self.write(RunState.FAILED, attempt="old")
        run = self.start()
        self.assertIs(self.coordinators.tasks[0].operation, Operation.RETRY)
        self.write(RunState.FAILED, attempt="old")
        self.cluster.clock.pump([1.0] * 5)
        self.assertNoResult(run.wait())
        self.write(RunState.SUCCEEDED, attempt="new")
        self.assertIs(self.end(run).state, RunState.SUCCEEDED)

    def test_still_running(self) -> None:
        """A child that seems to run is joined by asking for the same start again."""
        self.write(RunState.RUNNING)
        run = self.start()
        self.assertIs(self.coordinators.tasks[0].operation, Operation.START)
        self.write(RunState.SUCCEEDED)
        self.assertIs(self.end(run).state, RunState.SUCCEEDED)

    def test_stop(self) -> None:
        """A stop is asked for in the store and at the coordinators; the step ends when the child has."""
        run = self.start()
        self.write(RunState.RUNNING)
        run.cancel("enough")
        self.assertEqual((self.cluster.store.cancelled, self.coordinators.cancelled), ([self.child], [self.child]))
        self.assertNoResult(run.wait())
        self.write(RunState.ABORTED)
        status = self.end(run)
        self.assertEqual((status.state, status.node("call").state), (RunState.ABORTED, NodeState.ABORTED))

    def test_stop_has_a_limit(self) -> None:
        """A child that does not end is given up after a while, and the step says so."""
        run = self.start()
        self.write(RunState.RUNNING)
        run.cancel("enough")
        self.cluster.clock.pump([1.0] * 16)
        self.assertIn("did not end within 15 s", self.end(run).node("call").error)
        self.assertEqual(self.cluster.clock.getDelayedCalls(), [])

    def test_stop_while_nobody_answers(self) -> None:
        """A dispatch that still waits for a coordinator is given up at once."""
        self.coordinators.waits = True
        run = self.start()
        run.cancel("enough")
        self.assertIs(self.end(run).state, RunState.ABORTED)
        self.assertEqual(self.coordinators.cancelled, [self.child])
