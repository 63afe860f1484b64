"""One connection over TLS: the handshake with its time, what HTTP/2 needs of it, and the reason when it fails."""

# ruff: noqa: N802, A002  # protocols have the names of Twisted's interfaces
from __future__ import annotations

from typing import cast

from OpenSSL import SSL
from OpenSSL.crypto import X509
from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import (
    IDelayedCall,
    IHandshakeListener,
    IProtocol,
    IReactorTime,
    ITCPTransport,
    ITransport,
)
from twisted.internet.protocol import Protocol
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from txdagu.grpc.certificates import is_for, title
from txdagu.grpc.tls import HTTP2
from txdagu.grpc.tls_failures import Advice, Evidence, TlsError, Trouble, explain, with_advice

CLIENT_PATIENCE = 20.0
"""Seconds that a client may take for the handshake; who never begins one is cut off then."""
SERVER_PATIENCE = 10.0
"""Seconds that a server may take. Less than a channel gives an attempt to connect, which knows less about the reason."""
_HELLO = 24
_CLEAR_HTTP2 = b"PRI * HTTP/2.0"
# A fatal alert, unexpected_message (RFC 8446 sections 5.1 and 6.2), in clear text: its reader knows that TLS is spoken here.
_UNEXPECTED = b"\x15\x03\x03\x00\x02\x02\x0a"


class TlsProtocol(TLSMemoryBIOProtocol):
    """TLS over a transport. Keeps the first bytes that came: they tell what it is that speaks no TLS."""

    def dataReceived(self, bytes: bytes) -> None:
        """Received from the network, encrypted."""
        evidence = cast("TlsEnd", self.wrappedProtocol).evidence
        if len(evidence.first_bytes) < _HELLO:
            evidence.first_bytes += bytes[:_HELLO]
            if evidence.server_end and evidence.first_bytes.startswith(_CLEAR_HTTP2):
                cast("ITransport", self.transport).write(_UNEXPECTED)  # OpenSSL would close without a word
        super().dataReceived(bytes)  # type: ignore[no-untyped-call]

    def _shutdownTLS(self) -> None:
        """
        Close when our close_notify is written, without waiting for that of the other end, as RFC 8446 section 6.1 allows.

        Twisted waits for it, and not every peer sends one; without this hook of Twisted's, connections end 5 s later.
        """
        super()._shutdownTLS()  # type: ignore[no-untyped-call]
        if self.transport is not None:
            self.transport.loseConnection()


@implementer(IHandshakeListener)
class TlsEnd(Protocol):
    """Stands between TLS and the protocol that it protects, and turns what went wrong into a reason."""

    def __init__(self, inner: IProtocol, evidence: Evidence, advice: Advice, clock: IReactorTime) -> None:
        self.evidence = evidence
        self.inner = inner
        self.advice = advice
        self.failure: TlsError | None = None
        self._patience = CLIENT_PATIENCE if evidence.server_end else SERVER_PATIENCE
        self._timer: IDelayedCall | None = clock.callLater(self._patience, self._timed_out)

    def judge(self, _connection: SSL.Connection, certificate: X509, number: int, depth: int, sound: int) -> bool:
        """OpenSSL asks about each certificate of the other end (SSL_CTX_set_verify(3)); the other end's own has depth 0."""
        evidence = self.evidence
        try:
            seen = certificate.to_cryptography()
            if depth == 0:
                evidence.certificate = seen
            if not sound:
                evidence.errors.append((number, title(seen)))
            elif depth == 0 and evidence.host and not is_for(seen, evidence.host):
                evidence.misnamed = True
            else:
                return True
        except Exception:  # noqa: BLE001 - whatever a strange certificate does to its reader, it is refused
            evidence.certificate = None
            evidence.errors.append((number, "that cannot be read"))
        return False

    def handshakeCompleted(self) -> None:
        """TLS is up; HTTP/2 must have been agreed on (RFC 9113 section 3.3)."""
        self.stop_timer()
        self.evidence.handshake_done = True
        if self.evidence.host and self.evidence.certificate is None:
            self.failure = TlsError(Trouble.OTHER, "the server's certificate was not looked at")
            self.abort()
        elif getattr(self.transport, "negotiatedProtocol", None) == HTTP2:
            self.accepted()
        else:
            message = f"{self.evidence.they} did not agree on HTTP/2 by ALPN (h2)"
            self.failure = with_advice(Trouble.NO_HTTP2, message, self.advice)
            self.refused(self.failure)

    def accepted(self) -> None:
        """HTTP/2 was agreed on."""

    def refused(self, _failure: TlsError) -> None:
        """It was not."""
        self.abort()

    def dataReceived(self, data: bytes) -> None:
        """Decrypted, for the protocol inside."""
        if self.failure is None:
            self.evidence.answered = True
            self.inner.dataReceived(data)

    def _timed_out(self) -> None:
        self._timer = None
        message = f"{self.evidence.they} did not finish the TLS handshake within {self._patience:g} s"
        self.failure = with_advice(Trouble.SILENT, message, self.advice)
        self.abort()

    def stop_timer(self) -> None:
        """The handshake is over, or will never be."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def abort(self) -> None:
        """Cut the connection."""
        if self.transport is not None:
            cast("ITCPTransport", self.transport).abortConnection()

    def reason(self, lost: Failure) -> Failure:
        """Why the connection ended: what TLS has to do with it in words, anything else as it is."""
        if self.failure is not None:
            return Failure(self.failure)
        if lost.check(ConnectionAborted):  # by us, who know why
            return lost
        evidence = self.evidence
        early = not evidence.handshake_done or (not evidence.server_end and not evidence.answered)
        if lost.value is not None and (early or isinstance(lost.value, SSL.Error)):
            self.failure = explain(lost.value, evidence, self.advice)
            return Failure(self.failure)
        return lost
