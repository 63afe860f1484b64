"""More calls than the server allows at once, and streaming calls message by message."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine
from typing import Any

from h2.events import Event, RequestReceived
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txdagu.grpc.channel import Channel, ChannelOptions, ChannelState
from txdagu.grpc.server import CallContext, GrpcServerFactory
from txdagu.testing.channel import MemoryEndpoint, memory_channel
from txdagu.testing.echo import CHAT, COUNT, ECHO, FAIL, JOIN, PARK
from txdagu.testing.foreign import ForeignProtocol, ForeignServer
from txdagu.wire.status import RpcError, StatusCode


class Base(SynchronousTestCase):
    """A channel on a clock."""

    clock: Clock
    channel: Channel

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

    def result(self, call: Coroutine[Deferred[Any], Any, Any]) -> Any:
        """The result of what ends without waiting."""
        return self.successResultOf(self.start(call))

    def error(self, deferred: Deferred[Any]) -> RpcError:
        """The error of a call that has failed."""
        error = self.failureResultOf(deferred, RpcError).value
        assert isinstance(error, RpcError)
        return error

    def give_up(self, *calls: Deferred[Any]) -> None:
        """Cancel calls that are still open."""
        for call in calls:
            self.assertNoResult(call)
            call.cancel()
            self.failureResultOf(call, CancelledError)


class LimitedStreams(Base):
    """A server that allows 100 calls at once on a connection."""

    def setUp(self) -> None:
        """No connection yet."""
        self.clock = Clock()
        self.parked: list[tuple[ForeignProtocol, RequestReceived]] = []
        self.server = ForeignServer(self.script)
        self.endpoint = MemoryEndpoint(self.server, self.clock)
        self.use(ChannelOptions())

    def use(self, options: ChannelOptions) -> None:
        """Another channel."""
        self.channel = memory_channel(self.endpoint, self.clock, options=options)

    def script(self, connection: ForeignProtocol, event: Event) -> None:
        """Answer `ECHO`, park all else."""
        if isinstance(event, RequestReceived):
            if dict(event.headers or [])[b":path"] == ECHO.path.encode():
                connection.answer(event, b"beat")
            else:
                self.parked.append((connection, event))

    def park(self, count: int, timeout: float | None = None) -> list[Deferred[Any]]:
        """That many polls."""
        calls = [Deferred.fromCoroutine(self.channel.unary(PARK, b"", timeout=timeout)) for _ in range(count)]
        self.deliver()
        return calls

    def test_polls_and_heartbeat(self) -> None:
        """250 parked polls and a heartbeat get through: further connections are made while all streams stay taken."""
        polls = self.park(250)
        self.assertEqual(len(self.parked), 100)
        heartbeat = self.start(self.channel.unary(ECHO, b"", timeout=2))
        self.clock.pump([0.1] * 8)
        self.assertEqual(self.successResultOf(heartbeat), b"beat")
        self.assertEqual((len(self.parked), len(self.server.connections)), (250, 3))
        self.give_up(*polls)

    def test_short_calls_wait_for_each_other(self) -> None:
        """Many short calls at once need no further connection: streams come free sooner."""
        calls = [Deferred.fromCoroutine(self.channel.unary(ECHO, b"")) for _ in range(1000)]
        for _ in range(40):
            self.clock.advance(0)
        self.assertEqual([self.successResultOf(call) for call in calls], [b"beat"] * 1000)
        self.clock.advance(1)
        self.assertEqual(self.endpoint.attempts, 1)

    def test_one_connection(self) -> None:
        """With one connection only, calls wait in their order for streams; the deadline says for what."""
        self.use(ChannelOptions(max_connections=1))
        polls = self.park(100)
        late = self.start(self.channel.unary(PARK, b"", timeout=5))
        cancelled = self.start(self.channel.unary(PARK, b""))
        next_one = self.start(self.channel.unary(ECHO, b""))
        cancelled.cancel()
        self.failureResultOf(cancelled, CancelledError)
        self.clock.advance(5)
        error = self.error(late)
        self.assertIs(error.code, StatusCode.DEADLINE_EXCEEDED)
        self.assertEqual(
            error.message,
            "no answer within 5 s while waiting for a free stream: "
            "server.example:50055 allows 100 calls at once on a connection",
        )
        self.assertNoResult(next_one)
        connection, event = self.parked[7]
        connection.answer(event)
        connection.flush()
        self.deliver()
        self.assertEqual(self.successResultOf(next_one), b"beat")
        self.assertEqual((len(self.parked), self.endpoint.attempts), (100, 1))
        self.give_up(*[poll for poll in polls if not poll.called])

    def test_no_further_connection_to_be_had(self) -> None:
        """When a further connection fails, calls go on waiting for a stream, and it is tried again with pauses."""
        polls = self.park(100)
        self.endpoint.refusal = OSError("too many connections")
        waiting = self.start(self.channel.unary(ECHO, b""))
        self.clock.pump([0.1] * 100)
        self.assertNoResult(waiting)
        self.assertIs(self.channel.state, ChannelState.READY)
        self.assertIn(self.endpoint.attempts, range(4, 8))
        self.endpoint.refusal = None
        self.clock.pump([0.5] * 20)
        self.assertEqual(self.successResultOf(waiting), b"beat")
        self.give_up(*polls)

    def test_lost_while_waiting(self) -> None:
        """Calls that waited for a stream when the connection was lost are sent on the next one; those sent have failed."""
        self.use(ChannelOptions(max_connections=1))
        polls = self.park(100)
        waiting = self.start(self.channel.unary(ECHO, b""))
        self.endpoint.connections[0].cut()
        self.deliver()
        self.assertEqual({self.error(poll).code for poll in polls}, {StatusCode.UNAVAILABLE})
        self.assertEqual(self.successResultOf(waiting), b"beat")

    def test_calls_move_on(self) -> None:
        """When the first connection is lost, the second serves new calls, and the channel stays ready."""
        polls = self.park(150)
        self.clock.pump([0.1] * 4)
        self.assertEqual(len(self.parked), 150)
        self.endpoint.connections[0].cut()
        self.deliver()
        self.assertEqual(len([poll for poll in polls if self.has_failed(poll)]), 100)
        self.assertIs(self.channel.state, ChannelState.READY)
        self.assertEqual(self.result(self.channel.unary(ECHO, b"")), b"beat")
        self.assertEqual(self.endpoint.attempts, 2)
        self.give_up(*polls[100:])

    def test_all_connections_anew(self) -> None:
        """Told to connect anew with calls waiting, a channel with several connections makes one, then more as needed."""
        self.use(ChannelOptions(max_connections=2))
        polls = self.park(230)
        self.clock.pump([0.1] * 4)
        self.assertEqual((len(self.parked), self.endpoint.attempts), (200, 2))
        self.channel.reconnect("it moved")
        self.assertEqual(self.endpoint.attempts, 3)
        self.deliver()
        self.assertEqual((len(self.parked), self.endpoint.attempts), (230, 3))
        self.give_up(*polls)

    def has_failed(self, call: Deferred[Any]) -> bool:
        """Whether a call ended with an error."""
        return call.called and self.error(call).code is StatusCode.UNAVAILABLE

    def test_no_connection_at_all(self) -> None:
        """A channel without connections is refused when it is made."""
        with self.assertRaisesRegex(ValueError, "at least one"):
            ChannelOptions(max_connections=0)


class EchoService:
    """One method of every kind."""

    def __init__(self) -> None:
        self.release: Deferred[None] = Deferred()
        self.log: list[str] = []

    def handlers(self) -> dict[Any, Any]:
        """See `GrpcService`."""
        return {CHAT: self.chat, JOIN: self.join, COUNT: self.count, FAIL: self.fail}

    async def chat(self, requests: AsyncIterator[bytes], context: CallContext) -> AsyncIterator[bytes]:
        """Answer each request as it comes."""
        context.set_initial_metadata({"first": "1"})
        try:
            async for request in requests:
                yield request.upper()
        finally:
            self.log.append("chat ended")

    async def join(self, requests: AsyncIterator[bytes], context: CallContext) -> bytes:
        """Many requests, one response."""
        try:
            return b",".join([request async for request in requests])
        finally:
            self.log.append("join ended")

    async def count(self, request: bytes, context: CallContext) -> None:
        """Say first that it will take a while; one response, then wait."""
        context.set_initial_metadata({"early": "yes"})
        await context.send(request)
        await self.release
        await context.send(request)

    async def fail(self, request: bytes, context: CallContext) -> bytes:
        """Refuse."""
        raise RpcError(StatusCode.NOT_FOUND, "nothing")


class MessageByMessage(Base):
    """Streaming calls as objects."""

    def setUp(self) -> None:
        """A server in memory."""
        self.clock = Clock()
        self.service = EchoService()
        self.endpoint = MemoryEndpoint(GrpcServerFactory([self.service], self.clock), self.clock)
        self.channel = memory_channel(self.endpoint, self.clock)

    def test_ping_pong(self) -> None:
        """Each request is answered before the next is sent; after the end there is nothing more to receive."""

        async def play() -> list[bytes | None]:
            call = self.channel.open_stream_stream(CHAT)
            seen = []
            for ping in (b"a", b"bc", b""):
                await call.send(ping)
                seen.append(await call.receive())
            call.done_sending()
            call.done_sending()
            seen.append(await call.receive())
            return seen

        self.assertEqual(self.result(play()), [b"A", b"BC", b"", None])
        self.assertEqual(self.service.log, ["chat ended"])

    def test_iteration(self) -> None:
        """All the rest can be read in a loop; a request after the last is a mistake of the caller."""

        async def play() -> list[bytes]:
            call = self.channel.open_stream_stream(CHAT)
            for ping in (b"a", b"b"):
                await call.send(ping)
            call.done_sending()
            with self.assertRaisesRegex(RuntimeError, "after done_sending"):
                await call.send(b"c")
            return [response async for response in call]

        self.assertEqual(self.result(play()), [b"A", b"B"])

    def test_no_message_at_all(self) -> None:
        """A call whose requests end before it has a connection is as empty as it should be."""
        call = self.channel.open_stream_stream(CHAT)
        call.done_sending()
        self.assertIsNone(self.result(call.receive()))

    def test_leaving_the_block(self) -> None:
        """Leaving the block before the end cancels the call at the server."""

        async def play() -> bytes | None:
            async with self.channel.open_stream_stream(CHAT) as call:
                await call.send(b"a")
                return await call.receive()

        self.assertEqual(self.result(play()), b"A")
        self.deliver()
        self.assertEqual(self.service.log, ["chat ended"])

    def test_requests_one_by_one(self) -> None:
        """A client-streaming call takes requests one by one, and ends them itself when the response is wanted."""

        async def play() -> bytes:
            call = self.channel.open_stream_unary(JOIN)
            await call.send(b"a")
            await call.send(b"b")
            return await call.response()

        self.assertEqual(self.result(play()), b"a,b")

    def test_cancel_after_begin(self) -> None:
        """A call can be cancelled before anything was sent; the server's handler ends, and the caller learns CANCELLED."""
        call = self.channel.open_stream_unary(JOIN)
        self.deliver()
        call.cancel()
        self.assertEqual(self.error(self.start(call.response())).code, StatusCode.CANCELLED)
        self.assertEqual(self.error(self.start(call.send(b"x"))).code, StatusCode.CANCELLED)
        self.assertEqual(self.service.log, ["join ended"])

    def test_slow_server(self) -> None:
        """A request larger than the server's window is sent piece by piece; being cancelled meanwhile cancels the call."""
        call = self.channel.open_stream_unary(JOIN)
        self.deliver()
        self.endpoint.connections[0].client.held = True
        sending = [self.start(call.send(bytes(400_000))) for _ in range(2)]
        for one in sending:
            self.assertNoResult(one)
        sending[0].cancel()
        self.failureResultOf(sending[0], CancelledError)
        self.successResultOf(sending[1])
        self.endpoint.connections[0].client.release()
        self.assertEqual(self.error(self.start(call.response())).code, StatusCode.CANCELLED)

    def test_initial_metadata(self) -> None:
        """The server's first metadata can be awaited while the call goes on; a failed call has none to wait for."""
        stream = self.channel.unary_stream(COUNT, b"x")
        self.assertEqual(self.result(stream.wait_for_initial_metadata())["early"], "yes")
        self.assertEqual(self.result(stream.__anext__()), b"x")
        stream.cancel()
        failed = self.channel.open_stream_stream(FAIL)
        failed.done_sending()
        self.assertEqual(self.error(self.start(failed.wait_for_initial_metadata())).code, StatusCode.INTERNAL)
