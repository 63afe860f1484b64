"""
Whether a block of header fields is a well-formed HTTP message (RFC 9113 sections 8.2 and 8.3).

A malformed message is a stream error of type PROTOCOL_ERROR. The checks say what is wrong, or None. They run for every
call, so each is one regular expression over all names and one over all values. Spaces around a value are let through:
RFC 9113 forbids them, but gRPC allows them in metadata and in ``grpc-message``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import permutations

from txdagu.wire.metadata import Header

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9a-z]+"
# Pseudo-header fields first, then the others, each ended by a line feed, which no name can hold.
_NAMES = re.compile(rb"((?::[^\n]*\n)*)(?:%s\n)*" % _TOKEN)
_NAME = re.compile(_TOKEN)
_BAD_VALUE = re.compile(rb"[\0\r\n]")
_CONNECTION_SPECIFIC = frozenset({b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"})
_REQUEST_FIELDS = frozenset({b":method", b":scheme", b":path", b":authority"})
_CONNECT_FIELDS = {b":method", b":authority"}
_USUAL_REQUEST = {b"".join([name + b"\n" for name in order]) for order in permutations(sorted(_REQUEST_FIELDS))}


def check_request_headers(headers: Sequence[Header]) -> str | None:
    """Why the header fields that open a request are malformed (RFC 9113 sections 8.2 and 8.3.1)."""
    known = dict(headers)
    pseudo, problem = _check_fields(headers, known)
    if problem is not None:
        return problem
    if pseudo not in _USUAL_REQUEST or known[b":method"] == b"CONNECT":
        problem = _check_request_fields(pseudo, known)
        if problem is not None:
            return problem
    if not known.get(b":path") and known[b":method"] != b"CONNECT":
        return "the field :path is empty"
    return None


def check_response_headers(headers: Sequence[Header]) -> str | None:
    """Why the header fields that open a response are malformed (RFC 9113 sections 8.2 and 8.3.2)."""
    pseudo, problem = _check_fields(headers, dict(headers))
    if problem is None and pseudo != b":status\n":
        shown = _shown(pseudo.replace(b"\n", b" ").strip())
        problem = f"a response has the one pseudo-header field :status, not {shown or 'none'}"
    return problem


def check_trailers(headers: Sequence[Header]) -> str | None:
    """Why trailers are malformed (RFC 9113 sections 8.1 and 8.2)."""
    pseudo, problem = _check_fields(headers, dict(headers))
    if problem is None and pseudo:
        first = pseudo.split(b"\n", 1)[0]
        problem = f"trailers with the pseudo-header field {_shown(first)}"
    return problem


def _check_fields(headers: Sequence[Header], known: dict[bytes, bytes]) -> tuple[bytes, str | None]:
    """What all messages have to keep to: the pseudo-header fields in their order, and what is wrong."""
    names = b"".join([name + b"\n" for name, _ in headers])
    found = _NAMES.fullmatch(names)
    if found is None:
        return b"", _bad_name(headers)
    if _BAD_VALUE.search(b"".join([value for _, value in headers])):
        bad = next(name for name, value in headers if _BAD_VALUE.search(value))
        return b"", f"the value of {_shown(bad)} holds a NUL, a carriage return or a line feed"
    if not _CONNECTION_SPECIFIC.isdisjoint(known):
        bad = next(name for name in known if name in _CONNECTION_SPECIFIC)
        return b"", f"the connection-specific field {_shown(bad)}"
    if b"te" in known and any(name == b"te" and value != b"trailers" for name, value in headers):
        return b"", "the field te with another value than trailers"
    return found[1], None


def _bad_name(headers: Sequence[Header]) -> str:
    """What is wrong with names that do not match as a whole."""
    regular = False
    for name, _ in headers:
        if name.startswith(b":"):
            if regular:
                return f"the pseudo-header field {_shown(name)} after a regular one"
        elif not _NAME.fullmatch(name):
            return (
                f"the field name {_shown(name)!r} is empty, has upper-case letters or characters that no name may have"
            )
        else:
            regular = True
    return "a field name with a line feed"


def _check_request_fields(pseudo: bytes, known: dict[bytes, bytes]) -> str | None:
    fields = pseudo.split(b"\n")[:-1]
    present = set(fields)
    if len(present) != len(fields):
        return f"the pseudo-header field {_shown(max(fields, key=fields.count))} twice"
    if not present <= _REQUEST_FIELDS:
        return f"the pseudo-header field {_shown(min(present - _REQUEST_FIELDS))}, which requests do not have"
    if known.get(b":method") == b"CONNECT":
        return (
            None if present == _CONNECT_FIELDS else "a CONNECT request with more or fewer than :method and :authority"
        )
    missing = _REQUEST_FIELDS - {b":authority"} - present
    return f"without the pseudo-header field {_shown(min(missing))}" if missing else None


def _shown(name: bytes) -> str:
    return name.decode("latin-1")
