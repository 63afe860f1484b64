"""
Why TLS did not come about, in words: what OpenSSL and its alerts (RFC 8446 section 6) mean for the two ends of a connection.

Each failure has a `Trouble`, so that those who know the settings can add what to do about it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from cryptography import x509
from OpenSSL import SSL
from twisted.internet.error import ConnectionDone, ConnectionLost

from txdagu.grpc.certificates import Usage, has_usage, named_hosts, title


class Trouble(Enum):
    """What kept two ends from speaking TLS. "Theirs" is the certificate of the other end, "ours" the one shown to it."""

    NOT_TLS = "the other end speaks no TLS"
    TLS_EXPECTED = "the other end expects TLS"
    TLS_SPOKEN = "the other end speaks TLS, and we speak clear text"
    UNANSWERED = "the other end closed a connection in clear text before it said anything"
    OLD_VERSION = "no common version of TLS"
    NO_HTTP2 = "HTTP/2 was not agreed on by ALPN"
    THEIRS_UNKNOWN = "their certificate comes from an unknown authority"
    THEIRS_MISSING = "they showed no certificate"
    THEIRS_EXPIRED = "their certificate is not valid now"
    THEIRS_WRONG_NAME = "their certificate is for another name"
    THEIRS_WRONG_USAGE = "their certificate is not for this use"
    OURS_MISSING = "they want a certificate"
    OURS_REFUSED = "they refused our certificate"
    OURS_WRONG_NAME = "our certificate is for another name than the one that is dialled"
    SILENT = "the handshake was not finished in time"
    OURS_UNUSABLE = "our own files cannot be used"
    OTHER = "something else"


Advice = Mapping[Trouble, str]
NO_ADVICE: Advice = {}


class TlsError(Exception):
    """A connection that could not be protected, or lost its protection. The message is for people."""

    def __init__(self, trouble: Trouble, message: str) -> None:
        self.trouble = trouble
        super().__init__(message)


class NoCommonProtocolError(SSL.Error):
    """The client offers other protocols than HTTP/2. OpenSSL sends it the alert no_application_protocol (RFC 7301)."""


@dataclass(slots=True)
class Evidence:
    """What was seen of the other end up to the failure."""

    server_end: bool
    """Whether we are the server."""
    host: str = ""
    """Whom we dialled."""
    first_bytes: bytes = b""
    certificate: x509.Certificate | None = None
    errors: list[tuple[int, str]] = field(default_factory=list)
    """Numbers of failed checks of X509_STORE_CTX_get_error(3), each with the certificate it was about."""
    misnamed: bool = False
    handshake_done: bool = False
    answered: bool = False
    """Whether anything arrived after the handshake."""
    shows_certificate: bool = False

    @property
    def they(self) -> str:
        """The other end."""
        return "the client" if self.server_end else "the server"


TLS_BEGINS = b"\x16\x03"
"""How TLS begins: a record of a handshake, in any version (RFC 8446 section 5.1)."""
_UNKNOWN = frozenset((2, 18, 19, 20, 21, 27))
_CHAIN = {
    7: "the signature of {subject} is wrong",
    9: "the certificate {subject} is not valid yet",
    10: "the certificate {subject} has expired",
    23: "the certificate {subject} was revoked",
    24: "the issuer {subject} is no authority: it lacks basicConstraints CA:TRUE",
    26: "the certificate {subject} is not for this use",
    32: "the issuer {subject} may not issue certificates: its key usage lacks keyCertSign",
    66: "the key of {subject} is too short",
    68: "the signature of {subject} is too weak",
    79: "the issuer {subject} is no authority: it lacks basicConstraints CA:TRUE",
}
_ALERTS: dict[str, tuple[Trouble, str]] = {
    "no application protocol": (Trouble.NO_HTTP2, "{they} does not offer HTTP/2 by ALPN (h2)"),
    "protocol version": (Trouble.OLD_VERSION, "{they} speaks no version of TLS that we do (1.2 and 1.3)"),
    "insufficient security": (Trouble.OLD_VERSION, "{they} asks for other ciphers than ours"),
    "handshake failure": (Trouble.OTHER, "{they} found no common version, cipher or certificate"),
    "certificate required": (Trouble.OURS_MISSING, "{they} requires a certificate from us"),
    "unknown ca": (Trouble.OURS_REFUSED, "{they} does not know the authority that issued our certificate"),
    "certificate expired": (Trouble.OURS_REFUSED, "{they} says that our certificate has expired, or is not valid yet"),
    "certificate revoked": (Trouble.OURS_REFUSED, "{they} says that our certificate was revoked"),
    "unsupported certificate": (Trouble.OURS_REFUSED, "{they} says that our certificate is not for this use"),
    "bad certificate": (Trouble.OURS_REFUSED, "{they} refused our certificate"),
    "certificate unknown": (Trouble.OURS_REFUSED, "{they} refused our certificate"),
    "access denied": (Trouble.OURS_REFUSED, "{they} does not let the owner of our certificate in"),
}
_NOT_TLS = frozenset(
    ("wrong version number", "http request", "packet length too long", "unknown protocol", "https proxy request")
)
_OLD = (Trouble.OLD_VERSION, "{they} speaks no version of TLS that we do (1.2 and 1.3)")
_REASONS: dict[str, tuple[Trouble, str]] = {
    "unsupported protocol": _OLD,
    "version too low": _OLD,
    "no protocols available": _OLD,
    "wrong ssl version": _OLD,
    "no shared cipher": (Trouble.OLD_VERSION, "{they} offers no cipher that we accept"),
    "peer did not return a certificate": (Trouble.THEIRS_MISSING, "{they} showed no certificate, and one is required"),
}
_ALERT = re.compile(r"alert (.+)$")


def explain(error: BaseException, evidence: Evidence, advice: Advice) -> TlsError:
    """The failure that `error` means, with the advice for it."""
    if isinstance(error, TlsError):
        return with_advice(error.trouble, str(error), advice)
    return with_advice(*_meaning(error, evidence), advice)


def with_advice(trouble: Trouble, message: str, advice: Advice) -> TlsError:
    """The failure, its message with what to do about it."""
    hint = advice.get(trouble, "")
    return TlsError(trouble, f"{message}: {hint}" if hint else message)


def _meaning(error: BaseException, evidence: Evidence) -> tuple[Trouble, str]:
    if isinstance(error, NoCommonProtocolError):
        return Trouble.NO_HTTP2, f"{evidence.they} does not offer HTTP/2 by ALPN (h2)"
    if evidence.misnamed:
        return Trouble.THEIRS_WRONG_NAME, _wrong_name(evidence)
    if evidence.errors:
        return _refused(evidence)
    if isinstance(error, SSL.Error):
        return _openssl(_reasons(error), evidence)
    return _lost(error, evidence)


def _openssl(reasons: list[str], evidence: Evidence) -> tuple[Trouble, str]:
    """What the reasons on OpenSSL's error queue mean."""
    for reason in reasons:
        if reason in _NOT_TLS:
            return Trouble.NOT_TLS, _not_tls(evidence)
        if (alert := _ALERT.search(reason)) is not None:
            return _alert(alert[1], evidence)
        if (known := _REASONS.get(reason)) is not None:
            return known[0], known[1].format(they=evidence.they)
    return Trouble.OTHER, f"TLS failed: {', '.join(reasons) or 'no reason given'}"


def _alert(name: str, evidence: Evidence) -> tuple[Trouble, str]:
    """What an alert of the other end means."""
    they = evidence.they
    if name == "internal error" and evidence.server_end:
        # What OpenSSL's clients say when the names do not fit.
        return Trouble.OURS_REFUSED, f"{they} refused our certificate; perhaps it dials us by a name that is not in it"
    if name not in _ALERTS:
        return Trouble.OTHER, f"{they} ended TLS with the alert {name}"
    trouble, text = _ALERTS[name]
    if trouble is Trouble.OURS_REFUSED and not evidence.server_end and not evidence.shows_certificate:
        # TLS 1.2, and servers in Go at any version, say "bad certificate" where there is none.
        return Trouble.OURS_MISSING, f"{they} requires a certificate from us"
    return trouble, text.format(they=they)


def _lost(error: BaseException, evidence: Evidence) -> tuple[Trouble, str]:
    they = evidence.they
    closed = isinstance(error, ConnectionDone | ConnectionLost)
    how = "closed the connection" if closed else f"is gone ({str(error).rstrip('.')})"
    if not evidence.handshake_done:
        if not evidence.first_bytes:
            return Trouble.NOT_TLS, f"{they} {how} without a word of TLS"
        if evidence.server_end:
            # Not every client sends an alert.
            return Trouble.OURS_REFUSED, f"{they} {how} during the TLS handshake; it may have refused our certificate"
        return Trouble.OTHER, f"{they} {how} during the TLS handshake"
    if not evidence.server_end and not evidence.answered:
        if evidence.shows_certificate:
            return (
                Trouble.OURS_REFUSED,
                f"{they} {how} right after the TLS handshake; it may have refused our certificate",
            )
        return Trouble.OURS_MISSING, f"{they} {how} right after the TLS handshake; it may require a certificate from us"
    return Trouble.OTHER, f"{they} {how}"


def _reasons(error: SSL.Error) -> list[str]:
    """The reasons on OpenSSL's error queue, without those that name no cause of their own."""
    if not error.args or not isinstance(error.args[0], list | tuple):
        return [str(error)] if str(error) else []
    return [str(entry[2]).lower() for entry in error.args[0] if entry and entry[2]]


def _not_tls(evidence: Evidence) -> str:
    first, they = evidence.first_bytes, evidence.they
    if first.startswith(b"PRI * HTTP/2"):
        return f"{they} speaks HTTP/2 in clear text"
    if first.startswith((b"GET ", b"POST ", b"HEAD ", b"PUT ", b"CONNECT ", b"HTTP/")):
        return f"{they} speaks HTTP/1 in clear text"
    if first[3:4] == b"\x04" and first[:1] == b"\x00":
        return f"{they} does not speak TLS: it answers with HTTP/2 in clear text"
    return f"{they} does not speak TLS"


def _wrong_name(evidence: Evidence) -> str:
    known = "no host at all" if evidence.certificate is None else named_hosts(evidence.certificate)
    return f"the server's certificate is for {known}, not for {evidence.host}"


def _refused(evidence: Evidence) -> tuple[Trouble, str]:
    number, subject = evidence.errors[0]
    whose = f"{evidence.they}'s certificate"
    if number in _UNKNOWN:
        certificate = evidence.certificate
        who = f" (its chain ends at {subject})"
        if certificate is not None:
            who = f" (issued by {certificate.issuer.rfc4514_string()})"
        return Trouble.THEIRS_UNKNOWN, f"{whose}{who} comes from an authority that is not known here"
    what = _CHAIN.get(number, "the certificate {subject} failed check {number}").format(subject=subject, number=number)
    text = f"{whose} is refused: {what}"
    if number in (9, 10):
        return Trouble.THEIRS_EXPIRED, f"{text}, if the clocks are right{_dates(evidence)}"
    if number == 26:
        usage = Usage.CLIENT if evidence.server_end else Usage.SERVER
        lacks = evidence.certificate is not None and not has_usage(evidence.certificate, usage)
        return Trouble.THEIRS_WRONG_USAGE, f"{text}{f': it lacks {usage.value[0]}' if lacks else ''}"
    return Trouble.OTHER, text


def _dates(evidence: Evidence) -> str:
    certificate = evidence.certificate
    if certificate is None:
        return ""
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return f" ({title(certificate)} is valid from {begins:%Y-%m-%d %H:%M} to {ends:%Y-%m-%d %H:%M} UTC)"
