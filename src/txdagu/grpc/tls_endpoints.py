"""
Endpoints that put TLS over other endpoints, and say why when that fails.

A channel's connection begins when the handshake is over and HTTP/2 agreed on; what went wrong before is the failure of the
attempt. With TLS 1.3 the server judges our certificate only after that: its refusal is then the reason for which the connection
was lost. A server's connection begins at once, so that it counts among those that a server ends when it stops.
"""

# ruff: noqa: N802, N803  # protocols, endpoints and creators have the names of Twisted's interfaces
from __future__ import annotations

from typing import cast

from OpenSSL import SSL
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from txdagu.grpc.address import format_address, format_host
from txdagu.grpc.certificates import ascii_name
from txdagu.grpc.complaints import Complaints
from txdagu.grpc.tls import ClientTls, ServerTls
from txdagu.grpc.tls_failures import Advice, Evidence, TlsError, Trouble, explain
from txdagu.grpc.tls_protocol import TlsEnd, TlsProtocol
from txdagu.grpc.transport import ConnectionProtocol
from txdagu.model.addresses import ip_version

log = Logger()


# The client's end


class _ClientEnd(TlsEnd):
    def __init__(
        self,
        inner: IProtocol,
        evidence: Evidence,
        advice: Advice,
        clock: IReactorTime,
        outcome: Deferred[IProtocol],
    ) -> None:
        super().__init__(inner, evidence, advice, clock)
        self._outcome = outcome
        self._begun = False

    def accepted(self) -> None:
        """Let the connection begin."""
        if self._outcome.called:  # given up meanwhile
            self.abort()
            return
        assert self.transport is not None
        self._begun = True
        self.inner.makeConnection(self.transport)
        self._outcome.callback(self.inner)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The attempt failed, or the connection ended."""
        self.transport = None
        self.stop_timer()
        if self._begun:
            self.inner.connectionLost(self.reason(reason))
        elif not self._outcome.called:
            self._outcome.errback(self.reason(reason))


@implementer(IOpenSSLClientConnectionCreator)
class _ClientFactory(TLSMemoryBIOFactory):
    """Protects one attempt to connect."""

    protocol = TlsProtocol

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
        self._end = _ClientEnd(inner, evidence, self._tls.advice, self._clock, self.outcome)
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
    Raises `ValueError` for an empty `host`, which no certificate can prove to be.
    """

    def __init__(self, endpoint: IStreamClientEndpoint, tls: ClientTls, host: str, clock: IReactorTime) -> None:
        if tls.verify and not host:
            raise ValueError("without a host nothing can be verified")
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


class _ServerEnd(TlsEnd):
    def __init__(
        self,
        inner: IProtocol,
        evidence: Evidence,
        advice: Advice,
        clock: IReactorTime,
        peer: IAddress | None,
        complaints: Complaints,
    ) -> None:
        super().__init__(inner, evidence, advice, clock)
        self._peer = peer
        self._complaints = complaints

    def connectionMade(self) -> None:
        """The connection begins; what is written waits for the handshake, which must not take for ever."""
        assert self.transport is not None
        self.inner.makeConnection(self.transport)

    def refused(self, failure: TlsError) -> None:
        """Tell a client that may understand it why it is not served."""
        if isinstance(self.inner, ConnectionProtocol):
            self.inner.hang_up(str(failure))
        else:
            self.abort()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection ended, if it ever began."""
        self.transport = None
        self.stop_timer()
        why = self.reason(reason)
        # Who leaves without a word only looked whether the port is open.
        probed = not self.evidence.first_bytes and self.failure is not None and self.failure.trouble is Trouble.NOT_TLS
        if self.failure is not None and not probed:
            text = f"no TLS connection with {format_address(self._peer)}: {self.failure}"
            self._complaints.add(format_host(self._peer), text, cause=str(self.failure))
        self.inner.connectionLost(why)


@implementer(IOpenSSLServerConnectionCreator)
class _ServerFactory(TLSMemoryBIOFactory):
    """Protects the connections of a server."""

    protocol = TlsProtocol

    def __init__(self, tls: ServerTls, inner: IProtocolFactory, clock: IReactorTime) -> None:
        super().__init__(self, False, inner, clock)
        self._tls = tls
        self._complaints = Complaints(clock, lambda text: log.warn("{text}", text=text))

    def buildProtocol(self, addr: IAddress | None) -> TLSMemoryBIOProtocol | None:  # type: ignore[override]
        """A connection, unless the server wants none."""
        inner = cast("IProtocolFactory", self.wrappedFactory).buildProtocol(cast("IAddress", addr))
        if inner is None:
            return None
        end = _ServerEnd(inner, Evidence(True), self._tls.advice, self._clock, addr, self._complaints)
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
