"""Metadata of calls as headers: keys, text and binary values, and the percent-encoded ``grpc-message``."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from itertools import chain
from urllib.parse import quote_from_bytes

Header = tuple[bytes, bytes]
Metadata = Mapping[str, str | bytes]

_KEY = re.compile(r"[0-9a-z_.-]+")
_TEXT = re.compile(r"[\x20-\x7e]*")
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
# Everything printable may stand for itself, but not the escape sign (PROTOCOL-HTTP2.md, "Percent-Encoded").
_SAFE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")
_RESERVED = frozenset({b"content-type", b"te", b"connection", b"host"})
NONE: Metadata = {}
STATUS_DETAILS = b"grpc-status-details-bin"


class InvalidMetadataError(ValueError):
    """A key or value that may not be sent, or was received and cannot be read."""


def encode_metadata(metadata: Mapping[str, str | bytes]) -> list[Header]:
    """
    The headers for metadata. Keys are lower case; those that end in ``-bin`` take bytes, all others printable ASCII text.

    Raises `InvalidMetadataError` naming the key that cannot be sent.
    """
    headers = []
    for key, value in metadata.items():
        name = key.encode("ascii", "replace")
        if not _KEY.fullmatch(key) or key.startswith("grpc-") or name in _RESERVED:
            raise InvalidMetadataError(
                f"metadata key {key!r} is not allowed: use lower-case letters, digits, '-', '_' and '.', and no grpc- prefix"
            )
        if key.endswith("-bin"):
            if isinstance(value, str):
                raise InvalidMetadataError(f"metadata key {key!r} ends in -bin, so its value must be bytes")
            headers.append((name, base64.b64encode(value).rstrip(b"=")))
        else:
            if not isinstance(value, str) or not _TEXT.fullmatch(value):
                raise InvalidMetadataError(f"the value of metadata key {key!r} must be printable ASCII text")
            headers.append((name, value.encode("ascii")))
    return headers


def decode_metadata(headers: Iterable[Header]) -> dict[str, str | bytes]:
    """
    The metadata among received headers, without those that belong to HTTP or gRPC itself.

    Text values of a repeated key are joined with a comma; of a repeated binary key the first value counts.
    Raises `InvalidMetadataError` for a binary value that is not base64.
    """
    metadata: dict[str, str | bytes] = {}
    for name, value in headers:
        if name.startswith((b":", b"grpc-")) or name in _RESERVED:
            continue
        key = name.decode("latin-1")
        if name.endswith(b"-bin"):
            metadata.setdefault(key, _decode_binary(key, value.split(b",", 1)[0]))
        else:
            text = value.decode("latin-1")
            metadata[key] = f"{metadata[key]!s},{text}" if key in metadata else text
    return metadata


def header_list_size(headers: list[Header]) -> int:
    """The size of a header list as RFC 9113 section 6.5.2 counts it: names, values and 32 bytes for each pair."""
    return sum(map(len, chain.from_iterable(headers))) + 32 * len(headers)


def _decode_binary(key: str, value: bytes) -> bytes:
    """Padding may be there or not; peers must accept both."""
    bare = value.rstrip(b"=")
    try:
        return base64.b64decode(bare + b"=" * (-len(bare) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidMetadataError(f'malformed header: the value of "{key}" is not base64') from error


def encode_status_details(details: bytes) -> Header:
    """The header for a serialized `google.rpc.Status`, which says more about an error (PROTOCOL-HTTP2.md, "Status-Details")."""
    return STATUS_DETAILS, base64.b64encode(details).rstrip(b"=")


def decode_status_details(headers: Iterable[Header]) -> bytes:
    """The serialized `google.rpc.Status` among trailers; empty when there is none, or what there is cannot be read."""
    for name, value in headers:
        if name == STATUS_DETAILS:
            try:
                return _decode_binary("grpc-status-details-bin", value)
            except InvalidMetadataError:
                break
    return b""


def encode_message(text: str) -> bytes:
    """The ``grpc-message`` for a text: UTF-8, with everything but printable ASCII percent-encoded."""
    return quote_from_bytes(text.encode("utf-8", "replace"), safe=_SAFE).encode("ascii")


def decode_message(value: bytes) -> str:
    """The text of a ``grpc-message``. Never fails: what is no escape stands for itself, what is no UTF-8 is replaced."""
    return _ESCAPE.sub(lambda match: bytes((int(match[1], 16),)), value).decode("utf-8", "replace")
