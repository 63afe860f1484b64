"""Servers for tests that answer a greeting in every wrong way, and one that speaks TLS as it is told."""

# ruff: noqa: N802  # protocols have the method names of Twisted's interfaces
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cryptography import x509
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IReactorTime
from twisted.internet.protocol import Factory, Protocol
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

from txdagu.testing.certificates import Issued


class Reciter(Protocol):
    """Says `text` to whatever it hears first, and closes if it shall; with no text and no closing it is silent for ever."""

    text = b""
    closes = False
    spoken = False

    def dataReceived(self, data: bytes) -> None:
        """Say it, once."""
        assert self.transport is not None
        if not self.spoken:
            self.spoken = True
            self.transport.write(self.text)
        if self.closes:
            self.transport.loseConnection()


def reciting(text: bytes = b"", *, closes: bool = False) -> Factory:
    """A server that says only this."""
    factory = Factory()
    factory.noisy = False

    def build(addr: object) -> Protocol:
        protocol = Reciter()
        protocol.text, protocol.closes = text, closes
        return protocol

    factory.buildProtocol = build  # type: ignore[method-assign]
    return factory


@implementer(IOpenSSLServerConnectionCreator)
class TlsTerms:
    """
    On which terms a server speaks TLS.

    `alpn` None: it knows no ALPN; else the protocols that it takes, the best first. `authorities` are those of the clients'
    certificates, which are then required. `newest` is the newest version of TLS that it speaks.
    """

    def __init__(
        self,
        own: Issued,
        *,
        alpn: Sequence[bytes] | None = (b"h2",),
        authorities: Sequence[x509.Certificate] = (),
        newest: int = SSL.TLS1_3_VERSION,
    ) -> None:
        self._context = context = SSL.Context(SSL.TLS_METHOD)
        context.set_min_proto_version(SSL.TLS1_VERSION)
        context.set_max_proto_version(newest)
        if newest < SSL.TLS1_2_VERSION:
            context.set_cipher_list(b"ALL:@SECLEVEL=0")
        context.use_certificate(own.certificate)
        context.use_privatekey(own.key)
        for each in own.chain:
            context.add_extra_chain_cert(each)
        if alpn is not None:
            context.set_alpn_select_callback(lambda _, offered: next((one for one in alpn if one in offered), b""))
        if authorities:
            store = context.get_cert_store()
            assert store is not None
            for each in authorities:
                store.add_cert(crypto.X509.from_cryptography(each))
                context.add_client_ca(each)
            context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """One connection on these terms."""
        return SSL.Connection(self._context, None)

    def over(self, inner: Factory, clock: IReactorTime) -> Any:
        """The server `inner`, spoken to on these terms."""
        factory = TLSMemoryBIOFactory(self, False, inner, clock=clock)
        factory.noisy = False
        return factory
