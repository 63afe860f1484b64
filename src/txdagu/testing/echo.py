"""Methods whose messages are plain bytes, one of every kind, for tests of gRPC against other implementations."""

from __future__ import annotations

from txdagu.wire.method import Cardinality, RpcMethod

SIZES = [0, 1, 16 * 1024 - 1, 16 * 1024, 16 * 1024 + 1, 70_000, 5_000_000]
"""Lengths of messages around the borders of frames and windows."""


def echo_method(name: str, cardinality: Cardinality = Cardinality.UNARY_UNARY) -> RpcMethod[bytes, bytes]:
    """A method of the service ``test.Echo``."""
    return RpcMethod("test.Echo", name, cardinality, bytes, bytes, bytes, bytes)


ECHO = echo_method("Echo")
FAIL = echo_method("Fail")
CRASH = echo_method("Crash")
PARK = echo_method("Park")
MISSING = echo_method("Missing")
COUNT = echo_method("Count", Cardinality.UNARY_STREAM)
JOIN = echo_method("Join", Cardinality.STREAM_UNARY)
CHAT = echo_method("Chat", Cardinality.STREAM_STREAM)
