"""A server of ours on a real port, for foreign programs that speak HTTP/2 with it."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Mapping
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import SkipTest, TestCase

from txdagu.grpc.server import CallContext, GrpcServerFactory, Handler
from txdagu.testing.echo import CHAT, COUNT, ECHO, FAIL, PARK
from txdagu.wire.method import RpcMethod
from txdagu.wire.status import RpcError, StatusCode


class PlainService:
    """Handlers for the methods of `txdagu.testing.echo`; it counts the calls and those that were cancelled."""

    def __init__(self) -> None:
        self.calls = 0
        self.cancelled = 0

    def handlers(self) -> Mapping[RpcMethod[Any, Any], Handler]:
        """See `GrpcService`."""
        return {ECHO: self.echo, FAIL: self.fail, PARK: self.park, COUNT: self.count, CHAT: self.chat}

    async def echo(self, request: bytes, context: CallContext) -> bytes:
        """Answer with the request."""
        self.calls += 1
        return request

    async def fail(self, request: bytes, context: CallContext) -> bytes:
        """Answer with a status."""
        raise RpcError(StatusCode.NOT_FOUND, "no such thing: größer 100 %")

    async def park(self, request: bytes, context: CallContext) -> bytes:
        """Wait until the client gives up."""
        self.calls += 1
        waiting: Deferred[bytes] = Deferred()
        try:
            return await waiting
        except CancelledError:
            self.cancelled += 1
            raise

    async def count(self, request: bytes, context: CallContext) -> AsyncIterator[bytes]:
        """As many responses of a kilobyte and more as the request says."""
        for number in range(int(request)):
            yield b"%d" % number * 1000

    async def chat(self, requests: AsyncIterator[bytes], context: CallContext) -> None:
        """One response in capitals for every request."""
        async for request in requests:
            await context.send(request.upper())


class ForeignPeerTests(TestCase):
    """
    Runs the server in this process and foreign programs as children.

    Subclasses for TLS override `scheme` and `server_endpoint`.
    """

    timeout = 60
    scheme = "http"

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        """Listen on a port that the system chooses."""
        from twisted.internet import reactor  # noqa: TID251  # trial's, for real sockets

        self.reactor: Any = reactor
        self.service = PlainService()
        self.factory = GrpcServerFactory([self.service], self.reactor)
        listening: Any = await self.server_endpoint().listen(self.factory)
        self.listening = listening
        self.port: int = listening.getHost().port
        self.url = f"{self.scheme}://127.0.0.1:{self.port}"

    async def tearDown(self) -> None:  # type: ignore[override]
        """Close everything."""
        await self.listening.stopListening()
        await self.factory.drain(0)

    def server_endpoint(self) -> IStreamServerEndpoint:
        """Where the server listens."""
        return TCP4ServerEndpoint(self.reactor, 0, interface="127.0.0.1")

    def program(self, name: str) -> str:
        """The path of a program; the test is skipped where it is not installed."""
        found = shutil.which(name)
        if found is None:
            raise SkipTest(f"{name} is not installed")
        return found

    async def output(self, program: str, *arguments: str, expect: int = 0) -> str:
        """All that a program said, which must end with the exit code `expect`."""
        out, err, code = await getProcessOutputAndValue(program, arguments, env=dict(os.environ), reactor=self.reactor)
        text: str = (out + err).decode("utf-8", "replace")
        assert code == expect, f"{program} ended with {code}:\n{text}"
        return text
