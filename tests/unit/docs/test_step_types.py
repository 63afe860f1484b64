"""The examples of docs/step-types.md run, with real processes and sockets."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from txdagu.dagfile import load_dag
from txdagu.execution.steps.interfaces import IStepType
from txdagu.model.run import RunStatus
from txdagu.model.status import RunState
from txdagu.testing.containers import Program, ScriptedEngine
from txdagu.testing.steps import StepHarness

PAGE = (Path(__file__).parents[3] / "docs" / "step-types.md").read_text()
EXAMPLES = dict(re.findall(r"```yaml\n# example: (\w+)\n(.*?)```", PAGE, re.DOTALL))


class Echo(Resource):
    isLeaf = True  # noqa: N815 - twisted.web's name

    def render(self, request: Any) -> bytes:
        """What was asked."""
        asked = {
            "method": request.method.decode(),
            "uri": request.uri.decode(),
            "body": request.content.read().decode(),
        }
        return json.dumps(asked).encode()


class ExampleTests(TestCase):
    def setUp(self) -> None:
        """An engine in an empty directory."""
        from twisted.internet import reactor  # noqa: TID251  # trial's, for real sockets

        self.reactor = cast("Any", reactor)
        self.directory = mkdtemp()
        self.addCleanup(rmtree, self.directory)
        self.harness = StepHarness(self.directory, reactor)

    async def run_example(self, name: str, params: str = "") -> RunStatus:
        dag = load_dag(EXAMPLES[name], f"{name}.yaml", name=name)
        status = await self.harness.run(dag, params)
        self.assertIs(status.state, RunState.SUCCEEDED, [node.error for node in status.nodes])
        return status

    async def test_http(self) -> None:
        """The request is the one that is shown, and its answer can be used."""
        port = self.reactor.listenTCP(0, Site(Echo()), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        status = await self.run_example("http", f"BASE=http://127.0.0.1:{port.getHost().port}")
        answer = {"method": "POST", "uri": "/echo?dry=yes", "body": '{"id": 7}'}
        self.assertEqual(json.loads(status.outputs["ANSWER"]), answer)

    async def test_jq(self) -> None:
        """Each result is a line."""
        self.assertEqual((await self.run_example("jq")).outputs, {"NAMES": "ann\nbob"})

    async def test_archive(self) -> None:
        """What was packed is unpacked, without what was excluded."""
        status = await self.run_example("archive")
        self.assertEqual(status.outputs["TEXT"], "hello")
        self.assertEqual(json.loads(status.outputs["DONE"])["filesExtracted"], 1)

    async def test_python(self) -> None:
        """A script's outputs are there for later steps."""
        status = await self.run_example("python")
        self.assertEqual(status.outputs, {"SQUARES": "[0, 1, 4]", "LARGEST": "4", "TEXT": "up to 4"})
        self.assertEqual(Path(status.nodes[0].stdout).read_text(), "made 3\n")  # noqa: ASYNC240

    async def test_container(self) -> None:
        """One step has a container of its own, one works in another's."""
        docker = ScriptedEngine()
        docker.images.add("python:3.13")
        docker.run("database", Program(endless=True))
        docker.listen(self.reactor, f"{self.directory}/docker.sock")
        self.addCleanup(lambda: Deferred.fromCoroutine(docker.close()))
        dag = load_dag(EXAMPLES["container"], "container.yaml", name="container")
        status = await self.harness.run(replace(dag, env=(f"DOCKER_HOST=unix://{self.directory}/docker.sock",)))
        self.assertIs(status.state, RunState.SUCCEEDED, [node.error for node in status.nodes])
        self.assertEqual(docker.made[1].body["HostConfig"], {"Binds": [f"{self.directory}/src:/src:ro"]})
        self.assertEqual(docker.made[1].body["Env"], ["LEVEL=2"])
        self.assertEqual(list(docker.containers), [docker.made[0].id])

    def test_every_type_has_its_place(self) -> None:
        """The page's table has a row for each type that comes with us."""
        from twisted.plugin import getPlugins

        named = set(re.findall(r"^\| \[`(\w+)`\]", PAGE, re.MULTILINE))
        ours = [set(found.names) for found in getPlugins(IStepType) if getattr(found, "ours", False)]
        self.assertEqual([names for names in ours if not names & named], [])
        self.assertEqual(named - set().union(*ours), set())
