"""How a call ended, read from what the peer sent: trailers, an HTTP status, or a reset."""

from __future__ import annotations

from http import HTTPStatus

from txdagu.wire.metadata import Header, decode_message
from txdagu.wire.status import StatusCode

# doc/http-grpc-status-mapping.md of the gRPC project
_FROM_HTTP = {
    400: StatusCode.INTERNAL,
    401: StatusCode.UNAUTHENTICATED,
    403: StatusCode.PERMISSION_DENIED,
    404: StatusCode.UNIMPLEMENTED,
    429: StatusCode.UNAVAILABLE,
    502: StatusCode.UNAVAILABLE,
    503: StatusCode.UNAVAILABLE,
    504: StatusCode.UNAVAILABLE,
}
# PROTOCOL-HTTP2.md, "HTTP2 Transport Mapping / Errors"; RFC 9113 section 7 has the numbers
_FROM_RESET = {
    0x7: (StatusCode.UNAVAILABLE, "the peer refused the call before looking at it"),
    0x8: (StatusCode.CANCELLED, "the peer cancelled the call"),
    0xB: (StatusCode.RESOURCE_EXHAUSTED, "the peer asks for fewer calls"),
    0xC: (StatusCode.PERMISSION_DENIED, "the peer finds the connection not secure enough"),
}
_RESET_NAMES = {
    0x0: "NO_ERROR",
    0x1: "PROTOCOL_ERROR",
    0x2: "INTERNAL_ERROR",
    0x3: "FLOW_CONTROL_ERROR",
    0x4: "SETTINGS_TIMEOUT",
    0x5: "STREAM_CLOSED",
    0x6: "FRAME_SIZE_ERROR",
    0x7: "REFUSED_STREAM",
    0x8: "CANCEL",
    0x9: "COMPRESSION_ERROR",
    0xA: "CONNECT_ERROR",
    0xB: "ENHANCE_YOUR_CALM",
    0xC: "INADEQUATE_SECURITY",
    0xD: "HTTP_1_1_REQUIRED",
}
Outcome = tuple[StatusCode, str]


def from_trailers(headers: list[Header]) -> Outcome | None:
    """The status in trailers, or None when there is none. A status that is no known number is UNKNOWN."""
    number = message = None
    for name, value in headers:
        if name == b"grpc-status" and number is None:
            number = value
        elif name == b"grpc-message" and message is None:
            message = value
    if number is None:
        return None
    text = decode_message(message or b"")
    try:
        return StatusCode(int(number)), text
    except ValueError:
        shown = number.decode("ascii", "replace")
        return StatusCode.UNKNOWN, f"{text} (the peer sent the unknown grpc-status {shown})".lstrip()


def from_http_status(status: bytes) -> Outcome:
    """What an HTTP status means when the answer has no ``grpc-status``."""
    try:
        number = int(status)
    except ValueError:
        return StatusCode.UNKNOWN, "the answer has no valid HTTP status"
    try:
        phrase = f" ({HTTPStatus(number).phrase})"
    except ValueError:
        phrase = ""
    return _FROM_HTTP.get(
        number, StatusCode.UNKNOWN
    ), f"unexpected HTTP status code received from server: {number}{phrase}"


def from_reset(code: int) -> Outcome:
    """What a RST_STREAM means to the client. Codes without a meaning of their own are INTERNAL."""
    name = reset_name(code)
    if code in _FROM_RESET:
        status, text = _FROM_RESET[code]
        return status, f"{text} (RST_STREAM {name})"
    return StatusCode.INTERNAL, f"the peer ended the stream with RST_STREAM {name}"


def reset_name(code: int) -> str:
    """The name of an HTTP/2 error code, or its number."""
    return _RESET_NAMES.get(code, f"0x{code:x}")
