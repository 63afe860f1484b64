"""Connections that are cut after every possible byte: each call ends exactly once, handlers end, and nothing stays behind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txdagu.grpc.server import CallContext, GrpcServerFactory, Handler
from txdagu.testing.channel import MemoryEndpoint, MemoryTransport, memory_channel
from txdagu.testing.echo import CHAT, ECHO
from txdagu.wire.method import RpcMethod
from txdagu.wire.status import RpcError, StatusCode


class Service:
    """Counts what handlers begin and end."""

    def __init__(self) -> None:
        self.begun = 0
        self.ended = 0

    def handlers(self) -> Mapping[RpcMethod[Any, Any], Handler]:
        """See `GrpcService`."""
        return {ECHO: self.echo, CHAT: self.chat}

    async def echo(self, request: bytes, context: CallContext) -> bytes:
        """The same again."""
        context.set_initial_metadata({"some": "metadata"})
        return request

    async def chat(self, requests: AsyncIterator[bytes], _context: CallContext) -> AsyncIterator[bytes]:
        """Each request twice."""
        self.begun += 1
        try:
            async for request in requests:
                yield request
                yield request
        finally:
            self.ended += 1


class Cut:
    """Lets so many bytes of one end through, as they come, and then breaks the connection."""

    def __init__(self, endpoint: MemoryEndpoint, end: str, after: int) -> None:
        self._endpoint = endpoint
        self._left = after
        self._transport: MemoryTransport = getattr(endpoint.connections[-1], end)
        self._write = self._transport.write
        setattr(self._transport, "write", self.write)  # noqa: B010  # for mypy, which forbids to replace a method

    def disarm(self) -> None:
        """Let everything through from now on."""
        setattr(self._transport, "write", self._write)  # noqa: B010

    def write(self, data: bytes) -> None:
        """Pass on what still may pass."""
        passed, self._left = data[: self._left], self._left - len(data)
        self._write(passed)
        if self._left <= 0:
            self.disarm()
            self._endpoint.connections[-1].cut()


async def letters() -> AsyncIterator[bytes]:
    """Some requests."""
    for size in (0, 5, 30):
        yield b"x" * size


class Cuts(SynchronousTestCase):
    """A unary call and a stream on a connection that breaks."""

    def check(self, end: str, after: int) -> bool:
        """Whether both calls succeeded although the connection was to break after so many bytes."""
        clock, service = Clock(), Service()
        server = GrpcServerFactory([service], clock)
        endpoint = MemoryEndpoint(server, clock)
        channel = memory_channel(endpoint, clock)
        Deferred.fromCoroutine(channel.unary(ECHO, b""))
        clock.advance(0)
        cut = Cut(endpoint, end, after)

        async def chat() -> list[bytes]:
            return [answer async for answer in channel.stream_stream(CHAT, letters())]

        outcomes: list[Any] = []
        for call in (channel.unary(ECHO, b"hello"), chat()):
            Deferred.fromCoroutine(call).addBoth(lambda result: outcomes.append(getattr(result, "value", result)))
        clock.advance(0)
        self.assertEqual(len(outcomes), 2, f"{end} cut after {after} bytes")
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                assert isinstance(outcome, RpcError)
                self.assertEqual(outcome.code, StatusCode.UNAVAILABLE)
                self.assertIn("server.example:50055: ", outcome.message)
            else:
                self.assertIn(outcome, (b"hello", [b"", b"", b"xxxxx", b"xxxxx", b"x" * 30, b"x" * 30]))
        self.assertEqual(service.begun, service.ended)
        cut.disarm()
        clock.advance(60)
        again = Deferred.fromCoroutine(channel.unary(ECHO, b"again"))
        clock.advance(0)
        self.assertEqual(self.successResultOf(again), b"again")
        closing = Deferred.fromCoroutine(channel.close())
        clock.advance(10)
        self.successResultOf(closing)
        self.assertEqual((server.connection_count, clock.getDelayedCalls()), (0, []))
        return not any(isinstance(outcome, BaseException) for outcome in outcomes)

    def check_all(self, end: str) -> None:
        """Cut after one byte, two, and so on, until the calls are through before the cut."""
        after = 1
        while not self.check(end, after):
            after += 1
        self.assertGreater(after, 100)

    def test_requests(self) -> None:
        """Whatever byte of the requests is the last, both calls end, and the channel works again."""
        self.check_all("client")

    def test_answers(self) -> None:
        """Whatever byte of the answers is the last, both calls end, and the channel works again."""
        self.check_all("server")
