"""Compressed requests and responses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Coroutine
from typing import Any

from h2.events import DataReceived, Event, RequestReceived, ResponseReceived
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txdagu.grpc.channel import Channel, ChannelOptions
from txdagu.grpc.server import CallContext, GrpcServerFactory
from txdagu.testing.channel import MemoryEndpoint, memory_channel
from txdagu.testing.echo import CHAT, COUNT, ECHO, FAIL
from txdagu.testing.foreign import ForeignProtocol, ForeignServer
from txdagu.testing.wire import REQUEST, foreign_client
from txdagu.wire.framing import encode_frame
from txdagu.wire.server import ServerConnection
from txdagu.wire.status import RpcError, StatusCode

LARGE = b"much of the same " * 2000
GZIP = ChannelOptions(compression="gzip")


class Service:
    """Tells of every request whether it came compressed."""

    def __init__(self) -> None:
        self.seen: list[bool] = []

    def handlers(self) -> dict[Any, Any]:
        """See `GrpcService`."""
        return {ECHO: self.echo, COUNT: self.count, CHAT: self.chat, FAIL: self.fail}

    async def echo(self, request: bytes, context: CallContext) -> bytes:
        """Answer as the server is set."""
        self.seen.append(context.request_compressed)
        return request

    async def count(self, request: bytes, context: CallContext) -> None:
        """A response that is compressed, and one that is not."""
        context.set_compression("gzip")
        await context.send(request)
        await context.send(request, compressed=False)
        context.set_compression("identity")

    async def chat(self, requests: AsyncIterator[bytes], context: CallContext) -> AsyncIterator[bytes]:
        """As many responses as requests."""
        async for request in requests:
            self.seen.append(context.request_compressed)
            yield request

    async def fail(self, request: bytes, context: CallContext) -> bytes:
        """Ask for something that there is not."""
        context.set_compression(request.decode())  # type: ignore[arg-type]
        return b""


class CompressionTests(SynchronousTestCase):
    """A channel and a server in memory."""

    def setUp(self) -> None:
        """A server without compression of its own."""
        self.clock = Clock()
        self.service = Service()
        self.use()

    def use(
        self, server: GrpcServerFactory | ForeignServer | None = None, options: ChannelOptions | None = None
    ) -> None:
        """Other ends."""
        endpoint = MemoryEndpoint(server or GrpcServerFactory([self.service], self.clock), self.clock)
        self.channel: Channel = memory_channel(endpoint, self.clock, options=options or ChannelOptions())

    def tearDown(self) -> None:
        """Close the channel."""
        closing = Deferred.fromCoroutine(self.channel.close())
        self.clock.advance(10)
        self.successResultOf(closing)

    def result(self, call: Coroutine[Deferred[Any], Any, Any] | Awaitable[Any]) -> Any:
        """The result of what ends without waiting."""

        async def run() -> Any:
            return await call

        deferred = Deferred.fromCoroutine(run())
        self.clock.pump([0.0] * 5)
        return self.successResultOf(deferred)

    def error(self, call: Coroutine[Deferred[Any], Any, Any]) -> RpcError:
        """The error of a call that fails at once."""
        deferred = Deferred.fromCoroutine(call)
        self.clock.pump([0.0] * 5)
        error = self.failureResultOf(deferred, RpcError).value
        assert isinstance(error, RpcError)
        return error

    def test_request(self) -> None:
        """A call asks for compression, or the whole channel; what would grow is sent as it is; a call may opt out."""
        for message in (LARGE, b"small", b""):
            self.assertEqual(self.result(self.channel.unary(ECHO, message, compression="gzip")), message)
        self.result(self.channel.unary(ECHO, LARGE))
        self.use(options=GZIP)
        self.result(self.channel.unary(ECHO, LARGE))
        self.result(self.channel.unary(ECHO, LARGE, compression="identity"))
        self.assertEqual(self.service.seen, [True, False, False, False, True, False])

    def test_request_messages(self) -> None:
        """Of a stream of requests, single ones may be sent as they are."""

        async def play() -> list[bytes | None]:
            call = self.channel.open_stream_stream(CHAT, compression="gzip")
            await call.send(LARGE)
            await call.send(LARGE, compressed=False)
            call.done_sending()
            return [await call.receive() for _ in range(3)]

        self.assertEqual(self.result(play()), [LARGE, LARGE, None])
        self.assertEqual(self.service.seen, [True, False])

    def test_response_of_a_server_with_compression(self) -> None:
        """A server's default holds for all responses that would become smaller."""
        self.use(GrpcServerFactory([self.service], self.clock, compression="gzip"))
        large = self.result(self.channel.unary_call(ECHO, LARGE))
        small = self.result(self.channel.unary_call(ECHO, b"small"))
        self.assertEqual(
            (large.message, large.compressed, small.message, small.compressed), (LARGE, True, b"small", False)
        )

    def test_response_messages(self) -> None:
        """A handler decides for its call and for single messages, but not after the headers are out."""
        stream = self.channel.unary_stream(COUNT, LARGE)
        self.assertEqual((self.result(stream.__anext__()), stream.compressed), (LARGE, True))
        self.assertEqual((self.result(stream.__anext__()), stream.compressed), (LARGE, False))

        async def rest() -> None:
            await stream.__anext__()

        self.assertEqual(self.error(rest()).code, StatusCode.UNKNOWN)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_no_such_compression(self) -> None:
        """Names that mean nothing are refused where they are given."""
        for wrong in (
            lambda: self.channel.unary_stream(COUNT, b"", compression="zip"),  # type: ignore[arg-type]
            lambda: self.use(options=ChannelOptions(compression="zip")),  # type: ignore[arg-type]
            lambda: GrpcServerFactory([], self.clock, compression="zip"),  # type: ignore[arg-type]
        ):
            with self.assertRaisesRegex(ValueError, "'zip' is no compression; use one of identity, gzip"):
                wrong()
        self.assertEqual(self.error(self.channel.unary(FAIL, b"zip")).code, StatusCode.UNKNOWN)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_client_that_reads_only_identity(self) -> None:
        """A client that does not name gzip gets responses as they are, whatever server and handler wish."""
        for accepted, compressed in ((None, 0), (b"identity, deflate", 0), (b"identity,deflate, gzip", 1)):
            server, client = ServerConnection(), foreign_client()
            server.start()
            client.receive_data(server.outgoing())
            extra = [] if accepted is None else [(b"grpc-accept-encoding", accepted)]
            client.send_headers(1, [*REQUEST, *extra])
            client.send_data(1, encode_frame(b""), end_stream=True)
            server.receive(client.data_to_send())
            server.set_compression(1, "gzip")
            server.send_message(1, LARGE)
            server.finish(1, StatusCode.OK)
            events = client.receive_data(server.outgoing())
            headers = next(dict(event.headers or []) for event in events if isinstance(event, ResponseReceived))
            data = next(event.data for event in events if isinstance(event, DataReceived))
            self.assertEqual((data or b"")[0], compressed)
            self.assertEqual(headers.get(b"grpc-encoding"), b"gzip" if compressed else None)

    def test_encoding_that_the_client_cannot_read(self) -> None:
        """A server that answers with an encoding nobody asked for fails the call, and the error names it."""

        def script(connection: ForeignProtocol, event: Event) -> None:
            if isinstance(event, RequestReceived):
                assert event.stream_id is not None
                reply = [(b":status", b"200"), (b"content-type", b"application/grpc"), (b"grpc-encoding", b"snappy")]
                connection.http2.send_headers(event.stream_id, reply)

        self.use(ForeignServer(script))
        error = self.error(self.channel.unary(ECHO, b""))
        self.assertEqual(error.code, StatusCode.INTERNAL)
        self.assertIn('Decompressor is not installed for grpc-encoding "snappy"', error.message)

    def test_encoding_that_the_server_cannot_read(self) -> None:
        """Unknown encodings of requests are UNIMPLEMENTED, with the names of those that can be read."""
        server, client = ServerConnection(), foreign_client()
        server.start()
        client.send_headers(1, [*REQUEST, (b"grpc-encoding", b"deflate")])
        server.receive(client.data_to_send())
        events = client.receive_data(server.outgoing())
        headers = next(dict(event.headers or []) for event in events if isinstance(event, ResponseReceived))
        self.assertEqual((headers[b"grpc-status"], headers[b"grpc-accept-encoding"]), (b"12", b"identity,gzip"))

    def test_bomb(self) -> None:
        """A request that grows beyond the server's limit is refused, and so is such a response at the client."""
        bomb = bytes(3_000_000)
        self.use(GrpcServerFactory([self.service], self.clock, max_message_size=1_000_000))
        refused = self.error(self.channel.unary(ECHO, bomb, compression="gzip"))
        self.assertEqual(refused.code, StatusCode.RESOURCE_EXHAUSTED)
        self.use(
            GrpcServerFactory([self.service], self.clock, compression="gzip"),
            ChannelOptions(max_message_size=1_000_000),
        )
        refused = self.error(self.channel.unary(ECHO, bomb))
        self.assertEqual(refused.code, StatusCode.RESOURCE_EXHAUSTED)
