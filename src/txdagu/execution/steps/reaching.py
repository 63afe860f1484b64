"""Servers that cannot be reached, in words for people."""

from __future__ import annotations

from twisted.internet.error import ConnectError, DNSLookupError
from twisted.web.client import ResponseFailed

UNREACHABLE = (ConnectError, DNSLookupError, ResponseFailed)
"""What an HTTP client of Twisted's raises where there is no answer."""


def reason(error: BaseException) -> str:
    """Why there is no answer; the innermost of what Twisted wraps."""
    reasons = getattr(error, "reasons", None)
    if reasons:
        return reason(reasons[-1].value)
    return str(error).strip() or type(error).__name__
