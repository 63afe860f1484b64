"""Steps of type ssh against a server on Conch, over loopback."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from shutil import rmtree
from subprocess import run
from tempfile import mkdtemp
from typing import Any, cast

from twisted.conch.ssh.agent import SSHAgentServer
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from txdagu.execution.request import RunRequest
from txdagu.model.dag import Command, Dag, LogOutput, Output, Step
from txdagu.model.policies import ContinueOn
from txdagu.model.run import NodeStatus, RunRef
from txdagu.model.status import NodeState, RunState
from txdagu.testing.sshserver import ServedCommand, SshServer, key_text, new_key, new_rsa_key, pkcs8_text
from txdagu.testing.steps import StepHarness

KEY, RSA_KEY = new_key(), new_rsa_key()


def excused(code: int) -> ContinueOn:
    """A failure with that exit code is a success: the state tells the code."""
    return ContinueOn(exit_codes=(code,), mark_success=True)


def behave(command: ServedCommand) -> None:
    """What the server does for a line: some are known, any other is printed."""
    match command.line:
        case "both":
            command.print(b"out 1\n")
            command.print_error(b"err\n")
            command.print(b"out 2\n")
            command.exit()
        case "fail":
            command.print(b"before\n")
            command.exit(7)
        case "killed":
            command.die("SEGV", "core dumped")
        case "nothing":
            command.loseConnection()
        case "big":
            command.print(b"x" * 3_000_000 + b"end")
            command.exit()
        case "hang":
            command.signalled.addCallback(command.die)
        case "deaf":
            command.print(b"deaf\n")
        case "cut":
            command.print(b"half")
            command.conn.transport.transport.loseConnection()
        case line:
            command.print(line.encode() + b"\n")
            command.exit()


class SshStepCase(TestCase):
    """A server, an engine with the same reactor, and a home with the server's host key."""

    def setUp(self) -> None:
        from twisted.internet import reactor  # noqa: TID251  # trial's, for real sockets

        self.reactor = cast("Any", reactor)
        self.directory = mkdtemp()
        self.addCleanup(rmtree, self.directory)
        self.server = SshServer(reactor, behave, [KEY, RSA_KEY])
        listening = self.reactor.listenTCP(0, self.server.factory, interface="127.0.0.1")
        self.addCleanup(listening.stopListening)
        self.port = listening.getHost().port
        self.file("id", key_text(KEY))
        self.file("known", self.server.known_hosts_line("127.0.0.1", self.port).encode())
        self.environ: dict[str, str] = {"HOME": self.directory}
        self.addCleanup(self.all_closed)

    def all_closed(self) -> Deferred[Any]:
        """Wait until the server has seen the end of all connections."""
        done: Deferred[None] = Deferred()

        def look() -> None:
            if self.server.connections:
                self.reactor.callLater(0.005, look)
            else:
                done.callback(None)

        look()
        return done

    def file(self, name: str, data: bytes) -> str:
        """A file in the home; its path."""
        path = Path(self.directory, name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        return str(path)

    def config(self, **changes: Any) -> dict[str, Any]:
        """A good config, changed; None leaves a key out."""
        good = {"user": "ann", "host": "127.0.0.1", "port": self.port, "key": "id", "knownHostFile": "known"}
        return {name: value for name, value in {**good, **changes}.items() if value is not None}

    def step(self, *lines: str, config: dict[str, Any] | None = None, **step: Any) -> Step:
        """A step with these commands."""
        commands = tuple(Command(line) for line in lines)
        return Step("s", commands=commands, type="ssh", config=self.config() if config is None else config, **step)

    def harness(self) -> StepHarness:
        """An engine; `environ` is its environment."""
        return StepHarness(self.directory, self.reactor, {**os.environ, **self.environ})

    async def run_lines(self, *lines: str, **step: Any) -> tuple[NodeStatus, str, str]:
        """Run these commands; the node, and both outputs."""
        return await self.harness().run_step(self.step(*lines, **step))

    async def fails(self, *parts: str, **changes: Any) -> None:
        """A step with a changed config fails with a sentence that has all these parts."""
        node, _, _ = await self.run_lines("x", config=self.config(**changes))
        self.assertIs(node.state, NodeState.FAILED)
        for part in parts:
            self.assertIn(part, node.error)
        self.assertNotIn("\n", node.error)


class CommandTests(SshStepCase):
    async def test_output(self) -> None:
        """Both streams arrive in their logs, input ends at once, and nothing of our environment is sent."""
        node, out, err = await self.run_lines("both", env=("A=b",))
        self.assertEqual((node.state, out, err), (NodeState.SUCCEEDED, "out 1\nout 2\n", "err\n"))
        self.assertTrue(self.server.commands[0].eof)

    async def test_several(self) -> None:
        """Commands run one after the other in one login; the first that fails ends the step with its status."""
        node, out, _ = await self.run_lines("one", "fail", "three")
        self.assertEqual((node.state, out), (NodeState.FAILED, "one\nbefore\n"))
        self.assertEqual(node.error, 'failed to execute step "s": command 2 failed: Process exited with status 7')
        self.assertEqual([command.line for command in self.server.commands], ["one", "fail"])

    async def test_signal(self) -> None:
        """A command that a signal ended has -1 for its status, as on this machine."""
        node, _, _ = await self.run_lines("killed", continue_on=excused(-1))
        self.assertIs(node.state, NodeState.SUCCEEDED)
        self.assertIn("Process exited with signal SEGV: core dumped", node.error)

    async def test_exit_code(self) -> None:
        """The exit status of the command is the step's, for all who ask for that."""
        node, _, _ = await self.run_lines("fail", continue_on=excused(7))
        self.assertIs(node.state, NodeState.SUCCEEDED)

    async def test_no_status(self) -> None:
        """A session that ends without a word about the command is a failure."""
        node, _, _ = await self.run_lines("nothing", continue_on=excused(1))
        self.assertIs(node.state, NodeState.SUCCEEDED)
        self.assertIn("ended without exit status", node.error)

    async def test_big(self) -> None:
        """More than a window arrives whole."""
        _, out, _ = await self.run_lines("big")
        self.assertEqual((len(out), out[-3:]), (3_000_003, "end"))

    async def test_captured(self) -> None:
        """Output is captured like any other, also from a merged log."""
        for log in LogOutput:
            node, _, _ = await self.run_lines("both", output=Output("OUT"), log_output=log)
            self.assertEqual(node.outputs, {"OUT": "out 1\nout 2"})

    async def test_shell(self) -> None:
        """The config's shell goes before the step's, and both get the command as one text."""
        await self.run_lines("a 'b c' | d", config=self.config(shell="bash -e"), shell="sh")
        await self.run_lines("a", shell="zsh", shell_args=("-f",))
        await self.run_lines("a", config=self.config(shell=["sh", "-o", "x y"]))
        self.assertEqual(
            [command.line for command in self.server.commands],
            ["bash -e -c 'a \"b c\" | d'", "zsh -f -c a", "sh -o 'x y' -c a"],
        )

    async def test_evaluated(self) -> None:
        """Words and config are evaluated; the program is not."""
        config = self.config(port="${PORT}", host="${HOST}")
        step = self.step("$P `echo 'q  r'` ${P} $E ${NOPE:-d} ~", config=config)
        dag = {"env": ("E=e v", "HOST=127.0.0.1"), "params": f"P=p PORT={self.port}"}
        node, out, _ = await self.harness().run_step(step, **dag)
        self.assertEqual(out, "'$P' 'q  r' p 'e v' '' '~'\n", node.error)

    async def test_config_of_the_dag(self) -> None:
        """The DAG's ssh is taken by steps without a config, and replaced as a whole by one."""
        node, out, _ = await self.harness().run_step(self.step("x", config={}), ssh=self.config())
        self.assertEqual((node.state, out), (NodeState.SUCCEEDED, "x\n"))
        step = self.step("x", config={"port": self.port})
        node, _, _ = await self.harness().run_step(step, ssh=self.config())
        self.assertIn("user is missing", node.error)
        self.assertIn("host is missing", node.error)

    async def test_nothing_to_do(self) -> None:
        """A step without commands succeeds without a login, as Dagu's does."""
        node, _, _ = await self.run_lines()
        self.assertEqual((node.state, self.server.algorithms), (NodeState.SUCCEEDED, []))

    async def test_refused_commands(self) -> None:
        """A login that may not execute anything says so."""
        self.server.refuses_commands = True
        await self.fails("does not execute commands")


class LoginTests(SshStepCase):
    async def test_keys(self) -> None:
        """Keys are read in OpenSSH's format and in PKCS #8; RSA keys sign with SHA-2."""
        for data in (key_text(KEY), pkcs8_text(KEY), key_text(RSA_KEY), pkcs8_text(RSA_KEY)):
            self.file("id", data)
            node, _, _ = await self.run_lines("x")
            self.assertIs(node.state, NodeState.SUCCEEDED, node.error)
        self.assertEqual(self.server.algorithms, ["ssh-ed25519"] * 2 + ["rsa-sha2-512"] * 2)

    async def test_bad_keys(self) -> None:
        """A key that cannot be used is told with what to do about it."""
        await self.fails("failed to load SSH key from", "none: No such file", key="none")
        self.file("bad", key_text(RSA_KEY, b"locked"))
        await self.fails("protected by a passphrase", "ssh-agent", key="bad")
        self.file("bad", b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMII=\n-----END ENCRYPTED PRIVATE KEY-----\n")
        await self.fails("protected by a passphrase", key="bad")
        self.file("bad", b"no key")
        await self.fails("no private key that is understood", key="bad")
        self.file("bad", KEY.public().toString("openssh"))
        await self.fails("a public key", key="bad")

    async def test_password(self) -> None:
        """A password lets in; a wrong one is told with what was tried and what the server takes."""
        node, _, _ = await self.run_lines("x", config=self.config(key=None, password="secret"))
        self.assertIs(node.state, NodeState.SUCCEEDED, node.error)
        await self.fails("ann@[127.0.0.1]", "does not let us in: tried the password", key=None, password="wrong")

    async def test_unknown_key(self) -> None:
        """A key that the server does not know is named with its fingerprint."""
        self.file("other", key_text(new_key()))
        await self.fails("other (SHA256:", "it takes ", "publickey", "authorized_keys", key="other")

    async def test_default_keys(self) -> None:
        """Without key and password the usual keys are tried; locked ones are left out; without any there is a sentence."""
        await self.fails("no SSH key specified", "/.ssh", key=None)
        self.file(".ssh/id_rsa", key_text(RSA_KEY, b"locked"))
        self.file(".ssh/id_ecdsa", key_text(new_key()))
        self.file(".ssh/id_ed25519", key_text(KEY))
        node, _, _ = await self.run_lines("x", config=self.config(key=None))
        self.assertIs(node.state, NodeState.SUCCEEDED, node.error)

    async def test_agent(self) -> None:
        """The keys of an agent are tried, with the agent's signature."""
        factory: Any = Factory.forProtocol(SSHAgentServer)
        factory.keys = {KEY.blob(): (KEY, b"of ann")}
        socket = str(Path(self.directory, "agent"))
        listening = self.reactor.listenUNIX(socket, factory)
        self.addCleanup(listening.stopListening)
        self.environ["SSH_AUTH_SOCK"] = socket
        node, _, _ = await self.run_lines("x", config=self.config(key=None))
        self.assertIs(node.state, NodeState.SUCCEEDED, node.error)
        self.environ["SSH_AUTH_SOCK"] = socket + "-none"
        await self.fails("none in an ssh-agent", key=None)

    async def test_host_key(self) -> None:
        """A host key that is unknown, changed or revoked ends the step before anything is said to the host."""
        await self.fails("the host key of", "cannot be checked", "none: No such file", knownHostFile="none")
        self.file("known", b"")
        await self.fails("is not known", "ssh-ed25519 SHA256:", "known")
        other = new_key().public().toString("openssh").decode()
        self.file("known", f"# mine\n[127.0.0.1]:{self.port} {other}\n".encode())
        await self.fails("has changed", "known line 2", "SHA256:")
        self.file("known", b"@revoked " + self.server.known_hosts_line("127.0.0.1", self.port).encode())
        await self.fails("is revoked in", "known line 1")
        self.assertEqual(self.server.algorithms, [])
        node, _, _ = await self.run_lines("x", config=self.config(knownHostFile="none", strictHostKey="false"))
        self.assertIs(node.state, NodeState.SUCCEEDED, node.error)

    async def test_several_host_keys(self) -> None:
        """Of a host with several keys the one that is known is asked for."""
        server = SshServer(self.reactor, behave, [KEY])
        server.more_host_keys.append(RSA_KEY)
        listening = self.reactor.listenTCP(0, server.factory, interface="127.0.0.1")
        self.addCleanup(listening.stopListening)
        port = listening.getHost().port
        for host_key in (server.host_key, RSA_KEY):
            self.file("known", f"[127.0.0.1]:{port} {host_key.public().toString('openssh').decode()}\n".encode())
            node, _, _ = await self.run_lines("x", config=self.config(port=port))
            self.assertIs(node.state, NodeState.SUCCEEDED, node.error)
        self.server.connections += server.connections  # to be waited for
        server.connections = self.server.connections

    async def test_no_connection(self) -> None:
        """Nobody there, a name that is none, and a config that is none: one sentence each."""
        await self.fails("no connection to ann@[127.0.0.1]:1: ", "refused", "sshd", port=1)
        await self.fails("'127.0.0.1:22' is not the name", host="127.0.0.1:22")
        await self.fails("port must be between 1 and 65535", port=70000)
        node, _, _ = await self.run_lines("x", config={})
        self.assertIn("give the step a config, or the DAG ssh", node.error)

    async def test_no_ssh(self) -> None:
        """A server that speaks something else is told as such."""

        def greet(protocol: Any) -> None:
            protocol.transport.write(b"SSH-1.5-old\r\n")

        await self.fails("no ssh connection to ann@", "bad version", port=self.other(connectionMade=greet))

    async def test_words_before_the_version(self) -> None:
        """A server may say something before its version; one that then goes is quoted, as OpenSSH's when too many log in."""

        def refuse(protocol: Any) -> None:
            protocol.transport.write(b"Exceeded MaxStartups\r\n")
            protocol.transport.loseConnection()

        def welcome(protocol: Any) -> None:
            protocol.transport.write(b"welcome\r\n")

        def go_on(protocol: Any, _: bytes) -> None:
            protocol.transport.write(b"SSH-1.5-old\r\n")

        await self.fails(
            " is lost: it said 'Exceeded MaxStartups' before its version", port=self.other(connectionMade=refuse)
        )
        await self.fails("bad version", port=self.other(connectionMade=welcome, dataReceived=go_on))

    def other(self, **methods: Any) -> int:
        """The port of a server that is none of ours, with these methods of its protocol."""
        factory = Factory.forProtocol(type("Other", (Protocol,), methods))
        listening = self.reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(listening.stopListening)
        port: int = listening.getHost().port
        self.file("known", self.server.known_hosts_line("127.0.0.1", port).encode())
        return port


class EndTests(SshStepCase):
    async def stopped(self, line: str, *, force: bool, **step: Any) -> tuple[NodeStatus, RunState]:
        """Run a command, stop the run when it has begun, by force then if that is wanted; its end."""
        engine = self.harness().engine
        begun: Deferred[ServedCommand] = Deferred()

        def begin(command: ServedCommand) -> None:
            behave(command)
            begun.callback(command)

        self.server.behave = begin
        dag = Dag("d", (self.step(line, **step),), max_clean_up_seconds=60)
        ref = RunRef("d", "run")
        running = engine.start(RunRequest(dag, ref, ref, working_dir=self.directory))
        command = await begun
        running.cancel("stopped")
        await command.signalled
        if force:
            running.kill()
        status = await running.wait()
        return status.nodes[0], status.state

    async def test_stop(self) -> None:
        """A stop becomes a signal to the remote command, the step's own if it names one."""
        for own, sent in (("", "TERM"), ("SIGINT", "INT"), ("SIGWINCH", "TERM")):
            node, state = await self.stopped("hang", force=False, signal_on_stop=own)
            self.assertEqual((node.state, state), (NodeState.ABORTED, RunState.ABORTED))
            self.assertEqual(self.server.commands[-1].signals, [sent])

    async def test_force(self) -> None:
        """A command that does not listen is killed and the connection ended, however long it would go on."""
        node, state = await self.stopped("deaf", force=True)
        self.assertEqual((node.state, state), (NodeState.ABORTED, RunState.ABORTED))
        await self.all_closed()
        self.assertEqual(self.server.commands[-1].signals, ["TERM", "KILL"])

    async def test_connection_lost(self) -> None:
        """A connection that breaks fails the step with a sentence; what came before stays."""
        node, out, _ = await self.run_lines("cut", "never")
        self.assertEqual((node.state, out), (NodeState.FAILED, "half"))
        self.assertIn(f"the connection to ann@[127.0.0.1]:{self.port} is lost", node.error)
        self.assertEqual(len(self.server.commands), 1)


class PackageTests(TestCase):
    def test_missing_and_lazy(self) -> None:
        """Without Conch's packages the step says what to install, and nothing but an ssh step imports Conch."""
        program = (
            "import sys\n"
            "import txdagu.cli, txdagu.execution.assembly\n"
            "from txdagu.execution.steps.registry import find_step_type\n"
            "import txdagu.execution.steps.ssh.step as step\n"
            "find_step_type('ssh')\n"
            "assert not any(name.startswith('twisted.conch') for name in sys.modules)\n"
            "sys.modules['bcrypt'] = None\n"
            "try:\n"
            "    step._load()\n"
            "except Exception as error:\n"
            "    print(error)\n"
        )
        done = run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        self.assertEqual(
            done.stdout,
            "ssh steps need the package bcrypt, which is not installed: pip install 'txdagu[ssh]'\n",
            done.stderr,
        )
