"""Node's HTTP/2 implementation as a foreign peer: its client against our server, its server against our channel."""

import os
import re
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from txdagu.grpc.channel import tcp_channel
from txdagu.testing.echo import CRASH, ECHO, FAIL, MISSING, PARK, SIZES
from txdagu.testing.outside import ForeignPeerTests
from txdagu.testing.programs import Program
from txdagu.wire.method import RpcMethod
from txdagu.wire.status import RpcError, StatusCode

SCRIPTS = Path(__file__).parent / "node"


class NodeClientTests(ForeignPeerTests):
    """Node calls us."""

    async def case(self, name: str) -> None:
        """One case of the script ends well."""
        said = await self.output(self.program("node"), str(SCRIPTS / "client.mjs"), self.url, name)
        self.assertEqual(said.strip(), "ok")

    async def test_unary(self) -> None:
        """Messages of many sizes come back, with trailers, through node's windows and ours."""
        await self.case("unary")

    async def test_parallel(self) -> None:
        """Three hundred calls at once on one connection keep apart."""
        await self.case("parallel")

    async def test_trailers_only(self) -> None:
        """A status without a message is one block of headers."""
        await self.case("trailersOnly")

    async def test_streaming(self) -> None:
        """A megabyte in both directions in one call."""
        await self.case("streaming")

    async def test_slow_reader(self) -> None:
        """A stream that node does not read holds no other up, and goes on when it is read."""
        await self.case("slowReader")

    async def test_cancel(self) -> None:
        """A call that node cancels ends its handler, and the connection goes on."""
        await self.case("cancel")
        self.assertEqual(self.service.cancelled, 1)

    async def test_ping(self) -> None:
        """Node's pings are answered."""
        await self.case("ping")


class NodeServerTests(ForeignPeerTests):
    """We call node."""

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        """Start the script and learn its port."""
        await super().setUp()
        self.node = Program((self.program("node"), str(SCRIPTS / "server.mjs")), dict(os.environ))
        self.node.__enter__()
        port = int(self.node.wait_for(r"port (\d+)")[1])
        self.channel = tcp_channel(self.reactor, "127.0.0.1", port)

    async def tearDown(self) -> None:  # type: ignore[override]
        """End both."""
        await self.channel.close()
        self.node.__exit__(None, None, None)
        await super().tearDown()

    async def error_of(self, call: Awaitable[Any]) -> RpcError:
        """The error of a call that must fail."""
        try:
            await call
        except RpcError as error:
            return error
        raise AssertionError("the call succeeded")

    async def error(self, method: RpcMethod[bytes, bytes]) -> tuple[StatusCode, str]:
        """How a call of such a method ends."""
        error = await self.error_of(self.channel.unary(method, b""))
        return error.code, error.message

    async def test_sizes(self) -> None:
        """Messages of all sizes come back, with both kinds of metadata."""
        for size in SIZES:
            reply = await self.channel.unary_call(ECHO, bytes(size))
            self.assertEqual(len(reply.message), size)
            self.assertEqual((reply.initial_metadata["early"], reply.trailing_metadata["late"]), ("yes", "yes"))

    async def test_parallel(self) -> None:
        """Two hundred calls at once."""
        calls = [Deferred.fromCoroutine(self.channel.unary(ECHO, b"%d" % number)) for number in range(200)]
        self.assertEqual(await gatherResults(calls), [b"%d" % number for number in range(200)])

    async def test_errors(self) -> None:
        """Trailers only, a reset, and an HTTP status each become their gRPC status."""
        self.assertEqual(await self.error(FAIL), (StatusCode.NOT_FOUND, "no such thing"))
        code, text = await self.error(CRASH)
        self.assertEqual((code, bool(re.search("INTERNAL_ERROR", text))), (StatusCode.INTERNAL, True))
        self.assertEqual((await self.error(MISSING))[0], StatusCode.UNAVAILABLE)
        self.assertEqual(await self.channel.unary(ECHO, b"still there"), b"still there")

    async def test_goaway(self) -> None:
        """A graceful GOAWAY, after an interim answer, lets the call finish; the next one is made on a new connection."""
        self.assertEqual(await self.channel.unary(PARK, b""), b"")
        self.assertEqual(await self.channel.unary(ECHO, b"again"), b"again")
