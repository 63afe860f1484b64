"""Addresses of HTTP servers, and servers that cannot be reached, in words for people."""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import unquote_to_bytes, urlsplit, urlunsplit

from hyperlink import EncodedURL
from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectError, ConnectingCancelledError, ConnectionClosed, DNSLookupError
from twisted.web._newclient import ParseError
from twisted.web.client import ResponseFailed

UNREACHABLE = (ConnectError, ConnectingCancelledError, DNSLookupError, ResponseFailed)
"""What an HTTP client of Twisted's raises where there is no answer."""

CUT_SHORT = "the connection ended before the whole answer came"


class _Address(EncodedURL):
    """A URL whose host may be an IPv6 address, too: hyperlink reads those, but takes them for names when it encodes."""

    def to_uri(self) -> EncodedURL:
        """The URL in ASCII."""
        if ":" not in self.host:
            return super().to_uri()
        return EncodedURL.to_uri(self.replace(host="ipv6")).replace(host=self.host)


def address(text: str) -> EncodedURL:
    """What treq is to be asked for, of a URL's text. `ValueError` if it cannot be read."""
    return _Address.from_text(text)


def without_login(url: str) -> tuple[str, str]:
    """A URL without ``user:password@``, and the ``Authorization`` header (RFC 7617) that says the same; empty if it has none."""
    parts = urlsplit(url)
    login, at, place = parts.netloc.rpartition("@")
    if not at:
        return url, ""
    return urlunsplit(parts._replace(netloc=place)), "Basic " + b64encode(unquote_to_bytes(login)).decode("ascii")


def reason(error: BaseException) -> str:
    """Why there is no answer; the innermost of what Twisted wraps."""
    reasons = getattr(error, "reasons", None)
    if reasons:
        return reason(reasons[-1].value)
    if isinstance(error, ConnectionClosed):
        return CUT_SHORT
    if isinstance(error, ParseError):
        return f"the answer is not HTTP: {error.args[0]}, {error.data[:80]!r}"
    return str(error).strip().rstrip(".") or (
        CUT_SHORT if type(error).__name__ == "_DataLoss" else type(error).__name__
    )


def cancelled(error: BaseException) -> bool:
    """Whether there is no answer because nobody wants it any more. Twisted tells that in other words than Deferreds do."""
    if isinstance(error, CancelledError | ConnectingCancelledError):
        return True
    return any(cancelled(one.value) for one in getattr(error, "reasons", None) or ())
