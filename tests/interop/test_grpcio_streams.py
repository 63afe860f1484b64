"""Much at once and much at a time with grpcio at the other end: sizes, metadata, a thousand calls, slow readers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from queue import SimpleQueue
from typing import Any

import grpc
import grpc.aio
from twisted.internet.defer import Deferred, gatherResults

from txdagu.grpc.options import ChannelOptions
from txdagu.grpc.server import CallContext
from txdagu.testing.echo import CHAT, COUNT, ECHO, JOIN
from txdagu.testing.sockets import SocketTestCase
from txdagu.wire.framing import PREFIX_SIZE
from txdagu.wire.http2 import STREAM_WINDOW
from txdagu.wire.metadata import InvalidMetadataError, Value
from txdagu.wire.status import RpcError, StatusCode

BORDERS = [16 * 1024, 65535, STREAM_WINDOW]
SIZES = [0, 1, *(base + more for border in BORDERS for base in (border, border - PREFIX_SIZE) for more in (-1, 0, 1))]
LIMIT = 100_000
BLOCK = 100_000
MANY = 1000
FIXED_WINDOW = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 256 * 1024))
"""Without it grpcio lets windows grow with what it measures, to tens of megabytes on one host."""
METADATA: list[tuple[str, Value]] = [
    ("text", 'a, b;c="d" % ~'),
    ("repeated", "1"),
    ("empty", ""),
    ("repeated", "2"),
    ("raw-bin", bytes(range(256))),
    ("commas-bin", b",,a,"),
    ("empty-bin", b""),
    ("many-bin", b"1"),
    ("many-bin", b"22"),
    ("many-bin", b"333"),
    ("0_9.z-", "odd key"),
]


class Service:
    """Handlers of ours."""

    def __init__(self) -> None:
        self.sent = 0
        self.received = 0
        self.waiting: list[Deferred[None]] = []
        self.open = 0
        self.all_open: Deferred[None] = Deferred()

    def handlers(self) -> Any:
        """See `GrpcService`."""
        return {ECHO: self.echo, COUNT: self.count, CHAT: self.chat, JOIN: self.join}

    async def echo(self, request: bytes, context: CallContext) -> bytes:
        """The same again, metadata too."""
        own = [(key, value) for key, value in context.metadata.pairs if key in dict(METADATA)]
        context.set_initial_metadata(own)
        context.set_trailing_metadata(own)
        return request

    async def count(self, request: bytes, context: CallContext) -> None:
        """Blocks, as many as the request says, of the size it says."""
        number, size = map(int, request.split())
        for _ in range(number):
            await context.send(bytes(size))
            self.sent += 1

    async def join(self, requests: AsyncIterator[bytes], _context: CallContext) -> bytes:
        """Read nothing before the test says so."""
        self.waiting.append(Deferred())
        await self.waiting[-1]
        return b"%d" % sum([len(request) async for request in requests])

    async def chat(self, requests: AsyncIterator[bytes], _context: CallContext) -> AsyncIterator[bytes]:
        """Answer each request, but the first only when as many calls are open as the test needs."""
        self.open += 1
        if self.open == MANY:
            self.all_open.callback(None)
        async for request in requests:
            if self.open < MANY:
                gate: Deferred[None] = Deferred()
                self.all_open.chainDeferred(gate)
                await gate
            yield request


class ForeignService(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio has no types
    """The same for grpcio."""

    def __init__(self) -> None:
        self.sent = 0
        self.go: SimpleQueue[None] = SimpleQueue()

    def service(self, details: Any) -> Any:
        """Find a method."""
        return {
            ECHO.path: grpc.unary_unary_rpc_method_handler(self.echo),
            COUNT.path: grpc.unary_stream_rpc_method_handler(self.count),
            JOIN.path: grpc.stream_unary_rpc_method_handler(self.join),
        }.get(details.method)

    def echo(self, request: bytes, context: Any) -> bytes:
        """The same again, metadata too."""
        own = [(key, value) for key, value in context.invocation_metadata() if key in dict(METADATA)]
        context.send_initial_metadata(own)
        context.set_trailing_metadata(own)
        return request

    def count(self, request: bytes, _context: Any) -> Iterator[bytes]:
        """Blocks, as many as the request says, of the size it says."""
        number, size = map(int, request.split())
        for _ in range(number):
            self.sent += 1
            yield bytes(size)

    def join(self, requests: Iterator[bytes], _context: Any) -> bytes:
        """Read nothing before the test says so."""
        self.go.get(timeout=20)
        return b"%d" % sum(map(len, requests))


class StreamTests(SocketTestCase):
    """Both directions side by side."""

    async def test_sizes(self) -> None:
        """Messages around the borders of frames and windows, with and without their prefix, come back unchanged."""
        _, port = await self.serve(Service())
        stub, channel = self.dial_foreign(port).unary_unary(ECHO.path), self.dial(self.serve_foreign(ForeignService()))
        for size in SIZES:
            message = bytes(index % 251 for index in range(1000)) * (size // 1000 + 1)
            self.assertEqual(await self.in_thread(stub, message[:size]), message[:size], f"{size} bytes")
            self.assertEqual(await channel.unary(ECHO, message[:size]), message[:size], f"{size} bytes")

    async def test_limits(self) -> None:
        """A message of the limit passes and one byte more is RESOURCE_EXHAUSTED, for every receiver of both."""
        _, ours = await self.serve(Service(), max_message_size=LIMIT)
        _, open_to_all = await self.serve(Service())
        bound = ("grpc.max_receive_message_length", LIMIT)
        theirs, theirs_open = (
            self.serve_foreign(ForeignService(), options=(bound,)),
            self.serve_foreign(ForeignService()),
        )
        to_server = {
            "ours": self.foreign_call(ours, ECHO),
            "theirs": lambda size: self.dial(theirs).unary(ECHO, bytes(size)),
        }
        small = ChannelOptions(max_message_size=LIMIT)

        async def first(size: int) -> bytes:
            return await anext(self.dial(theirs_open, options=small).unary_stream(COUNT, b"1 %d" % size))

        to_client = {"ours": first, "theirs": self.foreign_call(open_to_all, ECHO, bound)}
        for calls in (to_server, to_client):
            for name, call in calls.items():
                for size in (LIMIT - 1, LIMIT):
                    self.assertEqual(len(await call(size)), size, name)
                try:
                    await call(LIMIT + 1)
                except RpcError as error:
                    self.assertEqual(error.code, StatusCode.RESOURCE_EXHAUSTED, name)
                except grpc.RpcError as error:
                    self.assertEqual(error.code(), grpc.StatusCode.RESOURCE_EXHAUSTED, name)
                else:
                    self.fail(f"{name} took more than its limit")

    def foreign_call(self, port: int, method: Any, *options: tuple[str, Any]) -> Any:
        """A call of grpcio with a request of some size."""
        stub = self.dial_foreign(port, *options).unary_unary(method.path)
        return lambda size: self.in_thread(stub, bytes(size))

    async def test_metadata(self) -> None:
        """Text, repeated, binary and empty values arrive at both ends, ahead of the response and after it, in order."""
        _, port = await self.serve(Service())
        stub = self.dial_foreign(port).unary_unary(ECHO.path)
        _, call = await self.in_thread(stub.with_call, b"", metadata=METADATA)
        reply = await self.dial(self.serve_foreign(ForeignService())).unary_call(ECHO, b"", metadata=METADATA)
        both = [call.initial_metadata(), call.trailing_metadata()]
        for seen in [*both, reply.initial_metadata.pairs, reply.trailing_metadata.pairs]:
            own = [(key, value) for key, value in seen if key in dict(METADATA)]
            # Only values of the same key have an order (PROTOCOL-HTTP2.md, "Custom-Metadata").
            self.assertEqual(sorted(own, key=lambda pair: pair[0]), sorted(METADATA, key=lambda pair: pair[0]))

    async def test_refused_metadata(self) -> None:
        """Keys that grpcio refuses to send, upper case among them, are refused here too, before anything is sent."""
        _, port = await self.serve(Service())
        stub = self.dial_foreign(port).unary_unary(ECHO.path)
        channel = self.dial(port)
        for key in ("Upper", "with space"):
            with self.assertRaises((ValueError, grpc.RpcError)):
                await self.in_thread(stub, b"", metadata=[(key, "x")])
            with self.assertRaises(InvalidMetadataError):
                await channel.unary(ECHO, b"", metadata={key: "x"})

    async def test_many_streams_of_foreign_client(self) -> None:
        """A thousand streams of grpcio on one connection are open at once, and each gets its own answers."""
        connections: list[int] = []
        service = Service()
        factory, port = await self.serve(service)
        service.all_open.addCallback(lambda _: connections.append(factory.connection_count))

        async def chat(stub: Any, number: int) -> list[bytes]:
            call = stub()
            answers = []
            for turn in (b"a", b"b"):
                await call.write(b"%d%s" % (number, turn))
                answers.append(await call.read())
            await call.done_writing()
            self.assertIs(await call.read(), grpc.aio.EOF)
            return answers

        async def run() -> list[list[bytes]]:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                stub = channel.stream_stream(CHAT.path)
                return await asyncio.gather(*[chat(stub, number) for number in range(MANY)])

        answers = await self.in_thread(asyncio.run, run())
        self.assertEqual(answers, [[b"%da" % number, b"%db" % number] for number in range(MANY)])
        self.assertEqual(connections, [1])

    async def test_many_calls_of_ours(self) -> None:
        """A thousand calls of ours are open at once on one connection to grpcio, and each gets its own answer."""
        channel = self.dial(self.serve_foreign(ForeignService()))
        calls = [Deferred.fromCoroutine(channel.unary(ECHO, b"%d" % number)) for number in range(MANY)]
        self.assertEqual(await gatherResults(calls), [b"%d" % number for number in range(MANY)])

    async def test_many_messages(self) -> None:
        """Ten thousand messages of one stream arrive, from either server."""
        _, port = await self.serve(Service())
        foreign = self.dial_foreign(port).unary_stream(COUNT.path)
        self.assertEqual(await self.in_thread(lambda: sum(1 for _ in foreign(b"10000 10"))), 10_000)
        stream = self.dial(self.serve_foreign(ForeignService())).unary_stream(COUNT, b"10000 10")
        self.assertEqual(sum([1 async for _ in stream]), 10_000)

    async def test_slow_foreign_reader(self) -> None:
        """Grpcio reading one message of a gigabyte stops our handler after a few; other calls on the connection go on."""
        service = Service()
        factory, port = await self.serve(service)
        channel = self.dial_foreign(port, *FIXED_WINDOW)
        stream = channel.unary_stream(COUNT.path)(b"10000 %d" % BLOCK)
        await self.in_thread(next, stream)
        echo = channel.unary_unary(ECHO.path)
        for _ in range(20):
            self.assertEqual(await self.in_thread(echo, b"x" * BLOCK), b"x" * BLOCK)
        self.assertLess(service.sent, 20)
        (connection,) = factory._connections
        held = sum(open_stream.outbox.size for open_stream in connection.core._streams.values())
        self.assertLess(held, BLOCK + PREFIX_SIZE)
        stream.cancel()

    async def test_our_slow_reader(self) -> None:
        """When we read one message of a gigabyte, grpcio's handler is stopped after a few; other calls go on."""
        handler = ForeignService()
        channel = self.dial(self.serve_foreign(handler))
        async with channel.unary_stream(COUNT, b"10000 %d" % BLOCK) as stream:
            await anext(stream)
            for _ in range(20):
                self.assertEqual(await channel.unary(ECHO, b"x" * BLOCK), b"x" * BLOCK)
            self.assertLess(handler.sent, 40)

    async def test_our_reader_that_waits(self) -> None:
        """A handler of ours that reads nothing stops grpcio's writer, and gets everything once it reads."""
        service = Service()
        _, port = await self.serve(service)
        channel = self.dial_foreign(port)
        written = []

        def blocks() -> Iterator[bytes]:
            for number in range(300):
                written.append(number)
                yield bytes(BLOCK)

        call = channel.stream_unary(JOIN.path).future(blocks())
        for _ in range(20):
            await self.in_thread(channel.unary_unary(ECHO.path), b"x" * BLOCK)
        self.assertLess(len(written), 40)
        service.waiting[0].callback(None)
        self.assertEqual(await self.in_thread(call.result, 20), b"%d" % (300 * BLOCK))

    async def test_foreign_reader_that_waits(self) -> None:
        """A handler of grpcio that reads nothing stops our writer, and gets everything once it reads."""
        handler = ForeignService()
        channel = self.dial(self.serve_foreign(handler, options=FIXED_WINDOW))
        written = []

        async def blocks() -> AsyncIterator[bytes]:
            for number in range(300):
                written.append(number)
                yield bytes(BLOCK)

        call = Deferred.fromCoroutine(channel.stream_unary(JOIN, blocks()))
        for _ in range(20):
            await channel.unary(ECHO, b"x" * BLOCK)
        self.assertLess(len(written), 20)
        handler.go.put(None)
        self.assertEqual(await call, b"%d" % (300 * BLOCK))
