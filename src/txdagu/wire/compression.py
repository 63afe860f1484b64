"""
Compressed messages: none ("identity") or gzip.

The public description also names deflate, but grpc-go knows only gzip, so nothing more could be gained by it.
"""

from __future__ import annotations

import zlib
from typing import Literal, get_args

from txdagu.wire.status import RpcError, StatusCode

Compression = Literal["identity", "gzip"]
"""How the messages of one direction of a call are compressed."""
IDENTITY: Compression = "identity"

ACCEPTED = b"identity,gzip"
SUPPORTED = frozenset({b"", b"identity", b"gzip"})
_GZIP_WRAPPER = 16 + zlib.MAX_WBITS
# Header and trailer of a gzip stream (RFC 1952): what is not larger cannot shrink.
_GZIP_OVERHEAD = 18


def check_encoding(encoding: bytes, code: StatusCode = StatusCode.UNIMPLEMENTED) -> None:
    """
    Raise `RpcError` for a ``grpc-encoding`` that we cannot read.

    The code is UNIMPLEMENTED at a server and INTERNAL at a client (doc/compression.md of the gRPC project).
    """
    if encoding not in SUPPORTED:
        name = encoding.decode("latin-1")
        raise RpcError(code, f'grpc: Decompressor is not installed for grpc-encoding "{name}"')


def check_compression(name: str) -> None:
    """Raise ValueError for a compression that we cannot send."""
    if name not in get_args(Compression):
        raise ValueError(f"{name!r} is no compression; use one of {', '.join(get_args(Compression))}")


def is_accepted(compression: Compression, accepted: bytes) -> bool:
    """Whether a peer can read it that sent this ``grpc-accept-encoding``. Without compression is always possible."""
    return compression == IDENTITY or compression.encode("ascii") in accepted.replace(b" ", b"").split(b",")


def compress(payload: bytes) -> bytes | None:
    """The message as gzip, or None if it would not become smaller. Takes some 20 ms for a megabyte."""
    if len(payload) <= _GZIP_OVERHEAD:
        return None
    packer = zlib.compressobj(wbits=_GZIP_WRAPPER)
    packed = packer.compress(payload) + packer.flush()
    return packed if len(packed) < len(payload) else None


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
