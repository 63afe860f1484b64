"""What a run does with steps holds for each type: conditions, retries, captured output, time limits, stops."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from txdagu.execution.request import RunRequest
from txdagu.model.conditions import Condition
from txdagu.model.dag import Command, Dag, Output, Step
from txdagu.model.mail import SmtpServer
from txdagu.model.policies import RetryPolicy
from txdagu.model.run import NodeStatus, RunRef, RunStatus
from txdagu.model.status import NodeState, RunState
from txdagu.testing.mailserver import MailServer
from txdagu.testing.sshserver import ServedCommand, SshServer
from txdagu.testing.steps import StepHarness

TYPES = ("http", "jq", "archive", "mail", "python", "ssh")


class Silent(Protocol):
    """Accepts, and says nothing."""

    factory: Any

    def connectionMade(self) -> None:
        self.factory.open.append(self)

    def connectionLost(self, reason: Any = None) -> None:
        self.factory.open.remove(self)


class Page(Resource):
    isLeaf = True  # noqa: N815 - twisted.web's name

    def render(self, request: Any) -> bytes:
        """The same for all."""
        return b"page"


def printed(node: NodeStatus) -> str:
    """What stands in the step's log."""
    return Path(node.stdout).read_bytes().decode()


def answer(command: ServedCommand) -> None:
    """What the other host does."""
    command.print(command.line.encode())
    command.exit(4 if command.line == "fail" else 0)


class PolicyTests(TestCase):
    """Steps that are good, that fail, and that hang, one of each type in one run."""

    def setUp(self) -> None:
        from twisted.internet import reactor  # noqa: TID251  # trial's, for real sockets

        self.reactor = cast("Any", reactor)
        self.directory = mkdtemp()
        self.addCleanup(rmtree, self.directory)
        self.addCleanup(self.all_closed)
        self.ssh, self.mail = SshServer(reactor, answer), MailServer()
        self.silence = cast("Any", Factory.forProtocol(Silent))
        self.silence.open = []
        self.ports = {
            "http": self.listen(Site(Page())),
            "mail": self.listen(self.mail.factory),
            "ssh": self.listen(self.ssh.factory),
            "silent": self.listen(self.silence),
        }
        os.mkfifo(Path(self.directory, "pipe.tar"))
        Path(self.directory, "empty").mkdir()

    def listen(self, factory: Any) -> int:
        """A port where that listens."""
        listening = self.reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(listening.stopListening)
        return int(listening.getHost().port)

    async def all_closed(self) -> None:
        """Nobody is connected any more."""
        await self.mail.gone()
        while self.silence.open or self.ssh.connections:
            pause: Deferred[None] = Deferred()
            self.reactor.callLater(0.005, pause.callback, None)
            await pause

    def steps(self, *, fails: bool = False, hangs: bool = False, **changes: Any) -> tuple[Step, ...]:
        """One step of each type."""
        silent = self.ports["silent"] if hangs else 1 if fails else 0
        http, ssh = silent or self.ports["http"], silent or self.ports["ssh"]
        login = {"user": "ann", "host": "127.0.0.1", "port": ssh, "password": "secret", "strictHostKey": False}
        query = "def f: f; f" if hangs else "1 +" if fails else ".a"
        code = "import time; time.sleep(60)" if hangs else "raise SystemExit(3)" if fails else "print(1 + 1)"
        source = "pipe.tar" if hangs else "none.tar" if fails else "empty"
        mail = {"from": "a@b", "to": "" if fails else "c@d", "subject": "s", "message": "m"}
        made = {
            "http": Step("http", commands=(Command(f"GET http://127.0.0.1:{http}/"),)),
            "jq": Step("jq", commands=(Command(query),), script='{"a": 1}'),
            "archive": Step(
                "archive",
                commands=(Command("list" if hangs or fails else "create"),),
                config={"source": source, "destination": "made.tar"},
            ),
            "mail": Step("mail", config=mail),
            "python": Step("python", script=code),
            "ssh": Step("ssh", commands=(Command("there"),), config=login),
        }
        return tuple(replace(made[name], type=name, **changes) for name in TYPES)

    def dag(self, steps: tuple[Step, ...], *, hangs: bool = False) -> Dag:
        """A DAG of them, all at once."""
        port = self.ports["silent" if hangs else "mail"]
        return Dag("d", steps, smtp=SmtpServer("127.0.0.1", str(port)))

    async def nodes(self, steps: tuple[Step, ...], *, hangs: bool = False) -> dict[str, NodeStatus]:
        """What became of them."""
        status: RunStatus = await StepHarness(self.directory, self.reactor).run(self.dag(steps, hangs=hangs))
        return {node.step.name: node for node in status.nodes}

    async def test_output(self) -> None:
        """What a step of any type prints is captured."""
        for name, node in (await self.nodes(self.steps(output=Output("OUT")))).items():
            self.assertEqual((name, node.state), (name, NodeState.SUCCEEDED), node.error)
            self.assertEqual(node.outputs["OUT"], printed(node).strip(), name)
            self.assertTrue(node.outputs["OUT"], name)

    async def test_precondition(self) -> None:
        """A condition that is not met skips it before it begins."""
        for name, node in (await self.nodes(self.steps(preconditions=(Condition("false"),)))).items():
            self.assertEqual((name, node.state), (name, NodeState.SKIPPED), node.error)
            self.assertEqual(printed(node), "", name)
        self.assertEqual((self.ssh.commands, self.mail.received), ([], []))

    async def test_retry(self) -> None:
        """A failure is tried again, and told in one sentence at last."""
        for name, node in (await self.nodes(self.steps(fails=True, retry_policy=RetryPolicy(1, 0)))).items():
            self.assertEqual((name, node.state, node.retry_count), (name, NodeState.FAILED, 1), node.error)
            self.assertTrue(node.error.startswith(f'failed to execute step "{name}": '), node.error)

    async def test_time_limit(self) -> None:
        """A step that hangs fails when its time is over."""
        for name, node in (await self.nodes(self.steps(hangs=True, timeout_seconds=1), hangs=True)).items():
            self.assertEqual((name, node.state), (name, NodeState.FAILED), node.error)
            self.assertIn("timed out", node.error, name)

    async def test_stop(self) -> None:
        """A stop ends a step that hangs at once, whatever signal it asks for."""
        ref = RunRef("d", "run")
        dag = self.dag(self.steps(hangs=True, signal_on_stop="SIGINT"), hangs=True)
        harness = StepHarness(self.directory, self.reactor)
        running = harness.engine.start(RunRequest(dag, ref, ref, working_dir=self.directory))
        while len(self.silence.open) < 3:
            pause: Deferred[None] = Deferred()
            self.reactor.callLater(0.01, pause.callback, None)
            await pause
        running.cancel("stopped")
        status = await running.wait()
        self.assertIs(status.state, RunState.ABORTED)
        for node in status.nodes:
            self.assertEqual((node.step.name, node.state), (node.step.name, NodeState.ABORTED), node.error)
