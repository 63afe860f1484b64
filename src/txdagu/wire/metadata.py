"""Metadata of calls as headers: keys, text and binary values, and the percent-encoded ``grpc-message``."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import cast
from urllib.parse import quote_from_bytes

Header = tuple[bytes, bytes]
Value = str | bytes
Metadata = Mapping[str, Value] | Sequence[tuple[str, Value]]
"""What may be sent: a mapping, or pairs where a key shall have several values."""

_KEY = re.compile(r"[0-9a-z_.-]+")
# RFC 9113 section 8.2.1: no value of a header begins or ends with white space.
_TEXT = re.compile(r"([\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?)?")
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_BROKEN_ESCAPE = re.compile(rb"%[0-9A-F]?\Z")
_CUT = b" ... (cut)"
# Everything printable may stand for itself, but not the escape sign (PROTOCOL-HTTP2.md, "Percent-Encoded").
_SAFE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")
_RESERVED = frozenset({b"content-type", b"te", b"connection", b"host"})
STATUS_DETAILS = b"grpc-status-details-bin"


class InvalidMetadataError(ValueError):
    """A key or value that may not be sent, or was received and cannot be read."""


class ReceivedMetadata(Mapping[str, Value]):
    """
    Metadata as it arrived: `pairs` in the peer's order. Keys are lower case; those that end in ``-bin`` have bytes.

    As a mapping it has one value for each key: the texts of a repeated key joined with a comma, which gRPC holds to mean the
    same, and the first value of a repeated binary key. `get_all` has every one. It can be sent on as it is.
    """

    __slots__ = ("pairs",)

    def __init__(self, metadata: Metadata = ()) -> None:
        self.pairs: tuple[tuple[str, Value], ...] = tuple(pairs_of(metadata))

    def get_all(self, key: str) -> tuple[Value, ...]:
        """Every value of a key, in order; none if the key did not come."""
        return tuple(value for name, value in self.pairs if name == key)

    def __getitem__(self, key: str) -> Value:
        values = self.get_all(key)
        if not values:
            raise KeyError(key)
        if len(values) == 1 or isinstance(values[0], bytes):
            return values[0]
        return ",".join(cast("tuple[str, ...]", values))

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name for name, _value in self.pairs))

    def __len__(self) -> int:
        return len({name for name, _value in self.pairs})

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ReceivedMetadata):
            return self.pairs == other.pairs or all(self.get_all(key) == other.get_all(key) for key in {*self, *other})
        return super().__eq__(other)

    def __hash__(self) -> int:
        return hash(frozenset(self.items()))

    def __bool__(self) -> bool:
        return bool(self.pairs)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.pairs!r})"


def pairs_of(metadata: Metadata) -> Iterable[tuple[str, Value]]:
    """The single pairs of metadata in whichever form."""
    if isinstance(metadata, ReceivedMetadata):
        return metadata.pairs
    return metadata.items() if isinstance(metadata, Mapping) else metadata


NONE = ReceivedMetadata()


def encode_metadata(metadata: Metadata) -> list[Header]:
    """
    The headers for metadata. Keys are lower case; those that end in ``-bin`` take bytes, all others printable ASCII text.

    Raises `InvalidMetadataError` naming the key that cannot be sent.
    """
    headers = []
    for key, value in pairs_of(metadata):
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
                raise InvalidMetadataError(
                    f"the value of metadata key {key!r} must be printable ASCII text without spaces at its ends"
                )
            headers.append((name, value.encode("ascii")))
    return headers


def decode_metadata(headers: Iterable[Header]) -> ReceivedMetadata:
    """
    The metadata among received headers, without those that belong to HTTP or gRPC itself.

    Several binary values joined with commas are taken apart, as PROTOCOL-HTTP2.md ("Custom-Metadata") demands.
    Raises `InvalidMetadataError` for a binary value that is not base64.
    """
    pairs: list[tuple[str, Value]] = []
    for name, value in headers:
        if name.startswith((b":", b"grpc-")) or name in _RESERVED:
            continue
        key = name.decode("latin-1")
        if name.endswith(b"-bin"):
            pairs += [(key, _decode_binary(key, part.strip(b" "))) for part in value.split(b",")]
        else:
            pairs.append((key, value.decode("latin-1")))
    return ReceivedMetadata(pairs)


def header_list_size(headers: Collection[Header]) -> int:
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
    """The ``grpc-message`` for a text: UTF-8, with everything but printable ASCII, and spaces at its ends, percent-encoded."""
    encoded = quote_from_bytes(text.encode("utf-8", "replace"), safe=_SAFE)
    inner = encoded.strip(" ")
    if inner != encoded:
        before = len(encoded) - len(encoded.lstrip(" "))
        encoded = "%20" * before + inner + "%20" * (len(encoded) - before - len(inner))
    return encoded.encode("ascii")


def cut_message(encoded: bytes, size: int) -> bytes:
    """The beginning of a long ``grpc-message``, at most `size` bytes, with a mark that shows where it was cut."""
    if len(encoded) <= size:
        return encoded
    kept = encoded[: max(0, size - len(_CUT))]
    return (_BROKEN_ESCAPE.sub(b"", kept) + _CUT)[: max(0, size)]


def decode_message(value: bytes) -> str:
    """The text of a ``grpc-message``. Never fails: what is no escape stands for itself, what is no UTF-8 is replaced."""
    return _ESCAPE.sub(lambda match: bytes((int(match[1], 16),)), value).decode("utf-8", "replace")
