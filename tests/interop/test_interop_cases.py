"""
The public gRPC interoperability cases by their names: our client with both servers, and grpcio's client with ours.

The cases and what they check are those of doc/interop-test-descriptions.md of the gRPC project.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from functools import wraps
from queue import SimpleQueue
from typing import Any

import grpc
from twisted.internet.defer import CancelledError, Deferred, DeferredQueue

from txdagu.grpc.channel import Channel, ResponseStream
from txdagu.testing.interop import interop_pb2 as pb
from txdagu.testing.interop.foreign import SHOW_COMPRESSION, ForeignInteropService, uncompressed
from txdagu.testing.interop.methods import (
    ECHO_INITIAL,
    ECHO_TRAILING,
    EMPTY_CALL,
    FULL_DUPLEX_CALL,
    STREAMING_INPUT_CALL,
    STREAMING_OUTPUT_CALL,
    UNARY_CALL,
    UNIMPLEMENTED_METHOD,
    UNIMPLEMENTED_SERVICE,
)
from txdagu.testing.interop.service import InteropService
from txdagu.testing.sockets import SocketTestCase
from txdagu.wire.method import RpcMethod
from txdagu.wire.status import RpcError, StatusCode

REQUEST_SIZE, RESPONSE_SIZE = 271828, 314159
REQUEST_SIZES, RESPONSE_SIZES = (27182, 8, 1828, 45904), (31415, 9, 2653, 58979)
SPECIAL_MESSAGE = "\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \U0001f608\t\n"
METADATA = [(ECHO_INITIAL, "test_initial_metadata_value"), (ECHO_TRAILING, b"\xab\xab\xab")]
LARGE = pb.SimpleRequest(response_size=RESPONSE_SIZE, payload=pb.Payload(body=bytes(REQUEST_SIZE)))
LARGE_ANSWER = pb.SimpleResponse(payload=pb.Payload(body=bytes(RESPONSE_SIZE)))


def inputs() -> Iterator[pb.StreamingInputCallRequest]:
    """The requests of client_streaming."""
    for size in REQUEST_SIZES:
        yield pb.StreamingInputCallRequest(payload=pb.Payload(body=bytes(size)))


def duplex(response: int, request: int) -> pb.StreamingOutputCallRequest:
    """A request for one response of a size."""
    return pb.StreamingOutputCallRequest(
        response_parameters=[pb.ResponseParameters(size=response)], payload=pb.Payload(body=bytes(request))
    )


DUPLEX_REQUESTS = [duplex(*sizes) for sizes in zip(RESPONSE_SIZES, REQUEST_SIZES, strict=True)]
OUTPUTS = pb.StreamingOutputCallRequest(
    response_parameters=[pb.ResponseParameters(size=size) for size in RESPONSE_SIZES]
)
OUTPUT_ANSWERS = [pb.StreamingOutputCallResponse(payload=pb.Payload(body=bytes(size))) for size in RESPONSE_SIZES]


COMPRESSED_INPUT = pb.StreamingInputCallRequest(
    expect_compressed=pb.BoolValue(value=True), payload=pb.Payload(body=bytes(27182))
)
PLAIN_INPUT = pb.StreamingInputCallRequest(
    expect_compressed=pb.BoolValue(value=False), payload=pb.Payload(body=bytes(45904))
)
MIXED_OUTPUTS = pb.StreamingOutputCallRequest(
    response_parameters=[
        pb.ResponseParameters(size=31415, compressed=pb.BoolValue(value=True)),
        pb.ResponseParameters(size=92653, compressed=pb.BoolValue(value=False)),
    ]
)


def expecting(request: pb.SimpleRequest, compressed: bool) -> pb.SimpleRequest:
    """The same, saying whether it is compressed."""
    said = pb.SimpleRequest(expect_compressed=pb.BoolValue(value=compressed))
    said.MergeFrom(request)
    return said


def wanting(request: pb.SimpleRequest, compressed: bool) -> pb.SimpleRequest:
    """The same, saying whether the response shall be compressed."""
    said = pb.SimpleRequest(response_compressed=pb.BoolValue(value=compressed))
    said.MergeFrom(request)
    return said


async def each(*requests: Any) -> AsyncIterator[Any]:
    """Requests for our client, then the half-close."""
    for request in requests:
        yield request


async def without_end(*requests: Any) -> AsyncIterator[Any]:
    """Requests for our client, and no half-close."""
    for request in requests:
        yield request
    await Deferred()


class OurClientCases:
    """The cases as our client makes them; subclasses say which server it calls."""

    channel: Channel

    async def status_of(self: Any, call: Any) -> RpcError:
        """The status of a call that must fail, or of a stream."""
        try:
            if isinstance(call, ResponseStream):
                async for _ in call:
                    pass
            else:
                await call
        except RpcError as error:
            return error
        raise AssertionError("the call succeeded")

    async def until_idle(self) -> None:
        """Wait until no handler runs at the server; where that can be known, its `finally` has run then."""

    async def test_empty_unary(self: Any) -> None:
        """Messages of no bytes travel both ways."""
        self.assertEqual(await self.channel.unary(EMPTY_CALL, pb.Empty()), pb.Empty())

    async def test_large_unary(self: Any) -> None:
        """Messages larger than the windows travel both ways."""
        self.assertEqual(await self.channel.unary(UNARY_CALL, LARGE), LARGE_ANSWER)

    async def test_client_streaming(self: Any) -> None:
        """All requests of a stream arrive whole."""
        answer = await self.channel.stream_unary(STREAMING_INPUT_CALL, each(*inputs()))
        self.assertEqual(answer.aggregated_payload_size, 74922)

    async def test_server_streaming(self: Any) -> None:
        """All responses of a stream arrive whole and in order."""
        answers = [answer async for answer in self.channel.unary_stream(STREAMING_OUTPUT_CALL, OUTPUTS)]
        self.assertEqual(answers, OUTPUT_ANSWERS)

    async def test_ping_pong(self: Any) -> None:
        """Each response is there before the next request is sent, and the half-close ends the call."""
        turns: DeferredQueue[Any] = DeferredQueue()

        async def requests() -> AsyncIterator[pb.StreamingOutputCallRequest]:
            while (request := await turns.get()) is not None:
                yield request

        stream = self.channel.stream_stream(FULL_DUPLEX_CALL, requests())
        for request, answer in zip(DUPLEX_REQUESTS, OUTPUT_ANSWERS, strict=True):
            turns.put(request)
            self.assertEqual(await anext(stream), answer)
        turns.put(None)
        self.assertEqual([answer async for answer in stream], [])

    async def test_empty_stream(self: Any) -> None:
        """A call with no messages in either direction succeeds."""
        self.assertEqual([answer async for answer in self.channel.stream_stream(FULL_DUPLEX_CALL, each())], [])

    async def test_custom_metadata(self: Any) -> None:
        """Text and binary metadata reach the server, and come back as initial and trailing metadata."""
        reply = await self.channel.unary_call(UNARY_CALL, LARGE, metadata=METADATA)
        self.assertEqual(reply.message, LARGE_ANSWER)
        self.assert_echoed(reply.initial_metadata, reply.trailing_metadata)
        request = duplex(RESPONSE_SIZE, REQUEST_SIZE)
        stream = self.channel.stream_stream(FULL_DUPLEX_CALL, each(request), metadata=METADATA)
        self.assertEqual([len(answer.payload.body) async for answer in stream], [RESPONSE_SIZE])
        self.assert_echoed(stream.initial_metadata, stream.trailing_metadata)

    def assert_echoed(self: Any, initial: Any, trailing: Any) -> None:
        """Check that each key came where it belongs and nowhere else."""
        self.assertEqual(initial.get_all(ECHO_INITIAL), ("test_initial_metadata_value",))
        self.assertEqual(trailing.get_all(ECHO_TRAILING), (b"\xab\xab\xab",))
        self.assertNotIn(ECHO_TRAILING, initial)
        self.assertNotIn(ECHO_INITIAL, trailing)

    async def test_status_code_and_message(self: Any) -> None:
        """A status with its text ends unary calls and streams."""
        await self.check_status(StatusCode.UNKNOWN, "test status message", both=True)

    async def test_special_status_message(self: Any) -> None:
        """White space and characters outside of ASCII survive in the text of a status."""
        await self.check_status(StatusCode.UNKNOWN, SPECIAL_MESSAGE, both=False)

    async def check_status(self: Any, code: StatusCode, message: str, *, both: bool) -> None:
        """Ask for a status by a unary call, and perhaps by a stream too."""
        status = pb.EchoStatus(code=code, message=message)
        error = await self.status_of(self.channel.unary(UNARY_CALL, pb.SimpleRequest(response_status=status)))
        self.assertEqual((error.code, error.message), (code, message))
        if both:
            request = pb.StreamingOutputCallRequest(response_status=status)
            error = await self.status_of(self.channel.stream_stream(FULL_DUPLEX_CALL, each(request)))
            self.assertEqual((error.code, error.message), (code, message))

    async def test_unimplemented_method(self: Any) -> None:
        """A method that a known service does not have is UNIMPLEMENTED."""
        error = await self.status_of(self.channel.unary(UNIMPLEMENTED_METHOD, pb.Empty()))
        self.assertEqual(error.code, StatusCode.UNIMPLEMENTED)

    async def test_unimplemented_service(self: Any) -> None:
        """A service that the server does not have is UNIMPLEMENTED."""
        error = await self.status_of(self.channel.unary(UNIMPLEMENTED_SERVICE, pb.Empty()))
        self.assertEqual(error.code, StatusCode.UNIMPLEMENTED)

    async def test_cancel_after_begin(self: Any) -> None:
        """A call that is cancelled before its first message ends at both ends."""
        call = Deferred.fromCoroutine(self.channel.stream_unary(STREAMING_INPUT_CALL, without_end()))
        call.cancel()
        await self.assertFailure(call, CancelledError)
        await self.until_idle()

    async def test_cancel_after_first_response(self: Any) -> None:
        """A stream that is cancelled after a response ends with CANCELLED here, and for the handler too."""
        stream = self.channel.stream_stream(FULL_DUPLEX_CALL, without_end(DUPLEX_REQUESTS[0]))
        self.assertEqual(await anext(stream), OUTPUT_ANSWERS[0])
        stream.cancel()
        self.assertEqual((await self.status_of(stream)).code, StatusCode.CANCELLED)
        await self.until_idle()

    async def test_timeout_on_sleeping_server(self: Any) -> None:
        """A call whose time is up ends with DEADLINE_EXCEEDED."""
        request = pb.StreamingOutputCallRequest(payload=pb.Payload(body=bytes(27182)))
        stream = self.channel.stream_stream(FULL_DUPLEX_CALL, without_end(request), timeout=0.001)
        self.assertEqual((await self.status_of(stream)).code, StatusCode.DEADLINE_EXCEEDED)
        await self.until_idle()

    async def test_client_compressed_unary(self: Any) -> None:
        """Requests are compressed as asked, after a probe that an uncompressed one is noticed."""
        error = await self.status_of(self.channel.unary(UNARY_CALL, expecting(LARGE, True)))
        self.assertEqual(error.code, StatusCode.INVALID_ARGUMENT)
        answer = await self.channel.unary(UNARY_CALL, expecting(LARGE, True), compression="gzip")
        self.assertEqual(answer, LARGE_ANSWER)
        self.assertEqual(await self.channel.unary(UNARY_CALL, expecting(LARGE, False)), LARGE_ANSWER)

    async def test_server_compressed_unary(self: Any) -> None:
        """Responses are compressed as asked."""
        for compressed in (True, False):
            reply = await self.channel.unary_call(UNARY_CALL, wanting(LARGE, compressed))
            self.assertEqual((reply.message, reply.compressed), (LARGE_ANSWER, compressed))

    async def test_client_compressed_streaming(self: Any) -> None:
        """Requests of one stream are compressed one by one as asked, after the probe."""
        probe = self.channel.stream_unary(STREAMING_INPUT_CALL, each(COMPRESSED_INPUT))
        self.assertEqual((await self.status_of(probe)).code, StatusCode.INVALID_ARGUMENT)
        call = self.channel.open_stream_unary(STREAMING_INPUT_CALL, compression="gzip")
        await call.send(COMPRESSED_INPUT)
        await call.send(PLAIN_INPUT, compressed=False)
        self.assertEqual((await call.response()).aggregated_payload_size, 73086)

    async def test_server_compressed_streaming(self: Any) -> None:
        """Responses of one stream are compressed one by one as asked."""
        stream = self.channel.unary_stream(STREAMING_OUTPUT_CALL, MIXED_OUTPUTS)
        seen = [(len(answer.payload.body), stream.compressed) async for answer in stream]
        self.assertEqual(seen, [(31415, True), (92653, False)])


class OurClientForeignServerTests(OurClientCases, SocketTestCase):
    """Our client calls grpcio's server."""

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        """Both ends."""
        super().setUp()
        self.channel = self.dial(self.serve_foreign(ForeignInteropService(), options=(SHOW_COMPRESSION,)))


class OurClientOurServerTests(OurClientCases, SocketTestCase):
    """Our client calls our server."""

    async def setUp(self) -> None:  # type: ignore[override]
        """Both ends."""
        super().setUp()
        self.service = InteropService()
        self.channel = self.dial((await self.serve(self.service))[1])

    async def until_idle(self) -> None:
        """No handler has been left behind."""
        await self.service.until_idle()


def blocking(test: Callable[..., None]) -> Callable[..., Any]:
    """Run a test in a thread, since grpcio blocks."""

    @wraps(test)
    def run(self: Any) -> Any:
        return self.in_thread(test, self)

    return run


class ForeignClientOurServerTests(SocketTestCase):
    """grpcio's client calls our server."""

    async def setUp(self) -> None:  # type: ignore[override]
        """Both ends."""
        super().setUp()
        self.service = InteropService()
        self.channel = self.dial_foreign((await self.serve(self.service))[1], SHOW_COMPRESSION)

    def stub(self, method: RpcMethod[Any, Any]) -> Any:
        """How grpcio calls a method; responses come as pairs with whether they were compressed."""

        def decode(data: bytes) -> tuple[Any, bool]:
            message, compressed = uncompressed(data)
            return method.decode_response(message), compressed

        ends = ["stream" if streams else "unary" for streams in method.cardinality.value]
        return getattr(self.channel, "_".join(ends))(method.path, method.encode_request, decode)

    def status_of(self, call: Callable[[], Any]) -> Any:
        """The error of something that must fail."""
        with self.assertRaises(grpc.RpcError) as caught:
            call()
        return caught.exception

    @blocking
    def test_empty_unary(self) -> None:
        """Messages of no bytes travel both ways."""
        self.assertEqual(self.stub(EMPTY_CALL)(pb.Empty()), (pb.Empty(), False))

    @blocking
    def test_large_unary(self) -> None:
        """Messages larger than the windows travel both ways."""
        self.assertEqual(self.stub(UNARY_CALL)(LARGE), (LARGE_ANSWER, False))

    @blocking
    def test_client_streaming(self) -> None:
        """All requests of a stream arrive whole."""
        self.assertEqual(self.stub(STREAMING_INPUT_CALL)(inputs())[0].aggregated_payload_size, 74922)

    @blocking
    def test_server_streaming(self) -> None:
        """All responses of a stream arrive whole and in order."""
        self.assertEqual([answer for answer, _ in self.stub(STREAMING_OUTPUT_CALL)(OUTPUTS)], OUTPUT_ANSWERS)

    @blocking
    def test_ping_pong(self) -> None:
        """Each response is there before the next request is sent, and the half-close ends the call."""
        turns: SimpleQueue[Any] = SimpleQueue()
        call = self.stub(FULL_DUPLEX_CALL)(iter(turns.get, None))
        for request, answer in zip(DUPLEX_REQUESTS, OUTPUT_ANSWERS, strict=True):
            turns.put(request)
            self.assertEqual(next(call)[0], answer)
        turns.put(None)
        self.assertEqual(list(call), [])

    @blocking
    def test_empty_stream(self) -> None:
        """A call with no messages in either direction succeeds."""
        self.assertEqual(list(self.stub(FULL_DUPLEX_CALL)(iter(()))), [])

    @blocking
    def test_custom_metadata(self) -> None:
        """Text and binary metadata reach the server, and come back as initial and trailing metadata."""
        (answer, _), call = self.stub(UNARY_CALL).with_call(LARGE, metadata=METADATA)
        self.assertEqual(answer, LARGE_ANSWER)
        self.assert_echoed(call)
        stream = self.stub(FULL_DUPLEX_CALL)(iter([duplex(RESPONSE_SIZE, REQUEST_SIZE)]), metadata=METADATA)
        self.assertEqual([len(answer.payload.body) for answer, _ in stream], [RESPONSE_SIZE])
        self.assert_echoed(stream)

    def assert_echoed(self, call: Any) -> None:
        """Check that each key came where it belongs and nowhere else."""
        echoes = [
            [(key, value) for key, value in metadata if key.startswith("x-grpc-test")]
            for metadata in (call.initial_metadata(), call.trailing_metadata())
        ]
        self.assertEqual(echoes, [METADATA[:1], METADATA[1:]])

    @blocking
    def test_status_code_and_message(self) -> None:
        """A status with its text ends unary calls and streams."""
        status = pb.EchoStatus(code=2, message="test status message")
        unary = self.status_of(lambda: self.stub(UNARY_CALL)(pb.SimpleRequest(response_status=status)))
        request = pb.StreamingOutputCallRequest(response_status=status)
        stream = self.status_of(lambda: list(self.stub(FULL_DUPLEX_CALL)(iter([request]))))
        for error in (unary, stream):
            self.assertEqual((error.code(), error.details()), (grpc.StatusCode.UNKNOWN, "test status message"))

    @blocking
    def test_special_status_message(self) -> None:
        """White space and characters outside of ASCII survive in the text of a status."""
        request = pb.SimpleRequest(response_status=pb.EchoStatus(code=2, message=SPECIAL_MESSAGE))
        error = self.status_of(lambda: self.stub(UNARY_CALL)(request))
        self.assertEqual((error.code(), error.details()), (grpc.StatusCode.UNKNOWN, SPECIAL_MESSAGE))

    @blocking
    def test_unimplemented_method(self) -> None:
        """A method that a known service does not have is UNIMPLEMENTED."""
        error = self.status_of(lambda: self.stub(UNIMPLEMENTED_METHOD)(pb.Empty()))
        self.assertEqual(error.code(), grpc.StatusCode.UNIMPLEMENTED)

    @blocking
    def test_unimplemented_service(self) -> None:
        """A service that the server does not have is UNIMPLEMENTED."""
        error = self.status_of(lambda: self.stub(UNIMPLEMENTED_SERVICE)(pb.Empty()))
        self.assertEqual(error.code(), grpc.StatusCode.UNIMPLEMENTED)

    async def test_cancel_after_begin(self) -> None:
        """A call that is cancelled before its first message ends at both ends."""
        turns: SimpleQueue[Any] = SimpleQueue()
        call = self.stub(STREAMING_INPUT_CALL).future(iter(turns.get, None))
        call.cancel()
        self.assertEqual(call.code(), grpc.StatusCode.CANCELLED)
        turns.put(None)
        await self.service.until_idle()

    async def test_cancel_after_first_response(self) -> None:
        """A stream that is cancelled after a response ends with CANCELLED there, and for our handler too."""
        turns: SimpleQueue[Any] = SimpleQueue()
        call = self.stub(FULL_DUPLEX_CALL)(iter(turns.get, None))
        turns.put(DUPLEX_REQUESTS[0])
        self.assertEqual((await self.in_thread(next, call))[0], OUTPUT_ANSWERS[0])
        self.assertEqual(self.service.running, 1)
        call.cancel()
        self.assertEqual(await self.in_thread(call.code), grpc.StatusCode.CANCELLED)
        turns.put(None)
        await self.service.until_idle()

    async def test_timeout_on_sleeping_server(self) -> None:
        """A call whose time is up ends with DEADLINE_EXCEEDED."""
        turns: SimpleQueue[Any] = SimpleQueue()
        turns.put(pb.StreamingOutputCallRequest(payload=pb.Payload(body=bytes(27182))))
        call = self.stub(FULL_DUPLEX_CALL)(iter(turns.get, None), timeout=0.001)
        self.assertEqual(await self.in_thread(call.code), grpc.StatusCode.DEADLINE_EXCEEDED)
        turns.put(None)
        await self.service.until_idle()

    @blocking
    def test_client_compressed_unary(self) -> None:
        """Requests are compressed as asked, after a probe that an uncompressed one is noticed."""
        call = self.stub(UNARY_CALL)
        error = self.status_of(lambda: call(expecting(LARGE, True)))
        self.assertEqual(error.code(), grpc.StatusCode.INVALID_ARGUMENT)
        self.assertEqual(call(expecting(LARGE, True), compression=grpc.Compression.Gzip), (LARGE_ANSWER, False))
        self.assertEqual(call(expecting(LARGE, False)), (LARGE_ANSWER, False))

    @blocking
    def test_server_compressed_unary(self) -> None:
        """Responses are compressed as asked."""
        for compressed in (True, False):
            self.assertEqual(self.stub(UNARY_CALL)(wanting(LARGE, compressed)), (LARGE_ANSWER, compressed))

    @blocking
    def test_client_compressed_streaming(self) -> None:
        """Requests of a stream are compressed as asked, after the probe; this client can only compress all or none."""
        call = self.stub(STREAMING_INPUT_CALL)
        error = self.status_of(lambda: call(iter([COMPRESSED_INPUT])))
        self.assertEqual(error.code(), grpc.StatusCode.INVALID_ARGUMENT)
        answer, _ = call(iter([COMPRESSED_INPUT]), compression=grpc.Compression.Gzip)
        self.assertEqual(answer.aggregated_payload_size, 27182)
        self.assertEqual(call(iter([PLAIN_INPUT]))[0].aggregated_payload_size, 45904)

    @blocking
    def test_server_compressed_streaming(self) -> None:
        """Responses of one stream are compressed one by one as asked."""
        stream = self.stub(STREAMING_OUTPUT_CALL)(MIXED_OUTPUTS)
        seen = [(len(answer.payload.body), compressed) for answer, compressed in stream]
        self.assertEqual(seen, [(31415, True), (92653, False)])
