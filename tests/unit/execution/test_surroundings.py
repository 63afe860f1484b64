"""What surrounds a run's steps: dotenv files, secrets, schemas of params, redirected and merged output."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.unit.execution.test_engine import EngineCase, step
from twisted.internet.defer import Deferred

from txdagu.execution.evaluation.masking import MASK
from txdagu.model.dag import ChildCall, Dag, LogOutput, Output, ParamsSchema, Secret, Step
from txdagu.model.run import RunStatus
from txdagu.model.status import NodeState, RunState
from txdagu.store.statusjson import encode_status
from txdagu.store.statusreading import decode_status
from txdagu.testing.engine import EngineHarness
from txdagu.testing.processes import Script, by_command

TOKEN = Secret("TOKEN", "env", "HOST_TOKEN")


class SurroundingsCase(EngineCase):
    def surrounded(self, *scripts: tuple[str, Script], **environ: str) -> EngineHarness:
        harness = self.harness()
        return EngineHarness(harness.directory, by_command(scripts), environ={"HOST_TOKEN": "s3cret", **environ})

    def write(self, harness: EngineHarness, name: str, text: str) -> None:
        Path(harness.directory, name).write_text(text, encoding="utf-8")


class DotenvTests(SurroundingsCase):
    def test_precedence(self) -> None:
        """Files override the DAG's env and are overridden by params; env and params are evaluated before they are read."""
        harness = self.surrounded()
        self.write(harness, ".env", "A=dot\nB=dot\nP=dot")
        dag = Dag("d", (step("a", "x ${A}", env=("S=$B",)),), env=("A=env", "E=${B}!"), params="P=p Q=${B}?")
        self.finish(harness, dag)
        spec = harness.processes.started[0].spec
        expected = {"A": "dot", "B": "dot", "E": "!", "P": "p", "Q": "?", "S": "dot"}
        self.assertEqual({name: spec.env[name] for name in expected}, expected)
        self.assertEqual(spec.argv[-1], "x ${A}")

    def test_named_by_env(self) -> None:
        """Names of files are evaluated; later files win."""
        harness = self.surrounded()
        self.write(harness, "one.env", "A=1\nB=1")
        self.write(harness, "two.env", "B=2")
        self.finish(harness, Dag("d", (step("a", "x"),), env=("N=two",), dotenv=("one.env", "${N}.env", "gone.env")))
        env = harness.processes.started[0].spec.env
        self.assertEqual((env["A"], env["B"]), ("1", "2"))

    def test_mistake(self) -> None:
        """A file with a mistake is left out, and the run's log says why."""
        harness = self.surrounded()
        self.write(harness, ".env", "A=1\nb-c=2")
        self.assertIs(self.finish(harness, Dag("d", (step("a", "x"),))).state, RunState.SUCCEEDED)
        self.assertNotIn("A", harness.processes.started[0].spec.env)
        self.assertIn(".env:2", "\n".join(harness.store.sinks[0].lines))


class SecretTests(SurroundingsCase):
    def test_hidden_everywhere(self) -> None:
        """Processes and later steps have the value; logs, redirected files, the run's log and its states have stars."""
        harness = self.surrounded(("make", Script(stdout="got s3cret\n")), ("use", Script(3, stderr="no s3cret\n")))
        dag = Dag(
            "d",
            (
                step("a", "make", output=Output("O"), stdout="copy-${TOKEN}.txt"),
                step("b", "use ${O} ${TOKEN}", depends=("a",), env=("E=<$TOKEN>",)),
            ),
            secrets=(TOKEN,),
        )
        status = self.finish(harness, dag)
        first, second = (process.spec for process in harness.processes.started)
        self.assertEqual(first.env["TOKEN"], "s3cret")
        self.assertEqual(second.argv[-1], "use got s3cret ${TOKEN}")
        self.assertEqual(second.env["E"], "<s3cret>")
        self.assertEqual(Path(harness.directory, "copy-s3cret.txt").read_text(), f"got {MASK}\n")
        self.assertEqual(Path(status.node("a").stdout).read_text(), f"got {MASK}\n")
        self.assertEqual(status.outputs, {"O": f"got {MASK}"})
        self.assertIn(f"no {MASK}", status.node("b").error)
        sink = harness.store.sinks[0]
        for told in (*sink.statuses, *sink.lines):
            self.assertNotIn("s3cret", repr(told))

    def test_straight_without_secrets(self) -> None:
        """Without secrets, copies and the like a program writes its log itself."""
        harness = self.surrounded()
        self.finish(harness, Dag("d", (step("a", "x", output=Output("O")),)))
        self.assertIsNone(harness.processes.started[0].spec.tap)

    def test_missing(self) -> None:
        """A secret that cannot be had fails the run before any step, and says which."""
        harness = self.surrounded()
        status = self.finish(harness, Dag("d", (step("a", "x"),), secrets=(replace(TOKEN, key="NOPE"),)))
        self.assertIs(status.state, RunState.FAILED)
        self.assertIs(status.node("a").state, NodeState.NOT_STARTED)
        self.assertIn('failed to resolve secret "TOKEN" from provider "env"', status.error)

    def test_retry_knows_outputs(self) -> None:
        """What a finished step printed is known to a later attempt, though the records of the first show stars."""
        harness = self.surrounded(("make", Script(stdout="s3cret")), ("bad", Script(1)))
        dag = Dag("d", (step("a", "make", output=Output("O")), step("b", "bad ${O}", depends=("a",))), secrets=(TOKEN,))
        told = decode_status(encode_status(self.finish(harness, dag)))
        self.assertEqual(told.outputs, {"O": MASK})
        again = harness.engine.start(replace(harness.request(dag), previous=told))
        self.successResultOf(again.wait())
        self.assertEqual(harness.lines()[-1], "bad s3cret")
        self.assertEqual(again.status.outputs, {"O": MASK})

    def test_children(self) -> None:
        """A child evaluates its env and params with its caller's secrets, hides them too, and its steps do not get them."""
        harness = self.surrounded(("kid", Script(stdout="s3cret")))
        harness.files["kid"] = Dag("kid", (step("k", "kid $P", output=Output("K")),), params="P=<${TOKEN}>")
        dag = Dag("d", (Step("a", child=ChildCall("kid"), output=Output("R")),), secrets=(TOKEN,))
        status = self.finish(harness, dag)
        spec = harness.processes.started[0].spec
        self.assertEqual(spec.argv[-1], "kid <s3cret>")
        self.assertNotIn("TOKEN", spec.env)
        self.assertNotIn("s3cret", Path(status.node("a").stdout).read_text())
        self.assertEqual(harness.store.sinks[1].final.outputs, {"K": MASK})  # type: ignore[union-attr]


class OutputTests(SurroundingsCase):
    def text(self, *parts: str) -> str:
        return Path(*parts).read_text(encoding="utf-8")

    def test_copies(self) -> None:
        """Redirected output lands in the log and in the file, which is appended to; names know params, env and outputs."""
        harness = self.surrounded(("make", Script(stdout="name\n")), ("say", Script(stdout="o\n", stderr="e\n")))
        self.write(harness, "o-p-name.txt", "before\n")
        dag = Dag(
            "d",
            (
                step("a", "make", output=Output("O")),
                step("b", "say", depends=("a",), stdout="o-${P}-${O}.txt", stderr="$E/e.txt", output=Output("C")),
            ),
            params="P=p",
            env=(f"E={harness.directory}",),
        )
        status = self.finish(harness, dag)
        node = status.node("b")
        self.assertEqual(self.text(node.stdout), "o\n")
        self.assertEqual(self.text(node.stderr), "e\n")
        self.assertEqual(self.text(harness.directory, "o-p-name.txt"), "before\no\n")
        self.assertEqual(self.text(harness.directory, "e.txt"), "e\n")
        self.assertEqual(node.outputs, {"C": "o"})
        self.assertEqual(node.step.stdout, f"{harness.directory}/o-p-name.txt")

    def test_copy_that_cannot_be(self) -> None:
        """A file that cannot be opened fails the step with its name before anything runs."""
        harness = self.surrounded()
        status = self.finish(harness, Dag("d", (step("a", "x", stdout="gone/f.txt"),)))
        self.assertIn("failed to setup outputs", status.node("a").error)
        self.assertIn("gone/f.txt", status.node("a").error)
        self.assertEqual(harness.processes.started, [])

    def test_merged(self) -> None:
        """One log takes both streams, as the step or the DAG says; of it only standard output is captured."""
        harness = self.surrounded(("say", Script(stdout="o\n", stderr="e\n")))
        steps = (
            step("a", "say", output=Output("A")),
            step("b", "say", log_output=LogOutput.SEPARATE),
            step("c", "say"),
        )
        status = self.finish(harness, Dag("d", steps, log_output=LogOutput.MERGED))
        self.assertEqual(status.outputs, {"A": "o"})
        for name in ("a", "c"):
            node = status.node(name)
            self.assertEqual(node.stdout, node.stderr)
            self.assertTrue(node.stdout.endswith(".log"))
            self.assertEqual(self.text(node.stdout), "o\ne\n")
        self.assertEqual(self.text(status.node("b").stdout), "o\n")
        self.assertIsNone(harness.processes.started[2].spec.tap)

    def test_captured_limit(self) -> None:
        """Captured on its way, output above the limit fails the step as well, all commands taken together."""
        harness = self.surrounded(("x", Script(stdout="123456")))
        dag = Dag("d", (step("a", "x", "x", output=Output("O"), stdout="f.txt"),), max_output_size=11, secrets=(TOKEN,))
        status = self.finish(harness, dag)
        self.assertIn("output exceeded maximum size limit of 11 bytes", status.node("a").error)
        self.assertEqual(self.text(harness.directory, "f.txt"), "123456123456")

    def test_child(self) -> None:
        """The result of a called DAG is copied like any output."""
        harness = self.surrounded()
        harness.files["kid"] = Dag("kid", (step("k", "x"),))
        self.finish(harness, Dag("d", (Step("a", child=ChildCall("kid"), stdout="r.json"),)))
        self.assertIn('"name": "kid"', self.text(harness.directory, "r.json"))

    def test_directory_knows_params(self) -> None:
        """A step's directory may name params and outputs of earlier steps."""
        harness = self.surrounded(("make", Script(stdout="o")))
        dag = Dag(
            "d", (step("a", "make", output=Output("O")), step("b", "x", depends=("a",), dir="${P}-${O}")), params="P=p"
        )
        self.finish(harness, dag)
        self.assertEqual(harness.processes.started[1].spec.cwd, str(Path(harness.directory, "p-o")))


class ReferenceTests(SurroundingsCase):
    def test_steps_that_have_not_ended(self) -> None:
        """A step knows its own logs; the exit code of a step that has not run is 0, and it has no logs."""
        harness = self.surrounded()
        text = "${me.stdout} ${me.exitCode} ${later.exitCode} ${later.stdout}"
        dag = Dag("d", (step("a", text, id="me"), step("b", "x", id="later", depends=("a",))))
        status = self.finish(harness, dag)
        self.assertEqual(harness.lines()[0], f"{status.node('a').stdout} 0 0 ${{later.stdout}}")


class SchemaTests(SurroundingsCase):
    def run_with(self, params: str) -> RunStatus:
        harness = self.surrounded()
        self.write(harness, "s.json", '{"properties": {"n": {"type": "integer", "default": 7}}}')
        dag = Dag("d", (step("a", "x"),), params="A=1", params_schema=ParamsSchema("s.json"))
        return self.finish(harness, dag, params=params)

    def test_completed(self) -> None:
        """Defaults of the schema become params of the run."""
        self.assertEqual(self.run_with("A=2").params, ("A=2", "n=7"))

    def test_refused(self) -> None:
        """Params that the schema refuses fail the run before any step."""
        status = self.run_with("n=x")
        self.assertIs(status.state, RunState.FAILED)
        self.assertIn("parameter validation failed", status.error)

    def test_asked_beforehand(self) -> None:
        """Who queues a run learns the completed params, too."""
        harness = self.surrounded()
        self.write(harness, "s.json", '{"properties": {"n": {"default": 7}}}')
        dag = Dag("d", params_schema=ParamsSchema("s.json"))
        asking = Deferred.fromCoroutine(harness.engine.evaluated(harness.request(dag)))
        self.assertEqual(self.successResultOf(asking), (dag, ("n=7",)))


class FenceTests(SurroundingsCase):
    def test_epoch(self) -> None:
        """Steps on a worker see their attempt's epoch, those of a child in the same process, too; elsewhere there is none."""
        child = Dag("c", (step("b", "y"),))
        dag = Dag("d", (step("a", "x"), Step("call", child=ChildCall("c"))), local_dags={"c": child})
        for epoch, seen in ((3, "3"), (0, None)):
            harness = self.surrounded()
            run = harness.engine.start(replace(harness.request(dag), epoch=epoch))
            self.assertIs(self.successResultOf(run.wait()).state, RunState.SUCCEEDED)
            found = [process.spec.env.get("DAGU_ATTEMPT_EPOCH") for process in harness.processes.started]
            self.assertEqual(found, [seen, seen])


class LogDirectoryTests(SurroundingsCase):
    def opened_with(self, log_dir: str, *backticks: tuple[str, Script]) -> tuple[RunStatus, str]:
        """How a run ended, and the log directory of the DAG with which its attempt was opened."""
        harness = self.surrounded(*backticks)
        dag = Dag("d", (step("a", "x"),), env=("E=/logs",), params="P=/no", log_dir=log_dir)
        return self.finish(harness, dag), harness.store.sinks[0].dag.log_dir

    def test_evaluated(self) -> None:
        """It knows env, backticks and what a shell expands, but no params."""
        for written, evaluated in (("${E}/x", "/logs/x"), ("a${P}b", "ab"), ("`tick`/x", "/t/x"), ("plain", "plain")):
            status, log_dir = self.opened_with(written, ("tick", Script(stdout="/t\n")))
            self.assertEqual(log_dir, evaluated)
            self.assertIs(status.state, RunState.SUCCEEDED)

    def test_wrong(self) -> None:
        """A run whose log directory cannot be evaluated has a record that says why."""
        status, log_dir = self.opened_with("`tick`", ("tick", Script(3)))
        self.assertIs(status.state, RunState.FAILED)
        self.assertIn("tick", status.error)
        self.assertEqual(log_dir, "`tick`")
