"""How calls and connections end with grpcio at the other end: deadlines, half-closed streams, killed and leaving servers."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from queue import SimpleQueue
from signal import SIGKILL, SIGTERM
from typing import Any

import grpc
from twisted.internet.defer import CancelledError, Deferred, DeferredQueue, gatherResults

from txdagu.grpc.server import CallContext
from txdagu.testing.echo import CHAT, ECHO, JOIN, PARK
from txdagu.testing.interop import interop_pb2 as pb
from txdagu.testing.interop.methods import EMPTY_CALL, FULL_DUPLEX_CALL
from txdagu.testing.programs import Program
from txdagu.testing.sockets import SocketTestCase
from txdagu.wire.status import RpcError, StatusCode

SECONDS = [20.0, 5_000.0, 200_000.0, 30_000_000.0]
"""Timeouts that need different units, far enough away not to pass during a test."""


async def status_of(call: Any) -> RpcError:
    """The error of a call that must fail."""
    try:
        await call
    except RpcError as error:
        return error
    raise AssertionError("the call succeeded")


async def without_end(*requests: Any) -> AsyncIterator[Any]:
    """Requests, and no half-close."""
    for request in requests:
        yield request
    await Deferred()


class Recorder:
    """Handlers of ours that tell the test what they see."""

    def __init__(self) -> None:
        self.remaining: list[float | None] = []
        self.begun: DeferredQueue[str] = DeferredQueue()
        self.ended: DeferredQueue[str] = DeferredQueue()

    def handlers(self) -> Any:
        """See `GrpcService`."""
        return {ECHO: self.echo, PARK: self.park, CHAT: self.chat, JOIN: self.join}

    async def echo(self, request: bytes, context: CallContext) -> bytes:
        """Note how much time is left."""
        self.remaining.append(context.time_remaining())
        return request

    async def park(self, _request: bytes, _context: CallContext) -> bytes:
        """Wait for ever; say whether `finally` ran and why."""
        reason = "finished"
        self.begun.put("park")
        try:
            await Deferred()
        except CancelledError:
            reason = "cancelled"
            raise
        finally:
            self.ended.put(reason)
        return b""

    async def chat(self, requests: AsyncIterator[bytes], _context: CallContext) -> AsyncIterator[bytes]:
        """Answer only after the client has ended its side."""
        for request in [request async for request in requests]:
            yield request

    async def join(self, requests: AsyncIterator[bytes], _context: CallContext) -> bytes:
        """Answer after the first request, whatever else comes."""
        return await anext(requests)


class ForeignRecorder(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio has no types
    """The same for grpcio."""

    def __init__(self) -> None:
        self.remaining: list[float] = []
        self.begun: SimpleQueue[str] = SimpleQueue()
        self.ended: SimpleQueue[str] = SimpleQueue()

    def service(self, details: Any) -> Any:
        """Find a method."""
        return {
            ECHO.path: grpc.unary_unary_rpc_method_handler(self.echo),
            PARK.path: grpc.unary_unary_rpc_method_handler(self.park),
            CHAT.path: grpc.stream_stream_rpc_method_handler(lambda requests, _context: iter(list(requests))),
            JOIN.path: grpc.stream_unary_rpc_method_handler(lambda requests, _context: next(requests)),
        }.get(details.method)

    def echo(self, request: bytes, context: Any) -> bytes:
        """Note how much time is left."""
        self.remaining.append(context.time_remaining())
        return request

    def park(self, _request: bytes, context: Any) -> bytes:
        """Wait until the call is over; say so."""
        over: SimpleQueue[None] = SimpleQueue()
        context.add_callback(lambda: over.put(None))
        self.begun.put("park")
        over.get(timeout=20)
        self.ended.put("over")
        return b""


class EndTests(SocketTestCase):
    """Deadlines, cancelled calls and half-closed streams."""

    async def test_deadline_reaches_foreign_server(self) -> None:
        """Our timeout is the handler's deadline at grpcio, in whichever unit it travels."""
        handler = ForeignRecorder()
        channel = self.dial(self.serve_foreign(handler))
        for seconds in SECONDS:
            await channel.unary(ECHO, b"", timeout=seconds)
        self.assert_close(handler.remaining)

    async def test_deadline_reaches_our_server(self) -> None:
        """Grpcio's timeout is the handler's deadline here, in whichever unit it travels."""
        recorder = Recorder()
        _, port = await self.serve(recorder)
        stub = self.dial_foreign(port).unary_unary(ECHO.path)
        for seconds in SECONDS:
            await self.in_thread(stub, b"", timeout=seconds)
        self.assert_close(recorder.remaining)

    def assert_close(self, remaining: list[Any]) -> None:
        """Each within a tenth: units round, and time passes."""
        for seconds, left in zip(SECONDS, remaining, strict=True):
            self.assertTrue(seconds * 0.5 < left <= seconds * 1.1, f"{left} s left of {seconds} s")

    async def test_deadline_passes_at_both_ends(self) -> None:
        """A deadline ends the call for the client, and the handler of either server hears of it."""
        handler, recorder = ForeignRecorder(), Recorder()
        error = await status_of(self.dial(self.serve_foreign(handler)).unary(PARK, b"", timeout=0.2))
        self.assertEqual(error.code, StatusCode.DEADLINE_EXCEEDED)
        _, port = await self.serve(recorder)
        call = self.dial_foreign(port).unary_unary(PARK.path).future(b"", timeout=0.2)
        self.assertEqual(await self.in_thread(call.code), grpc.StatusCode.DEADLINE_EXCEEDED)
        self.assertEqual(await self.in_thread(handler.ended.get, True, 20), "over")
        self.assertEqual(await recorder.ended.get(), "cancelled")

    async def test_cancel_reaches_both_ends(self) -> None:
        """A cancelled call ends the handler of either server; ours runs its `finally`."""
        handler, recorder = ForeignRecorder(), Recorder()
        ours = Deferred.fromCoroutine(self.dial(self.serve_foreign(handler)).unary(PARK, b""))
        await self.in_thread(handler.begun.get, True, 20)
        ours.cancel()
        await self.assertFailure(ours, CancelledError)
        self.assertEqual(await self.in_thread(handler.ended.get, True, 20), "over")
        _, port = await self.serve(recorder)
        call = self.dial_foreign(port).unary_unary(PARK.path).future(b"")
        await recorder.begun.get()
        call.cancel()
        self.assertEqual(await recorder.ended.get(), "cancelled")

    async def test_half_closed(self) -> None:
        """A server may answer long after the client ended its side."""
        requests = [b"%d" % number * 100 for number in range(300)]

        async def each() -> AsyncIterator[bytes]:
            for request in requests:
                yield request

        ours = self.dial(self.serve_foreign(ForeignRecorder()))
        self.assertEqual([answer async for answer in ours.stream_stream(CHAT, each())], requests)
        _, port = await self.serve(Recorder())
        foreign = self.dial_foreign(port).stream_stream(CHAT.path)
        self.assertEqual(await self.in_thread(lambda: list(foreign(iter(requests)))), requests)

    async def test_answered_early(self) -> None:
        """A server may answer before the client has ended its side; the client's sender is stopped, the call succeeds."""

        async def endless() -> AsyncIterator[bytes]:
            while True:
                yield b"x" * 10_000

        def endless_blocking() -> Iterator[bytes]:
            while True:
                yield b"x" * 10_000

        ours = self.dial(self.serve_foreign(ForeignRecorder()))
        self.assertEqual(await ours.stream_unary(JOIN, endless()), b"x" * 10_000)
        _, port = await self.serve(Recorder())
        foreign = self.dial_foreign(port).stream_unary(JOIN.path)
        self.assertEqual(await self.in_thread(lambda: foreign(endless_blocking())), b"x" * 10_000)


def program(server: str) -> Program:
    """A server of its own."""
    return Program([sys.executable, "-m", "txdagu.testing.interop.program", server], {})


def port_of(running: Program) -> int:
    """Where it listens."""
    return int(running.wait_for(r"listening on (\d+)").group(1))


FIRST = pb.StreamingOutputCallRequest(response_parameters=[pb.ResponseParameters(size=1)])


class KilledServerTests(SocketTestCase):
    """A server that dies in the middle of calls. Nothing but its end tells the clients."""

    async def test_foreign_server(self) -> None:
        """Calls of ours fail at once with UNAVAILABLE that names the server, and so do those made after it."""
        with program("grpcio") as running:
            port = await self.in_thread(port_of, running)
            channel = self.dial(port)
            streams = [channel.stream_stream(FULL_DUPLEX_CALL, without_end(FIRST)) for _ in range(5)]
            for stream in streams:
                await anext(stream)
            running.signal(SIGKILL)
            for stream in streams:
                error = await status_of(anext(stream))
                self.assertEqual(error.code, StatusCode.UNAVAILABLE)
                self.assertIn(f"127.0.0.1:{port}: ", error.message)
            await self.in_thread(running.wait)
            error = await status_of(channel.unary(EMPTY_CALL, pb.Empty()))
            self.assertEqual(error.code, StatusCode.UNAVAILABLE)

    async def test_our_server(self) -> None:
        """Calls of grpcio fail at once with UNAVAILABLE, and so do those made after it."""
        with program("ours") as running:
            channel = self.dial_foreign(await self.in_thread(port_of, running))
            duplex = channel.stream_stream(FULL_DUPLEX_CALL.path, FULL_DUPLEX_CALL.encode_request)
            turns: list[SimpleQueue[Any]] = [SimpleQueue() for _ in range(3)]
            calls = [duplex(iter(queue.get, None)) for queue in turns]
            for queue, call in zip(turns, calls, strict=True):
                queue.put(FIRST)
                await self.in_thread(next, call)
            running.signal(SIGKILL)
            for queue, call in zip(turns, calls, strict=True):
                self.assertEqual(await self.in_thread(call.code), grpc.StatusCode.UNAVAILABLE)
                queue.put(None)
            await self.in_thread(running.wait)
            late = channel.unary_unary(EMPTY_CALL.path).future(b"")
            self.assertEqual(await self.in_thread(late.code), grpc.StatusCode.UNAVAILABLE)


class LeavingServerTests(SocketTestCase):
    """Servers that stop in order while calls go on."""

    async def test_foreign_server(self) -> None:
        """An open stream of ours finishes while grpcio's server leaves; calls in between succeed or are refused."""
        with program("grpcio") as running:
            channel = self.dial(await self.in_thread(port_of, running))
            turns: DeferredQueue[Any] = DeferredQueue()

            async def requests() -> AsyncIterator[pb.StreamingOutputCallRequest]:
                while (request := await turns.get()) is not None:
                    yield request

            stream = channel.stream_stream(FULL_DUPLEX_CALL, requests())
            turns.put(FIRST)
            await anext(stream)
            calls = [Deferred.fromCoroutine(channel.unary(EMPTY_CALL, pb.Empty())) for _ in range(200)]
            running.signal(SIGTERM)
            refusals = (StatusCode.UNAVAILABLE, StatusCode.CANCELLED)  # grpcio cancels calls that it has not begun
            failed = 0
            while not failed:
                try:
                    await channel.unary(EMPTY_CALL, pb.Empty())
                except RpcError as error:
                    self.assertIn(error.code, refusals)
                    failed += 1
            turns.put(FIRST)
            self.assertEqual((await anext(stream)).payload.body, b"\0")
            turns.put(None)
            self.assertEqual([answer async for answer in stream], [])
            outcomes: list[Any] = await gatherResults(
                [call.addErrback(lambda failure: failure.value) for call in calls]
            )
            for outcome in outcomes:
                if outcome != pb.Empty():
                    self.assertIn(outcome.code, refusals)
            self.assertEqual(await self.in_thread(running.wait), 0)

    async def test_our_server(self) -> None:
        """An open stream of grpcio finishes while our server leaves; calls in between succeed or are UNAVAILABLE."""
        with program("ours") as running:
            channel = self.dial_foreign(await self.in_thread(port_of, running))
            duplex = channel.stream_stream(FULL_DUPLEX_CALL.path, FULL_DUPLEX_CALL.encode_request)
            empty = channel.unary_unary(EMPTY_CALL.path)
            turns: SimpleQueue[Any] = SimpleQueue()
            stream = duplex(iter(turns.get, None))

            def use() -> None:
                turns.put(FIRST)
                next(stream)
                calls = [empty.future(b"") for _ in range(200)]
                running.signal(SIGTERM)
                while True:
                    call = empty.future(b"")
                    if call.code() is not grpc.StatusCode.OK:
                        self.assertEqual(call.code(), grpc.StatusCode.UNAVAILABLE)
                        break
                turns.put(FIRST)
                next(stream)
                turns.put(None)
                self.assertEqual(list(stream), [])
                for call in calls:
                    self.assertIn(call.code(), (grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE))
                self.assertEqual(running.wait(), 0)

            await self.in_thread(use)
