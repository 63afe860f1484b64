"""The calls of ``grpc.testing.TestService``, and two that no server knows."""

from __future__ import annotations

from txdagu.protocol.services import message_method
from txdagu.testing.interop import interop_pb2 as pb
from txdagu.wire.method import Cardinality

TEST_SERVICE = "grpc.testing.TestService"

EMPTY_CALL = message_method(TEST_SERVICE, "EmptyCall", pb.Empty, pb.Empty)
UNARY_CALL = message_method(TEST_SERVICE, "UnaryCall", pb.SimpleRequest, pb.SimpleResponse)
STREAMING_OUTPUT_CALL = message_method(
    TEST_SERVICE,
    "StreamingOutputCall",
    pb.StreamingOutputCallRequest,
    pb.StreamingOutputCallResponse,
    Cardinality.UNARY_STREAM,
)
STREAMING_INPUT_CALL = message_method(
    TEST_SERVICE,
    "StreamingInputCall",
    pb.StreamingInputCallRequest,
    pb.StreamingInputCallResponse,
    Cardinality.STREAM_UNARY,
)
FULL_DUPLEX_CALL = message_method(
    TEST_SERVICE,
    "FullDuplexCall",
    pb.StreamingOutputCallRequest,
    pb.StreamingOutputCallResponse,
    Cardinality.STREAM_STREAM,
)
UNIMPLEMENTED_METHOD = message_method(TEST_SERVICE, "UnimplementedCall", pb.Empty, pb.Empty)
UNIMPLEMENTED_SERVICE = message_method("grpc.testing.UnimplementedService", "UnimplementedCall", pb.Empty, pb.Empty)

ECHO_INITIAL = "x-grpc-test-echo-initial"
"""What comes under this key is sent back as initial metadata."""
ECHO_TRAILING = "x-grpc-test-echo-trailing-bin"
"""What comes under this key is sent back as trailing metadata."""
