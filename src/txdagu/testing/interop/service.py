"""``grpc.testing.TestService`` on our server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from twisted.internet.defer import Deferred

from txdagu.grpc.server import CallContext, Handler
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
from txdagu.wire.status import RpcError, StatusCode


class InteropService:
    """
    Does what its requests say: answers of any size, with any status, compressed or not.

    `running` counts handlers of streaming requests that have begun and not ended, however they end.
    """

    def __init__(self) -> None:
        self.running = 0
        self._waiting: list[Deferred[None]] = []

    async def until_idle(self) -> None:
        """Wait until `running` is zero."""
        if self.running:
            self._waiting.append(Deferred())
            await self._waiting[-1]

    def handlers(self) -> Mapping[RpcMethod[Any, Any], Handler]:
        """See `GrpcService`."""
        return {
            EMPTY_CALL: self.empty_call,
            UNARY_CALL: self.unary_call,
            STREAMING_OUTPUT_CALL: self.streaming_output_call,
            STREAMING_INPUT_CALL: self.streaming_input_call,
            FULL_DUPLEX_CALL: self.full_duplex_call,
        }

    async def empty_call(self, _request: pb.Empty, _context: CallContext) -> pb.Empty:
        """Nothing for nothing."""
        return pb.Empty()

    async def unary_call(self, request: pb.SimpleRequest, context: CallContext) -> pb.SimpleResponse:
        """One payload of the size asked for, or the status asked for."""
        _echo_metadata(context)
        _check_compression(request, context)
        _raise_status(request.response_status)
        if request.response_compressed.value:
            context.set_compression("gzip")
        return pb.SimpleResponse(payload=_payload(request.response_type, request.response_size))

    async def streaming_output_call(self, request: pb.StreamingOutputCallRequest, context: CallContext) -> None:
        """A response for each of the request's parameters."""
        _echo_metadata(context)
        if any(parameters.compressed.value for parameters in request.response_parameters):
            context.set_compression("gzip")
        await _respond(request, context)

    async def streaming_input_call(
        self, requests: AsyncIterator[pb.StreamingInputCallRequest], context: CallContext
    ) -> pb.StreamingInputCallResponse:
        """How many bytes came in all."""
        size = 0
        with self._counted():
            async for request in requests:
                _check_compression(request, context)
                size += len(request.payload.body)
        return pb.StreamingInputCallResponse(aggregated_payload_size=size)

    async def full_duplex_call(
        self, requests: AsyncIterator[pb.StreamingOutputCallRequest], context: CallContext
    ) -> None:
        """Responses for each request as it comes."""
        with self._counted():
            _echo_metadata(context)
            async for request in requests:
                await _respond(request, context)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1
            if self.running == 0:
                waiting, self._waiting = self._waiting, []
                for deferred in waiting:
                    deferred.callback(None)


async def _respond(request: pb.StreamingOutputCallRequest, context: CallContext) -> None:
    _raise_status(request.response_status)
    for parameters in request.response_parameters:
        response = pb.StreamingOutputCallResponse(payload=_payload(request.response_type, parameters.size))
        await context.send(response, compressed=parameters.compressed.value)


def _check_compression(request: pb.SimpleRequest | pb.StreamingInputCallRequest, context: CallContext) -> None:
    if request.HasField("expect_compressed") and request.expect_compressed.value != context.request_compressed:
        raise RpcError(StatusCode.INVALID_ARGUMENT, "the request is not compressed as it says")


def _echo_metadata(context: CallContext) -> None:
    initial = context.metadata.get_all(ECHO_INITIAL)
    if initial:
        context.set_initial_metadata([(ECHO_INITIAL, value) for value in initial])
    trailing = context.metadata.get_all(ECHO_TRAILING)
    if trailing:
        context.set_trailing_metadata([(ECHO_TRAILING, value) for value in trailing])


def _raise_status(status: pb.EchoStatus) -> None:
    if status.code:
        raise RpcError(StatusCode(status.code), status.message)


def _payload(kind: int, size: int) -> pb.Payload:
    if kind != pb.COMPRESSABLE:
        raise RpcError(StatusCode.INVALID_ARGUMENT, f"payload type {kind} is not supported")
    return pb.Payload(type=pb.COMPRESSABLE, body=bytes(size))
