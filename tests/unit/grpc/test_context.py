"""What a handler knows and says through its context."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txdagu.grpc.server import CallContext, GrpcServerFactory, Handler
from txdagu.testing.channel import MemoryEndpoint, memory_channel
from txdagu.testing.echo import CHAT, ECHO, PARK
from txdagu.wire.method import RpcMethod
from txdagu.wire.status import RpcError, StatusCode


class Service:
    """Handlers that keep their contexts."""

    def __init__(self) -> None:
        self.contexts: list[CallContext] = []
        self.prepare: Callable[[CallContext], None] = self.contexts.append
        self.ended: list[StatusCode] = []

    def handlers(self) -> Mapping[RpcMethod[Any, Any], Handler]:
        """See `GrpcService`."""
        return {ECHO: self.echo, PARK: self.park, CHAT: self.chat}

    async def echo(self, request: bytes, context: CallContext) -> bytes:
        """Answer at once."""
        self.prepare(context)
        context.add_done_callback(self.ended.append)
        return request

    async def park(self, request: bytes, context: CallContext) -> bytes:
        """Never answer."""
        self.prepare(context)
        context.add_done_callback(self.ended.append)
        waiting: Deferred[bytes] = Deferred()
        return await waiting

    async def chat(self, requests: AsyncIterator[bytes], context: CallContext) -> AsyncIterator[bytes]:
        """Headers first, answers as requests come."""
        await context.send_initial_metadata({"early": "yes"})
        async for request in requests:
            yield request


class Context(SynchronousTestCase):
    """A server and a channel in memory."""

    def setUp(self) -> None:
        """Both ends."""
        self.clock = Clock()
        self.service = Service()
        self.endpoint = MemoryEndpoint(GrpcServerFactory([self.service], self.clock), self.clock)
        self.channel = memory_channel(self.endpoint, self.clock)

    def call(self, method: RpcMethod[bytes, bytes], timeout: float | None = None) -> Deferred[bytes]:
        """Begin a call and deliver what is on its way."""
        call = Deferred.fromCoroutine(self.channel.unary(method, b"x", timeout=timeout))
        self.clock.advance(0)
        return call

    def test_initial_metadata_now(self) -> None:
        """Initial metadata can be sent before there is any response."""

        async def silence() -> AsyncIterator[bytes]:
            await Deferred()
            yield b""

        stream = self.channel.stream_stream(CHAT, silence())
        self.clock.advance(0)
        self.assertEqual(stream.initial_metadata, {"early": "yes"})
        stream.cancel()
        self.clock.advance(0)

    def test_initial_metadata_twice(self) -> None:
        """Other initial metadata after it was sent is an error of the handler; sending it again is none."""
        problems: list[BaseException] = []

        async def handler(request: bytes, context: CallContext) -> bytes:
            await context.send_initial_metadata({"a": "1"})
            await context.send_initial_metadata()
            try:
                await context.send_initial_metadata({"b": "1"})
            except RuntimeError as error:
                problems.append(error)
            return request

        self.service.echo = handler  # type: ignore[method-assign]
        channel = memory_channel(GrpcServerFactory([self.service], self.clock), self.clock)
        call = Deferred.fromCoroutine(channel.unary_call(ECHO, b"x"))
        self.clock.advance(0)
        self.assertEqual(self.successResultOf(call).initial_metadata, {"a": "1"})
        self.assertEqual(len(problems), 1)

    def test_ends(self) -> None:
        """Callbacks hear once how the call ended: answered, cancelled, out of time, connection lost."""
        self.call(ECHO)
        self.call(PARK).addErrback(lambda _: None).cancel()
        self.clock.advance(0)
        self.call(PARK, timeout=3).addErrback(lambda _: None)
        self.clock.advance(3)
        self.call(PARK).addErrback(lambda _: None)
        self.assertTrue(self.service.contexts[-1].is_active)
        self.endpoint.connections[-1].cut()
        self.clock.advance(0)
        cancelled = StatusCode.CANCELLED
        self.assertEqual(len(self.service.ended), 4)
        self.assertEqual((self.service.ended[0], self.service.ended[1]), (StatusCode.OK, cancelled))
        self.assertIn(self.service.ended[2], (StatusCode.DEADLINE_EXCEEDED, cancelled))
        self.assertIs(self.service.ended[3], cancelled)
        self.assertFalse(any(context.is_active for context in self.service.contexts))
        self.service.contexts[0].add_done_callback(self.service.ended.append)
        self.assertEqual(self.service.ended[4:], [StatusCode.OK])

    def test_broken_callback(self) -> None:
        """A callback that raises is logged and harms neither the call nor the other callbacks."""

        def broken(code: StatusCode) -> None:
            raise LookupError(code)

        self.service.prepare = lambda context: context.add_done_callback(broken)
        self.assertEqual(self.successResultOf(self.call(ECHO)), b"x")
        self.assertEqual(self.service.ended, [StatusCode.OK])
        self.assertEqual(len(self.flushLoggedErrors(LookupError)), 1)

    def test_abort(self) -> None:
        """Aborting ends the call with a status, from wherever it is called."""
        self.service.prepare = lambda context: context.abort(StatusCode.ABORTED, "enough", trailing_metadata={"a": "b"})
        error = self.failureResultOf(self.call(ECHO), RpcError).value
        self.assertEqual((error.code, error.message), (StatusCode.ABORTED, "enough"))
        self.assertEqual(error.trailing_metadata, {"a": "b"})

    def test_method_and_certificate(self) -> None:
        """A context knows its method; over a transport without TLS there is no certificate, nor after its end."""
        self.call(ECHO)
        context = self.service.contexts[0]
        self.assertEqual(context.method.path, "/test.Echo/Echo")
        self.assertIsNone(context.peer_certificate)

        class Shown:
            def to_cryptography(self) -> Any:
                return certificate

        certificate: Any = object()
        transport: Any = self.endpoint.connections[0].server
        transport.getPeerCertificate = Shown
        self.assertIs(context.peer_certificate, certificate)
        transport.getPeerCertificate = lambda: None
        self.assertIsNone(context.peer_certificate)
        self.endpoint.connections[0].cut()
        self.clock.advance(0)
        self.assertIsNone(context.peer_certificate)
