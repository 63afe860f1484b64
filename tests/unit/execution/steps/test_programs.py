"""Programs of our own that do a step's work, as real processes: python steps above all."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any, cast

from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from txdagu.model.dag import Command, Dag, Output, Step
from txdagu.model.run import NodeStatus
from txdagu.model.status import NodeState
from txdagu.testing.steps import StepHarness


class ProgramCase(TestCase):
    def setUp(self) -> None:
        """An engine whose temporary files can be seen."""
        from twisted.internet import reactor  # noqa: TID251  # trial's, for real processes

        self.reactor = cast("Any", reactor)
        self.directory = mkdtemp()
        self.addCleanup(rmtree, self.directory)
        self.temporary = Path(self.directory, "tmp")
        self.temporary.mkdir()
        self.patch(tempfile, "tempdir", str(self.temporary))
        self.harness = StepHarness(self.directory, reactor)


class PythonTests(ProgramCase):
    async def python(self, script: str, size: int = 1000, **config: Any) -> tuple[NodeStatus, str, str]:
        step = Step("a", type="python", script=script, config=config, output=Output("OUT"))
        return await self.harness.run_step(step, params="P='x y' Q=2", env=("E=env",), max_output_size=size)

    async def test_values(self) -> None:
        """The script gets params, environment and arguments as values, and its text is not touched."""
        script = (
            "import os, sys\nprint(sorted(params.items()), os.environ['E'], sys.argv[1:], '${Q} `x` $Q', __name__, "
            "os.getcwd() == os.environ['PWD'])\noutputs.update(TEXT='é\\n', LIST=[1, {'k': None}])"
        )
        node, out, _ = await self.python(script, args=["${E}", 5])
        self.assertIs(node.state, NodeState.SUCCEEDED, node.error)
        self.assertTrue(out.endswith(" env ['env', '5'] ${Q} `x` $Q __main__ True\n"), out)
        self.assertIn("('Q', '2')", out)
        self.assertEqual(node.outputs, {"TEXT": "é\n", "LIST": '[1, {"k": null}]', "OUT": out.strip()})
        self.assertEqual(list(self.temporary.iterdir()), [])

    async def test_failures(self) -> None:
        """An exception, an exit status and a text to exit with mean what they mean to Python; outputs count all the same."""
        node, _, err = await self.python("outputs['A'] = 1\ndef f():\n    1/0\nf()")
        self.assertTrue(
            node.error.startswith('failed to execute step "a": exit status 1\nrecent stderr (tail):\n'), node.error
        )
        self.assertIn('File "<a>", line 3, in f\n    1/0\n', err)
        self.assertNotIn("python_program", err)
        self.assertEqual(node.outputs["A"], "1")
        for script, error in (
            ("import sys; sys.exit(7)", "exit status 7"),
            ("raise SystemExit('no')", "exit status 1\n"),
        ):
            node, _, err = await self.python(script)
            self.assertIn(error, node.error)
        self.assertEqual(err, "no\n")
        node, _, _ = await self.python("if")
        self.assertIn("SyntaxError", node.error)

    async def test_bad_outputs(self) -> None:
        """Outputs that cannot be variables fail the step with the reason."""
        for script, error in (
            ("outputs['a b'] = 1", "'a b' is not the name of a variable"),
            ("outputs['A'] = object()", "outputs of the script: 'A': Object of type object is not JSON serializable"),
            ("outputs['A'] = '\\ud800'", "outputs of the script: 'A': 'utf-8' codec can't encode"),
            ("outputs['A'] = '\\0'", "outputs of the script: 'A': a variable cannot have a NUL character"),
            (
                "outputs['A'] = 'x' * 1001",
                "failed to capture output A: output exceeded maximum size limit of 1000 bytes",
            ),
        ):
            node, _, _ = await self.python(script)
            self.assertIs(node.state, NodeState.FAILED)
            self.assertIn(error, node.error)

    async def test_interpreter(self) -> None:
        """Another interpreter can be named; one that is not there is told."""
        node, out, _ = await self.python("import sys; print(sys.executable)", interpreter=sys.executable)
        self.assertEqual(out.strip(), sys.executable, node.error)
        node, _, _ = await self.python("1", interpreter="/no/such/python")
        self.assertIn("cannot start /no/such/python", node.error)
        node, _, _ = await self.harness.run_step(Step("a", type="python"))
        self.assertIn("a python step needs its program as script", node.error)


class StopTests(ProgramCase):
    async def test_stop(self) -> None:
        """A program that never ends is stopped with its run, and leaves nothing behind."""
        step = Step("a", type="python", script="print('begun', flush=True)\nwhile True: pass")
        done = self.harness.run(Dag("d", (step,)))
        while not any(log.read_bytes() for log in Path(self.directory).glob("*.out")):  # noqa: ASYNC240
            await deferLater(self.reactor, 0.01)
        cancel = self.harness.store.sinks[0].cancel
        assert cancel is not None
        cancel()
        status = await done
        self.assertIs(status.nodes[0].state, NodeState.ABORTED)
        self.assertEqual(list(self.temporary.iterdir()), [])

    async def test_jq_needs(self) -> None:
        """A jq step says what it lacks."""
        for step, error in (
            (Step("a", type="jq", script="1"), "a jq step needs its query as command"),
            (Step("a", type="jq", commands=(Command("."),)), "a jq step needs the JSON that it works on as script"),
            (Step("a", type="archive"), "an archive step needs create, extract or list"),
            (Step("a", type="http"), "an http step needs its request as command"),
        ):
            node, _, _ = await self.harness.run_step(step)
            self.assertIn(error, node.error)
