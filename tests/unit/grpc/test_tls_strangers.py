"""TLS with peers that do not keep to it: other protocols, old versions, silence, port probes."""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from tests.unit.grpc.test_tls import Foreign, Silent, TlsCase
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
)
from twisted.internet.protocol import Factory
from twisted.logger import capturedLogs, formatEvent
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from txdagu.grpc.clear_text import ClearTextClientEndpoint
from txdagu.grpc.complaints import PERIOD
from txdagu.grpc.tls import ClientTls, ServerTls
from txdagu.grpc.tls_endpoints import TlsClientEndpoint
from txdagu.grpc.tls_protocol import CLIENT_PATIENCE
from txdagu.testing.certificates import Issued
from txdagu.testing.channel import MemoryEndpoint


@implementer(IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator)
class ForeignTls:
    """A client or server of another make, which may know neither ALPN nor TLS 1.2."""

    def __init__(self, protocols: list[bytes], *, issued: Issued | None = None, old: bool = False) -> None:
        self.context = SSL.Context(SSL.TLS_METHOD)
        if issued is not None:
            self.context.use_certificate(issued.certificate)
            self.context.use_privatekey(issued.key)
        if old:
            self.context.set_min_proto_version(SSL.TLS1_1_VERSION)
            self.context.set_max_proto_version(SSL.TLS1_1_VERSION)
            self.context.set_cipher_list(b"ALL:@SECLEVEL=0")
        self.protocols = protocols

    def clientConnectionForTLS(self, protocol: object) -> SSL.Connection:
        """A connection that believes any server."""
        connection = SSL.Connection(self.context)
        if self.protocols:
            connection.set_alpn_protos(self.protocols)
        return connection

    def serverConnectionForTLS(self, protocol: object) -> SSL.Connection:
        """A connection that asks for no certificate and agrees on no protocol."""
        return SSL.Connection(self.context)


class Strangers(TlsCase):
    """Ends of another make, and what they must not get away with."""

    def stranger(self, creator: ForeignTls) -> Foreign:
        """A client that is not ours, connected to our server."""
        protocol = Foreign()
        inner = Factory.forProtocol(lambda: protocol)
        way = self.server(ServerTls(*self.node))
        with capturedLogs() as logged:
            way.connect(TLSMemoryBIOFactory(creator, True, inner, self.clock))
            self.let_pass(6)
        self.server_says = [formatEvent(event) for event in logged if event["log_level"].name in ("warn", "info")]
        return protocol

    def test_client_without_alpn(self) -> None:
        """It is disconnected, and told why in a GOAWAY, because it may speak HTTP/2."""
        protocol = self.stranger(ForeignTls([]))
        self.assertIsNotNone(protocol.ended)
        self.assertIn(b"the client did not agree on HTTP/2 by ALPN (h2)", protocol.received)
        self.assertEqual(len(self.server_says), 1)
        self.assertIn("the client did not agree on HTTP/2 by ALPN (h2)", self.server_says[0])
        self.assertEqual(self.factory.connection_count, 0)

    def test_client_with_another_protocol(self) -> None:
        """A client that offers HTTP/1 only gets the alert no_application_protocol."""
        protocol = self.stranger(ForeignTls([b"http/1.1"]))
        assert protocol.ended is not None
        self.assertIn("no application protocol", str(protocol.ended.value))
        self.assertIn("the client does not offer HTTP/2 by ALPN (h2)", self.server_says[0])

    def test_old_version(self) -> None:
        """TLS 1.1 is refused with the alert protocol_version."""
        protocol = self.stranger(ForeignTls([b"h2"], old=True))
        assert protocol.ended is not None
        self.assertIn("protocol version", str(protocol.ended.value))
        self.assertIn("the client speaks no version of TLS that we do (1.2 and 1.3)", self.server_says[0])

    def foreign_server(self, *, old: bool = False) -> str:
        """What our client says of a server that is not ours, and that agrees on no protocol."""
        creator = ForeignTls([], issued=self.authority.issue(), old=old)
        factory: Any = TLSMemoryBIOFactory(creator, False, Factory.forProtocol(Foreign), self.clock)
        way = MemoryEndpoint(factory, self.clock)
        return self.call(TlsClientEndpoint(way, ClientTls(self.ca), "localhost", self.clock))

    def test_server_without_alpn(self) -> None:
        """A server that does not agree on HTTP/2 is left."""
        self.assertIn("the server did not agree on HTTP/2 by ALPN (h2)", self.foreign_server())

    def test_old_server(self) -> None:
        """A server that speaks TLS 1.1 at most is refused."""
        self.assertIn("the server speaks no version of TLS that we do (1.2 and 1.3)", self.foreign_server(old=True))

    def test_never_a_handshake(self) -> None:
        """A connection that never becomes TLS is cut off in time and told once."""
        way = self.server(ServerTls(*self.node))
        protocol = Foreign()
        way.connect(Factory.forProtocol(lambda: protocol))
        with capturedLogs() as logged:
            self.let_pass(int(CLIENT_PATIENCE) - 1)
            self.assertIsNone(protocol.ended)
            self.let_pass(2)
        self.assertIsNotNone(protocol.ended)
        self.assertEqual(self.factory.connection_count, 0)
        self.assertIn("the client did not finish the TLS handshake within 20 s", formatEvent(logged[0]))

    def test_port_probe(self) -> None:
        """Who only looks whether the port is open, as load balancers do, is no trouble."""
        way = self.server(ServerTls(*self.node))
        with capturedLogs() as logged:
            way.connect(Factory.forProtocol(Foreign))
            way.connections[0].cut()
            self.let_pass()
        self.assertEqual(logged, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_told_once_a_minute(self) -> None:
        """The same trouble of the same host is logged once, and again after a minute."""
        way = self.server(ServerTls(*self.node))
        told = []
        for _ in range(3):
            self.call(ClearTextClientEndpoint(way, {}))
            told.append(len(self.server_says))
        self.assertEqual(told, [1, 0, 0])
        self.clock.advance(PERIOD)
        self.call(ClearTextClientEndpoint(way, {}))
        self.assertEqual(len(self.server_says), 1)

    def test_silent_server(self) -> None:
        """A server that accepts and says nothing: the channel gives up in time, and the connection is closed."""
        ended: list[Foreign] = []
        way = MemoryEndpoint(Silent(ended.append), self.clock)
        answer = self.call(TlsClientEndpoint(way, ClientTls(self.ca), "localhost", self.clock))
        self.assertIn("the server did not finish the TLS handshake within 10 s", answer)
        self.assertIsNotNone(ended[0].ended)

    def test_drain_during_handshake(self) -> None:
        """A server that stops does not wait for connections that never became TLS."""
        way = self.server(ServerTls(*self.node))
        way.connect(Factory.forProtocol(Foreign))
        drained = Deferred.fromCoroutine(self.factory.drain(2))
        self.let_pass(8)
        self.successResultOf(drained)
        self.assertEqual(self.clock.getDelayedCalls(), [])
