"""The limits of a server: what is beyond them ends with a reason, and an honest neighbour is served all the while."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from h2.events import Event, ResponseReceived, StreamReset
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from txdagu.grpc.complaints import PERIOD, Complaints
from txdagu.grpc.limits import ServerLimits
from txdagu.grpc.server import CallContext, GrpcServerFactory, Handler
from txdagu.testing.channel import MemoryConnection, MemoryEndpoint, memory_channel
from txdagu.testing.echo import ECHO, JOIN, PARK
from txdagu.testing.frames import frame
from txdagu.testing.wire import REQUEST, RawClient, foreign_client
from txdagu.wire.framing import encode_frame
from txdagu.wire.method import RpcMethod
from txdagu.wire.status import RpcError, StatusCode

ECHO_PATH, JOIN_PATH, PARK_PATH = (method.path.encode() for method in (ECHO, JOIN, PARK))
NO_WINDOW = b"\x00\x04\x00\x00\x00\x00"


class Service:
    """Answers at once, when the test says so, or after all requests."""

    def __init__(self) -> None:
        self.parked: list[Deferred[bytes]] = []

    def handlers(self) -> Mapping[RpcMethod[Any, Any], Handler]:
        """See `GrpcService`."""
        return {ECHO: self.echo, PARK: self.park, JOIN: self.join}

    async def echo(self, request: bytes, context: CallContext) -> bytes:
        """The request."""
        return request

    async def park(self, request: bytes, context: CallContext) -> bytes:
        """Wait for the test."""
        self.parked.append(Deferred())
        return await self.parked[-1]

    async def join(self, requests: AsyncIterator[bytes], context: CallContext) -> bytes:
        """All requests; the first is taken, and then nothing until the test says so."""
        first = await anext(requests)
        if first == b"wait":
            await self.park(first, context)
        return b"".join([first] + [request async for request in requests])


class Attacker(Protocol):
    """The client's end of a connection, in raw bytes."""

    def __init__(self) -> None:
        self.raw = RawClient()
        self.received = b""
        self.lost = False

    def dataReceived(self, data: bytes) -> None:
        """Keep it."""
        self.received += data

    def events(self) -> list[Event]:
        """What was received, in the words of h2."""
        client = foreign_client()
        for _ in range(10):
            client.send_headers(client.get_next_available_stream_id(), REQUEST)
        return client.receive_data(self.received)

    def messages(self) -> list[str]:
        """The ``grpc-message`` of all answers that are only a status."""
        answers = [dict(event.headers) for event in self.events() if isinstance(event, ResponseReceived)]
        return [answer[b"grpc-message"].decode() for answer in answers if b"grpc-message" in answer]

    def connectionLost(self, reason: object = None) -> None:
        """Remember."""
        self.lost = True

    def send(self, data: bytes) -> None:
        """Write."""
        assert self.transport is not None
        self.transport.write(data)


class Limited(SynchronousTestCase):
    """A server with small limits, an honest client, and attackers in memory."""

    limits = ServerLimits()

    def setUp(self) -> None:
        """The honest client is connected."""
        self.clock = Clock()
        self.service = Service()
        self.server = GrpcServerFactory([self.service], self.clock, server_limits=self.limits)
        self.endpoint = MemoryEndpoint(self.server, self.clock)
        self.channel = memory_channel(self.server, self.clock)
        self.lines: list[str] = []
        observer: Any = self.observe
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.honest()

    def observe(self, event: LogEvent) -> None:
        """Keep what the server complains about."""
        if "text" in event:
            self.lines.append(event["text"])

    def tearDown(self) -> None:
        """When all connections are gone, nothing is counted and no timer is left."""
        closing = Deferred.fromCoroutine(self.channel.close())
        for connection in self.endpoint.connections:
            connection.cut()
        self.clock.pump([0] * 5 + [1])
        self.successResultOf(closing)
        counts = (self.server.connection_count, self.server.call_count, self.server.held_bytes)
        self.assertEqual(counts, (0, 0, 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def honest(self) -> None:
        """A call of the honest client is answered."""
        call = Deferred.fromCoroutine(self.channel.unary(ECHO, b"honest"))
        self.clock.advance(0)
        self.assertEqual(self.successResultOf(call), b"honest")

    def attacker(self, settings: bytes = b"", *, preface: bool = True) -> tuple[Attacker, MemoryConnection]:
        """One more connection."""
        attacker: Any = self.successResultOf(self.endpoint.connect(Factory.forProtocol(Attacker)))
        if preface:
            attacker.send(attacker.raw.preface(settings))
        self.clock.advance(0)
        return attacker, self.endpoint.connections[-1]

    def assert_ended(self, attacker: Attacker, word: str) -> None:
        """It was told why, the log says it once, and others are served."""
        self.clock.advance(0)
        self.assertIn(word.encode(), attacker.received)
        self.assertTrue(attacker.lost)
        self.assertEqual([word in line for line in self.lines], [True])
        self.assertIn("127.0.0.1:", self.lines[0])
        self.honest()

    def assert_cut(self, attacker: Attacker, words: str) -> None:
        """It was cut without a word, the log says why, and others are served."""
        self.clock.pump([0, 0])
        self.assertTrue(attacker.lost)
        self.assertEqual([words in line for line in self.lines], [True])
        self.honest()


class Floods(Limited):
    """That the budgets of `wire.policing` are put to use; tests/unit/wire/test_policing.py has each of them."""

    def test_flood(self) -> None:
        """A flood ends its connection only; what it had parked is cancelled."""
        attacker, _ = self.attacker()
        attacker.send(attacker.raw.call(PARK_PATH)[1])
        flood = b""
        for _ in range(3000):
            stream_id, opening = attacker.raw.open(PARK_PATH)
            flood += opening + attacker.raw.reset(stream_id)
        attacker.send(flood)
        self.assert_ended(attacker, "too_many_resets")

    def test_flood_that_reads_nothing(self) -> None:
        """An attacker that does not read why is cut after five seconds."""
        attacker, connection = self.attacker()
        connection.server.held = True
        attacker.send(frame(0x6, 0, 0, b"12345678") * 1000)
        self.clock.advance(0)
        self.assertFalse(attacker.lost)
        self.clock.advance(5)
        self.assert_cut(attacker, "too_many_pings")

    def test_time_refills(self) -> None:
        """The server's clock is told to the budgets: pings at their rate go on for ever."""
        attacker, _ = self.attacker()
        for _ in range(100):
            attacker.send(frame(0x6, 0, 0, b"12345678") * 10)
            self.clock.advance(1)
        self.assertFalse(attacker.lost)
        self.assertEqual(self.lines, [])


class Starting(Limited):
    """A worker that starts."""

    def test_hundred_polls_at_once(self) -> None:
        """A hundred polls that leave with the first bytes, before any settings are known, are all parked and answered."""
        worker, _ = self.attacker(preface=False)
        worker.send(worker.raw.preface() + b"".join(worker.raw.call(PARK_PATH)[1] for _ in range(100)))
        self.clock.advance(0)
        self.assertEqual((len(self.service.parked), self.server.call_count), (100, 100))
        for poll in self.service.parked:
            poll.callback(b"work")
        self.clock.advance(0)
        self.assertEqual(worker.received.count(encode_frame(b"work")), 100)
        self.assertEqual((self.server.call_count, worker.lost, self.lines), (0, False, []))


class Connections(Limited):
    """How many connections are taken."""

    limits = ServerLimits(connections=6, connections_per_address=4)

    def test_per_address(self) -> None:
        """The fifth of an address is told why and closed; one of another address, or after another has gone, is taken."""
        taken = [self.attacker() for _ in range(3)]
        refused, _ = self.attacker(preface=False)
        self.assert_ended(refused, "too_many_connections")
        self.assertFalse(any(attacker.lost for attacker, _ in taken))
        other = self.server.buildProtocol(IPv4Address("TCP", "127.0.0.2", 1))
        self.assertIs(other.__class__, self.server.buildProtocol(UNIXAddress("socket")).__class__)
        taken[0][1].cut()
        self.clock.advance(0)
        again, _ = self.attacker()
        self.assertFalse(again.lost)

    def test_refused_client(self) -> None:
        """Our own client tells its caller why it was refused."""
        for _ in range(3):
            self.attacker()
        channel = memory_channel(self.endpoint, self.clock)
        call = Deferred.fromCoroutine(channel.unary(ECHO, b""))
        self.clock.pump([0] * 4)
        error = self.failureResultOf(call, RpcError).value
        self.assertEqual(error.code, StatusCode.UNAVAILABLE)
        self.assertIn("too_many_connections", error.message)
        self.successResultOf(Deferred.fromCoroutine(channel.close()))

    def test_refused_that_stay(self) -> None:
        """Refused connections that do not close are cut, and beyond a hundred of them new ones are dropped in silence."""
        for _ in range(3):
            self.attacker()
        stubborn = []
        for _ in range(100):
            protocol = self.server.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
            assert protocol is not None
            transport = Stubborn()
            protocol.makeConnection(transport)
            stubborn.append((protocol, transport))
        self.assertIsNone(self.server.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1)))
        self.assertEqual(len(self.lines), 5)
        self.clock.advance(5)
        self.assertTrue(all(transport.aborted for _, transport in stubborn))
        for protocol, _ in stubborn:
            protocol.connectionLost()
        self.assertIsNotNone(self.server.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1)))


class Stubborn:
    """A transport whose other end never closes."""

    aborted = False

    def write(self, data: bytes) -> None:
        """Into the void."""

    def loseConnection(self) -> None:  # Twisted's name
        """Not yet."""

    def abortConnection(self) -> None:  # Twisted's name
        """At last."""
        self.aborted = True


class Streams(Limited):
    """How many calls are open."""

    limits = ServerLimits(streams=8, streams_per_connection=5)

    def test_limits(self) -> None:
        """The sixth of a connection and the ninth in all are refused with REFUSED_STREAM; a call that ends makes room."""
        first, _ = self.attacker()
        second, _ = self.attacker()
        for attacker in (first, second):
            attacker.send(b"".join(attacker.raw.call(PARK_PATH)[1] for _ in range(6)))
            self.clock.advance(0)
        self.assertEqual(len(self.service.parked), 8)
        refused = [
            sorted(event.stream_id for event in one.events() if isinstance(event, StreamReset))
            for one in (first, second)
        ]
        self.assertEqual(refused, [[11], [7, 9, 11]])
        self.assertFalse(first.lost or second.lost)
        self.service.parked[0].callback(b"")
        self.clock.advance(0)
        self.honest()


class Memory(Limited):
    """What is held for clients."""

    limits = ServerLimits(held_bytes_per_connection=100_000, held_bytes=250_000, unread_bytes=5_000)

    def test_incomplete_messages(self) -> None:
        """Many large messages that are begun and not finished."""
        attacker, _ = self.attacker()
        for _ in range(20):
            stream_id, opening = attacker.raw.open(ECHO_PATH)
            attacker.send(opening + frame(0x0, 0, stream_id, b"\x00\x00\xff\x00\x00" + bytes(10_000)))
        self.assert_ended(attacker, "too_much_held")

    def test_answers_without_window(self) -> None:
        """Calls whose answers are large and never allowed to be sent."""
        attacker, _ = self.attacker(NO_WINDOW)
        for _ in range(20):
            attacker.send(attacker.raw.call(ECHO_PATH, bytes(10_000))[1])
        self.assert_ended(attacker, "too_much_held")

    def test_all_together(self) -> None:
        """When it is too much for all clients together, the one that holds most goes."""
        attackers = [self.attacker(NO_WINDOW)[0] for _ in range(4)]
        for count, attacker in zip((6, 9, 6, 6), attackers, strict=True):
            for _ in range(count):
                attacker.send(attacker.raw.call(ECHO_PATH, bytes(10_000))[1])
            self.clock.advance(0)
        self.assertEqual([attacker.lost for attacker in attackers], [False, True, False, False])
        self.assert_ended(attackers[1], "too_much_held")

    def test_counted_once(self) -> None:
        """What a lost connection held is taken off once, also if its transport speaks up later."""
        attacker, connection = self.attacker()
        stream_id, opening = attacker.raw.open(JOIN_PATH)
        attacker.send(opening + frame(0x0, 0, stream_id, b"\x00\x00\x00\xff\x00" + bytes(1000)))
        self.clock.advance(0)
        self.assertEqual(self.server.held_bytes, 1005)
        protocol: Any = connection.server.protocol
        connection.cut()
        self.clock.pump([0, 0])
        protocol.core.close()
        protocol.resumeProducing()
        self.assertEqual(self.server.held_bytes, 0)

    def test_replies_nobody_reads(self) -> None:
        """Replies without messages, which no window holds back, pile up only so far for a client that reads nothing."""
        attacker, connection = self.attacker()
        connection.server.held = True
        for _ in range(30):
            attacker.send(b"".join(attacker.raw.call(b"/no/such")[1] for _ in range(200)))
            self.clock.advance(0)
        self.clock.advance(0)
        self.assertTrue(attacker.lost)
        self.assertLess(connection.server.unread, 85_000)
        self.honest()


class Values(SynchronousTestCase):
    """The limits themselves, and the log."""

    def test_wrong_limits(self) -> None:
        """Limits that make no sense are all named at once."""
        with self.assertRaisesRegex(ValueError, "connections=0, header_seconds=-1"):
            ServerLimits(connections=0, header_seconds=-1)

    def test_complaints(self) -> None:
        """A few lines a minute of each address and not many in all; what was kept back is counted."""
        clock, lines = Clock(), list[str]()
        complaints = Complaints(clock, lines.append)
        for number in range(1000):
            complaints.add(f"10.0.0.{number % 100}", "bad")
        self.assertEqual(len(lines), 50)
        lines.clear()
        clock.advance(60)
        for _ in range(10):
            complaints.add("10.0.0.1", "bad")
        self.assertEqual(lines, ["950 more complaints about clients were not logged"] + ["bad"] * 5)

    def test_same_cause(self) -> None:
        """What has the same cause is told once a minute for each address, whatever else differs."""
        clock, lines = Clock(), list[str]()
        complaints = Complaints(clock, lines.append)
        for port in range(3):
            complaints.add("10.0.0.1", f"port {port}", cause="no TLS")
            complaints.add("10.0.0.2", f"port {port}", cause="no TLS")
        self.assertEqual(lines, ["port 0", "port 0"])
        clock.advance(PERIOD)
        complaints.add("10.0.0.1", "port 3", cause="no TLS")
        self.assertEqual(lines[2:], ["port 3"])
