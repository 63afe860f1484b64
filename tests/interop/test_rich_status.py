"""Error details and grpcio-status, in both directions over real sockets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent import futures
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import TestCase

from txdagu.grpc.channel import tcp_channel
from txdagu.grpc.rich_status import find_detail
from txdagu.grpc.server import CallContext, GrpcServerFactory, Handler
from txdagu.testing.echo import FAIL
from txdagu.wire.method import RpcMethod
from txdagu.wire.status import RpcError, StatusCode

TEXT = "größer: 100 %"


class Failing:
    """Our server's method."""

    def handlers(self) -> Mapping[RpcMethod[Any, Any], Handler]:
        """See `GrpcService`."""
        return {FAIL: self.fail}

    async def fail(self, request: bytes, context: CallContext) -> bytes:
        """Fail with details, after the headers if there is a request."""
        if request:
            await context.send_initial_metadata({})
        context.abort(StatusCode.ABORTED, TEXT, details=[ErrorInfo(reason="LATE")], trailing_metadata={"why": "so"})


def foreign_fail(request: bytes, context: Any) -> bytes:
    """The same at a foreign server."""
    if request:
        context.send_initial_metadata(())
    packed = AnyMessage()
    packed.Pack(ErrorInfo(reason="LATE"))
    status = rpc_status.to_status(Status(code=10, message=TEXT, details=[packed]))
    context.abort_with_status(status._replace(trailing_metadata=(*status.trailing_metadata, ("why", "so"))))
    return b""


class RichStatus(TestCase):
    """The same error, told by either end to the other."""

    timeout = 30

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        """Threads for the foreign end."""
        from twisted.internet import reactor  # noqa: TID251  # trial's, for real sockets

        self.reactor: Any = reactor
        self.pool = ThreadPool(1, 4)
        self.pool.start()
        self.addCleanup(self.pool.stop)

    def in_thread(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """Run something that blocks."""
        return deferToThreadPool(self.reactor, self.pool, function, *arguments)

    async def test_foreign_client(self) -> None:
        """grpcio-status reads our details, from trailers alone and from trailers after headers."""
        factory = GrpcServerFactory([Failing()], self.reactor)
        port: Any = await TCP4ServerEndpoint(self.reactor, 0, interface="127.0.0.1").listen(factory)
        channel = grpc.insecure_channel(f"127.0.0.1:{port.getHost().port}")
        for request in (b"", b"x"):
            try:
                await self.in_thread(channel.unary_unary(FAIL.path), request)
            except grpc.RpcError as error:
                status = rpc_status.from_call(error)
                self.assertEqual((status.code, status.message), (10, TEXT))
                info = ErrorInfo()
                self.assertTrue(status.details[0].Unpack(info))
                self.assertEqual(info.reason, "LATE")
                self.assertEqual(dict(error.trailing_metadata())["why"], "so")
            else:
                self.fail("the call succeeded")
        await self.in_thread(channel.close)
        await port.stopListening()
        await factory.drain(0)

    async def test_foreign_server(self) -> None:
        """We read what grpcio-status packs."""
        server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
        handler = grpc.unary_unary_rpc_method_handler(foreign_fail)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(FAIL.service, {FAIL.name: handler}),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        channel = tcp_channel(self.reactor, "127.0.0.1", port)
        for request in (b"", b"x"):
            try:
                await channel.unary(FAIL, request)
            except RpcError as error:
                self.assertEqual((error.code, error.message), (StatusCode.ABORTED, TEXT))
                self.assertEqual(find_detail(error, ErrorInfo), ErrorInfo(reason="LATE"))
                self.assertIsNone(find_detail(error, RetryInfo))
                self.assertEqual(error.trailing_metadata["why"], "so")
            else:
                self.fail("the call succeeded")
        await channel.close()
        await self.in_thread(lambda: server.stop(0).wait())
