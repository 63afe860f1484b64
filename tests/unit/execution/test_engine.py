"""Runs from start to end, with processes in memory."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from txdagu.execution.interfaces import ExitStatus, IProcessRunner, IStartedProcess
from txdagu.model.dag import ChildCall, Command, Dag, Output, Step
from txdagu.model.errors import ConflictError, UnavailableError
from txdagu.model.labels import WorkerSelector
from txdagu.model.run import RunRef, RunStatus
from txdagu.model.status import NodeState, RunState
from txdagu.peers.interfaces import ICoordinators
from txdagu.store.interfaces import IRunSink, IRunStore
from txdagu.testing.coordinators import ScriptedCoordinators
from txdagu.testing.engine import EngineHarness
from txdagu.testing.processes import Script, by_command


def step(name: str, *lines: str, **more: object) -> Step:
    return Step(name, commands=tuple(Command(line) for line in lines), **more)  # type: ignore[arg-type]


class EngineCase(SynchronousTestCase):
    def harness(self, *scripts: tuple[str, Script], **options: object) -> EngineHarness:
        directory = mkdtemp()
        self.addCleanup(rmtree, directory)
        return EngineHarness(directory, by_command(scripts), **options)  # type: ignore[arg-type]

    def finish(self, harness: EngineHarness, dag: Dag, params: str = "") -> RunStatus:
        return self.successResultOf(harness.start(dag, params=params).wait())


class InterfaceTests(EngineCase):
    def test_doubles(self) -> None:
        """The doubles in `txdagu.testing` provide what they stand for."""
        harness = self.harness()
        self.finish(harness, Dag("d", (step("a", "x"),)))
        verifyObject(IRunStore, harness.store)
        verifyObject(IRunSink, harness.store.sinks[0])
        verifyObject(ICoordinators, ScriptedCoordinators())
        verifyObject(IProcessRunner, harness.processes)
        verifyObject(IStartedProcess, harness.processes.started[0])


class RunTests(EngineCase):
    def test_success(self) -> None:
        """Steps run in order; states and the story of the run are kept; the attempt is closed with the last state."""
        harness = self.harness(("two", Script(stdout=" out \n")))
        dag = Dag("d", (step("a", "one"), step("b", "two", depends=("a",), output=Output("X"))))
        told: list[RunState] = []
        run = harness.engine.start(harness.request(dag), on_status=lambda status: told.append(status.state))
        status = self.successResultOf(run.done)
        self.assertIs(status.state, RunState.SUCCEEDED)
        self.assertEqual(status.outputs, {"X": "out"})
        self.assertEqual(harness.processes.started[0].spec.argv, ("/bin/sh", "-e", "-c", "one"))
        [sink] = harness.store.sinks
        self.assertEqual(sink.final, status)
        self.assertEqual(told, [RunState.RUNNING] * (len(told) - 1) + [RunState.SUCCEEDED])
        self.assertEqual(sink.step_names, ["a", "b"])
        self.assertTrue(sink.lines[0].startswith('time=2026-01-01T00:00:00.000+00:00 level=INFO msg="DAG run started"'))
        self.assertIn('msg="DAG run finished" status=succeeded', sink.lines[-1])
        self.assertEqual(self.successResultOf(run.wait()), status)

    def test_failure(self) -> None:
        """A failed step says how its program ended and what it wrote to stderr last."""
        harness = self.harness(("bad", Script(3, stderr="x" * 2000 + "\nlast words\n", stdout="7")))
        status = self.finish(harness, Dag("d", (step("a", "bad", output=Output("N")), step("b", "x", depends=("a",)))))
        self.assertIs(status.state, RunState.FAILED)
        error = status.node("a").error
        self.assertTrue(error.startswith('failed to execute step "a": exit status 3\nrecent stderr (tail):\nxxx'))
        self.assertTrue(error.endswith("\nlast words"))
        self.assertLess(len(error), 1100)
        self.assertEqual(status.node("a").outputs, {"N": "7"})
        self.assertEqual(status.node("b").error, "upstream failed")

    def test_several_commands(self) -> None:
        """Several commands run in turn until one fails, which is named; the output is that of all."""
        harness = self.harness(("one", Script(stdout="1\n")), ("two", Script(1, stdout="2\n")))
        status = self.finish(harness, Dag("d", (step("a", "one", "two", "three", output=Output("X")),)))
        self.assertEqual(harness.lines(), ["one", "two"])
        self.assertEqual(status.node("a").error, 'failed to execute step "a": command 2 failed: exit status 1')
        self.assertEqual(status.outputs, {"X": "1\n2"})

    def test_output_too_large(self) -> None:
        """More output than allowed fails the step and sets nothing."""
        harness = self.harness(("much", Script(stdout="x" * 11)))
        status = self.finish(harness, Dag("d", (step("a", "much", output=Output("X")),), max_output_size=10))
        self.assertEqual(
            status.node("a").error,
            'failed to execute step "a": failed to capture output: output exceeded maximum size limit of 10 bytes',
        )
        self.assertEqual(status.outputs, {})

    def test_missing_program(self) -> None:
        """A program that cannot be started fails its step with one sentence, and the run ends."""
        harness = self.harness(("/bin/sh", Script(missing=True)))
        status = self.finish(harness, Dag("d", (step("a", "x"),)))
        self.assertEqual(status.node("a").error, "cannot start /bin/sh: there is no such program")

    def test_a_thousand_steps_in_a_chain(self) -> None:
        """A long chain whose steps end at once needs no deep stack."""
        steps = tuple(step(f"s{n}", "x", depends=(f"s{n - 1}",) if n else ()) for n in range(1000))
        self.assertIs(self.finish(self.harness(), Dag("d", steps)).state, RunState.SUCCEEDED)

    def test_max_active_steps(self) -> None:
        """No more processes than allowed at once."""
        harness = self.harness(("x", Script(None)))
        harness.start(Dag("d", (step("a", "x"), step("b", "x"), step("c", "x")), max_active_steps=2))
        self.assertEqual(len(harness.processes.running), 2)


class EvaluationTests(EngineCase):
    def test_params_env_and_outputs(self) -> None:
        """Params are evaluated once, shown in the status, and replaced in commands; outputs of ancestors too."""
        harness = self.harness(("make", Script(stdout='{"k": [1]}')))
        dag = Dag(
            "d",
            (
                step("a", "make", output=Output("J"), id="first"),
                step("b", "use $A ${J.k[0]} ${first.exitCode} $B $E", depends=("a",), env=("B=${A}!", "C=$E")),
                step("c", "unrelated $J"),
            ),
            params="A=1 two",
            env=("E=${HOST}/e",),
        )
        harness = EngineHarness(
            harness.directory, by_command([("make", Script(stdout='{"k": [1]}'))]), environ={"HOST": "h", "LANG": "C"}
        )
        status = self.finish(harness, dag, params="A=9")
        self.assertEqual(status.params, ("A=9", "2=two"))
        self.assertEqual(sorted(harness.lines()), ["make", "unrelated $J", "use 9 1 0 9! $E"])
        env = next(p.spec.env for p in harness.processes.started if "use" in p.spec.argv[-1])
        expected = {
            "E": "h/e", "A": "9", "B": "9!", "C": "h/e", "2": "two", "LANG": "C", "DAG_NAME": "d", "DAG_RUN_ID": "run-1",
            "DAG_RUN_STEP_NAME": "b", "PWD": harness.directory, "DAGU_PARAMS_JSON": '{"2":"two","A":"9"}', "J": '{"k": [1]}',
        }  # fmt: skip
        self.assertEqual({name: env.get(name) for name in expected}, expected)
        self.assertNotIn("HOST", env)
        self.assertEqual(env["DAG_RUN_STEP_STDOUT_FILE"], status.node("b").stdout)
        self.assertEqual(status.node("b").step.commands[0].text, "use 9 1 0 9! $E")

    def test_exit_code_of_a_step_that_has_not_run(self) -> None:
        """The exit code of a step that has not run is 0; the paths of its logs are not known yet, and stay as written."""
        harness = self.harness()
        early = step("early", "use ${late.exitCode} ${late.stdout}")
        self.finish(harness, Dag("d", (early, step("late", "x", id="late", depends=("early",)))))
        self.assertEqual(harness.lines(), ["use 0 ${late.stdout}", "x"])

    def test_backticks(self) -> None:
        """Backticks in params and commands run with the default shell; what they print is used."""
        harness = self.harness(("date", Script(stdout="today\n")))
        status = self.finish(harness, Dag("d", (step("a", "echo `date` $D"),), params="D=`date`"))
        self.assertEqual(status.params, ("D=today",))
        self.assertEqual(harness.lines(), ["date", "date", "echo today today"])
        self.assertEqual(harness.processes.started[0].spec.argv, ("/bin/sh", "-e", "-c", "date"))

    def test_failing_backticks(self) -> None:
        """A failing command in the params fails the run before any step, with a sentence; in a step, the step."""
        harness = self.harness(("nope", Script(2, stderr="no such thing")))
        status = self.finish(harness, Dag("d", (step("a", "x"),), params="D=`nope`"))
        self.assertIs(status.state, RunState.FAILED)
        self.assertEqual(status.error, "the command in backticks `nope` failed: exit status 2: no such thing")
        self.assertIs(status.node("a").state, NodeState.NOT_STARTED)
        status = self.finish(harness, Dag("d", (step("a", "echo `nope`"),)))
        self.assertIn("`nope` failed", status.node("a").error)

    def test_working_directories(self) -> None:
        """The DAG's own directory is relative to its file, a step's to the DAG's; both are made."""
        harness = self.harness()
        dag = Dag("d", (step("a", "x", dir="$SUB/s"), step("b", "x")), working_dir="w", env=("SUB=deep",))
        self.finish(harness, replace(dag, base_dir=harness.directory))
        directories = [process.spec.cwd for process in harness.processes.started]
        self.assertEqual(directories, [f"{harness.directory}/w/deep/s", f"{harness.directory}/w"])
        self.assertTrue(all(Path(directory).is_dir() for directory in directories))

    def test_directory_that_cannot_be_made(self) -> None:
        """A working directory below a file fails the run with one sentence."""
        harness = self.harness()
        Path(harness.directory, "file").touch()
        status = self.finish(harness, Dag("d", (step("a", "x"),), working_dir=f"{harness.directory}/file/sub"))
        self.assertEqual(
            status.error, f"cannot create the working directory {harness.directory}/file/sub: Not a directory"
        )
        self.assertIsNotNone(harness.store.sinks[0].final)


class ShellTests(EngineCase):
    def argv(self, dag: Dag, environ: dict[str, str] | None = None) -> tuple[str, ...]:
        harness = EngineHarness(self.harness().directory, environ=environ)
        self.finish(harness, dag)
        return harness.processes.started[0].spec.argv

    def test_choice(self) -> None:
        """Step's shell without -e, DAG's with it, then the default; -e is not added twice, nor to other programs."""
        for one, dag, environ, argv in (
            (step("a", "x"), {}, {}, ("/bin/sh", "-e", "-c", "x")),
            (step("a", "x"), {}, {"DAGU_DEFAULT_SHELL": "bash -u"}, ("bash", "-u", "-e", "-c", "x")),
            (step("a", "x"), {"shell": "zsh", "shell_args": ("-o", "x")}, {}, ("zsh", "-o", "x", "-e", "-c", "x")),
            (step("a", "x"), {"shell": "bash", "shell_args": ("-euo",)}, {}, ("bash", "-euo", "-c", "x")),
            (step("a", "x", shell="bash", shell_args=("-c",)), {"shell": "zsh"}, {}, ("bash", "-c", "x")),
            (step("a", "x"), {"shell": "python3"}, {}, ("python3", "-c", "x")),
            (step("a", "ls '-l $V'", shell="direct", env=("V=1",)), {}, {}, ("ls", "-l 1")),
        ):
            self.assertEqual(self.argv(Dag("d", (one,), **dag), environ), argv)

    def test_type_written_out(self) -> None:
        """To a step with `type: shell` nothing is pasted but what no shell can read."""
        text = 'echo $V "${V}" ${X.k}'
        for kind, received in (
            ("shell", 'echo $V "${V}" 1'),
            ("", 'echo a b "a b" 1'),
        ):
            one = step("a", text, type=kind, env=("V=a b", 'X={"k": 1}'))
            self.assertEqual(self.argv(Dag("d", (one,)), {})[-1], received)

    def test_other_families(self) -> None:
        """nix-shell, PowerShell and cmd are called in their own ways; packages are for nix-shell."""
        environ = {"SHELL": "/bin/sh"}
        for dag, one, argv in (
            ({}, step("a", "x", shell="nix-shell", shell_packages=("curl", "jq")),
             ("nix-shell", "-p", "curl", "-p", "jq", "--pure", "--run", "x")),
            ({"shell": "nix-shell"}, step("a", "x"), ("nix-shell", "--pure", "--run", "set -e; x")),
            ({}, step("a", "x", shell="pwsh"), ("pwsh", "-Command", "x")),
            ({}, step("a", "x", shell="cmd"), ("cmd", "/c", "x")),
            ({}, step("a", "x", shell="nu", shell_args=("--login", "-c")), ("nu", "--login", "-c", "x")),
        ):  # fmt: skip
            self.assertEqual(self.argv(Dag("d", (one,), **dag), environ), argv)  # type: ignore[arg-type]

    def test_scripts_of_other_families(self) -> None:
        """Script files have the endings and beginnings that their interpreters need."""
        argv, text, _, name = self.script(Step("a", script="x", shell="pwsh"))
        self.assertEqual(argv, ("pwsh", "-ExecutionPolicy", "Bypass", "-File"))
        self.assertTrue(text.startswith("$ErrorActionPreference = 'Stop'\n"))
        self.assertTrue(name.endswith(".ps1"))
        argv, _, _, name = self.script(Step("a", script="x", shell="cmd"))
        self.assertEqual((argv, name.endswith(".bat")), (("cmd", "/c"), True))
        argv, _, _, _ = self.script(Step("a", script="x", shell="nix-shell", shell_packages=("jq",)))
        self.assertEqual(argv, ("nix-shell", "--pure", "--run"))

    def script(self, one: Step) -> tuple[tuple[str, ...], str, int, str]:
        """Arguments without the file, its text, mode, and name."""
        seen: list[tuple[str, int]] = []

        def look(spec: object) -> Script:
            path = Path(spec.argv[-1])  # type: ignore[attr-defined]
            seen.append((path.read_text(), path.stat().st_mode & 0o777))
            return Script()

        directory = self.harness().directory
        harness = EngineHarness(directory, look)
        self.finish(harness, Dag("d", (one,), params="P=1"))
        argv = harness.processes.started[0].spec.argv
        self.assertFalse(Path(argv[-1]).exists())
        self.assertEqual(Path(argv[-1]).parent, Path(directory))
        return argv[:-1], seen[0][0], seen[0][1], Path(argv[-1]).name

    def test_script(self) -> None:
        """A script is a file of its own in the step's directory, removed afterwards; references in it are replaced."""
        argv, text, mode, name = self.script(Step("a", script="echo $P `x` $HOME"))
        self.assertEqual((argv, text, mode), (("/bin/sh", "-e"), "echo 1 `x` $HOME", 0o750))
        self.assertRegex(name, r"^dagu_script-.*\.sh$")

    def test_script_interpreters(self) -> None:
        """A first line with #! names the interpreter unless the step names a shell; a command takes the file as argument."""
        bang = "#!/usr/bin/env python3\nprint()"
        self.assertEqual(self.script(Step("a", script=bang))[0], ("/usr/bin/env", "python3"))
        self.assertEqual(self.script(Step("a", script=bang, shell="bash"))[0], ("bash",))
        sed = Step("a", commands=(Command("sed -n 2p", "sed", ("-n", "2p")),), script="x")
        self.assertEqual(self.script(sed)[0], ("sed", "-n", "2p"))


class StopTests(EngineCase):
    def test_terminate(self) -> None:
        """A stop sends SIGTERM to running steps; they and the run, which says why, are aborted; the rest stays not started."""
        harness = self.harness(("long", Script(None)))
        run = harness.start(Dag("d", (step("a", "long"), step("b", "x", depends=("a",)))))
        run.cancel("the user wants it")
        status = self.successResultOf(run.wait())
        self.assertEqual((status.state, status.error), (RunState.ABORTED, "it was stopped: the user wants it"))
        self.assertEqual(harness.processes.started[0].signals, [signal.SIGTERM])
        self.assertEqual((status.nodes[0].state, status.nodes[0].error), (NodeState.ABORTED, "signal: terminated"))
        self.assertIs(status.nodes[1].state, NodeState.NOT_STARTED)
        self.assertTrue(any('reason="the user wants it"' in line for line in harness.store.sinks[0].lines))
        self.assertEqual(harness.clock.getDelayedCalls(), [])

    def test_kill_after_clean_up_time(self) -> None:
        """What ignores SIGTERM is killed when the time to clean up is over, not before."""
        harness = self.harness(("long", Script(None, stubborn=True)))
        run = harness.start(Dag("d", (step("a", "long"),), max_clean_up_seconds=3))
        run.cancel("x")
        harness.clock.advance(2.9)
        self.assertNoResult(run.wait())
        harness.clock.advance(0.1)
        self.assertIs(self.successResultOf(run.wait()).state, RunState.ABORTED)
        self.assertEqual(harness.processes.started[0].signals[-1], signal.SIGKILL)

    def test_asked_through_the_store(self) -> None:
        """A request in the store stops the run as a call does."""
        harness = self.harness(("long", Script(None)))
        run = harness.start(Dag("d", (step("a", "long"),)))
        self.successResultOf(harness.store.request_cancel(RunRef("d", "run-1"), RunRef("d", "run-1")))
        self.assertIs(self.successResultOf(run.wait()).state, RunState.ABORTED)

    def test_during_preparation(self) -> None:
        """A stop while backticks of the params run ends those, and no step starts."""
        harness = self.harness(("hang", Script(None)))
        run = harness.start(Dag("d", (step("a", "x"),), params="P=`hang`"))
        run.cancel("x")
        status = self.successResultOf(run.wait())
        self.assertIs(status.state, RunState.ABORTED)
        self.assertEqual(harness.lines(), ["hang"])
        self.assertIs(status.nodes[0].state, NodeState.NOT_STARTED)

    def test_between_commands(self) -> None:
        """After a stop the next command of the step does not start, whatever the running one answers."""
        harness = self.harness(("one", Script(None, stubborn=True)))
        run = harness.start(Dag("d", (step("a", "one", "two"),)))
        run.cancel("x")
        harness.processes.started[0].end(ExitStatus(0))
        self.assertIs(self.successResultOf(run.wait()).state, RunState.ABORTED)
        self.assertEqual(harness.lines(), ["one"])

    def test_too_late(self) -> None:
        """Stopping a run that has ended changes nothing."""
        harness = self.harness()
        run = harness.start(Dag("d", (step("a", "x"),)))
        run.cancel("x")
        run.kill()
        self.assertIs(run.status.state, RunState.SUCCEEDED)


class RetryTests(EngineCase):
    def test_retry(self) -> None:
        """A retry keeps succeeded steps with their outputs and the params as they were evaluated, and runs the rest."""
        scripts = [("make", Script(stdout="o")), ("use", Script(1))]
        harness = self.harness(*scripts)
        dag = Dag(
            "d", (step("a", "make", output=Output("O")), step("b", "use $O $P", depends=("a",))), params="P=`make`"
        )
        first = self.finish(harness, dag)
        self.assertIs(first.state, RunState.FAILED)
        again = harness.engine.start(replace(harness.request(dag), previous=first))
        status = self.successResultOf(again.wait())
        self.assertEqual(harness.lines()[-2:], ["use o o", "use o o"])
        self.assertEqual(status.nodes[0], first.nodes[0])
        self.assertEqual(status.params, ("P=o",))


class StoreTrouble(EngineCase):
    def test_full_disk(self) -> None:
        """A step that fails where its logs have no room says so: its own complaint had no room either."""
        harness = self.harness(("x", Script(1)))
        disk = os.statvfs(harness.directory)
        full = os.statvfs_result((*disk[:3], 7, 1, *disk[5:]))
        with patch("os.statvfs", return_value=full):
            node = self.finish(harness, Dag("d", (step("a", "x"),))).nodes[0]
        where = Path(harness.directory)
        self.assertEqual(
            node.error,
            f'failed to execute step "a": exit status 1 (no space is left on the disk of its logs, {where})',
        )

    def test_conflict(self) -> None:
        """A run that may not begin ends as failed, and says why; nothing was written."""
        harness = self.harness()
        dag = Dag("d", (step("a", "x"),))
        self.finish(harness, dag)
        run = harness.engine.start(replace(harness.request(dag), new=True))
        status = self.successResultOf(run.wait())
        self.assertEqual((status.state, status.error), (RunState.FAILED, "the run d:run-1 already exists"))
        self.assertEqual(len(harness.store.sinks), 1)

    def test_unexpected(self) -> None:
        """An error nobody thought of ends the run as failed and is logged."""
        harness = self.harness()
        harness.store.refuse = RuntimeError("disk on fire")
        status = self.finish(harness, Dag("d", (step("a", "x"),)))
        self.assertEqual(status.error, "internal error: RuntimeError: disk on fire")
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_refusal_is_no_crash(self) -> None:
        """What the store refuses on purpose is not logged as a crash."""
        harness = self.harness()
        harness.store.refuse = ConflictError("it is alive elsewhere")
        self.assertEqual(self.finish(harness, Dag("d", ())).error, "it is alive elsewhere")

    def test_end_that_cannot_be_written(self) -> None:
        """A run whose end does not get on the disk has failed for that; it is no crash."""
        harness = self.harness(("x", Script(code=None)))
        run = harness.start(Dag("d", (step("a", "x"),)))
        harness.store.sinks[0].refuse = UnavailableError("the final state cannot be written: No space left on device")
        harness.processes.started[0].end(ExitStatus(0))
        status = self.successResultOf(run.wait())
        self.assertEqual((status.state, status.error), (RunState.FAILED, str(harness.store.sinks[0].refuse)))

    def test_broken_listener(self) -> None:
        """A listener that raises does not harm the run."""
        harness = self.harness()

        def broken(status: RunStatus) -> None:
            raise ValueError("listener")

        run = harness.engine.start(harness.request(Dag("d", (step("a", "x"),))), on_status=broken)
        self.assertIs(self.successResultOf(run.wait()).state, RunState.SUCCEEDED)
        self.assertTrue(self.flushLoggedErrors(ValueError))

    def test_circle(self) -> None:
        """A circle among the steps fails the run before its first step."""
        status = self.finish(self.harness(), Dag("d", (step("a", "x", depends=("b",)), step("b", "x", depends=("a",)))))
        self.assertIn("circle: a, b", status.error)


class HandBackTests(EngineCase):
    """Runs that a worker gives up so that another one can go on."""

    def test_queued_again(self) -> None:
        """Processes get their signal; the attempt is closed as queued with the reason, and the next one keeps what had ended."""
        harness = self.harness(("long", Script(code=None)))
        dag = Dag("d", (step("a", "short"), step("b", "long", depends=("a",)), step("c", "last", depends=("b",))))
        run = harness.start(dag)
        run.hand_back("worker w1 is shutting down")
        harness.clock.advance(1)
        status = self.successResultOf(run.wait())
        self.assertEqual((status.state, status.error), (RunState.QUEUED, "worker w1 is shutting down"))
        self.assertEqual((status.finished_at, status.worker_id, status.pid), (None, "", 0))
        self.assertEqual(harness.processes.started[-1].signals, [signal.SIGTERM])
        self.assertEqual([node.state for node in status.nodes], [NodeState.SUCCEEDED, *[NodeState.NOT_STARTED] * 2])
        [sink] = harness.store.sinks
        self.assertEqual(sink.final, status)
        self.assertIn('msg="DAG run handed back" reason="worker w1 is shutting down"', sink.lines[-1])
        again = harness.engine.start(replace(harness.request(dag), previous=status))
        harness.processes.started[-1].end(ExitStatus(0))
        self.assertIs(self.successResultOf(again.wait()).state, RunState.SUCCEEDED)
        self.assertEqual(harness.lines(), ["short", "long", "long", "last"])

    def test_child_in_the_same_process(self) -> None:
        """A called run is handed back with its caller; both go on where they stood."""
        harness = self.harness(("long", Script(code=None)))
        child = Dag("sub", (step("x", "short"), step("y", "long", depends=("x",))))
        dag = Dag("d", (Step("call", child=ChildCall("sub")),), local_dags={"sub": child})
        run = harness.start(dag)
        run.hand_back("disk swap")
        harness.clock.advance(1)
        status = self.successResultOf(run.wait())
        below = next(sink.final for sink in harness.store.sinks if sink.final and sink.final.run.name == "sub")
        self.assertEqual((status.state, below.state), (RunState.QUEUED, RunState.QUEUED))
        again = harness.engine.start(replace(harness.request(dag), previous=status))
        harness.processes.started[-1].end(ExitStatus(0))
        self.assertIs(self.successResultOf(again.wait()).state, RunState.SUCCEEDED)
        self.assertEqual(harness.lines(), ["short", "long", "long"])

    def test_killed(self) -> None:
        """In a hurry a stubborn program is killed at once, and the run is queued again all the same."""
        harness = self.harness(("long", Script(code=None, stubborn=True)))
        run = harness.start(Dag("d", (step("a", "long"),)))
        run.hand_back("disk swap")
        self.assertNoResult(run.wait())
        run.kill()
        harness.clock.advance(1)
        self.assertIs(self.successResultOf(run.wait()).state, RunState.QUEUED)
        self.assertEqual(harness.processes.started[0].signals, [signal.SIGTERM, signal.SIGKILL])

    def test_child_elsewhere(self) -> None:
        """A child on another worker goes on: nobody asks for its end."""
        coordinators = ScriptedCoordinators()
        harness = self.harness(coordinators=coordinators)
        child = Dag(
            "sub", (step("x", "short"),), worker_selector=WorkerSelector({"gpu": "true"}), yaml_text="steps: []"
        )
        dag = Dag(
            "d",
            (Step("call", child=ChildCall("sub")),),
            local_dags={"sub": child},
            yaml_text="name: d\n---\nname: sub\n",
        )
        run = harness.start(dag)
        self.assertEqual(len(coordinators.tasks), 1)
        run.hand_back("disk swap")
        harness.clock.advance(1)
        self.assertIs(self.successResultOf(run.wait()).state, RunState.QUEUED)
        self.assertEqual(coordinators.cancelled, [])
