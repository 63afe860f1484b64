"""Calls of all kinds, and all that can happen to them, in any order: every call ends, and nothing is left."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from txdagu.grpc.channel import Channel, ChannelOptions
from txdagu.grpc.keepalive import KeepaliveTimes
from txdagu.grpc.server import CallContext, ConnectionLimits, GrpcServerFactory
from txdagu.testing.channel import MemoryEndpoint, memory_channel
from txdagu.testing.echo import CHAT, COUNT, ECHO, FAIL, JOIN, PARK
from txdagu.wire.method import RpcMethod
from txdagu.wire.status import RpcError, StatusCode

LARGE = 600_000  # more than a window, a transport's buffer and a held transport take


class Service:
    """Counts its handlers, whose last act is always run."""

    def __init__(self) -> None:
        self.begun = self.ended = 0
        self.parked: list[Deferred[bytes]] = []

    def handlers(self) -> dict[RpcMethod[Any, Any], Any]:
        """See `GrpcService`."""
        return {ECHO: self.echo, PARK: self.park, FAIL: self.fail, COUNT: self.count, JOIN: self.join, CHAT: self.chat}

    async def echo(self, request: bytes, _context: CallContext) -> bytes:
        """At once."""
        return request

    async def park(self, request: bytes, _context: CallContext) -> bytes:
        """When the test says so."""
        self.begun += 1
        try:
            waiting: Deferred[bytes] = Deferred()
            self.parked.append(waiting)
            return await waiting
        finally:
            self.ended += 1

    async def fail(self, _request: bytes, context: CallContext) -> bytes:
        """With metadata and a status."""
        await context.send_initial_metadata({"key": "value"})
        raise RpcError(StatusCode.ABORTED, "as asked", trailing_metadata={"more": "x" * 1000})

    async def count(self, request: bytes, _context: CallContext) -> AsyncIterator[bytes]:
        """The request, ten times."""
        self.begun += 1
        try:
            for _ in range(10):
                yield request
        finally:
            self.ended += 1

    async def join(self, requests: AsyncIterator[bytes], context: CallContext) -> bytes:
        """Some of the requests."""
        self.begun += 1
        try:
            parts = []
            async for request in requests:
                parts.append(request)
                if len(parts) == 3:
                    await self.park(b"", context)
            return b"".join(parts)
        finally:
            self.ended += 1

    async def chat(self, requests: AsyncIterator[bytes], context: CallContext) -> None:
        """Each request."""
        self.begun += 1
        try:
            async for request in requests:
                await context.send(request)
        finally:
            self.ended += 1


class World:
    """A server, two channels, and a dice."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.clock = Clock()
        self.service = Service()
        limits = ConnectionLimits(
            keepalive_interval=30,
            keepalive_timeout=5,
            max_idle=self.random.choice([None, 20]),
            max_age=100,
            max_age_grace=10,
        )
        self.server = GrpcServerFactory([self.service], self.clock, limits=limits, random=self.random.random)
        self.endpoint = MemoryEndpoint(self.server, self.clock, latency=self.random.choice([0, 0.01]))
        options = ChannelOptions(keepalive=KeepaliveTimes(20, 10, 5), idle_timeout=self.random.choice([None, 15.0]))
        self.channels: list[Channel] = [memory_channel(self.endpoint, self.clock, options=options) for _ in range(2)]
        self.calls: list[Deferred[Any]] = []
        self.outcomes: list[object] = []
        self.draining: list[Deferred[None]] = []

    def step(self) -> None:
        """Let something happen."""
        happenings = (
            [self.unary] * 4
            + [self.streaming] * 4
            + [self.time] * 6
            + [self.cancel, self.answer, self.answer, self.disturb, self.heal, self.reconnect]
        )
        self.random.choice(happenings)()
        if self.random.random() < 0.7:
            self.clock.advance(0)

    def add(self, call: Coroutine[Deferred[Any], Any, Any]) -> None:
        """Begin a call."""
        deferred = Deferred.fromCoroutine(call)
        self.calls.append(deferred)
        deferred.addBoth(self.outcomes.append)

    def options(self) -> dict[str, Any]:
        """Of a call."""
        chosen: dict[str, Any] = {"timeout": self.random.choice([None, 0, 0.5, 5, 60])}
        if self.random.random() < 0.3:
            chosen["wait_for_ready"] = True
        if self.random.random() < 0.2:
            chosen["metadata"] = {"key": "x" * self.random.choice([1, 300, 20_000, 70_000])}
        if self.random.random() < 0.2:
            chosen["compression"] = "gzip"
        return chosen

    def size(self) -> int:
        """Of a message."""
        return self.random.choice([0, 1, 5000, LARGE])

    def unary(self) -> None:
        """A call with one request and one response."""
        method = self.random.choice([ECHO, PARK, PARK, FAIL])
        self.add(self.random.choice(self.channels).unary(method, bytes(self.size()), **self.options()))

    def streaming(self) -> None:
        """A call of another kind, read to its end, left early, or never read."""
        channel, options, size = self.random.choice(self.channels), self.options(), self.size()
        match self.random.randrange(4):
            case 0:
                self.add(self.read(channel.unary_stream(COUNT, bytes(size), **options)))
            case 1:
                self.add(channel.stream_unary(JOIN, self.requests(size), **options))
            case 2:
                self.add(self.read(channel.stream_stream(CHAT, self.requests(size), **options)))
            case 3:
                self.add(self.talk(channel, size, options))

    async def requests(self, size: int) -> AsyncIterator[bytes]:
        """Some messages."""
        for _ in range(self.random.randrange(6)):
            yield bytes(size)

    async def read(self, stream: Any) -> int:
        """Read some, or all."""
        wanted = self.random.choice([0, 1, 100])
        async with stream:
            count = 0
            async for _ in stream:
                count += 1
                if count >= wanted:
                    break
            return count

    async def talk(self, channel: Channel, size: int, options: dict[str, Any]) -> None:
        """Send and receive in turn."""
        async with channel.open_stream_stream(CHAT, **options) as call:
            for _ in range(self.random.randrange(4)):
                await call.send(bytes(size))
                if self.random.random() < 0.5:
                    await call.receive()

    def time(self) -> None:
        """Time passes."""
        for _ in range(self.random.randrange(4)):
            self.clock.advance(self.random.choice([0, 0.01, 0.3, 1, 6, 25]))

    def cancel(self) -> None:
        """Somebody loses interest."""
        if self.calls:
            self.random.choice(self.calls).cancel()

    def answer(self) -> None:
        """Somebody waited long enough."""
        waiting = [one for one in self.service.parked if not one.called]
        if waiting:
            self.random.choice(waiting).callback(bytes(self.size()))

    def disturb(self) -> None:
        """Something goes wrong."""
        connections = [one for one in self.endpoint.connections if one.client.protocol is not None]
        chosen = self.random.choice(connections) if connections else None
        match self.random.randrange(7):
            case 0 if chosen is not None:
                chosen.cut()
            case 1 if chosen is not None:
                chosen.freeze()
            case 2 if chosen is not None:
                chosen.client.held = True
            case 3 if chosen is not None:
                chosen.server.held = True
            case 4:
                self.endpoint.refusal = Refused()
            case 5:
                self.endpoint.silent = True
            case 6:
                for connection in list(self.server._connections):
                    connection.leave("for the test")

    def heal(self) -> None:
        """All goes well again."""
        self.endpoint.refusal, self.endpoint.silent = None, False
        for connection in self.endpoint.connections:
            connection.client.release()
            connection.server.release()

    def reconnect(self) -> None:
        """A channel has learned of a new address."""
        self.random.choice(self.channels).reconnect("for the test")

    def end(self) -> None:
        """Close the channels and drain the server, in some order."""
        closing = [channel.close() for channel in self.channels] + [self.server.drain(self.random.choice([0, 3, 10]))]
        self.random.shuffle(closing)
        for coroutine in closing:
            self.draining.append(Deferred.fromCoroutine(coroutine))
            self.time()
        self.clock.pump([0.5] * 200)


class AnyOrder(SynchronousTestCase):
    """Whole lives."""

    @settings(max_examples=settings().max_examples * 2 // 5)
    @given(st.integers(0, 2**32))
    def test_lives(self, seed: int) -> None:
        """Every call ends with an answer or an `RpcError`, every handler runs its last act, no timer or count is left."""
        world = World(seed)
        for _ in range(60):
            world.step()
        world.end()
        self.assertEqual([one.called for one in world.draining], [True] * 3)
        self.assertEqual(len(world.outcomes), len(world.calls))
        for outcome in world.outcomes:
            if isinstance(outcome, Failure):
                self.assertIsNotNone(outcome.check(RpcError, CancelledError), outcome)
        self.assertEqual(world.service.begun, world.service.ended)
        server = world.server
        self.assertEqual((server.connection_count, server.call_count, server.held_bytes), (0, 0, 0))
        self.assertEqual([str(call) for call in world.clock.getDelayedCalls()], [])
        self.assertEqual(self.flushLoggedErrors(), [])
