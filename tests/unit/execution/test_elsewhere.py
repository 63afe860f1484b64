"""Single steps on a worker: as if they had run beside their run, and never lost between the two."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txdagu.dagfile import load_dag
from txdagu.execution.engine import Run
from txdagu.execution.evaluation.masking import MASK
from txdagu.execution.interfaces import ExitStatus
from txdagu.execution.singlestep import decode_single_step, run_name
from txdagu.model.dag import Command, Dag, Output, Step
from txdagu.model.health import Health
from txdagu.model.ids import child_run_id
from txdagu.model.labels import WorkerSelector
from txdagu.model.policies import LostWorkerPolicy, OnWorkerLost, RepeatMode, RepeatPolicy, RetryPolicy
from txdagu.model.run import NodeStatus, RunRef, RunStatus
from txdagu.model.status import NodeState, RunState
from txdagu.model.task import Operation, WorkerStatus
from txdagu.peers.interfaces import WorkersView
from txdagu.testing.elsewhere import WorkerBeside
from txdagu.testing.processes import Script, by_command
from txdagu.worker.holding import TaskSlot
from txdagu.worker.slots import Slots

ROOT = RunRef("main", "run-1")
FAR = WorkerSelector({"gpu": "true"})
STEP_RUN = child_run_id("run-1", "far", "\0step")
BEFORE = """\
name: main
params: P=1 Q="two words"
env: [E: "${HOME_OF_CALLER}-env"]
steps:
  - {name: before, id: before, command: tell before, output: SAID}
"""


class ElsewhereCase(SynchronousTestCase):
    """A caller and a worker."""

    def worker(self, *scripts: tuple[str, Script], **options: Any) -> WorkerBeside:
        """Both of them, with a directory for the test."""
        directory = mkdtemp()
        self.addCleanup(rmtree, directory)
        return WorkerBeside(directory, by_command(scripts), **options)

    def dag(self, *steps: Step, **more: Any) -> Dag:
        """A DAG of these steps."""
        return Dag("main", steps, **more)

    def far(self, **more: Any) -> Step:
        """A step for the worker."""
        return Step("far", **{"commands": (Command("work"),), "worker_selector": FAR, **more})

    def finish(self, worker: WorkerBeside, dag: Dag, **request: Any) -> RunStatus:
        """Run it to its end."""
        run = worker.caller.engine.start(replace(worker.caller.request(dag), **request))
        return self.successResultOf(run.wait())


# Steps that follow `BEFORE`, and what their programs do.
SAME: tuple[tuple[str, str, Script], ...] = (
    (
        "a command with references",
        'command: work $P "${Q}" ${SAID} ${before.exitCode} $UNKNOWN',
        Script(0, "out", "err"),
    ),
    ("a list of commands", "command: [work one, work two]", Script(0, "out")),
    ("a script", 'script: |\n      work "$Q" ${SAID}', Script(0, "out")),
    ("env of its own", 'command: work $MINE\n    env: [MINE: "${E} ${SAID} $P"]', Script(0, "out")),
    ("an output", "command: work\n    output: {name: RESULT, key: k, omit: true}", Script(0, "result\n")),
    ("an output over the limit", "command: work\n    output: RESULT", Script(0, "x" * 200)),
    ("a failure", "command: work\n    output: RESULT", Script(7, "half", "it broke")),
    ("an excused failure", "command: work\n    continueOn: {exitCode: [7]}", Script(7)),
    (
        "a failure excused by its log",
        "command: work\n    continueOn: {output: [warned], markSuccess: true}",
        Script(3, "warned\n"),
    ),
    ("a step that is skipped", 'command: work\n    preconditions: [{condition: "$P", expected: "2"}]', Script(0)),
    ("conditions that hold", 'command: work\n    preconditions: [{condition: "${SAID}", expected: said}]', Script(0)),
    ("no such program", "command: work", Script(missing=True)),
    ("merged logs", "command: work\n    logOutput: merged\n    output: RESULT", Script(0, "out", "err")),
    ("another shell", "command: work $P\n    shell: bash -e", Script(0)),
    ("no shell", "command: work ${Q}\n    shell: direct", Script(0)),
    ("a rejected reference", "command: work ${P.}", Script(0)),
)


class SameAsHereTests(ElsewhereCase):
    def outcome(self, text: str, script: Script, selector: WorkerSelector) -> tuple[dict[str, Any], list[Any]]:
        """What became of the step ``far`` and its run, and what was started for it, without names of log files."""
        worker = self.worker(("before", Script(0, "said")), ("work", script), here={"HOME_OF_CALLER": "here"})
        dag = load_dag(text, "main.yaml")
        steps = tuple(replace(step, worker_selector=selector) if step.name == "far" else step for step in dag.steps)
        dag = replace(dag, steps=steps, working_dir=worker.caller.directory, max_output_size=100)
        status = self.finish(worker, dag)
        node = status.node("far")
        names = [path for path in (node.stdout, node.stderr) if path]

        def plain(text: str) -> str:
            for number, name in enumerate(names):
                text = text.replace(name, f"<log {number}>")
            return text.replace("/far/bin", "/bin").replace(worker.caller.directory, "<directory>")

        started = [
            (
                [Path(word).suffix if "dagu_script" in word else plain(word) for word in process.spec.argv],
                plain(process.spec.cwd),
                {
                    key: plain(value)
                    for key, value in process.spec.env.items()
                    if key not in ("HOME", "DAG_RUN_LOG_FILE")
                },
                process.spec.env.get("DAG_RUN_LOG_FILE") == status.log,
            )
            for process in (*worker.caller.processes.started[1:], *worker.processes.started)
        ]
        facts = {
            "run": status.state,
            "state": node.state,
            "error": plain(node.error),
            "outputs": node.outputs,
            "code": node.exit_code,
            "step": plain(repr(replace(node.step, worker_selector=WorkerSelector()))),
            "done": node.done_count,
            "printed": [Path(name).read_text() for name in names],
        }
        return facts, started

    def test_table(self) -> None:
        """Evaluation, environment, processes, outputs, errors, exit codes and excuses are those of a step that runs here."""
        for name, written, script in SAME:
            text = f"{BEFORE}  - name: far\n    {written}\n"
            self.assertEqual(self.outcome(text, script, FAR), self.outcome(text, script, WorkerSelector()), name)

    def test_retries_and_rounds(self) -> None:
        """Retries and repetition are the caller's; each execution is an attempt of one run."""
        worker = self.worker(("work", Script(3)))
        node = self.finish(worker, self.dag(self.far(retry_policy=RetryPolicy(2, 0)))).node("far")
        self.assertEqual((node.state, node.retry_count, len(worker.processes.started)), (NodeState.FAILED, 2, 3))
        self.assertEqual({task.run.id for task in worker.tasks}, {STEP_RUN})
        self.assertEqual([child.run_id for child in node.children], [STEP_RUN])
        worker = self.worker()
        again = RepeatPolicy(RepeatMode.WHILE, limit=3)
        node = self.finish(worker, self.dag(self.far(repeat_policy=again))).node("far")
        self.assertEqual((node.done_count, len(worker.processes.started)), (3, 3))

    def test_handler(self) -> None:
        """A handler with a selector runs there too, and is told how the run stands."""
        worker = self.worker()
        text = "name: main\nsteps: [work]\nhandlerOn: {exit: {command: tidy, workerSelector: {gpu: 'true'}}}\n"
        self.finish(worker, load_dag(text, "main.yaml"))
        self.assertEqual(worker.environment()["DAG_RUN_STATUS"], "succeeded")

    def test_local(self) -> None:
        """``workerSelector: local`` keeps a step beside its run."""
        worker = self.worker()
        self.finish(worker, self.dag(self.far(worker_selector=WorkerSelector(local=True))))
        self.assertEqual((worker.tasks, len(worker.caller.processes.started)), ([], 1))

    def test_own_directory(self) -> None:
        """A DAG that names no working directory gives the step a fresh one there; one that does gives it the same path."""
        worker = self.worker()
        self.finish(worker, self.dag(self.far()))
        self.assertIn("dagu-run-", worker.processes.started[0].spec.cwd)
        there = str(Path(worker.caller.directory, "there"))
        worker = self.worker()
        self.finish(worker, self.dag(self.far(dir="sub"), working_dir=there))
        self.assertEqual(worker.processes.started[0].spec.cwd, f"{there}/sub")

    def test_redirects(self) -> None:
        """The step's own files are written where it runs."""
        worker = self.worker(("work", Script(0, "out", "err")))
        dag = self.dag(self.far(stdout="copy-${P}.txt"), working_dir=worker.caller.directory, params="P=7")
        node = self.finish(worker, dag).node("far")
        self.assertEqual(Path(worker.caller.directory, "copy-7.txt").read_text(), "out")
        self.assertEqual(node.step.stdout, f"{worker.caller.directory}/copy-7.txt")


class SecretTests(ElsewhereCase):
    TEXT = """\
name: main
secrets: [{name: S, provider: env, key: KEY}]
steps:
  - {name: before, command: tell, output: SAID}
  - {name: far, command: "work ${SAID}", output: RESULT, workerSelector: {gpu: "true"}}
"""

    def test_secrets_do_not_travel(self) -> None:
        """They are resolved by the worker; what was captured with one in it arrives whole, and nobody shows any."""
        key = {"KEY": "hidden"}
        scripts = (("tell", Script(0, "a hidden b")), ("work", Script(0, "result: hidden!")))
        worker = self.worker(*scripts, here=key, there=key)
        status = self.finish(worker, load_dag(self.TEXT, "main.yaml"))
        self.assertNotIn("hidden", worker.tasks[0].single_step)
        process = worker.processes.started[0].spec
        self.assertEqual((process.env["SAID"], process.env["S"]), ("a hidden b", "hidden"))
        node = status.node("far")
        self.assertEqual(node.outputs, {"RESULT": f"result: {MASK}!"})
        self.assertEqual(node.sealed_outputs, {"RESULT": ("result: ", "S", "!")})
        self.assertEqual(Path(node.stdout).read_text(), f"result: {MASK}!")
        for sink in worker.caller.store.sinks:
            self.assertNotIn("hidden", repr(sink.final))

    def test_missing_there(self) -> None:
        """A secret that the worker does not have fails the step with its name."""
        worker = self.worker(("tell", Script(0, "a")), here={"KEY": "hidden"})
        node = self.finish(worker, load_dag(self.TEXT, "main.yaml")).node("far")
        self.assertIs(node.state, NodeState.FAILED)
        self.assertIn('failed to execute step "far" on a worker: ', node.error)
        self.assertIn("S", node.error)


class WaitingTests(ElsewhereCase):
    def start(self, worker: WorkerBeside, **more: Any) -> Run:
        """The run of one step that waits for the worker."""
        return worker.caller.start(self.dag(self.far(**more), on_worker_lost=OnWorkerLost(LostWorkerPolicy.FAIL)))

    def test_task(self) -> None:
        """It is a START of a run of the step below the caller, only for workers of ours, with the DAG's policy."""
        worker = self.worker(held=True)
        self.start(worker)
        (task,) = worker.tasks
        self.assertEqual((task.run, task.root, task.parent), (RunRef("far", STEP_RUN), ROOT, ROOT))
        self.assertEqual((task.operation, task.selector), (Operation.START, {"gpu": "true"}))
        self.assertEqual((task.needs, task.on_worker_lost.policy), ("single steps", LostWorkerPolicy.FAIL))
        refused = load_dag(task.definition, "refusal", name=task.target)
        self.assertIn("is a task for a worker of txdagu", refused.steps[0].script)

    def test_the_reason_is_shown(self) -> None:
        """While nobody fits, the node and the run's log say why; then the node says where it writes."""
        worker = self.worker(("work", Script(None)), held=True)
        old = WorkerStatus("old", {"gpu": "true"}, Health.HEALTHY, 1, 0, confirms=False)
        worker.coordinators.view = WorkersView((old, WorkerStatus("w", {}, Health.HEALTHY, 1, 0)))
        run = self.start(worker)
        worker.caller.clock.pump([1.0] * 4)
        expected = (
            "waiting for a worker with gpu=true: old: is a worker of Dagu, which does not know single steps; "
            "w: label gpu wanted true, has nothing"
        )
        self.assertEqual(run.status.node("far").waits, expected)
        self.assertTrue(any(expected in line for line in worker.caller.store.sink("run-1").lines))
        worker.take()
        node = run.status.node("far")
        self.assertEqual((node.waits, node.stdout), ("", worker.processes.started[0].spec.stdout))

    def test_stopped_while_it_waits(self) -> None:
        """The request to end reaches the coordinators; the step ends as aborted."""
        worker = self.worker(held=True)
        run = self.start(worker)
        worker.coordinators.ends[STEP_RUN] = RunStatus(RunRef("far", STEP_RUN), ROOT, RunState.ABORTED, error="asked")
        run.cancel("enough")
        worker.caller.clock.pump([1.0] * 2)
        self.assertIs(self.successResultOf(run.wait()).node("far").state, NodeState.ABORTED)
        self.assertEqual([ref.id for ref in worker.coordinators.cancelled], [STEP_RUN])

    def test_stopped_while_it_runs(self) -> None:
        """Its process gets the step's own signal from its worker."""
        worker = self.worker(("work", Script(None)))
        run = self.start(worker, signal_on_stop="SIGINT")
        run.cancel("enough")
        self.assertEqual(worker.processes.started[0].signals, [signal.SIGINT])
        worker.caller.clock.pump([1.0] * 2)
        self.assertIs(self.successResultOf(run.wait()).node("far").state, NodeState.ABORTED)

    def test_time_limit(self) -> None:
        """The caller's time limit ends it there, and the step says what it says here."""
        worker = self.worker(("work", Script(None)))
        run = self.start(worker, timeout_seconds=3)
        worker.caller.clock.pump([1.0] * 5)
        node = self.successResultOf(run.wait()).node("far")
        self.assertEqual((node.state, node.exit_code), (NodeState.FAILED, 124))
        self.assertEqual(node.error, "step timed out after 3s (timeout: 3s)")
        self.assertEqual(worker.processes.running, [])

    def test_nested_on_one_slot(self) -> None:
        """A run that holds its worker's only slot lends it to its own step, and takes it again for what follows."""
        worker = self.worker(held=True)
        slots = Slots(1)
        parent = TaskSlot(slots)
        after = Step("after", commands=(Command("last"),), depends=("far",))
        run = worker.caller.engine.start(worker.caller.request(self.dag(self.far(), after)), slot=parent)
        self.assertEqual(slots.busy, 0)
        child = TaskSlot(slots)
        self.successResultOf(child.acquire())
        worker.take()
        self.assertNoResult(run.wait())
        child.release()
        self.assertIs(self.successResultOf(run.wait()).state, RunState.SUCCEEDED)
        self.assertEqual(worker.caller.lines(), ["last"])

    def test_given_up(self) -> None:
        """A step whose workers were lost fails with the coordinator's evidence."""
        worker = self.worker(held=True)
        run = self.start(worker)
        lost = RunStatus(RunRef("far", STEP_RUN), ROOT, RunState.FAILED, error="it has lost 3 in all (a, b, c)")
        worker.coordinators.ends[STEP_RUN] = lost
        worker.caller.clock.pump([1.0] * 4)
        error = self.successResultOf(run.wait()).node("far").error
        self.assertEqual(error, 'failed to execute step "far" on a worker: it has lost 3 in all (a, b, c)')

    def test_no_coordinator(self) -> None:
        """A step that has to run elsewhere fails when nobody can take it, and says why."""
        worker = self.worker()
        tools = worker.caller.engine._tools
        worker.caller.engine._tools = replace(tools, coordinators=None)
        error = self.successResultOf(self.start(worker).wait()).node("far").error
        expected = "step far has to run on a worker (workerSelector asks for gpu=true), but no coordinator is known"
        self.assertEqual(error, expected)


class NextAttemptTests(ElsewhereCase):
    """The caller is taken up again after it was lost, or retried."""

    def setUp(self) -> None:
        self.dag_ = self.dag(self.far(output=Output("R")))

    def lost(self, state: NodeState = NodeState.RUNNING) -> RunStatus:
        """What an attempt of the caller that was lost has left."""
        return RunStatus(
            ROOT, ROOT, RunState.RUNNING, attempt_id="lost", nodes=(NodeStatus(self.dag_.steps[0], state),)
        )

    def test_joined(self) -> None:
        """A step that an earlier attempt handed in and that runs is not run twice; its end is the step's."""
        worker = self.worker(("work", Script(None, "far away")))
        worker.caller.start(self.dag_)
        worker.held = True
        again = worker.caller.engine.start(replace(worker.caller.request(self.dag_), previous=self.lost()))
        self.assertEqual(worker.tasks[0].key, worker.tasks[1].key)
        worker.processes.started[0].end(ExitStatus(0))
        status = self.successResultOf(again.wait())
        self.assertEqual((status.outputs, len(worker.processes.started)), ({"R": "far away"}, 1))

    def test_success_that_nobody_saw(self) -> None:
        """One that has succeeded meanwhile is taken as it is."""
        worker = self.worker(("work", Script(0, "far away")))
        self.finish(worker, self.dag_)
        status = self.finish(worker, self.dag_, previous=self.lost())
        self.assertEqual((status.outputs, len(worker.tasks)), ({"R": "far away"}, 1))

    def test_run_again_on_purpose(self) -> None:
        """One whose end was known and that has to run again does, in a new attempt that keeps nothing."""
        worker = self.worker(("work", Script(0, "far away")))
        self.finish(worker, self.dag_)
        self.finish(worker, self.dag_, previous=self.lost(NodeState.SUCCEEDED), params="")
        self.assertEqual(len(worker.processes.started), 1)  # kept by the caller itself
        two = replace(
            self.dag_, steps=(Step("first", commands=(Command("x"),)), replace(self.dag_.steps[0], depends=("first",)))
        )
        previous = replace(self.lost(NodeState.SUCCEEDED), nodes=self.lost(NodeState.SUCCEEDED).nodes)
        self.finish(worker, two, previous=previous)
        self.assertEqual(len(worker.processes.started), 2)

    def test_second_worker(self) -> None:
        """A worker that gets the task after another was lost keeps what that one finished, and runs what it did not."""
        worker = self.worker(("work", Script(None, "far away")))
        run = worker.caller.start(self.dag_)
        sink = worker.caller.store.sink(STEP_RUN)
        done = replace(sink.statuses[-1].nodes[0], state=NodeState.SUCCEEDED, outputs={"R": "from the first"})
        sink.write_status(replace(sink.statuses[-1], nodes=(done,)))
        worker.take()
        status = self.successResultOf(run.wait())
        self.assertEqual((status.outputs, len(worker.processes.started)), ({"R": "from the first"}, 1))

    def test_cut_off_worker(self) -> None:
        """An end that the worker wrote because it was cut off is none while a coordinator has the task."""
        worker = self.worker(("work", Script(None)))
        run = worker.caller.start(self.dag_)
        worker.coordinators.held.add(STEP_RUN)
        worker.runs[0].cancel("its lease was not renewed")
        worker.caller.clock.pump([1.0] * 3)
        self.assertNoResult(run.wait())
        worker.take()
        worker.coordinators.held.clear()
        worker.processes.started[-1].end(ExitStatus(0))
        self.assertIs(self.successResultOf(run.wait()).state, RunState.SUCCEEDED)


class MessageTests(SynchronousTestCase):
    def test_names(self) -> None:
        """The run of a step has a name that a DAG may have."""
        self.assertEqual(run_name("load data/ü"), "load_data__")
        self.assertEqual(len(run_name("x" * 60)), 40)

    def test_nonsense(self) -> None:
        """A task that carries something else is refused with a sentence."""
        with self.assertRaisesRegex(Exception, "the single step of the task cannot be read"):
            decode_single_step('{"dag": 5}')
