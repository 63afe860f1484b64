"""Reading compressed messages. We never compress what we send: messages are small and mostly random ids."""

from __future__ import annotations

import zlib

from txdagu.wire.status import RpcError, StatusCode

ACCEPTED = b"identity,gzip"
SUPPORTED = frozenset({b"", b"identity", b"gzip"})
_GZIP_WRAPPER = 16 + zlib.MAX_WBITS


def check_encoding(encoding: bytes) -> None:
    """Raise UNIMPLEMENTED for a ``grpc-encoding`` that we cannot read."""
    if encoding not in SUPPORTED:
        name = encoding.decode("latin-1")
        raise RpcError(StatusCode.UNIMPLEMENTED, f'grpc: Decompressor is not installed for grpc-encoding "{name}"')


def decompress(encoding: bytes, payload: bytes, max_size: int) -> bytes:
    """
    A message whose compressed flag was set.

    Raises `RpcError`: RESOURCE_EXHAUSTED when it grows beyond `max_size`, of which no more is ever unpacked; INTERNAL when
    the stream announced no compression or the bytes are damaged.
    """
    if encoding != b"gzip":
        raise RpcError(StatusCode.INTERNAL, "grpc: compressed flag set with identity or empty encoding")
    unpacker = zlib.decompressobj(_GZIP_WRAPPER)
    try:
        message = unpacker.decompress(payload, max_size + 1)
    except zlib.error as error:
        raise RpcError(StatusCode.INTERNAL, f"grpc: failed to decompress the received message: {error}") from error
    if len(message) > max_size:
        raise RpcError(
            StatusCode.RESOURCE_EXHAUSTED, f"grpc: received message after decompression larger than max {max_size}"
        )
    if not unpacker.eof or unpacker.unused_data:
        raise RpcError(
            StatusCode.INTERNAL, "grpc: failed to decompress the received message: it is not one gzip stream"
        )
    return message
