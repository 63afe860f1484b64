"""The endpoint of a channel without TLS: what its first moments say about a server that wants TLS."""

# ruff: noqa: N803  # endpoints have the names of Twisted's interfaces
from __future__ import annotations

from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory, IStreamClientEndpoint, ITCPTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from txdagu.grpc.tls_failures import Advice, TlsError, Trouble, with_advice

# An alert record of any version of TLS (RFC 8446 section 5.1): content type 21, then a version.
_ALERT = b"\x15\x03"


class _Opening(Protocol):
    """Passes everything on, and tells a server that speaks TLS, or says nothing at all, from a broken connection."""

    def __init__(self, inner: IProtocol, advice: Advice) -> None:
        self._inner = inner
        self._advice = advice
        self._answered = False
        self._failure: TlsError | None = None

    def connectionMade(self) -> None:
        """The connection is up."""
        assert self.transport is not None
        self._inner.makeConnection(self.transport)

    def dataReceived(self, data: bytes) -> None:
        """Look at the first bytes; HTTP/2 never begins like an alert of TLS."""
        if not self._answered:
            self._answered = True
            if data.startswith(_ALERT):
                self._failure = with_advice(Trouble.TLS_EXPECTED, "the server expects TLS", self._advice)
                cast("ITCPTransport", self.transport).abortConnection()
        if self._failure is None:
            self._inner.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection ended."""
        self.transport = None
        if not self._answered and reason.check(ConnectionDone, ConnectionLost):
            message = "the server closed the connection without a word"
            self._failure = with_advice(Trouble.UNANSWERED, message, self._advice)
        self._inner.connectionLost(reason if self._failure is None else Failure(self._failure))


class _OpeningFactory(Factory):
    noisy = False

    def __init__(self, inner: IProtocolFactory, advice: Advice) -> None:
        self._inner = inner
        self._advice = advice

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        inner = self._inner.buildProtocol(cast("IAddress", addr))
        return None if inner is None else _Opening(inner, self._advice)


@implementer(IStreamClientEndpoint)
class ClearTextClientEndpoint:
    """Connections over `endpoint` as they are, except that `TlsError` is the reason of those that end because TLS is expected."""

    def __init__(self, endpoint: IStreamClientEndpoint, advice: Advice) -> None:
        self._endpoint = endpoint
        self._advice = advice

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See `IStreamClientEndpoint`."""
        return self._endpoint.connect(_OpeningFactory(protocolFactory, self._advice))
