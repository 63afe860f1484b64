"""How long a server keeps a connection, with a clock that the test moves."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txdagu.grpc.channel import Channel, ChannelState
from txdagu.grpc.keepalive import KeepaliveTimes
from txdagu.grpc.options import ChannelOptions
from txdagu.grpc.server import CallContext, ConnectionLimits, GrpcServerFactory, Handler
from txdagu.testing.channel import MemoryEndpoint, memory_channel
from txdagu.testing.echo import ECHO, PARK
from txdagu.wire.method import RpcMethod
from txdagu.wire.status import RpcError, StatusCode

MINUTE = ConnectionLimits(keepalive_interval=60, keepalive_timeout=20)


class Service:
    """Answers, or waits."""

    def __init__(self) -> None:
        self.parked: list[Deferred[bytes]] = []
        self.ended = 0

    def handlers(self) -> Mapping[RpcMethod[Any, Any], Handler]:
        """See `GrpcService`."""
        return {ECHO: self.echo, PARK: self.park}

    async def echo(self, request: bytes, _context: CallContext) -> bytes:
        """Answer."""
        return request

    async def park(self, _request: bytes, _context: CallContext) -> bytes:
        """Wait."""
        self.parked.append(Deferred())
        try:
            return await self.parked[-1]
        finally:
            self.ended += 1


class Base(SynchronousTestCase):
    """A server with limits, and a channel."""

    limits = MINUTE

    def setUp(self) -> None:
        """Both ends, not connected yet."""
        self.clock = Clock()
        self.service = Service()
        self.server = GrpcServerFactory([self.service], self.clock, limits=self.limits, random=lambda: 0.5)
        self.endpoint = MemoryEndpoint(self.server, self.clock)
        # The client leaves connections alone, so that whatever happens to them is the server's doing.
        self.channel: Channel = memory_channel(self.endpoint, self.clock, options=ChannelOptions(idle_timeout=None))

    def tearDown(self) -> None:
        """No timer is left at either end."""
        closing = Deferred.fromCoroutine(self.channel.close())
        self.clock.advance(10)
        self.successResultOf(closing)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def start(self, call: Coroutine[Deferred[Any], Any, Any]) -> Deferred[Any]:
        """Begin a call and deliver what is on its way."""
        deferred = Deferred.fromCoroutine(call)
        self.clock.advance(0)
        return deferred

    def echo(self) -> None:
        """Make a call that must succeed."""
        self.assertEqual(self.successResultOf(self.start(self.channel.unary(ECHO, b"x"))), b"x")


class Keepalives(Base):
    """The server asks a silent client for a sign of life."""

    def pings(self) -> list[float]:
        """When the server will have sent pings; filled as the clock moves."""
        sent: list[float] = []
        transport = self.endpoint.connections[0].server
        write = transport.write

        def spy(data: bytes) -> None:
            if b"\x00\x00\x08\x06\x00" in data:
                sent.append(self.clock.seconds())
            write(data)

        transport.write = spy  # type: ignore[method-assign]
        return sent

    def test_vanished(self) -> None:
        """A client that vanishes without a word is found after interval and timeout, and its handlers' finally blocks run."""
        call = self.start(self.channel.unary(PARK, b""))
        self.endpoint.connections[0].freeze()
        self.clock.pump([60.0, 19.9])
        self.assertEqual((self.service.ended, self.server.connection_count), (0, 1))
        self.clock.pump([0.1, 0.0])
        self.assertEqual((self.service.ended, self.server.connection_count), (1, 0))
        self.clock.pump([220.0, 20.0, 0.0])  # the client's own keepalive
        self.failureResultOf(call, RpcError)

    def test_living(self) -> None:
        """A silent client that answers pings is kept, and pinged once per interval."""
        self.echo()
        sent = self.pings()
        self.clock.pump([10.0] * 60)
        self.assertEqual(self.server.connection_count, 1)
        self.assertEqual([round(at) for at in sent], [60, 120, 180, 240, 300, 360, 420, 480, 540, 600])

    def test_talking(self) -> None:
        """A client that is heard of is never pinged."""
        self.echo()
        sent = self.pings()
        for _ in range(20):
            self.clock.advance(59)
            self.echo()
        self.assertEqual(sent, [])

    def test_one_timer(self) -> None:
        """A connection costs the server one timer, however many calls are parked on it."""
        before = len(self.clock.getDelayedCalls())
        client = memory_channel(
            self.server, self.clock, options=ChannelOptions(keepalive=KeepaliveTimes(1e6, 1e6), idle_timeout=None)
        )
        calls = [self.start(client.unary(PARK, b"")) for _ in range(50)]
        self.clock.advance(20)  # when it is seen that none of them waits for the client
        timers = [call for call in self.clock.getDelayedCalls() if call.getTime() < 1e6]
        self.assertEqual(len(timers) - before, 1)
        closing = self.start(client.close())
        self.successResultOf(closing)
        for call in calls:
            self.failureResultOf(call, RpcError)


class NoKeepalive(Base):
    """Limits may be left away."""

    limits = ConnectionLimits(keepalive_interval=None)

    def test_no_timer(self) -> None:
        """Without an interval the server never asks."""
        self.echo()
        self.clock.pump([10_000.0] * 10)
        self.assertEqual(self.server.connection_count, 1)


class Idleness(Base):
    """Connections without calls."""

    limits = ConnectionLimits(keepalive_interval=None, max_idle=100)

    def test_idle(self) -> None:
        """A connection without a call ends within a quarter more than the limit; the next call makes a new one."""
        self.echo()
        self.clock.pump([25.0] * 3)
        self.assertEqual(self.server.connection_count, 1)
        self.clock.pump([25.0] * 2)
        self.assertEqual((self.server.connection_count, self.channel.state), (0, ChannelState.IDLE))
        self.echo()
        self.assertEqual(self.endpoint.attempts, 2)

    def test_busy(self) -> None:
        """An open call, or one now and then, keeps the connection."""
        for _ in range(10):
            self.echo()
            self.clock.pump([25.0] * 3)
        call = self.start(self.channel.unary(PARK, b""))
        self.clock.pump([100.0] * 5)
        self.assertEqual(self.endpoint.attempts, 1)
        self.service.parked[0].callback(b"late")
        self.clock.advance(0)
        self.assertEqual(self.successResultOf(call), b"late")


class Age(Base):
    """Old connections."""

    limits = ConnectionLimits(keepalive_interval=None, max_age=1000, max_age_grace=50)

    def test_age(self) -> None:
        """An old connection takes no new calls, open ones may finish within the grace time."""
        call = self.start(self.channel.unary(PARK, b""))
        self.clock.advance(1000)
        self.echo()
        self.assertEqual(self.endpoint.attempts, 2)
        self.clock.advance(40)
        self.service.parked[0].callback(b"in time")
        self.clock.advance(0)
        self.assertEqual(self.successResultOf(call), b"in time")
        self.assertEqual(self.server.connection_count, 1)

    def test_grace(self) -> None:
        """What is open after the grace time is answered with UNAVAILABLE and the reason."""
        call = self.start(self.channel.unary(PARK, b""))
        self.clock.pump([1000.0, 49.0])
        self.assertNoResult(call)
        self.clock.pump([1.0, 0.0])
        error = self.failureResultOf(call, RpcError).value
        self.assertEqual(
            (error.code, error.message), (StatusCode.UNAVAILABLE, "the connection has reached its maximum age")
        )
        self.assertEqual(self.service.ended, 1)


class Leaving(Base):
    """What clients may do while a server leaves."""

    def test_twice(self) -> None:
        """Draining while draining is harmless: both end when the connections are closed, the shorter timeout counts."""
        call = self.start(self.channel.unary(PARK, b""))
        first = self.start(self.server.drain(1000))
        second = self.start(self.server.drain(10))
        self.clock.advance(9)
        self.assertNoResult(first)
        self.clock.pump([1.0, 0.0])
        self.successResultOf(first)
        self.successResultOf(second)
        self.assertEqual(self.failureResultOf(call, RpcError).value.code, StatusCode.UNAVAILABLE)
        self.successResultOf(self.start(self.server.drain(10)))

    def test_no_answer(self) -> None:
        """A client that never answers the ping delays the end by no more than the timeouts."""
        call = self.start(self.channel.unary(PARK, b""))
        self.endpoint.connections[0].freeze()
        draining = self.start(self.server.drain(1000))
        self.service.parked[0].callback(b"unheard")
        self.clock.pump([1.0] * 12)
        self.successResultOf(draining)
        self.clock.pump([300.0, 20.0, 0.0])
        self.failureResultOf(call, RpcError)

    def test_silent(self) -> None:
        """A connection that never said it speaks HTTP/2 is closed at once."""
        self.successResultOf(self.endpoint.connect(Factory.forProtocol(Protocol)))
        draining = self.start(self.server.drain(1000))
        self.successResultOf(draining)
