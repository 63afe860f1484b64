"""Why a connection could not be made or was lost, in words for people. What TLS has to do with it comes from `tls_failures`."""

from __future__ import annotations

from twisted.internet import error
from twisted.python.failure import Failure

_WORDS: tuple[tuple[type[Exception], str], ...] = (
    (error.ConnectionAborted, "it was cut from this side"),
    (error.ConnectionDone, "the other side closed it"),
    (error.ConnectionLost, "it broke off, as when the other process dies"),
    (error.TCPTimedOutError, "the address does not answer (the system gave up)"),
    (error.TimeoutError, "the address does not answer"),
)


def describe_failure(failure: Failure) -> str:
    """One line without a full stop. What the system said stays in it."""
    reason = failure.value
    for kind, words in _WORDS:
        if type(reason) is kind:
            return words
    return str(failure.getErrorMessage()).rstrip(".") or type(reason).__name__
