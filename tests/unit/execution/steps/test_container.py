"""Steps in containers, against an engine in this process, over a real socket. What it answers was recorded from Docker 20.10."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from txdagu.execution.request import RunRequest
from txdagu.model.container import Container, PullPolicy
from txdagu.model.dag import Command, Dag, Output, Secret, Step
from txdagu.model.run import NodeStatus, RunRef, RunStatus
from txdagu.model.status import NodeState, RunState
from txdagu.testing.containers import Program, ScriptedEngine
from txdagu.testing.steps import StepHarness

IMAGE = Container(image="img:1")


class ContainerStepTests(TestCase):
    def setUp(self) -> None:
        """An engine on a socket, and ours that is told of it."""
        from twisted.internet import reactor  # noqa: TID251  # trial's, for real sockets

        self.reactor = cast("Any", reactor)
        self.directory = mkdtemp()
        self.addCleanup(rmtree, self.directory)
        self.docker = ScriptedEngine()
        self.socket = str(Path(self.directory, "docker.sock"))
        self.docker.listen(reactor, self.socket)
        self.addCleanup(self.closed)
        self.harness = StepHarness(self.directory, reactor)

    def closed(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.docker.close())

    def step(self, *commands: str, name: str = "a", **fields: Any) -> Step:
        kind = "docker" if "container" in fields or "config" in fields else "container"
        return Step(name, type=kind, commands=tuple(Command(text) for text in commands), **fields)

    async def run_step(self, *commands: str, dag: Any = None, **fields: Any) -> tuple[NodeStatus, str, str]:
        env = (f"DOCKER_HOST=unix://{self.socket}", "E=env")
        return await self.harness.run_step(
            self.step(*commands, **fields), **{"params": "P=val", "env": env, **(dag or {})}
        )

    async def start(self, *steps: Step, act: Any = None, **dag: Any) -> RunStatus:
        """Run a DAG, and do something to the run when the engine was asked for the beginning of a command."""
        ref = RunRef("d", "r")
        env = (f"DOCKER_HOST=unix://{self.socket}",)
        whole = Dag("d", steps, env=env, **dag)
        run = self.harness.engine.start(RunRequest(whole, ref, ref, working_dir=self.directory))
        if act is not None:
            while not any(path.endswith("/start") for path in self.docker.paths()):
                await deferLater(self.reactor, 0.01)
            act(run)
        return await run.wait()

    # -- one command ---------------------------------------------------------------------------------------------------

    async def test_one_command(self) -> None:
        """Evaluated words without a shell, the step's variables, output on both streams; the container is removed."""
        self.docker.programs["say val env q  q date"] = lambda: Program(b"out\n", b"err\n")
        command = "say ${P} $E 'q  q' `printf date`"
        node, out, err = await self.run_step(
            command, container=Container(image="img:1", env=("C=${P}${S}",)), env=("S=s",), output=Output("O")
        )
        self.assertIs(node.state, NodeState.SUCCEEDED, node.error)
        self.assertEqual((out, err, node.outputs), ("out\n", "err\n", {"O": "out"}))
        self.assertEqual(self.docker.made[0].body["Env"], ["S=s", "C=vals"])
        self.assertEqual(self.docker.made[0].body["Labels"], {"dagu.dag": "d", "dagu.run": "run-0", "dagu.step": "a"})
        self.assertEqual(self.docker.containers, {})
        recorded = node.step.commands[0]
        self.assertEqual((recorded.text, recorded.args), (command, ("val", "env", "q  q", "date")))
        asked = self.docker.asked[1:]
        self.assertEqual(self.docker.asked[0].path, "/_ping")
        self.assertEqual(asked[0].path, "/images/img:1/json")

    async def test_exit_status(self) -> None:
        """The container's status is the step's, with the end of its standard error; the container is removed all the same."""
        self.docker.programs["bad"] = lambda: Program(b"", b"why\n", 7)
        node, _, _ = await self.run_step("bad", container=IMAGE)
        self.assertEqual(node.error, 'failed to execute step "a": exit status 7\nrecent stderr (tail):\nwhy')
        self.assertEqual(self.docker.containers, {})

    async def test_image_alone(self) -> None:
        """Without a command the image's own runs."""
        node, _, _ = await self.run_step(container=IMAGE)
        self.assertIs(node.state, NodeState.SUCCEEDED, node.error)
        self.assertNotIn("Cmd", self.docker.made[0].body)

    async def test_secrets_are_masked(self) -> None:
        """What a container prints goes through the masker, as from any other step."""
        self.docker.programs["tell"] = lambda: Program(b"it is hunter2\n")
        secrets = (Secret("PW", "env", "E"),)
        env = (f"DOCKER_HOST=unix://{self.socket}", "E=hunter2")
        _, out, _ = await self.run_step("tell", container=IMAGE, dag={"secrets": secrets, "env": env})
        self.assertEqual(out, "it is *******\n")

    async def test_kept(self) -> None:
        """A container that is to be kept stays, ended; so does that of a config without autoRemove."""
        await self.run_step("x", container=Container(image="img:1", keep=True))
        await self.run_step("x", config={"image": "img:1", "host": {"networkMode": "${P}"}})
        await self.run_step("x", config={"image": "img:1", "autoRemove": "true"})
        self.assertEqual(len(self.docker.containers), 2)
        self.assertEqual(self.docker.made[1].body["HostConfig"], {"NetworkMode": "val"})

    # -- images --------------------------------------------------------------------------------------------------------

    async def test_pull_policies(self) -> None:
        """`missing` fetches what is not there or is for another platform, `always` in any case, `never` never."""
        self.docker.pullable = {"img:1", "other:2"}
        for image, policy, platform, fetched in (
            ("other:2", PullPolicy.NEVER, "", False),
            ("other:2", PullPolicy.MISSING, "", True),
            ("other:2", PullPolicy.MISSING, "linux/amd64", False),
            ("img:1", PullPolicy.MISSING, "linux/arm64", True),
            ("img:1", PullPolicy.ALWAYS, "", True),
        ):
            self.docker.asked.clear()
            node, _, _ = await self.run_step(
                "x", container=Container(image=image, pull_policy=policy, platform=platform)
            )
            self.assertEqual("POST /images/create" in self.docker.paths(), fetched, f"{image} {policy} {platform}")
            if fetched:
                self.assertIs(node.state, NodeState.SUCCEEDED, node.error)
            elif policy is PullPolicy.NEVER:
                self.assertIn("run docker pull other:2, or write pullPolicy: missing", node.error)

    async def test_credentials(self) -> None:
        """Credentials are evaluated and sent with the pull from their registry, and with no other request."""
        self.docker.pullable = {"r.io/x:latest"}
        auths = {"registry_auths": {"r.io": {"username": "u", "password": "${P}"}}}
        node, _, _ = await self.run_step("x", container=Container(image="r.io/x"), dag=auths)
        self.assertIs(node.state, NodeState.SUCCEEDED, node.error)
        sent = {
            one.path: one.headers["x-registry-auth"] for one in self.docker.asked if "x-registry-auth" in one.headers
        }
        self.assertEqual(list(sent), ["/images/create"])
        told = json.loads(urlsafe_b64decode(sent["/images/create"]))
        self.assertEqual(told, {"username": "u", "password": "val", "serveraddress": "r.io"})

    async def test_pull_refused(self) -> None:
        """A refusal that comes in the course of the pull, with a good status, fails the step with what to do."""
        node, _, _ = await self.run_step("x", container=Container(image="secret/x:1"))
        self.assertIn("the image secret/x:1 cannot be fetched from docker.io: pull access denied", node.error)
        self.assertIn("registryAuths", node.error)

    # -- several commands ----------------------------------------------------------------------------------------------

    async def test_several_commands(self) -> None:
        """They are executed one after the other in one container until one fails; it is removed."""
        self.docker.programs["two"] = lambda: Program(b"2\n", b"", 4)
        node, out, _ = await self.run_step("one", "two", "three", container=IMAGE)
        self.assertEqual(node.error, 'failed to execute step "a": command 2 failed: exec failed with exit code: 4')
        self.assertEqual((out, len(self.docker.made), self.docker.containers), ("one\n2\n", 1, {}))

    async def test_ready(self) -> None:
        """Commands wait for health, and for a line in the container's log."""
        self.docker.health = "starting"
        self.docker.programs["serve"] = lambda: Program(b"warming\nready: 1\n", endless=True)
        self.reactor.callLater(0.05, setattr, self.docker, "health", "healthy")
        fields: dict[str, Any] = {"startup": "command", "command": ("serve",), "wait_for": "healthy"}
        container = Container(image="img:1", log_pattern="^ready", **fields)
        node, out, _ = await self.run_step("x", "y", container=container)
        self.assertIs(node.state, NodeState.SUCCEEDED, node.error)
        self.assertEqual(out, "x\ny\n")

    async def test_not_ready(self) -> None:
        """A container that ends, is unhealthy or never prints the line fails the step, with its last words, and is removed."""
        self.docker.programs["serve"] = lambda: Program(b"no port\n", status=3)
        serve: dict[str, Any] = {"image": "img:1", "startup": "command", "command": ("serve",)}
        node, _, _ = await self.run_step("x", "y", container=Container(**serve))
        self.assertIn("is not running; status=exited, exitCode=3; its last words: no port", node.error)
        self.docker.health = "unhealthy"
        node, _, _ = await self.run_step("x", "y", container=Container(image="img:1", wait_for="healthy"))
        self.assertIn("is unhealthy", node.error)
        node, _, _ = await self.run_step("x", "y", container=Container(image="img:1", log_pattern="("))
        self.assertIn("invalid logPattern", node.error)
        self.assertEqual(self.docker.containers, {})

    # -- running containers --------------------------------------------------------------------------------------------

    async def test_in_running_container(self) -> None:
        """With a name, commands are executed in the container of that name, which stays."""
        self.docker.run("there", Program(endless=True))
        container = Container(execute_in="${N}", user="u", env=("A=1",))
        node, out, _ = await self.run_step("x", "y", container=container, env=("N=there",))
        self.assertIs(node.state, NodeState.SUCCEEDED, node.error)
        self.assertEqual((out, len(self.docker.containers)), ("x\ny\n", 1))
        body = next(one.body for one in self.docker.asked if one.path.endswith("/exec"))
        self.assertEqual((body["User"], body["Env"][:2]), ("u", ["N=there", "A=1"]))
        node, out, _ = await self.run_step("z", config={"containerName": "there", "image": "img:1"})
        self.assertEqual((out, len(self.docker.made)), ("z\n", 1))

    async def test_no_such_container(self) -> None:
        """The step fails at once where the container is not there or has ended; a name that is taken is told."""
        node, _, _ = await self.run_step("x", container=Container(execute_in="gone"))
        self.assertIn("there is no container gone at unix://", node.error)
        self.docker.run("old", Program(ended=True))
        node, _, _ = await self.run_step("x", container=Container(execute_in="old"))
        self.assertIn("container old is exited", node.error)
        node, _, _ = await self.run_step("x", container=Container(image="img:1", name="old"))
        self.assertIn('container with name "old" already exists', node.error)

    # -- the DAG's container -------------------------------------------------------------------------------------------

    async def test_container_of_dag(self) -> None:
        """All steps and handlers without a type of their own work in one container, which ends with the run."""
        steps = (self.step("one", env=("S=1",)), self.step("two", name="b", depends=("a",)))
        status = await self.start(*steps, container=Container(image="img:1", env=("C=1",)))
        self.assertIs(status.state, RunState.SUCCEEDED, status.error)
        self.assertEqual((len(self.docker.made), self.docker.containers), (1, {}))
        self.assertEqual(self.docker.made[0].body["Env"], ["C=1"])
        bodies = [one.body for one in self.docker.asked if one.path.endswith("/exec")]
        self.assertEqual(bodies[0]["Env"][0], "S=1")
        self.assertEqual([body["Cmd"] for body in bodies], [["one"], ["two"]])

    async def test_container_of_dag_fails(self) -> None:
        """Without its container the run fails, and none of its steps begins."""
        container = Container(image="none:1", pull_policy=PullPolicy.NEVER)
        status = await self.start(self.step("one"), container=container)
        self.assertIs(status.state, RunState.FAILED)
        self.assertIn("the image none:1 is not there", status.error)
        self.assertIs(status.nodes[0].state, NodeState.NOT_STARTED)

    # -- stopping ------------------------------------------------------------------------------------------------------

    async def test_stopped(self) -> None:
        """A stop is the step's signal to the container, which is removed; the run is aborted."""
        self.docker.programs["wait"] = lambda: Program(b"up\n", endless=True)
        step = self.step("wait", container=IMAGE, signal_on_stop="SIGINT")
        status = await self.start(step, act=lambda run: run.cancel("enough"))
        self.assertIs(status.state, RunState.ABORTED)
        self.assertIs(status.nodes[0].state, NodeState.ABORTED)
        killed = [one.query for one in self.docker.asked if one.path.endswith("/kill")]
        self.assertEqual(killed[0], {"signal": "SIGINT"})
        self.assertEqual(self.docker.containers, {})

    async def test_stopped_in_running_container(self) -> None:
        """A command in somebody else's container is signalled there, by its token, and the container goes on."""
        self.docker.run("there", Program(endless=True))
        self.docker.programs["wait"] = lambda: Program(endless=True)
        step = self.step("wait", container=Container(execute_in="there"))
        status = await self.start(step, act=lambda run: run.cancel("enough"))
        self.assertIs(status.state, RunState.ABORTED)
        self.assertTrue(self.docker.made[0].running)
        self.assertIn("exit code: 143", status.nodes[0].error)

    async def test_time_limit(self) -> None:
        """At its time limit a container is killed and removed, also one that minds no other signal."""
        self.docker.programs["wait"] = lambda: Program(endless=True, deaf=True)
        node, _, _ = await self.run_step("wait", container=IMAGE, timeout_seconds=1)
        self.assertIs(node.state, NodeState.FAILED)
        self.assertIn("timed out", node.error)
        self.assertEqual(self.docker.containers, {})

    async def test_stopped_with_container_of_dag(self) -> None:
        """A stopped run leaves no container."""
        self.docker.programs["wait"] = lambda: Program(endless=True)
        status = await self.start(self.step("wait"), container=IMAGE, act=lambda run: run.cancel("enough"))
        self.assertIs(status.state, RunState.ABORTED)
        self.assertEqual(self.docker.containers, {})

    # -- no engine -----------------------------------------------------------------------------------------------------

    async def test_no_engine(self) -> None:
        """One sentence says where the engine was looked for and what to do: no socket, nobody behind it, no address."""
        Path(self.directory, "dead").touch()  # noqa: ASYNC240 - a test
        for written, phrase in (
            (f"unix://{self.directory}/none", "there is no such socket; start Docker"),
            (f"unix://{self.directory}/dead", "nobody listens there"),
            ("ssh://host", "forward the socket"),
        ):
            node, _, _ = await self.run_step("x", container=IMAGE, dag={"env": (f"DOCKER_HOST={written}",)})
            self.assertIn(phrase, node.error)
            self.assertIn(written, node.error)

    async def test_engine_goes_away(self) -> None:
        """A connection that is cut in the course of the work fails the step, whichever call it is."""
        for where in ("/create$", "/attach$", "/wait$"):
            self.docker.dies_at = where
            node, _, _ = await self.run_step("x", container=IMAGE)
            self.assertIs(node.state, NodeState.FAILED, where)
            self.assertIn(f"the container engine at unix://{self.socket} went away", node.error, where)

    async def test_not_removed(self) -> None:
        """A container that cannot be removed is told of, and does not fail what went well."""
        self.docker.refuse["^DELETE"] = (500, "device busy")
        node, _, err = await self.run_step("x", container=IMAGE)
        self.assertIs(node.state, NodeState.SUCCEEDED)
        self.assertIn("could not be removed: the container engine answered: device busy", err)

    async def test_versions(self) -> None:
        """The version is the newest that both know; an engine that is too old, or none at all, is told so."""
        for theirs, prefix in (("1.30", "/v1.30"), ("1.99", "/v1.47")):
            self.docker.api = theirs
            self.docker.asked.clear()
            await self.run_step("x", container=IMAGE)
            self.assertEqual({one.version for one in self.docker.asked[1:]}, {prefix})
        for theirs, phrase in (("1.12", "is too old: it speaks version 1.12"), ("", "is no container engine")):
            self.docker.api = theirs
            node, _, _ = await self.run_step("x", container=IMAGE)
            self.assertIn(phrase, node.error)

    async def test_mistakes(self) -> None:
        """What is missing in the step is said before anything is made."""
        self.docker.run("there", Program(endless=True))
        for fields, phrase in (
            ({}, "needs a container, or config with image or containerName"),
            ({"config": {"image": "i", "pull": "perhaps"}}, "pull must be always, missing, never"),
            ({"config": {"image": "i", "host": "x"}}, "host must be a mapping"),
            ({"container": Container(image="img:1", ports=("x",))}, "invalid port: x"),
        ):
            node, _, _ = await self.run_step("x", **cast("Any", fields))
            self.assertIn(phrase, node.error)
        node, _, _ = await self.run_step(container=Container(execute_in="there"))
        self.assertIn("needs a command to execute", node.error)
        self.assertEqual(len(self.docker.made), 1)
