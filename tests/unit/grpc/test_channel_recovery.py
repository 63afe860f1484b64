"""A channel and servers that refuse, drop, complain, vanish or move."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any, cast

from h2.errors import ErrorCodes
from h2.events import Event, PingReceived, RequestReceived
from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IHostResolution
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from txdagu.grpc.channel import Channel, ChannelOptions, ChannelState, KeepaliveTimes, tcp_channel
from txdagu.grpc.server import GrpcServerFactory
from txdagu.testing.channel import MemoryEndpoint, memory_channel
from txdagu.testing.echo import CHAT, ECHO, PARK
from txdagu.testing.foreign import ForeignProtocol, ForeignServer, Script
from txdagu.wire.status import RpcError, StatusCode


def answering(connection: ForeignProtocol, event: Event) -> None:
    """Answer all calls but the parked ones."""
    if isinstance(event, RequestReceived):
        path = dict(event.headers or [])[b":path"]
        if path == ECHO.path.encode():
            connection.answer(event)


class ForeignServers(SynchronousTestCase):
    """A channel to a scripted server in memory."""

    def setUp(self) -> None:
        """No connection yet."""
        self.clock = Clock()
        self.use(answering)

    def use(self, script: Script, options: ChannelOptions | None = None) -> None:
        """Another server, and a channel to it."""
        self.server = ForeignServer(script)
        self.endpoint = MemoryEndpoint(self.server, self.clock)
        self.channel: Channel = memory_channel(self.endpoint, self.clock, options=options or ChannelOptions())

    def tearDown(self) -> None:
        """No timer is left."""
        closing = Deferred.fromCoroutine(self.channel.close())
        self.deliver()
        self.clock.advance(10)
        self.successResultOf(closing)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def deliver(self) -> None:
        """Let everything arrive that is on its way."""
        for _ in range(5):
            self.clock.advance(0)

    def start(self, call: Coroutine[Deferred[Any], Any, Any]) -> Deferred[Any]:
        """Begin a call."""
        deferred = Deferred.fromCoroutine(call)
        self.deliver()
        return deferred

    def error(self, deferred: Deferred[Any]) -> RpcError:
        """The error of a call that has failed."""
        error = self.failureResultOf(deferred, RpcError).value
        assert isinstance(error, RpcError)
        return error

    def test_states_are_told(self) -> None:
        """Whoever waits for another state is told of it, and nobody waits for what can never come."""
        first = self.start(self.channel.state_changed(ChannelState.IDLE))
        given_up = self.start(self.channel.state_changed(ChannelState.IDLE))
        given_up.cancel()
        self.failureResultOf(given_up, CancelledError)
        self.channel.connect()
        self.assertIs(self.successResultOf(first), ChannelState.CONNECTING)
        second = self.start(self.channel.state_changed(ChannelState.CONNECTING))
        self.assertIs(self.successResultOf(second), ChannelState.READY)
        third = self.start(self.channel.state_changed(ChannelState.READY))
        self.start(self.channel.close())
        self.assertIs(self.successResultOf(third), ChannelState.SHUT_DOWN)
        self.assertIs(
            self.successResultOf(self.start(self.channel.state_changed(ChannelState.SHUT_DOWN))), self.channel.state
        )

    def test_dropping_server(self) -> None:
        """A server that accepts, speaks HTTP/2 and then drops every call is not hammered by a caller who tries at once."""

        def drop(connection: ForeignProtocol, event: Event) -> None:
            if isinstance(event, RequestReceived):
                connection.hang_up()

        self.use(drop)
        for _ in range(600):
            self.assertEqual(self.error(self.start(self.channel.unary(ECHO, b""))).code, StatusCode.UNAVAILABLE)
            self.clock.advance(0.1)
        self.assertLess(self.endpoint.attempts, 12)

    def test_refusing_server(self) -> None:
        """A server that refuses every call unseen is asked four times for each call, not for ever."""
        requests = []

        def refuse(connection: ForeignProtocol, event: Event) -> None:
            if isinstance(event, RequestReceived):
                requests.append(event)
                connection.http2.reset_stream(event.stream_id, ErrorCodes.REFUSED_STREAM)

        self.use(refuse)
        error = self.error(self.start(self.channel.unary(ECHO, b"")))
        self.assertEqual((error.code, len(requests)), (StatusCode.UNAVAILABLE, 4))
        self.assertIn("server.example:50055: the peer refused the call", error.message)

    def test_always_leaving_server(self) -> None:
        """A server that answers every call with GOAWAY is not dialled for ever either."""

        def leave(connection: ForeignProtocol, event: Event) -> None:
            if isinstance(event, RequestReceived):
                connection.http2.close_connection(ErrorCodes.NO_ERROR, last_stream_id=0)

        self.use(leave)
        error = self.error(self.start(self.channel.unary(ECHO, b"")))
        self.assertEqual(error.code, StatusCode.UNAVAILABLE)
        self.assertLess(self.endpoint.attempts, 4)
        self.clock.advance(30)

    def test_streaming_call_is_repeated_while_nothing_was_sent(self) -> None:
        """A refused streaming call is placed again as long as no request of it was sent, and only so long."""
        refused: list[Event] = []

        def refuse_once(connection: ForeignProtocol, event: Event) -> None:
            if isinstance(event, RequestReceived):
                if len(refused) < 2:
                    refused.append(event)
                    connection.http2.reset_stream(event.stream_id, ErrorCodes.REFUSED_STREAM)
                else:
                    connection.answer(event, b"yes")

        self.use(refuse_once)
        call = self.channel.open_stream_stream(CHAT)
        self.deliver()
        self.assertEqual(self.successResultOf(self.start(call.receive())), b"yes")
        refused.clear()
        hasty = self.channel.open_stream_stream(CHAT)
        sending = self.start(hasty.send(b"x"))
        self.successResultOf(sending)
        self.assertEqual(len(refused), 1)
        self.assertEqual(self.error(self.start(hasty.receive())).code, StatusCode.UNAVAILABLE)

    def test_goaway_with_an_error(self) -> None:
        """Calls that the server names as not looked at are repeated elsewhere, the others fail with what it said."""
        seen = []

        def break_first(connection: ForeignProtocol, event: Event) -> None:
            if isinstance(event, RequestReceived):
                seen.append(event)
                if len(self.server.connections) > 1:
                    connection.answer(event, b"second")
                elif len(seen) == 2:
                    connection.http2.close_connection(ErrorCodes.INTERNAL_ERROR, b"oh no", last_stream_id=1)

        self.use(break_first)
        calls = [Deferred.fromCoroutine(self.channel.unary(ECHO, b"")) for _ in range(2)]
        self.deliver()
        message = self.error(calls[0]).message
        self.assertIn('GOAWAY INTERNAL_ERROR "oh no"', message)
        self.assertIn("while waiting for the answer of /test.Echo/Echo", message)
        self.assertEqual(self.successResultOf(calls[1]), b"second")

    def test_call_from_a_failed_call(self) -> None:
        """Who calls again in the very moment of the loss gets another connection, not the dead one."""
        second: list[Deferred[Any]] = []
        parked = self.start(self.channel.unary(PARK, b""))
        parked.addErrback(lambda _: second.append(Deferred.fromCoroutine(self.channel.unary(ECHO, b""))))
        self.clock.advance(20)
        self.endpoint.connections[0].cut()
        self.deliver()
        self.assertEqual(self.successResultOf(second[0]), b"")
        self.assertEqual(self.endpoint.attempts, 2)

    def test_call_in_the_moment_of_the_verdict(self) -> None:
        """A call made when the connection has just been given up does not go down with it."""
        parked = self.start(self.channel.unary(PARK, b""))
        self.endpoint.connections[0].freeze()
        self.clock.advance(300)
        calls: list[Deferred[Any]] = []
        self.clock.callLater(20, lambda: calls.append(Deferred.fromCoroutine(self.channel.unary(ECHO, b""))))
        self.clock.advance(20)
        self.deliver()
        self.assertIn("no answer to a ping", self.error(parked).message)
        self.assertEqual(self.successResultOf(calls[0]), b"")

    def test_vanished_server(self) -> None:
        """A server that was ready and vanishes is noticed by keepalive; then the next call dials again and is served."""
        self.successResultOf(self.start(self.channel.unary(ECHO, b"")))
        parked = self.start(self.channel.unary(PARK, b""))
        self.endpoint.connections[0].freeze()
        self.clock.pump([1.0] * 31)
        error = self.error(parked)
        self.assertEqual(
            error.message,
            "server.example:50055: no answer to a ping within 20 s, while waiting for the answer of /test.Echo/Park",
        )
        self.assertEqual(self.successResultOf(self.start(self.channel.unary(ECHO, b""))), b"")

    def test_too_many_pings(self) -> None:
        """A server that complains of pings is pinged half as often from then on, by every later connection."""
        pings: list[float] = []

        def complain(connection: ForeignProtocol, event: Event) -> None:
            if isinstance(event, PingReceived):
                pings.append(self.clock.seconds())
                if len(pings) == 3:
                    connection.http2.close_connection(ErrorCodes.ENHANCE_YOUR_CALM, b"too_many_pings")

        self.use(complain, ChannelOptions(keepalive=KeepaliveTimes(10, 10, 5)))
        parked = self.start(self.channel.unary(PARK, b""))
        self.clock.pump([1.0] * 31)
        self.assertIn("too_many_pings", self.error(parked).message)
        self.assertEqual(pings, [10, 20, 30])
        again = self.start(self.channel.unary(PARK, b""))
        self.channel.set_keepalive(KeepaliveTimes(1, 1, 1))
        self.clock.pump([1.0] * 45)
        self.assertEqual(pings[3:], [51, 71], "20 s apart, whatever somebody asks for later")
        self.assertNoResult(again)
        again.cancel()
        self.failureResultOf(again, CancelledError)

    def test_idle_timeout(self) -> None:
        """A connection without calls is closed in the end, one with a parked call never; the next call connects again."""
        self.use(answering, ChannelOptions(idle_timeout=60, keepalive=KeepaliveTimes(1e6, 1e6)))
        parked = self.start(self.channel.unary(PARK, b""))
        self.clock.pump([1.0] * 300)
        self.assertIs(self.channel.state, ChannelState.READY)
        parked.cancel()
        self.failureResultOf(parked, CancelledError)
        self.clock.pump([1.0] * 59)
        self.assertIs(self.channel.state, ChannelState.READY)
        self.clock.pump([1.0] * 61)
        self.assertIs(self.channel.state, ChannelState.IDLE)
        self.successResultOf(self.start(self.channel.unary(ECHO, b"")))
        self.assertEqual(self.endpoint.attempts, 2)

    def test_reconnect(self) -> None:
        """Told of a new address, the channel dials anew for new calls; open calls end where they are."""
        parked = self.start(self.channel.unary(PARK, b""))
        self.channel.reconnect("the registry has a new address")
        self.assertIs(self.channel.state, ChannelState.IDLE)
        self.successResultOf(self.start(self.channel.unary(ECHO, b"")))
        self.assertEqual(len(self.server.connections), 2)
        self.assertNoResult(parked)
        parked.cancel()
        self.failureResultOf(parked, CancelledError)
        self.deliver()
        self.assertFalse(self.endpoint.connections[0].client.protocol, "nobody needs the first connection any more")

    def test_reconnect_ends_the_pause(self) -> None:
        """Told of a new address, a channel does not wait for the rest of its back-off."""
        self.endpoint.refusal = OSError("no")
        waiting = self.start(self.channel.unary(ECHO, b"", wait_for_ready=True))
        self.endpoint.refusal = None
        self.channel.reconnect("the registry has a new address")
        self.deliver()
        self.assertEqual((self.successResultOf(waiting), self.clock.seconds()), (b"", 0))


@implementer(IHostResolution)
class Resolution:
    """One question."""

    def __init__(self, name: str) -> None:
        self.name = name

    def cancel(self) -> None:
        """It has been answered already."""


class ChangingNames:
    """A resolver whose answers a test changes."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self.addresses = addresses
        self.asked: list[str] = []

    def resolveHostName(  # the interface's name
        self, receiver: Any, name: str, port: int = 0, *_kinds: object, **_options: object
    ) -> Resolution:
        """See `IHostnameResolver`."""
        self.asked.append(name)
        resolution = Resolution(name)
        receiver.resolutionBegan(resolution)
        for address in self.addresses:
            receiver.addressResolved(IPv4Address("TCP", address, port))
        receiver.resolutionComplete()
        return resolution


class Names(SynchronousTestCase):
    """Names that lead to several addresses, or to others than before."""

    def setUp(self) -> None:
        """A reactor that only notes what is asked of it."""
        self.reactor = MemoryReactorClock()
        self.names = ChangingNames(["10.0.0.1"])
        self.reactor.installNameResolver(cast("Any", self.names))
        self.channel = tcp_channel(self.reactor, "coordinator.example", 50055)

    def tearDown(self) -> None:
        """Nothing is left."""
        closing = Deferred.fromCoroutine(self.channel.close())
        self.reactor.advance(10)
        self.successResultOf(closing)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def dialled(self) -> list[str]:
        """All addresses so far."""
        return [host for host, *_ in self.reactor.tcpClients]

    def fail_last(self, error: Exception) -> None:
        """The last attempt comes to nothing."""
        factory: Any = self.reactor.tcpClients[-1][2]
        factory.clientConnectionFailed(None, Failure(error))

    def test_new_address(self) -> None:
        """The name is looked up for every attempt, so a server that moved is found, also after a lost connection."""
        call = Deferred.fromCoroutine(self.channel.unary(ECHO, b"", wait_for_ready=True))
        self.reactor.advance(0.01)
        self.fail_last(ConnectionRefusedError("refused"))
        self.names.addresses = ["10.0.0.2"]
        self.reactor.pump([0.5] * 6)
        self.assertEqual(self.dialled(), ["10.0.0.1", "10.0.0.2"])
        client: Any = self.reactor.tcpClients[-1][2].buildProtocol(IPv4Address("TCP", "10.0.0.2", 50055))
        server = GrpcServerFactory([], self.reactor).buildProtocol(None)
        assert server is not None
        here, there = StringTransport(), StringTransport()
        client.makeConnection(here)
        server.makeConnection(there)
        client.dataReceived(there.value())
        self.assertIs(self.channel.state, ChannelState.READY)
        self.reactor.advance(10)
        self.names.addresses = ["10.0.0.3"]
        server.dataReceived(here.value())
        server.connectionLost()
        client.connectionLost(Failure(ConnectionLost()))
        self.failureResultOf(call, RpcError)
        again = Deferred.fromCoroutine(self.channel.unary(ECHO, b""))
        self.reactor.advance(0.01)
        self.assertEqual((self.dialled()[-1], len(self.names.asked)), ("10.0.0.3", 3))
        self.fail_last(ConnectionRefusedError("refused"))
        self.reactor.advance(1)
        self.failureResultOf(again, RpcError)

    def test_all_addresses(self) -> None:
        """An address that does not answer is not waited for: the next of the same name is tried soon."""
        self.names.addresses = ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
        call = Deferred.fromCoroutine(self.channel.unary(ECHO, b""))
        self.reactor.pump([0.1] * 10)
        self.assertEqual(self.dialled(), ["10.0.0.1", "10.0.0.2", "10.0.0.3"])
        self.reactor.advance(20)
        error = self.failureResultOf(call, RpcError).value
        assert isinstance(error, RpcError)
        self.assertEqual(error.message, "coordinator.example:50055: no connection within 20 s")

    def test_unknown_name(self) -> None:
        """A name without an address says so."""
        self.names.addresses = []
        call = Deferred.fromCoroutine(self.channel.unary(ECHO, b""))
        self.reactor.advance(0.01)
        error = self.failureResultOf(call, RpcError).value
        assert isinstance(error, RpcError)
        self.assertIn("coordinator.example:50055: DNS lookup failed: no results for hostname", error.message)
