"""TLS to peers that may be anybody, where a user wants that."""

from __future__ import annotations

from typing import Any

from OpenSSL.SSL import Connection
from twisted.internet import ssl
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from zope.interface import implementer


@implementer(IOpenSSLClientConnectionCreator)
class UnverifiedPeer:
    """Connections on which the peer may show any certificate. With a `host`, that name is asked for."""

    def __init__(self, options: ssl.CertificateOptions, host: bytes = b"") -> None:
        self._options = options
        self._host = host

    def clientConnectionForTLS(self, tlsProtocol: Any) -> Connection:  # noqa: N802, N803 - interface of Twisted
        """What speaks TLS for one protocol."""
        connection = Connection(self._options.getContext(), None)
        if self._host:
            connection.set_tlsext_host_name(self._host)
        return connection
