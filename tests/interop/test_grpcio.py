"""grpcio's client calls our server, over real sockets on this machine. The other direction: test_grpcio_server.py."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import grpc
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import TestCase

from txdagu.grpc.health import HealthService
from txdagu.grpc.server import CallContext, GrpcServerFactory, Handler
from txdagu.protocol import health_pb2
from txdagu.protocol.services import HEALTH_SERVICE
from txdagu.testing.echo import CHAT, COUNT, CRASH, ECHO, FAIL, JOIN, MISSING, PARK, SIZES
from txdagu.wire.method import Cardinality, RpcMethod
from txdagu.wire.status import RpcError, StatusCode


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


class CountingService:
    """Counts what it begins and finishes, each call by its request."""

    def __init__(self, clock: IReactorTime) -> None:
        self.begun: Counter[bytes] = Counter()
        self.finished: Counter[bytes] = Counter()
        self.enough: Deferred[None] = Deferred()
        self._clock = clock

    def handlers(self) -> Mapping[RpcMethod[Any, Any], Handler]:
        """See `GrpcService`."""
        return {ECHO: self.echo}

    async def echo(self, request: bytes, _context: CallContext) -> bytes:
        """Take a moment, so that some call is always open."""
        self.begun[request] += 1
        await deferLater(self._clock, 0.001)
        self.finished[request] += 1
        if self.finished.total() == 100:
            self.enough.callback(None)
        return request


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

    async def test_gzip_answers(self) -> None:
        """What a server compresses, a foreign client understands, messages that are too small to gain from it among it."""
        self.factory.compression = "gzip"
        for size in (0, 1, 100_000):
            self.assertEqual(await self.in_thread(self.stub(ECHO), b"a" * size), b"a" * size)
        answers = await self.in_thread(lambda: list(self.channel.unary_stream(COUNT.path)(b"20")))
        self.assertEqual(answers, [b"%d" % number * 1000 for number in range(20)])

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

    async def test_successor(self) -> None:
        """While the server drains and another takes over, no call is lost or done twice; the only error is UNAVAILABLE."""
        services = [CountingService(self.reactor), CountingService(self.reactor)]
        factories = [GrpcServerFactory([service], self.reactor) for service in services]
        ports: list[Any] = [
            await TCP4ServerEndpoint(self.reactor, 0, interface="127.0.0.1").listen(factory) for factory in factories
        ]
        channel = grpc.insecure_channel("ipv4:" + ",".join(f"127.0.0.1:{port.getHost().port}" for port in ports))
        call = channel.unary_unary(ECHO.path)
        stop = threading.Event()
        self.addCleanup(stop.set)

        def client(name: int) -> tuple[set[bytes], set[grpc.StatusCode]]:
            answered, errors, number = set(), set(), 0
            while not stop.is_set():
                number += 1
                try:
                    answered.add(call(b"%d-%d" % (name, number), timeout=20))
                except grpc.RpcError as error:
                    errors.add(error.code())
            return answered, errors

        clients = [self.in_thread(client, name) for name in range(4)]
        await services[0].enough
        await ports[0].stopListening()
        await factories[0].drain(10)
        await services[1].enough
        stop.set()
        results = await gatherResults(clients)
        begun, finished = (services[0].begun + services[1].begun), (services[0].finished + services[1].finished)
        self.assertEqual(begun, finished, "a call was done by half")
        self.assertEqual(set(begun.values()), {1}, "a call was done twice")
        self.assertEqual(set().union(*(answered for answered, _ in results)), set(finished), "an answer was lost")
        self.assertLessEqual(set().union(*(errors for _, errors in results)), {grpc.StatusCode.UNAVAILABLE})
        await self.in_thread(channel.close)
        await ports[1].stopListening()
        await factories[1].drain(0)

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
