"""Runs DAGs with steps of the type; the package has to be installed."""

from shutil import rmtree
from tempfile import mkdtemp

from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from txdagu.model.dag import Command, Step
from txdagu.model.run import NodeStatus
from txdagu.model.status import NodeState
from txdagu.testing.steps import StepHarness


class WaitForPortTests(TestCase):
    def setUp(self) -> None:
        """A port on which something listens."""
        from twisted.internet import reactor

        self.directory = mkdtemp()
        self.addCleanup(rmtree, self.directory)
        self.harness = StepHarness(self.directory, reactor)
        self.port = reactor.listenTCP(0, Factory.forProtocol(Protocol), interface="127.0.0.1")
        self.number = self.port.getHost().port
        self.addCleanup(self.port.stopListening)

    async def wait(self, where: str, **config: object) -> tuple[NodeStatus, str, str]:
        step = Step("a", type="wait-for-port", commands=(Command(where),), config=config)
        return await self.harness.run_step(step, params=f"PORT={self.number}")

    async def test_listens(self) -> None:
        """The step ends well when something listens; its command is evaluated."""
        node, out, _ = await self.wait("127.0.0.1:$PORT")
        self.assertIs(node.state, NodeState.SUCCEEDED, node.error)
        self.assertTrue(out.startswith(f"127.0.0.1:{self.number} answers"), out)

    async def test_nobody(self) -> None:
        """It fails when nothing came in time."""
        await self.port.stopListening()
        node, _, _ = await self.wait("127.0.0.1:$PORT", timeout=0.01, interval=0.02)
        self.assertIn(f"nothing listens on 127.0.0.1:{self.number} after 0.01 s", node.error)

    async def test_nonsense(self) -> None:
        """What is no address, and what is no time, are refused."""
        for where in ("here", "here:99999", "[]:1"):
            node, _, _ = await self.wait(where)
            self.assertIn("is host:port", node.error)
        for seconds in ("soon", -1, "nan"):
            node, _, _ = await self.wait("127.0.0.1:1", interval=seconds)
            self.assertIn(f"'{seconds}' is not a number of seconds", node.error)

    async def test_ipv6(self) -> None:
        """An IPv6 address stands in brackets."""
        node, _, _ = await self.wait("[::1]:1", timeout=0.01, interval=0.02)
        self.assertIn("nothing listens on ::1:1 after 0.01 s: Connection was refused", node.error)
