"""Runs with conditions, policies, time limits, signals and handlers, with processes in memory."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from twisted.trial.unittest import SynchronousTestCase

from txdagu.execution.interfaces import ExitStatus, ProcessSpec
from txdagu.model.conditions import Condition
from txdagu.model.dag import ChildCall, Command, Dag, Handler, Output, Step
from txdagu.model.policies import ContinueOn, RepeatMode, RepeatPolicy, RetryPolicy
from txdagu.model.run import RunStatus
from txdagu.model.status import NodeState, RunState
from txdagu.testing.engine import EngineHarness
from txdagu.testing.processes import Script, by_command


def step(name: str, *lines: str, **more: object) -> Step:
    return Step(name, commands=tuple(Command(line) for line in lines), **more)  # type: ignore[arg-type]


def in_turn(*scripts: Script) -> Callable[[ProcessSpec], Script]:
    """Each program behaves like the next script; the last one stays."""
    left = list(scripts)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


class PolicyCase(SynchronousTestCase):
    def harness(self, behaviour: Callable[[ProcessSpec], Script] | None = None, **options: object) -> EngineHarness:
        directory = mkdtemp()
        self.addCleanup(rmtree, directory)
        return EngineHarness(directory, behaviour, **options)  # type: ignore[arg-type]

    def finish(self, harness: EngineHarness, dag: Dag) -> RunStatus:
        status = self.successResultOf(harness.start(dag).wait())
        self.assertEqual(harness.clock.getDelayedCalls(), [])
        return status


class ConditionTests(PolicyCase):
    def check(self, *conditions: Condition, behaviour: Callable[[ProcessSpec], Script] | None = None) -> list[str]:
        """The messages of the conditions; the step must have run if there are none."""
        harness = self.harness(behaviour)
        status = self.finish(harness, Dag("d", (step("a", "the step", preconditions=conditions),), params="P=1"))
        messages = [condition.error for condition in status.nodes[0].step.preconditions]
        self.assertIs(status.nodes[0].state, NodeState.SKIPPED if any(messages) else NodeState.SUCCEEDED)
        self.assertEqual(harness.lines()[-1:] == ["the step"], not any(messages))
        return messages

    def test_command(self) -> None:
        """A command runs with the step's shell without -e, in the DAG's directory and the engine's environment."""
        harness = self.harness(environ={"HOST": "h"})
        asks = step(
            "a",
            "x",
            preconditions=(Condition("test $P $O $E"),),
            env=("E=own",),
            dir="sub",
            depends=("make",),
            shell="bash",
        )
        make = step("make", "make", output=Output("O"))
        self.finish(harness, Dag("d", (make, asks), params="P=1", env=("D=dag",), working_dir=harness.directory))
        spec = harness.processes.started[1].spec
        self.assertEqual((spec.argv, spec.cwd), (("bash", "-c", "test 1  own"), harness.directory))
        self.assertEqual([spec.env.get(name) for name in ("HOST", "D", "E", "O", "P")], ["h", "dag", None, None, None])

    def test_default_shell(self) -> None:
        """The default shell gets no -e either: the last command of a condition decides."""
        harness = self.harness()
        self.finish(harness, Dag("d", (step("a", "x", preconditions=(Condition("false; true"),)),)))
        self.assertEqual(harness.processes.started[0].spec.argv, ("/bin/sh", "-c", "false; true"))

    def test_messages(self) -> None:
        """What an unmet condition says, each kind; the met ones say that another was not."""
        behaviour = by_command((("exit 7", Script(7)), ("b", Script(stdout="b\n"))))
        messages = self.check(
            Condition("true"), Condition("exit 7"), Condition("`b`", "a"), Condition("$P", "re:^2"), behaviour=behaviour
        )
        self.assertEqual(
            messages,
            [
                "other condition was not met",
                "condition was not met: exit status 7",
                'condition was not met: expected "a", got "b"',
                'condition was not met: expected "re:^2", got "1"',
            ],
        )

    def test_any_line(self) -> None:
        """Any line may be equal as a whole, or contain a match."""
        behaviour = by_command((("lines", Script(stdout="one\ntwo\n")),))
        self.assertEqual(
            self.check(Condition("`lines`", "two"), Condition("`lines`", "re:w"), behaviour=behaviour), ["", ""]
        )
        self.assertTrue(self.check(Condition("`lines`", "tw"), behaviour=behaviour)[0])

    def test_negate(self) -> None:
        """Negation turns the answer round, but no error into one."""
        behaviour = by_command((("bad", Script(1)),))
        self.assertEqual(
            self.check(Condition("bad", negate=True), Condition("$P", "2", True), behaviour=behaviour), ["", ""]
        )
        self.assertEqual(
            self.check(Condition("good", negate=True)), ["condition was not met: condition matched but negate is true"]
        )
        self.assertIn("failed: exit status 1", self.check(Condition("`bad`", "x", True), behaviour=behaviour)[0])

    def test_no_expression(self) -> None:
        """What is no regular expression skips the step with a sentence."""
        self.assertIn("'[' is no regular expression", self.check(Condition("$P", "re:["))[0])

    def test_stop(self) -> None:
        """A stop while a condition runs ends that, and the step is aborted."""
        harness = self.harness(by_command((("slow", Script(None)),)))
        run = harness.start(Dag("d", (step("a", "x", preconditions=(Condition("slow"),)),)))
        run.cancel("enough")
        status = self.successResultOf(run.wait())
        self.assertEqual((status.state, status.nodes[0].state), (RunState.ABORTED, NodeState.ABORTED))
        self.assertEqual(harness.lines(), ["slow"])

    def test_dag(self) -> None:
        """Conditions of the DAG run with its shell; unmet they abort the run, which says why, and its steps have no logs."""
        harness = self.harness(by_command((("no", Script(1)),)))
        dag = Dag("d", (step("a", "x"),), preconditions=(Condition("no $P"),), params="P=1", shell="zsh")
        status = self.finish(harness, dag)
        self.assertEqual(harness.processes.started[0].spec.argv, ("zsh", "-c", "no 1"))
        self.assertIs(status.state, RunState.ABORTED)
        self.assertEqual(status.error, "the preconditions do not hold: condition was not met: exit status 1")
        self.assertEqual(status.preconditions[0].error, "condition was not met: exit status 1")
        self.assertEqual((status.nodes[0].state, status.nodes[0].stdout), (NodeState.NOT_STARTED, ""))


class AgainTests(PolicyCase):
    def test_retry(self) -> None:
        """All attempts write to the same logs, the last one's output counts, and `${id.exitCode}` is its own."""
        harness = self.harness(in_turn(Script(3, stdout="one\n"), Script(stdout="two\n"), Script()))
        first = step("a", "try", id="first", output=Output("O"), retry_policy=RetryPolicy(1, 30))
        run = harness.start(Dag("d", (first, step("b", "use $O ${first.exitCode}", depends=("a",)))))
        harness.clock.advance(29)
        self.assertEqual(run.status.nodes[0].retry_count, 1)
        self.assertEqual(len(harness.processes.started), 1)
        harness.clock.advance(1)
        status = self.successResultOf(run.wait())
        self.assertEqual(Path(status.nodes[0].stdout).read_text(), "one\ntwo\n")
        self.assertEqual(harness.store.sinks[0].step_names, ["a", "b"])
        self.assertEqual((harness.lines()[-1], status.nodes[0].outputs), ("use two 0", {"O": "two"}))
        self.assertTrue(any("will be tried again" in line for line in harness.store.sinks[0].lines))
        self.assertEqual(harness.clock.getDelayedCalls(), [])

    def test_retry_texts(self) -> None:
        """Limit and interval as text are evaluated, and the interval is waited for."""
        harness = self.harness(in_turn(Script(1), Script(1), Script()))
        run = harness.start(Dag("d", (step("a", "x", retry_policy=RetryPolicy("$N", "${N}0")),), params="N=2"))
        harness.clock.pump([20, 19])
        self.assertEqual(len(harness.processes.started), 2)
        harness.clock.advance(1)
        self.assertIs(self.successResultOf(run.wait()).state, RunState.SUCCEEDED)

    def test_retry_text_that_is_no_number(self) -> None:
        """The step fails before it runs, with a sentence that has the text as written and as evaluated."""
        harness = self.harness()
        status = self.finish(harness, Dag("d", (step("a", "x", retry_policy=RetryPolicy("$N", 0)),), params="N=many"))
        self.assertEqual(
            status.nodes[0].error, "failed to setup retry policy: limit '$N' is 'many', which is no number"
        )
        self.assertEqual(harness.processes.started, [])

    def test_evaluated_anew(self) -> None:
        """Each attempt evaluates the command as written, not what the attempt before made of it."""
        harness = self.harness(by_command((("date", Script(stdout="$P")), ("echo", Script(1)))))
        status = self.finish(
            harness, Dag("d", (step("a", "echo `date`", retry_policy=RetryPolicy(1, 0)),), params="P=1")
        )
        self.assertEqual(harness.lines(), ["date", "echo $P", "date", "echo $P"])
        self.assertEqual(status.nodes[0].step.commands[0].text, "echo $P")

    def test_repeat_until(self) -> None:
        """The condition sees the fresh output of the round; a param of that name still wins."""
        harness = self.harness(in_turn(*(Script(stdout=f"{n}\n") for n in range(1, 9))))
        policy = RepeatPolicy(RepeatMode.UNTIL, Condition("${N}", "3"))
        status = self.finish(harness, Dag("d", (step("a", "count", output=Output("N"), repeat_policy=policy),)))
        self.assertEqual((status.nodes[0].done_count, status.outputs), (3, {"N": "3"}))
        harness = self.harness()
        policy = replace(policy, limit=2)
        dag = Dag("d", (step("a", "count", output=Output("N"), repeat_policy=policy),), params="N=3")
        self.assertEqual(self.finish(harness, dag).nodes[0].done_count, 1)

    def test_excused_by_output(self) -> None:
        """The log is searched, and what is no regular expression excuses nothing."""
        for text, state in (
            ("harmless", RunState.PARTIALLY_SUCCEEDED),
            ("re:[", RunState.FAILED),
        ):
            harness = self.harness(by_command((("bad", Script(1, stdout="it is harmless\n", stderr="stderr")),)))
            first = step("a", "bad", continue_on=ContinueOn(outputs=("stderr", text)))
            status = self.finish(harness, Dag("d", (first, step("b", "x", depends=("a",)))))
            self.assertIs(status.state, state)

    def test_outputs_beyond_a_skipped_step(self) -> None:
        """Who comes after an excused skip sees the outputs of what was before it."""
        harness = self.harness(by_command((("make", Script(stdout="1")), ("no", Script(1)))))
        skipped = step("b", "x", depends=("a",), preconditions=(Condition("no"),), continue_on=ContinueOn(skipped=True))
        dag = Dag("d", (step("a", "make", output=Output("O")), skipped, step("c", "use $O", depends=("b",))))
        self.finish(harness, dag)
        self.assertEqual(harness.lines()[-1], "use 1")

    def test_outputs_beyond_steps_that_had_no_turn(self) -> None:
        """Steps that were skipped because others were are seen past as well, however many, and where ways part and meet."""
        harness = self.harness(by_command((("make", Script(stdout="1")), ("no", Script(1)))))
        skipped = step("b", "x", depends=("a",), preconditions=(Condition("no"),))
        more = tuple(step(f"b{n}", "x", depends=("b",) if n < 2 else (f"b{n - 1}", f"b{n - 2}")) for n in range(1500))
        excused = replace(more[-1], continue_on=ContinueOn(skipped=True))
        last = step("c", "use $O", depends=(excused.name,))
        self.finish(harness, Dag("d", (step("a", "make", output=Output("O")), skipped, *more[:-1], excused, last)))
        self.assertEqual(harness.lines()[-1], "use 1")


class TimeLimitTests(PolicyCase):
    def test_step(self) -> None:
        """The whole group is killed at once, and the step failed with 124."""
        harness = self.harness(by_command((("slow", Script(None, stubborn=True)),)))
        first = step("a", "slow", "never", id="a", timeout_seconds=4, continue_on=ContinueOn(failure=True))
        run = harness.start(Dag("d", (first, step("b", "use ${a.exitCode}", depends=("a",)))))
        harness.clock.advance(4)
        status = self.successResultOf(run.wait())
        self.assertEqual(harness.processes.started[0].signals, [signal.SIGKILL])
        self.assertEqual(status.nodes[0].error, "step timed out after 4s (timeout: 4s)")
        self.assertEqual(harness.lines(), ["slow", "use 124"])

    def test_step_that_calls(self) -> None:
        """The limit holds while a step waits for a child, whose steps are killed."""
        harness = self.harness(by_command((("slow", Script(None, stubborn=True)),)))
        harness.files["child"] = Dag("child", (step("c", "slow"),), handlers={Handler.EXIT: step("onExit", "bye")})
        run = harness.start(Dag("d", (Step("a", child=ChildCall("child"), timeout_seconds=4),)))
        harness.clock.advance(4)
        status = self.successResultOf(run.wait())
        self.assertEqual(harness.processes.started[0].signals, [signal.SIGKILL])
        self.assertEqual((status.state, status.nodes[0].state), (RunState.FAILED, NodeState.FAILED))
        self.assertEqual(status.nodes[0].error, "step timed out after 4s (timeout: 4s)")
        self.assertEqual(harness.lines(), ["slow"])

    def test_dag(self) -> None:
        """What runs is killed, the run failed and says why, and its handlers run."""
        harness = self.harness(by_command((("slow", Script(None, stubborn=True)),)))
        handlers = {Handler.FAILURE: step("onFailure", "mail $DAG_RUN_STATUS")}
        run = harness.start(Dag("d", (step("a", "slow"),), timeout_seconds=9, handlers=handlers))
        harness.clock.advance(9)
        status = self.successResultOf(run.wait())
        self.assertEqual((status.state, status.nodes[0].state), (RunState.FAILED, NodeState.ABORTED))
        self.assertEqual(status.nodes[0].error, "signal: killed")
        self.assertEqual(status.error, "the run took longer than its time limit of 9 s")
        self.assertEqual(harness.lines(), ["slow", "mail failed"])


class SignalTests(PolicyCase):
    def signals(self, own: str, passed: str, child: bool = False) -> list[int]:
        harness = self.harness(by_command((("slow", Script(None, stubborn=True)),)))
        slow = step("s", "slow", signal_on_stop=own)
        harness.files["child"] = Dag("child", (slow,))
        steps = (Step("a", child=ChildCall("child")),) if child else (slow,)
        run = harness.start(Dag("d", steps, max_clean_up_seconds=2))
        run.cancel("enough", passed)
        harness.clock.advance(2)
        self.assertIs(self.successResultOf(run.wait()).state, RunState.ABORTED)
        return harness.processes.started[0].signals

    def test_which(self) -> None:
        """A step's own signal for requests, that of the process for signals, SIGTERM else; then SIGKILL; in children too."""
        self.assertEqual(self.signals("", ""), [signal.SIGTERM, signal.SIGKILL])
        self.assertEqual(self.signals("SIGUSR1", ""), [signal.SIGUSR1, signal.SIGKILL])
        self.assertEqual(self.signals("SIGUSR1", "SIGINT"), [signal.SIGINT, signal.SIGKILL])
        self.assertEqual(self.signals("SIGUSR1", "SIGINT", child=True)[0], signal.SIGINT)
        self.assertEqual(self.signals("SIGUSR1", "", child=True)[0], signal.SIGUSR1)

    def test_handlers_have_their_time(self) -> None:
        """Handlers after a stop may take longer than the time to clean up; a second wish ends them."""
        harness = self.harness(by_command((("slow", Script(None)),)))
        handlers = {Handler.ABORT: step("onCancel", "slow abort"), Handler.EXIT: step("onExit", "bye")}
        run = harness.start(Dag("d", (step("a", "slow"),), handlers=handlers, max_clean_up_seconds=2))
        run.cancel("enough")
        harness.clock.advance(100)
        self.assertNoResult(run.wait())
        run.kill()
        self.assertIs(self.successResultOf(run.wait()).state, RunState.ABORTED)
        self.assertEqual(harness.lines(), ["slow", "slow abort"])


class HandlerTests(PolicyCase):
    def test_story(self) -> None:
        """Handlers are told the state, see outputs of all steps but not each other's, and are in the record with their logs."""
        harness = self.harness(by_command((("make", Script(stdout="1")), ("init", Script(stdout="never")))))
        handlers = {
            Handler.INIT: step("onInit", "init $DAG_RUN_STATUS", output=Output("I")),
            Handler.SUCCESS: step("onSuccess", "ok $DAG_RUN_STATUS $O ${m.exitCode} $I"),
            Handler.FAILURE: step("onFailure", "never"),
            Handler.EXIT: step(
                "onExit", "bye $DAG_RUN_STEP_NAME", preconditions=(Condition("$DAG_RUN_STATUS", "succeeded"),)
            ),
        }
        status = self.finish(harness, Dag("d", (step("m", "make", output=Output("O"), id="m"),), handlers=handlers))
        self.assertEqual(harness.lines(), ["init running", "make", "ok succeeded 1 0 $I", "bye onExit"])
        self.assertEqual(harness.processes.started[2].spec.env["DAG_RUN_STATUS"], "succeeded")
        self.assertEqual([node.step.name for node in status.handlers_begun], ["onInit", "onSuccess", "onExit"])
        self.assertIs(status.handlers[Handler.FAILURE].state, NodeState.NOT_STARTED)
        self.assertTrue(Path(status.handlers[Handler.EXIT].stdout).exists())
        self.assertEqual(status.outputs, {"O": "1"})
        self.assertEqual(harness.store.sinks[0].final, status)
        states = [told.handlers[Handler.INIT].state for told in harness.store.sinks[0].statuses]
        self.assertEqual(states[:2], [NodeState.NOT_STARTED, NodeState.RUNNING])

    def test_calling(self) -> None:
        """A handler may call another DAG; its run is told in the handler's node."""
        harness = self.harness()
        harness.files["child"] = Dag("child", (step("c", "in child"),))
        handlers = {Handler.EXIT: Step("onExit", child=ChildCall("child"))}
        status = self.finish(harness, Dag("d", (step("a", "x"),), handlers=handlers))
        self.assertEqual(harness.lines(), ["x", "in child"])
        self.assertEqual(len(status.handlers[Handler.EXIT].children), 1)

    def test_stop_before_the_steps(self) -> None:
        """A stop while backticks of the params run ends the run without its handlers: nothing of them is evaluated yet."""
        harness = self.harness(by_command((("hang", Script(None, stubborn=True)),)))
        handlers = {Handler.EXIT: step("onExit", "bye")}
        run = harness.start(Dag("d", (step("a", "x"),), params="P=`hang`", handlers=handlers, max_clean_up_seconds=3))
        run.cancel("enough")
        harness.clock.advance(3)
        self.assertIs(self.successResultOf(run.wait()).state, RunState.ABORTED)
        self.assertEqual(harness.lines(), ["hang"])

    def test_late_end_of_a_stopped_step(self) -> None:
        """A stopped step that ends well still counts as aborted, and the handlers follow."""
        harness = self.harness(by_command((("slow", Script(None, stubborn=True)),)))
        run = harness.start(Dag("d", (step("a", "slow"),), handlers={Handler.ABORT: step("onCancel", "sorry")}))
        run.cancel("enough")
        harness.processes.started[0].end(ExitStatus(0))
        status = self.successResultOf(run.wait())
        self.assertEqual((status.state, harness.lines()), (RunState.ABORTED, ["slow", "sorry"]))
        self.assertEqual(status.error, "it was stopped: enough")
