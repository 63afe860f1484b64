"""Why a connection could not be made or was lost, in words for people."""

from __future__ import annotations

from OpenSSL import SSL
from service_identity import VerificationError
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
    if isinstance(reason, SSL.Error):
        return f"TLS failed: {_openssl_reasons(reason)}"
    if isinstance(reason, VerificationError):
        return f"TLS failed: the server's certificate is for another name ({_mismatches(reason)})"
    return str(failure.getErrorMessage()).rstrip(".") or type(reason).__name__


def _openssl_reasons(reason: SSL.Error) -> str:
    """OpenSSL keeps a queue of (library, function, reason)."""
    entries = reason.args[0] if reason.args and isinstance(reason.args[0], list) else []
    return "; ".join(entry[-1] for entry in entries) or "the other side broke off the handshake"


def _mismatches(reason: VerificationError) -> str:
    wanted = [mismatch.mismatched_id for mismatch in reason.errors]
    names = [getattr(one, "hostname", None) or getattr(one, "ip", None) for one in wanted]
    shown = [name.decode("ascii", "replace") if isinstance(name, bytes) else str(name) for name in names]
    return f"{', '.join(shown)} is not in it"
