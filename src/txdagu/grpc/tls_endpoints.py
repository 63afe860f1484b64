"""
Endpoints that put TLS over other endpoints, and say why when that fails.

A channel's connection begins when the handshake is over and HTTP/2 agreed on; what went wrong before is the failure of the
attempt. With TLS 1.3 the server judges our certificate only after that: its refusal is then the reason for which the connection
was lost. A server's connection begins at once, so that it counts among those that a server ends when it stops.
"""

# ruff: noqa: N802, N803, A002  # protocols, endpoints and creators have the names of Twisted's interfaces
from __future__ import annotations

from collections.abc import Callable
from typing import cast

from OpenSSL import SSL
from OpenSSL.crypto import X509
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHandshakeListener,
    IListeningPort,
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
    ITCPTransport,
    ITransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from txdagu.grpc.address import format_address
from txdagu.grpc.certificates import ascii_name, is_for
from txdagu.grpc.tls import HTTP2, ClientTls, ServerTls
from txdagu.grpc.tls_failures import Advice, Evidence, TlsError, Trouble, explain, with_advice
from txdagu.grpc.transport import ConnectionProtocol
from txdagu.model.addresses import ip_version

HANDSHAKE_TIMEOUT = 20.0
"""Seconds that a client may take for the handshake; who never begins one is cut off then."""
REPEAT_AFTER = 60.0
"""The same complaint about the same host is logged again after so many seconds."""
_REMEMBERED = 256
_HELLO = 24
_CLEAR_HTTP2 = b"PRI * HTTP/2.0"
# A fatal alert, unexpected_message (RFC 8446 sections 5.1 and 6.2), in clear text: its reader knows that TLS is spoken here.
_UNEXPECTED = b"\x15\x03\x03\x00\x02\x02\x0a"


class _TlsProtocol(TLSMemoryBIOProtocol):
    """TLS over a transport. Keeps the first bytes that came: they tell what it is that speaks no TLS."""

    def dataReceived(self, bytes: bytes) -> None:
        """Received from the network, encrypted."""
        evidence = cast("_End", self.wrappedProtocol).evidence
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
class _End(Protocol):
    """Stands between TLS and the protocol that it protects, and turns what went wrong into a reason."""

    def __init__(self, inner: IProtocol, evidence: Evidence, advice: Advice) -> None:
        self.evidence = evidence
        self._inner = inner
        self._advice = advice
        self._failure: TlsError | None = None

    def judge(self, _connection: SSL.Connection, certificate: X509, number: int, depth: int, sound: int) -> bool:
        """OpenSSL asks about each certificate of the other end (SSL_CTX_set_verify(3)); the other end's own has depth 0."""
        seen = certificate.to_cryptography()
        if depth == 0:
            self.evidence.certificate = seen
        if not sound:
            self.evidence.errors.append((number, seen.subject.rfc4514_string()))
            return False
        if depth == 0 and self.evidence.host and not is_for(seen, self.evidence.host):
            self.evidence.misnamed = True
            return False
        return True

    def handshakeCompleted(self) -> None:
        """TLS is up; HTTP/2 must have been agreed on (RFC 9113 section 3.3)."""
        self.evidence.handshake_done = True
        if getattr(self.transport, "negotiatedProtocol", None) == HTTP2:
            self.accepted()
        else:
            message = f"{self.evidence.they} did not agree on HTTP/2 by ALPN (h2)"
            self._failure = with_advice(Trouble.NO_HTTP2, message, self._advice)
            self.refused(self._failure)

    def accepted(self) -> None:
        """HTTP/2 was agreed on."""

    def refused(self, _failure: TlsError) -> None:
        """It was not."""
        self.abort()

    def dataReceived(self, data: bytes) -> None:
        """Decrypted, for the protocol inside."""
        if self._failure is None:
            self.evidence.answered = True
            self._inner.dataReceived(data)

    def abort(self) -> None:
        """Cut the connection."""
        if self.transport is not None:
            cast("ITCPTransport", self.transport).abortConnection()

    def reason(self, lost: Failure) -> Failure:
        """Why the connection ended: what TLS has to do with it in words, anything else as it is."""
        if self._failure is not None:
            return Failure(self._failure)
        evidence = self.evidence
        early = not evidence.handshake_done or (not evidence.server_end and not evidence.answered)
        if lost.value is not None and (early or isinstance(lost.value, SSL.Error)):
            self._failure = explain(lost.value, evidence, self._advice)
            return Failure(self._failure)
        return lost


# The client's end


class _ClientEnd(_End):
    def __init__(self, inner: IProtocol, evidence: Evidence, advice: Advice, outcome: Deferred[IProtocol]) -> None:
        super().__init__(inner, evidence, advice)
        self._outcome = outcome
        self._begun = False

    def accepted(self) -> None:
        """Let the connection begin."""
        if self._outcome.called:  # given up meanwhile
            self.abort()
            return
        assert self.transport is not None
        self._begun = True
        self._inner.makeConnection(self.transport)
        self._outcome.callback(self._inner)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The attempt failed, or the connection ended."""
        self.transport = None
        if self._begun:
            self._inner.connectionLost(self.reason(reason))
        elif not self._outcome.called:
            self._outcome.errback(self.reason(reason))


@implementer(IOpenSSLClientConnectionCreator)
class _ClientFactory(TLSMemoryBIOFactory):
    """Protects one attempt to connect."""

    protocol = _TlsProtocol

    def __init__(
        self, tls: ClientTls, context: SSL.Context, host: str, inner: IProtocolFactory, clock: IReactorTime
    ) -> None:
        super().__init__(self, True, inner, clock)
        self.outcome: Deferred[IProtocol] = Deferred(self._give_up)
        self.attempt: Deferred[IProtocol] | None = None
        self._tls = tls
        self._context = context
        self._host = host
        self._end: _ClientEnd | None = None

    def buildProtocol(self, addr: IAddress | None) -> TLSMemoryBIOProtocol:
        """The connection is up, TLS is next."""
        inner = cast("IProtocolFactory", self.wrappedFactory).buildProtocol(cast("IAddress", addr))
        assert inner is not None
        evidence = Evidence(
            False, self._host if self._tls.verify else "", shows_certificate=self._tls.shows_certificate
        )
        self._end = _ClientEnd(inner, evidence, self._tls.advice, self.outcome)
        return self.protocol(self, self._end)  # type: ignore[no-untyped-call]

    def clientConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """What does TLS for one connection; see `IOpenSSLClientConnectionCreator`."""
        connection = SSL.Connection(self._context)
        assert self._end is not None
        if self._tls.verify:
            connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, self._end.judge)
        else:
            connection.set_verify(SSL.VERIFY_NONE)
        if not ip_version(self._host):
            connection.set_tlsext_host_name(ascii_name(self._host).encode("ascii"))
        return connection

    def failed(self, failure: Failure) -> None:
        """There is no connection that TLS could protect."""
        if not self.outcome.called:
            self.outcome.errback(failure)

    def _give_up(self, _outcome: Deferred[IProtocol]) -> None:
        if self.attempt is not None:
            self.attempt.cancel()
        if self._end is not None:
            self._end.abort()


@implementer(IStreamClientEndpoint)
class TlsClientEndpoint:
    """
    TLS over `endpoint`, with a server that must prove to be `host`: a name, or an IP address.

    The Deferred of `connect` fires when TLS is up, and fails with `TlsError` if it does not come about; cancel it to give up.
    """

    def __init__(self, endpoint: IStreamClientEndpoint, tls: ClientTls, host: str, clock: IReactorTime) -> None:
        self._endpoint = endpoint
        self._tls = tls
        self._host = host
        self._clock = clock

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See `IStreamClientEndpoint`."""
        try:
            context = self._tls.context()
        except TlsError as error:
            return fail(explain(error, Evidence(server_end=False), self._tls.advice))
        factory = _ClientFactory(self._tls, context, self._host, protocolFactory, self._clock)
        factory.attempt = self._endpoint.connect(factory)
        factory.attempt.addErrback(factory.failed)
        return factory.outcome


# The server's end


class _Refusals:
    """What went wrong with which host, told once and then every minute."""

    log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._told: dict[tuple[str, str], float] = {}

    def tell(self, peer: str, why: str) -> None:
        """Log it, unless that was done lately."""
        now = self._clock.seconds()
        told = (peer.rpartition(":")[0], why)
        if now - self._told.get(told, now - REPEAT_AFTER) < REPEAT_AFTER:
            return
        self._told.pop(told, None)
        self._told[told] = now
        if len(self._told) > _REMEMBERED:
            del self._told[next(iter(self._told))]
        self.log.warn("no TLS connection with {peer}: {why}", peer=peer, why=why)


class _ServerEnd(_End):
    def __init__(
        self,
        inner: IProtocol,
        evidence: Evidence,
        advice: Advice,
        clock: IReactorTime,
        peer: str,
        tell: Callable[[str, str], None],
    ) -> None:
        super().__init__(inner, evidence, advice)
        self._clock = clock
        self._peer = peer
        self._tell = tell
        self._timer: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """The connection begins; what is written waits for the handshake, which must not take for ever."""
        assert self.transport is not None
        self._timer = self._clock.callLater(HANDSHAKE_TIMEOUT, self._timed_out)
        self._inner.makeConnection(self.transport)

    def accepted(self) -> None:
        """The client is who it should be."""
        self._stop_timer()

    def refused(self, failure: TlsError) -> None:
        """Tell a client that may understand it why it is not served."""
        self._stop_timer()
        if isinstance(self._inner, ConnectionProtocol):
            self._inner.hang_up(str(failure))
        else:
            self.abort()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection ended, if it ever began."""
        self.transport = None
        self._stop_timer()
        why = self.reason(reason)
        # Who says nothing at all only looked whether the port is open.
        if self._failure is not None and self.evidence.first_bytes:
            self._tell(self._peer, str(self._failure))
        self._inner.connectionLost(why)

    def _timed_out(self) -> None:
        self._timer = None
        self._failure = TlsError(Trouble.SILENT, f"no TLS handshake within {HANDSHAKE_TIMEOUT:g} s")
        self._tell(self._peer, str(self._failure))
        self.abort()

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None


@implementer(IOpenSSLServerConnectionCreator)
class _ServerFactory(TLSMemoryBIOFactory):
    """Protects the connections of a server."""

    protocol = _TlsProtocol

    def __init__(self, tls: ServerTls, inner: IProtocolFactory, clock: IReactorTime) -> None:
        super().__init__(self, False, inner, clock)
        self._tls = tls
        self._refusals = _Refusals(clock)

    def buildProtocol(self, addr: IAddress | None) -> TLSMemoryBIOProtocol | None:  # type: ignore[override]
        """A connection, unless the server wants none."""
        inner = cast("IProtocolFactory", self.wrappedFactory).buildProtocol(cast("IAddress", addr))
        if inner is None:
            return None
        peer = format_address(addr)
        end = _ServerEnd(inner, Evidence(True), self._tls.advice, self._clock, peer, self._refusals.tell)
        return self.protocol(self, end)  # type: ignore[no-untyped-call]

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """What does TLS for one connection, with the certificate of this moment; see `IOpenSSLServerConnectionCreator`."""
        connection = SSL.Connection(self._tls.context())
        if self._tls.wants_certificates:
            end = cast("_ServerEnd", protocol.wrappedProtocol)
            connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, end.judge)
        return connection


def tls_factory(tls: ServerTls, factory: IProtocolFactory, clock: IReactorTime) -> IProtocolFactory:
    """A factory whose connections speak TLS, and inside it what `factory` makes."""
    return _ServerFactory(tls, factory, clock)


@implementer(IStreamServerEndpoint)
class TlsServerEndpoint:
    """TLS over `endpoint`. Who does not get TLS going is cut off, and logged with address and reason once a minute."""

    def __init__(self, endpoint: IStreamServerEndpoint, tls: ServerTls, clock: IReactorTime) -> None:
        self._endpoint = endpoint
        self._tls = tls
        self._clock = clock

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """See `IStreamServerEndpoint`."""
        return self._endpoint.listen(tls_factory(self._tls, protocolFactory, self._clock))
