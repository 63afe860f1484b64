"""What days of work leave behind at both ends: nothing; and what keeps a connection open for days."""

from __future__ import annotations

import gc
import weakref
from collections.abc import AsyncIterator
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import Logger, LogPublisher
from twisted.trial.unittest import SynchronousTestCase

from txdagu.grpc.channel import Channel
from txdagu.grpc.pool import ConnectionPool
from txdagu.grpc.server import CallContext, ConnectionLimits, GrpcServerFactory, GrpcServerProtocol
from txdagu.grpc.server_call import ServerCall
from txdagu.testing.channel import MemoryEndpoint, memory_channel
from txdagu.testing.echo import CHAT, ECHO, PARK
from txdagu.wire.method import RpcMethod

HOUR = 3600


class Service:
    """Answers, or waits."""

    def __init__(self) -> None:
        self.parked: list[Deferred[bytes]] = []
        self.cancelled = 0

    def handlers(self) -> dict[RpcMethod[Any, Any], Any]:
        """See `GrpcService`."""
        return {ECHO: self.echo, PARK: self.park, CHAT: self.chat}

    async def echo(self, request: bytes, _context: CallContext) -> bytes:
        """The request."""
        return request

    async def park(self, _request: bytes, _context: CallContext) -> bytes:
        """When the test says so."""
        waiting: Deferred[bytes] = Deferred()
        self.parked.append(waiting)
        try:
            return await waiting
        except CancelledError:
            self.cancelled += 1
            raise

    async def chat(self, requests: AsyncIterator[bytes], _context: CallContext) -> AsyncIterator[bytes]:
        """Each request at once."""
        async for request in requests:
            yield request


class LongLife(SynchronousTestCase):
    """A server and clients in memory."""

    limits = ConnectionLimits()

    def setUp(self) -> None:
        """No client yet."""
        self.clock = Clock()
        self.service = Service()
        self.server = GrpcServerFactory([self.service], self.clock, limits=self.limits)
        self.endpoint = MemoryEndpoint(self.server, self.clock)

    def close(self, channel: Channel) -> None:
        """Close a channel."""
        closing = Deferred.fromCoroutine(channel.close())
        self.clock.pump([0] * 4)
        self.successResultOf(closing)


class Days(LongLife):
    """Time that passes."""

    # The least a peer may be pinged: every 5 minutes by the client, and as often by the server.
    limits = ConnectionLimits(keepalive_interval=300, keepalive_timeout=20)

    def day(self, beat: int | None) -> None:
        """24 hours with a hundred parked polls, and a heartbeat every so many seconds."""
        channel = memory_channel(self.endpoint, self.clock)
        polls = [Deferred.fromCoroutine(channel.unary(PARK, b"")) for _ in range(100)]
        step = beat or 60
        for passed in range(0, 24 * HOUR, step):
            self.clock.advance(step)
            if beat is not None:
                reply = Deferred.fromCoroutine(channel.unary(ECHO, b"beat", timeout=5))
                self.clock.pump([0, 0])
                self.assertEqual(self.successResultOf(reply), b"beat", f"after {passed} s")
        self.assertEqual((self.endpoint.attempts, len(self.service.parked)), (1, 100))
        self.assertEqual([poll.called for poll in polls], [False] * 100)
        for waiting in self.service.parked:
            waiting.callback(b"work")
        self.clock.pump([0, 0])
        self.assertEqual([self.successResultOf(poll) for poll in polls], [b"work"] * 100)
        self.close(channel)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_silent_day(self) -> None:
        """Nothing but pings of both ends for a day: neither finds them too many, and no poll is lost."""
        self.day(None)

    def test_day_of_heartbeats(self) -> None:
        """A heartbeat every ten seconds beside the polls: the pings that it makes free are not too many either."""
        self.day(10)


class LeftBehind(LongLife):
    """What is left of clients that have gone."""

    def test_thousand_clients(self) -> None:
        """A thousand clients come, call, park and go in four ways; no object, timer or count is left of them."""
        for kind in (ServerCall, GrpcServerProtocol, ConnectionPool):
            self.patch(kind, "log", Logger("quiet", observer=LogPublisher()))  # else the log keeps who wrote to it
        made: list[weakref.ref[Any]] = []
        for number in range(1000):
            channel = memory_channel(self.endpoint, self.clock)
            echo = Deferred.fromCoroutine(channel.unary(ECHO, b"", timeout=60, metadata={"key": "value"}))
            poll = Deferred.fromCoroutine(channel.unary(PARK, b"", timeout=60))
            chat = channel.open_stream_stream(CHAT, timeout=60)
            spoken = Deferred.fromCoroutine(chat.send(b""))
            self.clock.pump([0, 0])
            self.successResultOf(echo)
            self.successResultOf(spoken)
            made += [weakref.ref(one) for one in self.objects(channel)]
            match number % 4:
                case 0:
                    poll.cancel()
                    self.clock.advance(0)
                case 1:
                    self.endpoint.connections[-1].cut()
                    self.clock.pump([0, 0])
                case 2:
                    self.clock.advance(61)
            poll.addErrback(lambda _: None)
            self.close(channel)
            self.clock.pump([0, 0])
            self.endpoint.connections.clear()
            self.service.parked.clear()
            del channel, echo, poll, chat, spoken
        self.assertEqual(self.service.cancelled, 1000)
        self.assertEqual((self.server.connection_count, self.server.call_count, self.server.held_bytes), (0, 0, 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        gc.collect()
        self.assertEqual({found for one in made if (found := one()) is not None}, set())
        calls = [found for found in gc.get_objects() if found.__class__ is ServerCall]
        self.assertEqual([call for call in calls if call.connection._server is self.server], [])

    def objects(self, channel: Channel) -> list[object]:
        """What there is of a client that has two calls open."""
        client: Any = self.endpoint.connections[-1].client.protocol
        server: Any = self.endpoint.connections[-1].server.protocol
        self.assertEqual((len(client._calls), len(server._calls)), (2, 2))
        return [channel, client, server, client.core, server.core, *client._calls.values()]

    def test_numbers_used_up(self) -> None:
        """A connection whose stream numbers are used up is left, and closed when its last call is over."""
        channel = memory_channel(self.endpoint, self.clock)
        poll = Deferred.fromCoroutine(channel.unary(PARK, b""))
        self.clock.pump([0, 0])
        (connection,) = self.server._connections
        client: Any = self.endpoint.connections[0].client.protocol
        client.core._http2.highest_outbound_stream_id = 2**31 - 3
        echo = Deferred.fromCoroutine(channel.unary(ECHO, b"next"))
        self.clock.pump([0] * 4)
        self.assertEqual(self.successResultOf(echo), b"next")
        self.assertEqual((self.endpoint.attempts, self.server.connection_count), (2, 2))
        self.service.parked[0].callback(b"last")
        self.clock.pump([0] * 6)
        self.assertEqual(self.successResultOf(poll), b"last")
        self.assertNotIn(connection, self.server._connections)
        self.assertEqual(self.server.connection_count, 1)
        self.close(channel)
