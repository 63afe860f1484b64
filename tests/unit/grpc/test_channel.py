"""A channel's connection: made when needed, given up, made again."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from txdagu.grpc.channel import Backoff, Channel, ChannelState, tcp_channel, tcp_endpoint
from txdagu.grpc.server import CallContext, GrpcServerFactory, GrpcServerProtocol
from txdagu.testing.channel import MemoryEndpoint, memory_channel
from txdagu.wire.method import Cardinality, RpcMethod
from txdagu.wire.status import RpcError, StatusCode

ECHO: RpcMethod[bytes, bytes] = RpcMethod("test.S", "Echo", Cardinality.UNARY_UNARY, bytes, bytes, bytes, bytes)
PARK: RpcMethod[bytes, bytes] = RpcMethod("test.S", "Park", Cardinality.UNARY_UNARY, bytes, bytes, bytes, bytes)


class Service:
    """Answers, or waits."""

    def __init__(self) -> None:
        self.parked: list[Deferred[bytes]] = []
        self.cancelled = 0

    def handlers(self) -> dict[RpcMethod[Any, Any], Any]:
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
        except CancelledError:
            self.cancelled += 1
            raise


class ChannelTests(SynchronousTestCase):
    """A channel and a server in memory."""

    def setUp(self) -> None:
        """Both ends, not connected yet."""
        self.clock = Clock()
        self.service = Service()
        self.server = GrpcServerFactory([self.service], self.clock)
        self.endpoint = MemoryEndpoint(self.server, self.clock)
        self.channel: Channel = memory_channel(self.endpoint, self.clock)

    def tearDown(self) -> None:
        """No timer is left."""
        closing = Deferred.fromCoroutine(self.channel.close())
        self.clock.advance(10)
        self.successResultOf(closing)
        self.clock.advance(200)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def start(self, call: Coroutine[Deferred[Any], Any, Any]) -> Deferred[Any]:
        """Begin a call."""
        deferred = Deferred.fromCoroutine(call)
        self.clock.advance(0)
        return deferred

    def error(self, deferred: Deferred[Any]) -> RpcError:
        """The error of a call that has failed."""
        error = self.failureResultOf(deferred, RpcError).value
        assert isinstance(error, RpcError)
        return error

    def test_lazy(self) -> None:
        """Nothing is connected until somebody calls; ready is when the server's settings are there."""
        self.clock.advance(100)
        self.assertEqual((self.channel.state, self.endpoint.attempts), (ChannelState.IDLE, 0))
        call = Deferred.fromCoroutine(self.channel.unary(ECHO, b"x"))
        self.assertEqual(self.channel.state, ChannelState.CONNECTING)
        self.clock.advance(0)
        self.assertEqual((self.channel.state, self.successResultOf(call)), (ChannelState.READY, b"x"))

    def test_refused(self) -> None:
        """A failed attempt fails the call with address and reason; while backing off, others fail at once the same way."""
        self.endpoint.refusal = Refused("nobody home")
        error = self.error(self.start(self.channel.unary(ECHO, b"")))
        self.assertEqual(error.code, StatusCode.UNAVAILABLE)
        self.assertIn("server.example:50055: ", error.message)
        self.assertIn("nobody home", error.message)
        self.assertEqual(self.channel.state, ChannelState.BACKING_OFF)
        again = self.error(self.start(self.channel.unary(ECHO, b"")))
        self.assertEqual(
            again.message, error.message, "the same trouble has the same words, so that it can be told once"
        )
        self.assertEqual(self.endpoint.attempts, 1)
        self.endpoint.refusal = None
        self.clock.advance(1)
        self.assertEqual(self.successResultOf(self.start(self.channel.unary(ECHO, b"x"))), b"x")

    def test_wait_for_ready(self) -> None:
        """A call that waits survives failed attempts, with growing pauses between them, until its own timeout."""
        self.endpoint.refusal = Refused()
        call = self.start(self.channel.unary(ECHO, b"x", wait_for_ready=True))
        doomed = self.start(self.channel.unary(ECHO, b"x", wait_for_ready=True, timeout=2))
        self.assertEqual(self.endpoint.attempts, 1)
        self.clock.advance(1)
        self.assertEqual(self.endpoint.attempts, 2)
        self.clock.advance(1.59)
        self.assertEqual(self.endpoint.attempts, 2)
        error = self.error(doomed)
        self.assertEqual(error.code, StatusCode.DEADLINE_EXCEEDED)
        self.assertIn("refused", error.message)
        self.endpoint.refusal = None
        self.clock.advance(0.02)
        self.assertEqual(self.successResultOf(call), b"x")

    def test_metadata_changed_meanwhile(self) -> None:
        """A caller may use its metadata for other things while the call waits: what was given with the call is sent."""
        self.endpoint.refusal = Refused()
        metadata = {"key": "value"}
        call = self.start(self.channel.unary(ECHO, b"", metadata=metadata, wait_for_ready=True))
        metadata["No Key"] = "\n"
        self.endpoint.refusal = None
        self.clock.pump([1] * 3)
        self.assertEqual(self.successResultOf(call), b"")

    def test_backoff(self) -> None:
        """1 s, then 1.6 times as long each time, at most 120 s, all give or take a fifth."""
        backoff = Backoff()
        delays = [backoff.delay(failures, lambda: 0.5) for failures in (1, 2, 3, 50, 5000)]
        for delay, expected in zip(delays, [1, 1.6, 2.56, 120, 120], strict=True):
            self.assertAlmostEqual(delay, expected)
        self.assertAlmostEqual(backoff.delay(1, lambda: 0.0), 0.8)
        self.assertAlmostEqual(backoff.delay(1, lambda: 1.0), 1.2)

    def test_silent_server(self) -> None:
        """A peer that accepts and says nothing is given up, and named."""
        self.endpoint.silent = True
        call = self.start(self.channel.unary(ECHO, b""))
        self.clock.advance(19.9)
        self.assertEqual(self.channel.state, ChannelState.CONNECTING)
        self.clock.advance(0.1)
        self.assertIn("no HTTP/2 server answered within 20 s", self.error(call).message)
        self.assertEqual(self.channel.state, ChannelState.BACKING_OFF)

    def test_closing_server(self) -> None:
        """A server that accepts and closes at once is a failed attempt, so pauses grow."""
        draining = Deferred.fromCoroutine(self.server.drain(0))
        self.successResultOf(draining)
        error = self.error(self.start(self.channel.unary(ECHO, b"")))
        self.assertEqual(error.code, StatusCode.UNAVAILABLE)
        self.assertEqual(self.channel.state, ChannelState.BACKING_OFF)

    def test_broken_endpoint(self) -> None:
        """An endpoint that cannot even be made (a missing certificate) is a failed attempt with its reason."""

        def connect() -> Any:
            raise FileNotFoundError("ca.pem is missing")

        channel = Channel(connect, self.clock, authority="a:1", random=lambda: 0.5)
        error = self.error(self.start(channel.unary(ECHO, b"")))
        self.assertEqual(error.message, "a:1: ca.pem is missing")
        self.successResultOf(self.start(channel.close()))

    def test_lost(self) -> None:
        """A lost connection fails all calls at once, by name; the next call connects again."""
        calls = [self.start(self.channel.unary(PARK, b"")) for _ in range(3)]
        self.endpoint.connections[0].cut()
        self.clock.advance(0)
        for call in calls:
            error = self.error(call)
            self.assertEqual(error.code, StatusCode.UNAVAILABLE)
            self.assertIn("server.example:50055: connection lost", error.message)
        self.assertEqual(self.service.cancelled, 3)
        self.assertEqual(self.channel.state, ChannelState.IDLE)
        self.assertEqual(self.successResultOf(self.start(self.channel.unary(ECHO, b"x"))), b"x")

    def test_vanished(self) -> None:
        """A peer that vanishes without a word is noticed by the keepalive ping: 300 s of silence, and 20 s."""
        call = self.start(self.channel.unary(PARK, b""))
        self.endpoint.connections[0].freeze()
        self.clock.advance(300)
        self.clock.advance(19.9)
        self.assertNoResult(call)
        self.clock.advance(1)
        self.clock.advance(0)
        self.assertIn("no answer to a ping within 20 s", self.error(call).message)
        self.assertEqual(self.service.cancelled, 0)
        self.clock.pump([7200.0, 20.0, 0.0])
        self.assertEqual(self.service.cancelled, 1)  # the server takes longer to notice

    def test_keepalive_of_the_living(self) -> None:
        """A peer that answers pings keeps its parked calls, and is not pinged more often than the interval."""
        call = self.start(self.channel.unary(PARK, b""))
        self.clock.pump([50.0] * 60)
        self.assertNoResult(call)
        call.cancel()
        self.failureResultOf(call, CancelledError)

    def test_close(self) -> None:
        """Closing ends open calls with CANCELLED and a reason, here and at the server, and refuses new ones."""
        call = self.start(self.channel.unary(PARK, b""))
        closing = self.start(self.channel.close())
        self.successResultOf(closing)
        error = self.error(call)
        self.assertEqual(
            (error.code, error.message), (StatusCode.CANCELLED, "the channel to server.example:50055 was closed")
        )
        self.assertEqual(self.service.cancelled, 1)
        self.assertEqual(self.error(self.start(self.channel.unary(ECHO, b""))).code, StatusCode.CANCELLED)
        self.assertEqual(self.channel.state, ChannelState.SHUT_DOWN)

    def test_close_while_connecting(self) -> None:
        """Closing in the middle of an attempt ends it."""
        never: Deferred[Any] = Deferred()

        class Slow:
            def connect(self, _factory: object) -> Deferred[Any]:
                return never

        channel = Channel(Slow, self.clock, authority="a:1")  # type: ignore[arg-type]
        call = self.start(channel.unary(ECHO, b""))
        self.successResultOf(self.start(channel.close()))
        self.assertEqual(self.error(call).code, StatusCode.CANCELLED)
        self.assertTrue(never.called)

    def test_refused_calls_are_repeated(self) -> None:
        """A call that a leaving server does not look at is placed again, on a new connection."""
        self.successResultOf(self.start(self.channel.unary(ECHO, b"")))
        parked = self.start(self.channel.unary(PARK, b""))
        protocol = self.endpoint.connections[0].server.protocol
        assert isinstance(protocol, GrpcServerProtocol)
        protocol.core.refuse_new_calls()
        self.assertEqual(self.successResultOf(self.start(self.channel.unary(ECHO, b"x"))), b"x")
        self.assertEqual(len(self.endpoint.connections), 2)
        self.service.parked[0].callback(b"done")
        self.clock.advance(0)
        self.assertEqual(self.successResultOf(parked), b"done")

    def test_calls_on_their_way_to_a_leaving_server(self) -> None:
        """A call that was sent before the client heard of the leaving is served there; the next one goes to the successor."""
        self.successResultOf(self.start(self.channel.unary(ECHO, b"")))
        parked = self.start(self.channel.unary(PARK, b""))
        draining = Deferred.fromCoroutine(self.server.drain(60))
        self.endpoint._server = GrpcServerFactory([self.service], self.clock)
        self.assertEqual(self.successResultOf(self.start(self.channel.unary(ECHO, b"x"))), b"x")
        self.assertEqual(len(self.endpoint.connections), 1)
        self.assertEqual(self.successResultOf(self.start(self.channel.unary(ECHO, b"x"))), b"x")
        self.assertEqual(len(self.endpoint.connections), 2)
        self.service.parked[0].callback(b"done")
        self.clock.advance(0)
        self.assertEqual(self.successResultOf(parked), b"done")
        self.successResultOf(draining)

    def test_latency(self) -> None:
        """With a latency, bytes take their time: settings one way, then the call both ways."""
        self.endpoint = MemoryEndpoint(self.server, self.clock, latency=1)
        self.channel = memory_channel(self.endpoint, self.clock)
        call = self.start(self.channel.unary(ECHO, b"x"))
        self.clock.pump([1.0, 1.0])
        self.assertNoResult(call)
        self.clock.advance(1)
        self.assertEqual(self.successResultOf(call), b"x")


class TcpChannels(SynchronousTestCase):
    """Names and literals."""

    def test_authority(self) -> None:
        """IPv6 literals get brackets in the authority, whether they came with them or not."""
        reactor = MemoryReactorClock()
        for host, authority, kind in (
            ("10.0.0.1", "10.0.0.1:5", TCP4ClientEndpoint),
            ("::1", "[::1]:5", TCP6ClientEndpoint),
            ("[fe80::1%eth0]", "[fe80::1%eth0]:5", TCP6ClientEndpoint),
            ("host.example", "host.example:5", HostnameEndpoint),
        ):
            self.assertEqual(tcp_channel(reactor, host, 5).authority, authority)
            self.assertIsInstance(tcp_endpoint(reactor, host.strip("[]"), 5), kind)
