"""What the headers of a request say: read once for each header block that a client repeats."""

from __future__ import annotations

from dataclasses import dataclass

from txdagu.wire.compression import check_encoding
from txdagu.wire.header_blocks import HeaderBlock
from txdagu.wire.headers import check_request_headers
from txdagu.wire.http2 import MAX_HEADER_LIST_SIZE
from txdagu.wire.metadata import Header, InvalidMetadataError, ReceivedMetadata, decode_metadata, header_list_size
from txdagu.wire.status import RpcError, StatusCode
from txdagu.wire.timeout import parse_timeout

# What a pair of metadata occupies besides its bytes. Commas make many of one binary value.
_PAIR_OVERHEAD = 72
# The size of what is kept with a header block. A connection remembers many of them.
_LARGEST_KEPT = 8192
# Of what a client says its content is.
_LONGEST_SHOWN = 100


@dataclass(frozen=True, slots=True)
class RequestHead:
    """
    A call as its headers announce it.

    `timeout` is in seconds. `encoding` says how its messages may be compressed, `accepted` how ours may be.
    `size` is roughly what it occupies: the header list as RFC 9113 section 6.5.2 counts it, and a tuple for each pair.
    """

    path: str
    encoding: bytes
    accepted: bytes
    size: int
    timeout: float | None
    metadata: ReceivedMetadata


class HeadersTooLargeError(Exception):
    """The header list is larger than what we announced as our limit."""


class MalformedRequestError(Exception):
    """The header fields are no well-formed HTTP message."""


class NotGrpcError(Exception):
    """A request that is no gRPC call: the HTTP status to answer with, and a text."""

    def __init__(self, http_status: bytes, message: str) -> None:
        super().__init__(message)
        self.http_status = http_status
        self.message = message


def read_request(headers: list[Header]) -> RequestHead:
    """
    What headers say. Repeated blocks give the same object again, unless it is large.

    Raises `HeadersTooLargeError`, `MalformedRequestError`, `NotGrpcError`; `RpcError` with UNIMPLEMENTED for an unknown
    compression, INTERNAL for what cannot be read.
    """
    if isinstance(headers, HeaderBlock):
        known: RequestHead | None = headers.meaning
        if known is None:
            known = _read(headers)
            if known.size <= _LARGEST_KEPT:
                headers.meaning = known
        return known
    return _read(headers)


def _read(headers: list[Header]) -> RequestHead:
    size = header_list_size(headers)
    if size > MAX_HEADER_LIST_SIZE:
        text = f"grpc: received headers of {size} bytes, more than the {MAX_HEADER_LIST_SIZE} allowed"
        raise HeadersTooLargeError(text)
    problem = check_request_headers(headers)
    if problem is not None:
        raise MalformedRequestError(problem)
    known = dict(headers)
    _check_grpc(known)
    encoding = known.get(b"grpc-encoding", b"")
    check_encoding(encoding)
    try:
        timeout = parse_timeout(known[b"grpc-timeout"]) if b"grpc-timeout" in known else None
        metadata = decode_metadata(headers)
    except (InvalidMetadataError, ValueError) as error:
        raise RpcError(StatusCode.INTERNAL, str(error)) from error
    accepted = known.get(b"grpc-accept-encoding", b"")
    size += _PAIR_OVERHEAD * len(metadata.pairs)
    return RequestHead(known[b":path"].decode("latin-1"), encoding, accepted, size, timeout, metadata)


def _check_grpc(headers: dict[bytes, bytes]) -> None:
    if headers.get(b":method") != b"POST":
        raise NotGrpcError(b"405", "grpc: a call must be sent with POST")
    content_type = headers.get(b"content-type", b"")
    if content_type != b"application/grpc" and not content_type.startswith(
        (b"application/grpc+", b"application/grpc;")
    ):
        shown = content_type[:_LONGEST_SHOWN].decode("latin-1")
        raise NotGrpcError(b"415", f'grpc: the content-type is "{shown}", not application/grpc')
    if not headers.get(b":path", b"").startswith(b"/"):
        raise NotGrpcError(b"404", "grpc: malformed method name")
