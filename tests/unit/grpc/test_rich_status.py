"""Error details from a handler to its client, and what cannot be read or sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txdagu.grpc.rich_status import find_detail, pack_details, unpack_details
from txdagu.grpc.server import CallContext, GrpcServerFactory, Handler
from txdagu.testing.channel import memory_channel
from txdagu.testing.echo import ECHO
from txdagu.testing.wire import Pair, foreign_client, server_connection
from txdagu.wire.events import CallEnded, CallStarted
from txdagu.wire.method import RpcMethod
from txdagu.wire.status import RpcError, StatusCode


class Refusing:
    """Raises what the test says."""

    def __init__(self) -> None:
        self.error = RpcError(StatusCode.ABORTED)

    def handlers(self) -> Mapping[RpcMethod[Any, Any], Handler]:
        """See `GrpcService`."""
        return {ECHO: self.refuse}

    async def refuse(self, request: bytes, context: CallContext) -> bytes:
        """Fail."""
        context.set_trailing_metadata({"from": "context", "both": "context"})
        if request:
            await context.send_initial_metadata({"early": "1"})
        raise self.error


class Details(SynchronousTestCase):
    """A server and a channel in memory."""

    def setUp(self) -> None:
        """Both ends."""
        self.clock = Clock()
        self.service = Refusing()
        self.channel = memory_channel(GrpcServerFactory([self.service], self.clock), self.clock)

    def refusal(self, request: bytes = b"") -> RpcError:
        """The error of a call."""
        call = Deferred.fromCoroutine(self.channel.unary(ECHO, request))
        self.clock.advance(0)
        error = self.failureResultOf(call, RpcError).value
        assert isinstance(error, RpcError)
        return error

    def test_round_trip(self) -> None:
        """Details and trailing metadata arrive, in an answer of trailers only and in one with headers before."""
        self.service.error = RpcError(
            StatusCode.FAILED_PRECONDITION,
            "größer",
            details=[ErrorInfo(reason="LATE", domain="x"), BadRequest()],
            trailing_metadata={"both": "error", "raw-bin": b"\x00"},
        )
        for request in (b"", b"x"):
            error = self.refusal(request)
            self.assertEqual((error.code, error.message), (StatusCode.FAILED_PRECONDITION, "größer"))
            self.assertEqual(len(error.details), 2)
            info = find_detail(error, ErrorInfo)
            assert info is not None
            self.assertEqual(info.reason, "LATE")
            self.assertIsNone(find_detail(error, RetryInfo))
            self.assertEqual(error.trailing_metadata, {"from": "context", "both": "error", "raw-bin": b"\x00"})

    def test_passed_on(self) -> None:
        """An error that a handler got from a call of its own may be raised again as it is."""
        packed = AnyMessage()
        packed.Pack(ErrorInfo(reason="FAR"))
        self.service.error = RpcError(StatusCode.ABORTED, "", details=[packed])
        self.assertEqual(find_detail(self.refusal(), ErrorInfo), ErrorInfo(reason="FAR"))
        self.assertEqual(find_detail(RpcError(StatusCode.ABORTED, details=[ErrorInfo()]), ErrorInfo), ErrorInfo())

    def test_no_message(self) -> None:
        """A detail that is no protobuf message is logged, and the status still arrives."""
        self.service.error = RpcError(StatusCode.ABORTED, "why", details=["text"])
        error = self.refusal()
        self.assertEqual((error.code, error.message, error.details), (StatusCode.ABORTED, "why", ()))
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)

    def test_unreadable(self) -> None:
        """Bytes that are no status, and details that are not what they say, are passed over."""
        self.assertEqual(unpack_details(b"\xff\xff"), ())
        broken = AnyMessage(type_url="type.googleapis.com/google.rpc.ErrorInfo", value=b"\xff")
        self.assertIsNone(find_detail(RpcError(StatusCode.ABORTED, details=[broken]), ErrorInfo))

    def test_odd_text(self) -> None:
        """A text that UTF-8 cannot express does not keep the details back."""
        self.assertEqual(len(unpack_details(pack_details(StatusCode.ABORTED, "\udc00", [ErrorInfo()]))), 1)


class Headers(SynchronousTestCase):
    """The header itself."""

    def test_broken_header(self) -> None:
        """A header that is no base64 never hides the status."""
        pair = Pair()
        stream = pair.client.start_call("/s/m", {})
        pair.run()
        trailers = [
            (b":status", b"200"),
            (b"content-type", b"application/grpc"),
            (b"grpc-status", b"5"),
            (b"grpc-message", b"gone"),
            (b"grpc-status-details-bin", b"!"),
        ]
        pair.server._http2.send_headers(stream, trailers, end_stream=True)
        self.assertEqual(pair.run()[0], [CallEnded(stream, StatusCode.NOT_FOUND, "gone")])

    def test_details_too_large(self) -> None:
        """Details beyond what the client's settings allow are left out, so that the status gets through."""
        client, server = foreign_client(), server_connection()
        client.update_settings({6: 1000})
        for size, expected in ((100, True), (1000, False)):
            stream = client.get_next_available_stream_id()
            client.send_headers(
                stream,
                [
                    (b":method", b"POST"),
                    (b":scheme", b"http"),
                    (b":path", b"/s/m"),
                    (b"content-type", b"application/grpc"),
                ],
            )
            started = server.receive(client.data_to_send())[-1]
            self.assertIsInstance(started, CallStarted)
            server.finish(stream, StatusCode.ABORTED, "why", status_details=bytes(size))
            answers = client.receive_data(server.outgoing())
            names = {bytes(name) for event in answers for name, _ in getattr(event, "headers", None) or ()}
            self.assertEqual(b"grpc-status-details-bin" in names, expected)
            self.assertIn(b"grpc-status", names)
