"""TLS with a server that is believed whatever it shows, and everything that was seen of it on the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cryptography import x509
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import CertificateOptions
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOProtocol
from zope.interface import implementer

from txdagu.grpc.certificates import Identity, ascii_name
from txdagu.grpc.tls import HTTP2
from txdagu.model.addresses import ip_version

TLS_HANDSHAKE, TLS_ALERT = 0x16, 0x15
"""The first byte of what a peer sends that speaks TLS (RFC 8446 section 5.1)."""
# The name that OpenSSL gives to the state in which a client has just been asked for its certificate.
_ASKED = b"read server certificate request"


@dataclass(slots=True)
class TlsFacts:
    """
    What the TLS handshake brought to light. `chain` are the server's certificates as it sent them, its own first.

    `asked` tells whether the server asked for our certificate, `issuers` whose certificates it takes (it need not say). `alpn` is
    the protocol that was agreed on, empty without any.
    """

    complete: bool = False
    version: str = ""
    alpn: str = ""
    chain: tuple[x509.Certificate, ...] = ()
    asked: bool = False
    issuers: tuple[str, ...] = ()


@dataclass(slots=True)
class TlsSight:
    """What a TLS connection saw on its way."""

    connection: SSL.Connection | None = None
    first_byte: int | None = None
    asked: bool = False

    def facts(self, complete: bool) -> TlsFacts:
        """What is known now."""
        connection = self.connection
        if connection is None:
            return TlsFacts()
        chain = connection.get_peer_cert_chain(as_cryptography=True)
        return TlsFacts(
            complete=complete,
            version=connection.get_protocol_version_name(),
            alpn=connection.get_alpn_proto_negotiated().decode("ascii", "replace"),
            chain=tuple(chain or ()),
            asked=self.asked,
            issuers=tuple(_distinguished(name) for name in connection.get_client_ca_list()),
        )


def _distinguished(name: Any) -> str:
    return ",".join(f"{key.decode()}={value.decode('utf-8', 'replace')}" for key, value in name.get_components())


@implementer(IOpenSSLClientConnectionCreator)
class CuriousTls:
    """Makes TLS connections that believe everything and remember what they saw."""

    def __init__(self, host: str, identity: Identity | None, seen: TlsSight) -> None:
        self._host = host
        self._seen = seen
        own: dict[str, Any] = {}
        if identity is not None:
            own = {
                "privateKey": identity.key,
                "certificate": identity.chain[0],
                "extraCertChain": list(identity.chain[1:]),
            }
        self._context = CertificateOptions(**own).getContext()
        self._context.set_alpn_protos([HTTP2])
        self._context.set_info_callback(self._progress)

    def _progress(self, connection: SSL.Connection, _where: int, _result: int) -> None:
        if _ASKED in connection.get_state_string():
            self._seen.asked = True

    def clientConnectionForTLS(self, _protocol: TLSMemoryBIOProtocol) -> SSL.Connection:  # noqa: N802 - of the interface
        """One connection; names (not addresses) are told to the server, as clients do."""
        connection = self._seen.connection = SSL.Connection(self._context, None)
        if ip_version(self._host) is None:
            connection.set_tlsext_host_name(ascii_name(self._host).encode("ascii"))
        return connection


def watching(seen: TlsSight) -> type[BufferingTLSTransport]:
    """A transport for one TLS connection that lets `seen` know with which byte the peer begins."""

    class Watching(BufferingTLSTransport):
        """Looks at the first byte below TLS, which tells whether the peer speaks TLS at all."""

        def dataReceived(self, data: bytes) -> None:
            if seen.first_byte is None and data:
                seen.first_byte = data[0]
            super().dataReceived(data)  # type: ignore[no-untyped-call]

    return Watching


def ssl_words(error: SSL.Error) -> str:
    """The last reason in an OpenSSL error, without the prefix that says who wrote it."""
    entries = error.args[0] if error.args and isinstance(error.args[0], list) else []
    reason = str(entries[-1][2]) if entries else ""
    for prefix in ("tlsv1 alert ", "tlsv13 alert ", "ssl/tls alert ", "sslv3 alert ", "tls alert "):
        reason = reason.removeprefix(prefix)
    return reason
