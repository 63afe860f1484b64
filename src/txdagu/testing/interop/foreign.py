"""``grpc.testing.TestService`` on grpcio's server, and what compressed messages look like to grpcio."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from typing import Any

import grpc

from txdagu.testing.interop import interop_pb2 as pb
from txdagu.testing.interop.methods import (
    ECHO_INITIAL,
    ECHO_TRAILING,
    EMPTY_CALL,
    FULL_DUPLEX_CALL,
    STREAMING_INPUT_CALL,
    STREAMING_OUTPUT_CALL,
    UNARY_CALL,
)
from txdagu.wire.method import RpcMethod

SHOW_COMPRESSION = ("grpc.per_message_decompression", 0)
"""An option for grpcio's servers and channels: compressed messages arrive as they are, see `uncompressed`."""

_GZIP = b"\x1f\x8b"
_CODES = {code.value[0]: code for code in grpc.StatusCode}


def uncompressed(data: bytes) -> tuple[bytes, bool]:
    """A message received with `SHOW_COMPRESSION`, and whether it came compressed. No protobuf message begins like gzip."""
    return (gzip.decompress(data), True) if data.startswith(_GZIP) else (data, False)


class ForeignInteropService(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio has no types
    """The same as `InteropService`. Its server must have the option `SHOW_COMPRESSION`."""

    def service(self, details: Any) -> Any:
        """Find a method."""
        return {
            EMPTY_CALL.path: _handler(grpc.unary_unary_rpc_method_handler, self.empty_call, EMPTY_CALL),
            UNARY_CALL.path: _handler(grpc.unary_unary_rpc_method_handler, self.unary_call, UNARY_CALL),
            STREAMING_OUTPUT_CALL.path: _handler(
                grpc.unary_stream_rpc_method_handler, self.streaming_output_call, STREAMING_OUTPUT_CALL
            ),
            STREAMING_INPUT_CALL.path: _handler(
                grpc.stream_unary_rpc_method_handler, self.streaming_input_call, STREAMING_INPUT_CALL
            ),
            FULL_DUPLEX_CALL.path: _handler(
                grpc.stream_stream_rpc_method_handler, self.full_duplex_call, FULL_DUPLEX_CALL
            ),
        }.get(details.method)

    def empty_call(self, _request: tuple[pb.Empty, bool], _context: Any) -> pb.Empty:
        """Nothing for nothing."""
        return pb.Empty()

    def unary_call(self, received: tuple[pb.SimpleRequest, bool], context: Any) -> pb.SimpleResponse:
        """One payload of the size asked for, or the status asked for."""
        request, compressed = received
        _echo_metadata(context)
        _check_compression(request, compressed, context)
        _abort_with(request.response_status, context)
        if request.response_compressed.value:
            context.set_compression(grpc.Compression.Gzip)
        return pb.SimpleResponse(payload=_payload(request.response_type, request.response_size, context))

    def streaming_output_call(
        self, received: tuple[pb.StreamingOutputCallRequest, bool], context: Any
    ) -> Iterator[pb.StreamingOutputCallResponse]:
        """A response for each of the request's parameters."""
        _echo_metadata(context)
        yield from _responses(received[0], context)

    def streaming_input_call(
        self, requests: Iterator[tuple[pb.StreamingInputCallRequest, bool]], context: Any
    ) -> pb.StreamingInputCallResponse:
        """How many bytes came in all."""
        size = 0
        for request, compressed in requests:
            _check_compression(request, compressed, context)
            size += len(request.payload.body)
        return pb.StreamingInputCallResponse(aggregated_payload_size=size)

    def full_duplex_call(
        self, requests: Iterator[tuple[pb.StreamingOutputCallRequest, bool]], context: Any
    ) -> Iterator[pb.StreamingOutputCallResponse]:
        """Responses for each request as it comes."""
        _echo_metadata(context)
        for request, _compressed in requests:
            yield from _responses(request, context)


def _handler(make: Any, function: Any, method: RpcMethod[Any, Any]) -> Any:
    def decode(data: bytes) -> tuple[Any, bool]:
        message, compressed = uncompressed(data)
        return method.decode_request(message), compressed

    return make(function, decode, method.encode_response)


def _responses(request: pb.StreamingOutputCallRequest, context: Any) -> Iterator[pb.StreamingOutputCallResponse]:
    _abort_with(request.response_status, context)
    if any(parameters.compressed.value for parameters in request.response_parameters):
        context.set_compression(grpc.Compression.Gzip)
    for parameters in request.response_parameters:
        if parameters.HasField("compressed") and not parameters.compressed.value:
            context.disable_next_message_compression()
        yield pb.StreamingOutputCallResponse(payload=_payload(request.response_type, parameters.size, context))


def _check_compression(
    request: pb.SimpleRequest | pb.StreamingInputCallRequest, compressed: bool, context: Any
) -> None:
    if request.HasField("expect_compressed") and request.expect_compressed.value != compressed:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the request is not compressed as it says")


def _echo_metadata(context: Any) -> None:
    received = context.invocation_metadata()
    initial = [(key, value) for key, value in received if key == ECHO_INITIAL]
    if initial:
        context.send_initial_metadata(initial)
    context.set_trailing_metadata([(key, value) for key, value in received if key == ECHO_TRAILING])


def _abort_with(status: pb.EchoStatus, context: Any) -> None:
    if status.code:
        context.abort(_CODES[status.code], status.message)


def _payload(kind: int, size: int, context: Any) -> pb.Payload:
    if kind != pb.COMPRESSABLE:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"payload type {kind} is not supported")
    return pb.Payload(type=pb.COMPRESSABLE, body=bytes(size))
