"""More headers than the other end takes cost their own call, never the connection with all the other calls."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txdagu.grpc.channel import UnaryReply
from txdagu.grpc.server import CallContext, GrpcServerFactory
from txdagu.testing.channel import MemoryEndpoint, memory_channel
from txdagu.testing.echo import ECHO, FAIL, PARK
from txdagu.testing.wire import foreign_client, server_connection
from txdagu.wire.http2 import MAX_HEADER_LIST_SIZE
from txdagu.wire.metadata import InvalidMetadataError, Metadata, cut_message, decode_message, encode_message
from txdagu.wire.method import RpcMethod
from txdagu.wire.status import RpcError, StatusCode

LARGE = {"large": "x" * 300_000}


class Service:
    """Answers with the metadata, and fails with the error, of the test."""

    def __init__(self) -> None:
        self.initial: Metadata = {}
        self.trailing: Metadata = {}
        self.error = RpcError(StatusCode.ABORTED)

    def handlers(self) -> dict[RpcMethod[Any, Any], Any]:
        """See `GrpcService`."""
        return {ECHO: self.echo, FAIL: self.fail, PARK: self.park}

    async def echo(self, request: bytes, context: CallContext) -> bytes:
        """The request, with the metadata."""
        context.set_initial_metadata(self.initial)
        context.set_trailing_metadata(self.trailing)
        return request

    async def fail(self, _request: bytes, context: CallContext) -> bytes:
        """The error, with the metadata."""
        context.set_trailing_metadata(self.trailing)
        raise self.error

    async def park(self, request: bytes, _context: CallContext) -> bytes:
        """Never."""
        return await Deferred()


class HeaderSizes(SynchronousTestCase):
    """A client with a parked call, which every test finds unharmed."""

    def setUp(self) -> None:
        """Park."""
        self.clock = Clock()
        self.service = Service()
        self.endpoint = MemoryEndpoint(GrpcServerFactory([self.service], self.clock), self.clock)
        self.channel = memory_channel(self.endpoint, self.clock)
        self.parked = self.call(PARK)

    def tearDown(self) -> None:
        """Still parked, on the first connection."""
        self.assertNoResult(self.parked)
        self.assertEqual(self.endpoint.attempts, 1)
        self.parked.addErrback(lambda _: None)
        closing = Deferred.fromCoroutine(self.channel.close())
        self.clock.pump([0] * 5)
        self.successResultOf(closing)

    def call(self, method: RpcMethod[bytes, bytes], metadata: Metadata | None = None) -> Deferred[UnaryReply[bytes]]:
        """A unary call, with its metadata."""
        reply = Deferred.fromCoroutine(self.channel.unary_call(method, b"", metadata=metadata))
        self.clock.pump([0] * 4)
        return reply

    def error(self, method: RpcMethod[bytes, bytes], metadata: Metadata | None = None) -> RpcError:
        """How a call fails."""
        error = self.failureResultOf(self.call(method, metadata), RpcError).value
        assert isinstance(error, RpcError)
        return error

    def test_request(self) -> None:
        """A call with more metadata than the server takes fails without being sent."""
        error = self.error(ECHO, LARGE)
        self.assertEqual(error.code, StatusCode.RESOURCE_EXHAUSTED)
        self.assertIn(f"more than the {MAX_HEADER_LIST_SIZE} that the server takes", error.message)
        self.successResultOf(self.call(ECHO, {"large": "x" * (MAX_HEADER_LIST_SIZE - 1000)}))

    def test_initial_metadata(self) -> None:
        """A handler that sets too much gets the error, where it can be mended."""
        self.service.initial = LARGE
        self.assertEqual(self.error(ECHO).code, StatusCode.UNKNOWN)
        (failure,) = self.flushLoggedErrors(InvalidMetadataError)
        self.assertIn("more than the 65536 the client takes", str(failure.value))

    def test_trailing_metadata(self) -> None:
        """Too much with the status is itself the status, whatever that was."""
        self.service.trailing = LARGE
        for method in (ECHO, FAIL):
            error = self.error(method)
            self.assertEqual(error.code, StatusCode.RESOURCE_EXHAUSTED)
            self.assertIn("trailing metadata has 300037 bytes", error.message)

    def test_all_that_fits(self) -> None:
        """Initial and trailing metadata that fit only one at a time are not sent together in one block."""
        self.service.initial = {"a": "x" * 40_000}
        self.service.trailing = {"b": "x" * 40_000}
        reply = self.successResultOf(self.call(ECHO))
        self.assertEqual((len(reply.initial_metadata["a"]), len(reply.trailing_metadata["b"])), (40_000, 40_000))

    def test_message(self) -> None:
        """A long text of an error is cut off; code and metadata arrive."""
        self.service.trailing = {"key": "value"}
        for text in ("x" * 300_000, "\u00e4" * 300_000):
            self.service.error = RpcError(StatusCode.ABORTED, text)
            error = self.error(FAIL)
            self.assertEqual((error.code, error.trailing_metadata["key"]), (StatusCode.ABORTED, "value"))
            self.assertTrue(error.message.startswith(text[:9_000]))
            self.assertTrue(error.message.endswith(" ... (cut)"), error.message[-20:])
            self.assertLess(len(error.message), MAX_HEADER_LIST_SIZE)

    def test_modest_client(self) -> None:
        """What a client takes is what it says: here a kilobyte, as an answer of trailers only and after headers."""
        for headers_first in (False, True):
            client, server = foreign_client(), server_connection()
            client.update_settings({6: 1000})
            client.send_headers(
                1, [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/s/m")], end_stream=False
            )
            client.reset_stream(1)
            client.send_headers(
                3,
                [
                    (b":method", b"POST"),
                    (b":scheme", b"http"),
                    (b":path", b"/s/m"),
                    (b"content-type", b"application/grpc"),
                ],
            )
            server.receive(client.data_to_send())
            if headers_first:
                server.send_initial_metadata(3)
            server.finish(3, StatusCode.ABORTED, "y" * 3000, {"k": "v" * 100})
            answers = client.receive_data(server.outgoing())
            headers = [dict(found) for event in answers if (found := getattr(event, "headers", None))]
            self.assertEqual(headers[-1][b"k"], b"v" * 100)
            size = sum(len(name) + len(value) + 32 for name, value in headers[-1].items())
            self.assertTrue(700 < size <= 1000, size)

    def test_cut(self) -> None:
        """No escape is cut in two, and no size is too small."""
        encoded = encode_message("a\u00e4\u00e4" * 100)
        for size in range(60):
            cut = cut_message(encoded, size)
            self.assertLessEqual(len(cut), size)
            self.assertNotIn("%", decode_message(cut))
        self.assertEqual(cut_message(b"short", 5), b"short")
