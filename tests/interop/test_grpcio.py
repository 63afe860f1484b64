"""Our server with grpcio's client, and our channel with grpcio's server, over real sockets on this machine."""

from __future__ import annotations

import gzip
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from concurrent import futures
from typing import Any

import grpc
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import TestCase

from txdagu.grpc.channel import Channel, tcp_channel
from txdagu.grpc.health import HealthService
from txdagu.grpc.server import CallContext, GrpcServerFactory, Handler
from txdagu.protocol import health_pb2
from txdagu.protocol.services import HEALTH_SERVICE
from txdagu.wire.method import Cardinality, RpcMethod
from txdagu.wire.status import RpcError, StatusCode

SIZES = [0, 1, 16 * 1024 - 1, 16 * 1024, 16 * 1024 + 1, 70_000, 5_000_000]


def raw(name: str, cardinality: Cardinality = Cardinality.UNARY_UNARY) -> RpcMethod[bytes, bytes]:
    """A method whose messages are plain bytes."""
    return RpcMethod("test.Echo", name, cardinality, bytes, bytes, bytes, bytes)


ECHO = raw("Echo")
FAIL = raw("Fail")
CRASH = raw("Crash")
PARK = raw("Park")
MISSING = raw("Missing")
COUNT = raw("Count", Cardinality.UNARY_STREAM)
JOIN = raw("Join", Cardinality.STREAM_UNARY)
CHAT = raw("Chat", Cardinality.STREAM_STREAM)


class Base(TestCase):
    """Ends a test that hangs."""

    timeout = 30


class EchoService:
    """Handlers of every kind."""

    def __init__(self) -> None:
        self.parked: list[Deferred[bytes]] = []
        self.cancelled = 0
        self.on_park: dict[int, Deferred[None]] = {}
        self.on_cancel: Deferred[None] = Deferred()

    def handlers(self) -> Mapping[RpcMethod[Any, Any], Handler]:
        """See `GrpcService`."""
        return {
            ECHO: self.echo,
            FAIL: self.fail,
            CRASH: self.crash,
            PARK: self.park,
            COUNT: self.count,
            JOIN: self.join,
            CHAT: self.chat,
        }

    async def echo(self, request: bytes, context: CallContext) -> bytes:
        """The request again, with metadata."""
        context.set_initial_metadata({"early": "yes"})
        context.set_trailing_metadata({"seen": str(context.metadata.get("sent", "")), "raw-bin": b"\x00\xff"})
        return request

    async def fail(self, request: bytes, context: CallContext) -> bytes:
        """A status with a text."""
        raise RpcError(StatusCode.NOT_FOUND, "no such thing: größer 100 %\n")

    async def crash(self, request: bytes, context: CallContext) -> bytes:
        """An error of the handler's own."""
        raise ZeroDivisionError("a secret")

    async def park(self, request: bytes, context: CallContext) -> bytes:
        """Wait until the test says so."""
        deferred: Deferred[bytes] = Deferred()
        self.parked.append(deferred)
        if (waiting := self.on_park.pop(len(self.parked), None)) is not None:
            waiting.callback(None)
        try:
            return await deferred
        except CancelledError:
            self.cancelled += 1
            if not self.on_cancel.called:
                self.on_cancel.callback(None)
            raise

    async def count(self, request: bytes, context: CallContext) -> AsyncIterator[bytes]:
        """Many responses."""
        for number in range(int(request)):
            yield b"%d" % number * 1000

    async def join(self, requests: AsyncIterator[bytes], context: CallContext) -> bytes:
        """Many requests."""
        return b",".join([request async for request in requests])

    async def chat(self, requests: AsyncIterator[bytes], context: CallContext) -> None:
        """Many of both."""
        async for request in requests:
            await context.send(request.upper())

    def until_parked(self, count: int) -> Deferred[None]:
        """Fires when that many calls have been parked."""
        deferred: Deferred[None] = Deferred()
        if len(self.parked) >= count:
            deferred.callback(None)
        else:
            self.on_park[count] = deferred
        return deferred


class ForeignClientTests(Base):
    """grpcio calls us. Its blocking calls run in threads of our own pool."""

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        """Both ends, on a port the system chooses."""
        from twisted.internet import reactor  # noqa: TID251  # trial's, for real sockets

        self.reactor: Any = reactor
        self.pool = ThreadPool(1, 8)
        self.pool.start()
        self.service = EchoService()
        self.health = HealthService(["test.Echo"])
        self.factory = GrpcServerFactory([self.service, self.health], reactor)
        port: Any = await TCP4ServerEndpoint(self.reactor, 0, interface="127.0.0.1").listen(self.factory)
        self.port = port
        self.channel = grpc.insecure_channel(
            f"127.0.0.1:{port.getHost().port}", options=[("grpc.max_receive_message_length", -1)]
        )

    async def tearDown(self) -> None:  # type: ignore[override]
        """Close both ends."""
        await self.in_thread(self.channel.close)
        await self.port.stopListening()
        await self.factory.drain(0)
        self.pool.stop()

    def in_thread(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Deferred[Any]:
        """Run something that blocks."""
        return deferToThreadPool(self.reactor, self.pool, function, *arguments, **options)

    def stub(self, method: RpcMethod[bytes, bytes]) -> Any:
        """A foreign client's call."""
        return self.channel.unary_unary(method.path)

    async def error_of(self, method: RpcMethod[bytes, bytes], request: bytes = b"", **options: Any) -> grpc.RpcError:
        """The error of a call that must fail."""
        try:
            await self.in_thread(self.stub(method), request, **options)
        except grpc.RpcError as error:
            return error
        raise AssertionError("the call succeeded")

    async def test_sizes(self) -> None:
        """Messages of all sizes, around the frame size and far beyond the windows, come back unchanged."""
        for size in SIZES:
            request = bytes(index % 251 for index in range(min(size, 1000))) * (size // 1000 + 1)
            answer = await self.in_thread(self.stub(ECHO), request[:size])
            self.assertEqual(answer, request[:size], f"{size} bytes")

    async def test_metadata(self) -> None:
        """Metadata reaches the handler and comes back before and after the message, text and bytes."""
        _answer, call = await self.in_thread(self.stub(ECHO).with_call, b"x", metadata=[("sent", "a b")])
        self.assertEqual(dict(call.initial_metadata())["early"], "yes")
        trailing = dict(call.trailing_metadata())
        self.assertEqual((trailing["seen"], trailing["raw-bin"]), ("a b", b"\x00\xff"))

    async def test_error_text(self) -> None:
        """A status and its message, with characters outside ASCII, reach the client."""
        error = await self.error_of(FAIL)
        self.assertEqual((error.code(), error.details()), (grpc.StatusCode.NOT_FOUND, "no such thing: größer 100 %\n"))

    async def test_crash(self) -> None:
        """A handler's own exception is logged here, and answered as UNKNOWN without its text."""
        error = await self.error_of(CRASH)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(error.code(), grpc.StatusCode.UNKNOWN)
        self.assertNotIn("secret", error.details())

    async def test_unknown(self) -> None:
        """Unknown methods and services are UNIMPLEMENTED with the texts that peers know."""
        error = await self.error_of(MISSING)
        self.assertEqual(error.code(), grpc.StatusCode.UNIMPLEMENTED)
        self.assertEqual(error.details(), "unknown method Missing for service test.Echo")
        other = RpcMethod("foo.Bar", "Baz", Cardinality.UNARY_UNARY, bytes, bytes, bytes, bytes)
        self.assertEqual((await self.error_of(other)).details(), "unknown service foo.Bar")

    async def test_deadline(self) -> None:
        """A deadline ends the call for the client, and cancels the handler."""
        error = await self.error_of(PARK, timeout=0.2)
        self.assertEqual(error.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
        await self.service.on_cancel
        self.assertEqual(self.service.cancelled, 1)

    async def test_cancel(self) -> None:
        """A client that cancels its call cancels the handler."""
        call = self.stub(PARK).future(b"")
        await self.service.until_parked(1)
        call.cancel()
        await self.service.on_cancel
        self.assertEqual(self.service.cancelled, 1)

    async def test_many_parked_calls(self) -> None:
        """150 parked calls on one connection leave room for others, and each gets its own answer."""
        calls = [self.stub(PARK).future(b"") for _ in range(150)]
        await self.service.until_parked(150)
        self.assertEqual(self.factory.connection_count, 1)
        for number in range(20):
            self.assertEqual(await self.in_thread(self.stub(ECHO), b"%d" % number), b"%d" % number)
        for number, parked in enumerate(self.service.parked):
            parked.callback(b"%d" % number)
        answers = await self.in_thread(lambda: sorted(int(call.result(timeout=30)) for call in calls))
        self.assertEqual(answers, list(range(150)))

    async def test_gzip(self) -> None:
        """A client that compresses its requests is understood."""
        answer = await self.in_thread(self.stub(ECHO), b"a" * 100_000, compression=grpc.Compression.Gzip)
        self.assertEqual(answer, b"a" * 100_000)

    async def test_deflate(self) -> None:
        """A compression we cannot read is UNIMPLEMENTED and named."""
        error = await self.error_of(ECHO, b"a" * 1000, compression=grpc.Compression.Deflate)
        self.assertEqual(error.code(), grpc.StatusCode.UNIMPLEMENTED)
        self.assertIn('grpc-encoding "deflate"', error.details())

    async def test_too_large(self) -> None:
        """A message over the limit is RESOURCE_EXHAUSTED with both numbers, and the connection survives."""
        error = await self.error_of(ECHO, b"x" * (16 * 1024 * 1024 + 1))
        self.assertEqual(error.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
        self.assertEqual(error.details(), "grpc: received message larger than max (16777217 vs. 16777216)")
        self.assertEqual(await self.in_thread(self.stub(ECHO), b"x"), b"x")

    async def test_streams(self) -> None:
        """Server, client and bidirectional streaming work with a foreign client."""
        count = self.channel.unary_stream(COUNT.path)
        answers = await self.in_thread(lambda: list(count(b"200")))
        self.assertEqual(answers, [b"%d" % number * 1000 for number in range(200)])
        join = self.channel.stream_unary(JOIN.path)
        self.assertEqual(await self.in_thread(lambda: join(iter([b"a", b"", b"c"]))), b"a,,c")
        chat = self.channel.stream_stream(CHAT.path)
        self.assertEqual(await self.in_thread(lambda: list(chat(iter([b"a", b"b"])))), [b"A", b"B"])

    async def test_health(self) -> None:
        """Check and Watch answer a foreign client."""
        check = self.channel.unary_unary(
            f"/{HEALTH_SERVICE}/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        answer = await self.in_thread(check, health_pb2.HealthCheckRequest(service="test.Echo"))
        self.assertEqual(answer.status, health_pb2.HealthCheckResponse.SERVING)
        try:
            await self.in_thread(check, health_pb2.HealthCheckRequest(service="nobody"))
        except grpc.RpcError as error:
            self.assertEqual((error.code(), error.details()), (grpc.StatusCode.NOT_FOUND, "unknown service"))
        else:
            self.fail("an unknown service was found")
        watch = self.channel.unary_stream(
            f"/{HEALTH_SERVICE}/Watch",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        stream = watch(health_pb2.HealthCheckRequest(service=""))
        self.assertEqual((await self.in_thread(next, stream)).status, health_pb2.HealthCheckResponse.SERVING)
        self.health.set("", False)
        self.assertEqual((await self.in_thread(next, stream)).status, health_pb2.HealthCheckResponse.NOT_SERVING)
        stream.cancel()

    async def test_drain(self) -> None:
        """Draining lets the open call finish, then the connection is closed."""
        call = self.stub(PARK).future(b"")
        await self.service.until_parked(1)
        draining = Deferred.fromCoroutine(self.factory.drain(30))
        self.assertFalse(draining.called)
        self.service.parked[0].callback(b"last")
        self.assertEqual(await self.in_thread(call.result, 30), b"last")
        await draining
        self.assertEqual(self.factory.connection_count, 0)


class GenericHandler(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio has no types
    """A foreign server's methods."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.active = threading.Semaphore(0)
        self.ended = threading.Semaphore(0)

    def service(self, details: Any) -> Any:
        """Find a method."""
        return {
            ECHO.path: grpc.unary_unary_rpc_method_handler(self.echo),
            FAIL.path: grpc.unary_unary_rpc_method_handler(self.fail),
            PARK.path: grpc.unary_unary_rpc_method_handler(self.park),
            COUNT.path: grpc.unary_stream_rpc_method_handler(self.count),
            JOIN.path: grpc.stream_unary_rpc_method_handler(lambda requests, _context: b",".join(requests)),
            CHAT.path: grpc.stream_stream_rpc_method_handler(self.chat),
        }.get(details.method)

    def echo(self, request: bytes, context: Any) -> bytes:
        """The request again, with metadata."""
        context.send_initial_metadata([("early", "yes")])
        context.set_trailing_metadata(
            [("seen", dict(context.invocation_metadata()).get("sent", "")), ("raw-bin", b"\x00\xff")]
        )
        return request

    def fail(self, request: bytes, context: Any) -> bytes:
        """A status with a text."""
        context.abort(grpc.StatusCode.NOT_FOUND, "no such thing: größer 100 %")
        return b""

    def park(self, request: bytes, context: Any) -> bytes:
        """Wait until the test says so."""
        context.add_callback(self.ended.release)
        self.active.release()
        self.release.wait(30)
        return b"released"

    def count(self, request: bytes, context: Any) -> Iterator[bytes]:
        """Many responses."""
        for number in range(int(request)):
            yield b"%d" % number * 1000

    def chat(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        """Many of both."""
        for request in requests:
            yield request.upper()


class ForeignServerTests(Base):
    """We call grpcio."""

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        """Both ends, on a port the system chooses."""
        from twisted.internet import reactor  # noqa: TID251  # trial's, for real sockets

        self.reactor: Any = reactor
        self.pool = ThreadPool(1, 4)
        self.pool.start()
        self.handler = GenericHandler()
        self.server = self.make_server()
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()
        self.channel: Channel = tcp_channel(self.reactor, "127.0.0.1", self.port)

    def make_server(self, **options: Any) -> Any:
        """A server that is not started yet."""
        executor = futures.ThreadPoolExecutor(max_workers=12)
        return grpc.server(
            executor,
            handlers=[self.handler],
            options=[("grpc.max_receive_message_length", -1), *options.items()],
        )

    async def tearDown(self) -> None:  # type: ignore[override]
        """Close both ends."""
        self.handler.release.set()
        await self.channel.close()
        await self.in_thread(lambda: self.server.stop(0).wait())
        self.pool.stop()

    def in_thread(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """Run something that blocks."""
        return deferToThreadPool(self.reactor, self.pool, function, *arguments)

    async def error_of(self, call: Awaitable[Any]) -> RpcError:
        """The error of a call that must fail."""
        try:
            await call
        except RpcError as error:
            return error
        raise AssertionError("the call succeeded")

    async def test_sizes(self) -> None:
        """Messages of all sizes come back unchanged."""
        for size in SIZES:
            request = bytes(index % 251 for index in range(min(size, 1000))) * (size // 1000 + 1)
            self.assertEqual(await self.channel.unary(ECHO, request[:size]), request[:size], f"{size} bytes")

    async def test_metadata(self) -> None:
        """Metadata reaches a foreign server and comes back."""
        reply = await self.channel.unary_call(ECHO, b"x", metadata={"sent": "a b"})
        self.assertEqual(reply.initial_metadata["early"], "yes")
        self.assertEqual((reply.trailing_metadata["seen"], reply.trailing_metadata["raw-bin"]), ("a b", b"\x00\xff"))

    async def test_errors(self) -> None:
        """Statuses and texts of a foreign server become our errors."""
        error = await self.error_of(self.channel.unary(FAIL, b""))
        self.assertEqual((error.code, error.message), (StatusCode.NOT_FOUND, "no such thing: größer 100 %"))
        self.assertEqual((await self.error_of(self.channel.unary(MISSING, b""))).code, StatusCode.UNIMPLEMENTED)

    async def test_deadline(self) -> None:
        """Our timeout ends the call here and at the server."""
        error = await self.error_of(self.channel.unary(PARK, b"", timeout=0.2))
        self.assertEqual(error.code, StatusCode.DEADLINE_EXCEEDED)
        self.assertTrue(await self.in_thread(lambda: self.handler.ended.acquire(timeout=30)))

    async def test_cancel(self) -> None:
        """Cancelling the Deferred ends the call at the server."""
        call = Deferred.fromCoroutine(self.channel.unary(PARK, b""))
        await self.in_thread(self.handler.active.acquire)
        call.cancel()
        await self.assertFailure(call, CancelledError)
        self.assertTrue(await self.in_thread(lambda: self.handler.ended.acquire(timeout=30)))

    async def test_concurrent_calls(self) -> None:
        """300 calls at once on one connection all get their own answer."""
        calls = [Deferred.fromCoroutine(self.channel.unary(ECHO, b"%d" % number)) for number in range(300)]
        self.assertEqual(await gatherResults(calls), [b"%d" % number for number in range(300)])

    async def test_stream_limit(self) -> None:
        """A server that allows few streams is not overrun: calls wait for a free one."""
        server = self.make_server(**{"grpc.max_concurrent_streams": 2})
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        channel = tcp_channel(self.reactor, "127.0.0.1", port)
        calls = [Deferred.fromCoroutine(channel.unary(ECHO, b"%d" % number)) for number in range(30)]
        self.assertEqual(await gatherResults(calls), [b"%d" % number for number in range(30)])
        await channel.close()
        await self.in_thread(lambda: server.stop(0).wait())

    async def test_streams(self) -> None:
        """Server, client and bidirectional streaming work with a foreign server."""

        async def letters() -> AsyncIterator[bytes]:
            for letter in (b"a", b"", b"c"):
                yield letter

        answers = [answer async for answer in self.channel.unary_stream(COUNT, b"200")]
        self.assertEqual(answers, [b"%d" % number * 1000 for number in range(200)])
        self.assertEqual(await self.channel.stream_unary(JOIN, letters()), b"a,,c")
        self.assertEqual([answer async for answer in self.channel.stream_stream(CHAT, letters())], [b"A", b"", b"C"])

    async def test_server_dies(self) -> None:
        """A server that stops in the middle of calls fails them at once; the channel works with its successor."""
        calls = [Deferred.fromCoroutine(self.channel.unary(PARK, b"")) for _ in range(3)]
        for _ in calls:
            await self.in_thread(self.handler.active.acquire)
        stopping = self.in_thread(lambda: self.server.stop(0).wait())
        for call in calls:
            error = await self.error_of(call)
            self.assertIn(error.code, (StatusCode.UNAVAILABLE, StatusCode.CANCELLED))
        self.handler.release.set()
        await stopping
        self.server = self.make_server()
        self.server.add_insecure_port(f"127.0.0.1:{self.port}")
        self.server.start()
        answer = await self.channel.unary(ECHO, b"again", wait_for_ready=True, timeout=30)
        self.assertEqual(answer, b"again")

    async def test_nobody_there(self) -> None:
        """No server at all is UNAVAILABLE, naming address and reason."""
        await self.in_thread(lambda: self.server.stop(0).wait())
        error = await self.error_of(self.channel.unary(ECHO, b""))
        self.assertEqual(error.code, StatusCode.UNAVAILABLE)
        self.assertIn(f"127.0.0.1:{self.port}: ", error.message)
        self.assertIn("refused", error.message)

    async def test_gzip_answer(self) -> None:
        """A server that compresses its answers is understood."""
        self.server.stop(0)
        self.server = grpc.server(
            futures.ThreadPoolExecutor(max_workers=2), handlers=[self.handler], compression=grpc.Compression.Gzip
        )
        port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()
        channel = tcp_channel(self.reactor, "127.0.0.1", port)
        self.assertEqual(await channel.unary(ECHO, b"a" * 50_000), b"a" * 50_000)
        self.assertLess(len(gzip.compress(b"a" * 50_000)), 50_000)
        await channel.close()
