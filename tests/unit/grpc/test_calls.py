"""Calls between a channel and a server in memory, with a clock that the test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Coroutine, Mapping
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txdagu.grpc.channel import Channel, ChannelState
from txdagu.grpc.health import HealthService
from txdagu.grpc.server import CallContext, GrpcServerFactory, Handler
from txdagu.protocol import health_pb2 as health
from txdagu.protocol.services import HEALTH_WATCH
from txdagu.testing.channel import MemoryEndpoint, memory_channel
from txdagu.wire.metadata import InvalidMetadataError
from txdagu.wire.method import Cardinality, RpcMethod
from txdagu.wire.status import RpcError, StatusCode


def _decode(payload: bytes) -> str:
    if payload == b"\xff":
        raise ValueError("bad bytes")
    return payload.decode()


def method(name: str, cardinality: Cardinality = Cardinality.UNARY_UNARY) -> RpcMethod[Any, Any]:
    """A method of text messages; the text "ÿ" is sent as bytes that cannot be decoded."""

    def encode(text: str) -> bytes:
        return b"\xff" if text == "\xff" else text.encode()

    return RpcMethod("test.Text", name, cardinality, encode, _decode, encode, _decode)


ECHO, PARK, STUBBORN = method("Echo"), method("Park"), method("Stubborn")
RAISE = method("Raise")
COUNT = method("Count", Cardinality.UNARY_STREAM)
SEND = method("Send", Cardinality.UNARY_STREAM)
JOIN = method("Join", Cardinality.STREAM_UNARY)
CHAT = method("Chat", Cardinality.STREAM_STREAM)


class TextService:
    """Handlers that record what happens to them."""

    def __init__(self) -> None:
        self.parked: list[Deferred[str]] = []
        self.log: list[str] = []
        self.contexts: list[CallContext] = []
        self.error: Exception = RpcError(StatusCode.ABORTED, "no")

    def handlers(self) -> Mapping[RpcMethod[Any, Any], Handler]:
        """See `GrpcService`."""
        return {
            ECHO: self.echo,
            PARK: self.park,
            RAISE: self.fail,
            COUNT: self.count,
            SEND: self.send,
            JOIN: self.join,
            CHAT: self.chat,
        }

    async def echo(self, request: str, context: CallContext) -> str:
        """Answer with the request, and metadata."""
        self.contexts.append(context)
        context.set_initial_metadata({"first": "1"})
        context.set_trailing_metadata({"last-bin": b"2"})
        return request

    async def park(self, request: str, context: CallContext) -> str:
        """Wait for the test."""
        self.contexts.append(context)
        deferred: Deferred[str] = Deferred()
        self.parked.append(deferred)
        try:
            return await deferred
        except CancelledError:
            self.log.append("cancelled")
            raise
        finally:
            self.log.append("finally")

    async def fail(self, request: str, context: CallContext) -> str:
        """Raise what the test says."""
        context.set_trailing_metadata({"why": "so"})
        raise self.error

    async def count(self, request: str, context: CallContext) -> AsyncIterator[str]:
        """An async generator."""
        try:
            for number in range(int(request)):
                yield str(number)
                self.log.append(f"sent {number}")
        finally:
            self.log.append("finally")

    async def send(self, request: str, context: CallContext) -> None:
        """A coroutine that sends, large messages."""
        for number in range(int(request)):
            await context.send("x" * 100_000)
            self.log.append(f"sent {number}")

    async def join(self, requests: AsyncIterator[str], context: CallContext) -> str:
        """Many requests, one response."""
        return "+".join([request async for request in requests])

    async def chat(self, requests: AsyncIterator[str], context: CallContext) -> AsyncIterator[str]:
        """Answer each request as it comes."""
        async for request in requests:
            yield request.upper()


class Calls(SynchronousTestCase):
    """A server and a channel in memory."""

    def setUp(self) -> None:
        """Both ends, not connected yet."""
        self.clock = Clock()
        self.service = TextService()
        self.health = HealthService(["test.Text"])
        self.server = GrpcServerFactory([self.service, self.health], self.clock, max_message_size=1_000_000)
        self.endpoint = MemoryEndpoint(self.server, self.clock)
        self.channel: Channel = memory_channel(self.endpoint, self.clock)

    def tearDown(self) -> None:
        """Closing the channel leaves no timer behind, at either end."""
        closing = Deferred.fromCoroutine(self.channel.close())
        self.clock.advance(10)
        self.successResultOf(closing)
        self.assertEqual(self.server.connection_count, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def start(self, call: Coroutine[Deferred[Any], Any, Any] | Awaitable[Any]) -> Deferred[Any]:
        """Begin a call and deliver what is on its way."""

        async def run() -> Any:
            return await call

        deferred = Deferred.fromCoroutine(run())
        self.clock.advance(0)
        return deferred

    def result(self, call: Coroutine[Deferred[Any], Any, Any] | Awaitable[Any]) -> Any:
        """The result of a call that ends without waiting."""
        return self.successResultOf(self.start(call))

    def error(self, call: Coroutine[Deferred[Any], Any, Any] | Awaitable[Any]) -> RpcError:
        """The error of a call that fails at once."""
        error = self.failureResultOf(self.start(call), RpcError).value
        assert isinstance(error, RpcError)
        return error


class UnaryCalls(Calls):
    """One request, one response."""

    def test_reply(self) -> None:
        """The response comes with both kinds of metadata, and the handler knows its call."""
        reply = self.result(self.channel.unary_call(ECHO, "hello", timeout=5, metadata={"key": "value"}))
        self.assertEqual((reply.message, dict(reply.initial_metadata)["first"]), ("hello", "1"))
        self.assertEqual(reply.trailing_metadata["last-bin"], b"2")
        context = self.service.contexts[0]
        self.assertEqual((context.metadata["key"], context.peer), ("value", "127.0.0.1:40001"))
        self.assertEqual(context.deadline, 5)
        self.clock.advance(2)
        self.assertEqual(context.time_remaining(), 3)
        self.assertEqual(self.channel.state, ChannelState.READY)

    def test_no_deadline(self) -> None:
        """Without a timeout there is no deadline, and a parked call stays for days."""
        call = self.start(self.channel.unary(PARK, ""))
        self.clock.pump([1000.0] * 300)
        self.assertIsNone(self.service.contexts[0].time_remaining())
        self.assertNoResult(call)
        self.service.parked[0].callback("late")
        self.clock.advance(0)
        self.assertEqual(self.successResultOf(call), "late")

    def test_statuses(self) -> None:
        """What a handler raises is what the client gets."""
        error = self.error(self.channel.unary(RAISE, ""))
        self.assertEqual((error.code, error.message), (StatusCode.ABORTED, "no"))

    def test_crash(self) -> None:
        """An error of the handler is logged, and its text kept from the client."""
        self.service.error = KeyError("secret")
        error = self.error(self.channel.unary(RAISE, ""))
        self.assertEqual(error.code, StatusCode.UNKNOWN)
        self.assertNotIn("secret", error.message)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_error_without_error(self) -> None:
        """An error that says OK is a mistake of the handler: logged, and never taken for an answer."""
        self.service.error = RpcError(StatusCode.OK, "fine")
        self.assertEqual(self.error(self.channel.unary(RAISE, "")).code, StatusCode.UNKNOWN)
        self.assertEqual(len(self.flushLoggedErrors(RpcError)), 1)

    def test_unreadable(self) -> None:
        """Bytes that cannot be decoded are INTERNAL at either end."""
        error = self.error(self.channel.unary(ECHO, "\xff"))
        self.assertEqual(
            (error.code, error.message), (StatusCode.INTERNAL, "grpc: error unmarshalling request: bad bytes")
        )
        call = self.start(self.channel.unary(PARK, ""))
        self.service.parked[0].callback("\xff")
        self.clock.advance(0)
        text = self.failureResultOf(call, RpcError).value.message
        self.assertEqual(text, "grpc: error unmarshalling response: bad bytes")

    def test_too_large(self) -> None:
        """A request over the limit is refused by number, and the connection lives on."""
        error = self.error(self.channel.unary(ECHO, "x" * 1_000_001))
        self.assertEqual(error.message, "grpc: received message larger than max (1000001 vs. 1000000)")
        self.assertEqual(self.result(self.channel.unary(ECHO, "x" * 1_000_000)), "x" * 1_000_000)
        self.assertEqual(self.endpoint.attempts, 1)

    def test_unknown(self) -> None:
        """Unknown methods and services have the texts that peers know."""
        error = self.error(self.channel.unary(STUBBORN, ""))
        self.assertEqual(error.message, "unknown method Stubborn for service test.Text")
        other = RpcMethod("foo.Bar", "Baz", Cardinality.UNARY_UNARY, str.encode, bytes.decode, str.encode, bytes.decode)
        error = self.error(self.channel.unary(other, ""))
        self.assertEqual((error.code, error.message), (StatusCode.UNIMPLEMENTED, "unknown service foo.Bar"))

    def test_bad_metadata(self) -> None:
        """Metadata that cannot be sent is refused before anything is sent."""
        self.failureResultOf(self.start(self.channel.unary(ECHO, "", metadata={"Bad": "x"})), InvalidMetadataError)
        self.assertEqual(self.endpoint.attempts, 0)

    def test_timeout(self) -> None:
        """A timeout ends the call here and the handler there, and its finally block runs."""
        call = self.start(self.channel.unary(PARK, "", timeout=3))
        self.clock.advance(2.9)
        self.assertNoResult(call)
        self.clock.advance(0.1)
        self.assertEqual(self.failureResultOf(call, RpcError).value.code, StatusCode.DEADLINE_EXCEEDED)
        self.assertEqual(self.service.log, ["cancelled", "finally"])

    def test_cancel(self) -> None:
        """Cancelling the Deferred cancels the handler, and only that one."""
        first, second = (self.start(self.channel.unary(PARK, "")) for _ in range(2))
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.clock.advance(0)
        self.assertEqual(self.service.log, ["cancelled", "finally"])
        self.service.parked[1].callback("fine")
        self.clock.advance(0)
        self.assertEqual(self.successResultOf(second), "fine")

    def test_many_parked(self) -> None:
        """A thousand parked calls, and then others, on one connection."""
        calls = [self.start(self.channel.unary(PARK, "")) for _ in range(1000)]
        self.assertEqual(self.result(self.channel.unary(ECHO, "x")), "x")
        for number, parked in enumerate(self.service.parked):
            parked.callback(str(number))
        self.clock.advance(0)
        self.assertEqual([self.successResultOf(call) for call in calls], [str(number) for number in range(1000)])
        self.assertEqual(self.endpoint.attempts, 1)


class StreamingCalls(Calls):
    """Many requests, many responses."""

    def test_responses(self) -> None:
        """All responses arrive in order; the end is the end of the loop."""

        async def collect() -> list[str]:
            return [text async for text in self.channel.unary_stream(COUNT, "5")]

        self.assertEqual(self.result(collect()), ["0", "1", "2", "3", "4"])

    def test_slow_reader(self) -> None:
        """A reader that does not read stops the sender after about a window."""
        stream = self.channel.unary_stream(SEND, "50")
        self.clock.advance(0)
        sent = len(self.service.log)
        self.assertLess(sent, 6)
        for _ in range(10):
            self.result(stream.__anext__())
        self.assertGreaterEqual(len(self.service.log), 10)
        self.assertLess(len(self.service.log), 16)
        stream.cancel()
        self.clock.advance(0)

    def test_held_transport(self) -> None:
        """A client whose process stands still costs the server no more than a window of memory."""
        stream = self.channel.unary_stream(COUNT, "3")
        self.clock.advance(0)
        transport = self.endpoint.connections[0].server
        transport.held = True
        calls = [self.start(self.channel.unary(ECHO, "x" * 200_000)) for _ in range(20)]
        self.assertLess(transport.unread, 600_000)
        self.assertEqual(len(self.service.contexts), 20)
        transport.release()
        self.clock.advance(0)
        for call in calls:
            self.assertEqual(len(self.successResultOf(call)), 200_000)
        stream.cancel()

    def test_left_early(self) -> None:
        """Leaving the ``async with`` block cancels the call, and closes the generator."""

        async def first() -> str:
            async with self.channel.unary_stream(HEALTH_WATCH, health.HealthCheckRequest()) as stream:
                async for answer in stream:
                    return str(answer.status)
            return "nothing"

        self.assertEqual(self.result(first()), "1")
        self.clock.advance(0)

    def test_requests(self) -> None:
        """Requests stream to the handler; an error of the iterator is raised to the caller and cancels the call."""

        async def letters(*texts: str) -> AsyncIterator[str]:
            for text in texts:
                if text == "!":
                    raise LookupError("out of letters")
                yield text

        self.assertEqual(self.result(self.channel.stream_unary(JOIN, letters("a", "", "c"))), "a++c")
        self.failureResultOf(self.start(self.channel.stream_unary(JOIN, letters("a", "!"))), LookupError)

        async def chat() -> list[str]:
            return [text async for text in self.channel.stream_stream(CHAT, letters("a", "b"))]

        self.assertEqual(self.result(chat()), ["A", "B"])

    def test_large_requests(self) -> None:
        """Requests larger than the window wait for the handler and all arrive."""

        async def blocks() -> AsyncIterator[str]:
            for _ in range(8):
                yield "x" * 300_000

        self.assertEqual(len(self.result(self.channel.stream_unary(JOIN, blocks()))), 8 * 300_000 + 7)


class Draining(Calls):
    """How a server ends."""

    def test_open_calls_finish(self) -> None:
        """Open calls get their answer, new ones are refused, then the connection is closed."""
        call = self.start(self.channel.unary(PARK, ""))
        draining = self.start(self.server.drain(30))
        self.assertNoResult(draining)
        self.assertEqual(self.error(self.channel.unary(ECHO, "")).code, StatusCode.UNAVAILABLE)
        self.service.parked[0].callback("last words")
        self.clock.advance(0)
        self.assertEqual(self.successResultOf(call), "last words")
        self.successResultOf(draining)

    def test_timeout(self) -> None:
        """What is not done in time is answered with UNAVAILABLE, and its handler cancelled."""
        call = self.start(self.channel.unary(PARK, ""))
        draining = self.start(self.server.drain(30))
        self.clock.advance(30)
        error = self.failureResultOf(call, RpcError).value
        self.assertEqual((error.code, error.message), (StatusCode.UNAVAILABLE, "the server is shutting down"))
        self.assertEqual(self.service.log, ["cancelled", "finally"])
        self.successResultOf(draining)

    def test_client_that_reads_nothing(self) -> None:
        """A client that never reads cannot hold the end up: it is cut off."""
        call = self.start(self.channel.unary(PARK, ""))
        self.endpoint.connections[0].server.held = True
        draining = self.start(self.server.drain(1))
        self.clock.pump([1.0] * 10)
        self.successResultOf(draining)
        self.failureResultOf(call, RpcError)


class ServerDetails(Calls):
    """What clients other than ours may do."""

    def test_two_handlers(self) -> None:
        """Two handlers for one method are a mistake that is named at once."""
        self.assertRaisesRegex(ValueError, "/test.Text/", GrpcServerFactory, [self.service, self.service], self.clock)

    def test_silent_client(self) -> None:
        """A connection that never speaks is cut after half a minute."""
        endpoint = MemoryEndpoint(self.server, self.clock)
        from twisted.internet.protocol import Factory, Protocol

        self.successResultOf(endpoint.connect(Factory.forProtocol(Protocol)))
        self.assertEqual(self.server.connection_count, 1)
        self.clock.advance(30)
        self.clock.advance(0)
        self.assertEqual(self.server.connection_count, 0)
