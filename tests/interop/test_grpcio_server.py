"""Our channel calls a server of grpcio, over real sockets on this machine."""

from __future__ import annotations

import gzip
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent import futures
from typing import Any

import grpc
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import TestCase

from txdagu.grpc.channel import Channel, tcp_channel
from txdagu.testing.echo import CHAT, COUNT, ECHO, FAIL, JOIN, MISSING, PARK, SIZES
from txdagu.wire.status import RpcError, StatusCode


class Base(TestCase):
    """Ends a test that hangs."""

    timeout = 30


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

    async def test_gzip_request(self) -> None:
        """What we compress, a foreign server understands; in one call both ways of sending may be mixed."""
        request = b"much of the same " * 5000
        self.assertEqual(await self.channel.unary(ECHO, request, compression="gzip"), request)
        async with self.channel.open_stream_stream(CHAT, compression="gzip") as call:
            for compressed in (True, False, True):
                await call.send(request, compressed=compressed)
                self.assertEqual(await call.receive(), request.upper())
            call.done_sending()
            self.assertIsNone(await call.receive())

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
