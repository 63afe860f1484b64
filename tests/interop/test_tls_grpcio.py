"""TLS with grpcio at the other end, both directions, over real sockets on this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.threads import deferToThreadPool
from twisted.logger import capturedLogs, formatEvent
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import TestCase

from txdagu.grpc.channel import tcp_channel
from txdagu.grpc.server import CallContext, GrpcServerFactory, Handler
from txdagu.grpc.tls import ClientTls, ServerTls
from txdagu.grpc.tls_endpoints import TlsServerEndpoint
from txdagu.testing.certificates import CLIENT, SERVER, Authority, Issued
from txdagu.testing.echo import ECHO
from txdagu.wire.method import RpcMethod
from txdagu.wire.status import RpcError


class Echo:
    """Answers with the request."""

    def handlers(self) -> Mapping[RpcMethod[Any, Any], Handler]:
        """See `GrpcService`."""
        return {ECHO: self.echo}

    async def echo(self, request: bytes, context: CallContext) -> bytes:
        """The request."""
        return request


class TlsCase(TestCase):
    """Certificates, and threads for blocking calls."""

    timeout = 30

    def setUp(self) -> None:
        """An authority and a pair for this host."""
        from twisted.internet import reactor  # noqa: TID251  # trial's, for real sockets

        self.reactor: Any = reactor
        self.pool = ThreadPool(1, 4)
        self.pool.start()
        self.addCleanup(self.pool.stop)
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.authority = Authority()
        self.root = self.authority.certificate.public_bytes(Encoding.PEM)
        self.ca = self.authority.write_authority(self.directory)
        self.issued = self.authority.issue()
        self.node = self.issued.write(self.directory)

    def in_thread(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Deferred[Any]:
        """Run something that blocks."""
        return deferToThreadPool(self.reactor, self.pool, function, *arguments, **options)


class ForeignClients(TlsCase):
    """grpcio calls our server."""

    async def serve(self, tls: ServerTls) -> int:
        """Our server; its port."""
        factory = GrpcServerFactory([Echo()], self.reactor)
        endpoint = TlsServerEndpoint(TCP4ServerEndpoint(self.reactor, 0, interface="127.0.0.1"), tls, self.reactor)
        port: Any = await endpoint.listen(factory)
        self.addCleanup(lambda: Deferred.fromCoroutine(factory.drain(0)))
        self.addCleanup(port.stopListening)
        return int(port.getHost().port)

    async def answer(self, port: int, root: bytes, issued: Issued | None = None, host: str = "127.0.0.1") -> str:
        """What comes of grpcio's call with these credentials."""
        pair = () if issued is None else (issued.key_pem(), issued.pem)
        channel = grpc.secure_channel(f"{host}:{port}", grpc.ssl_channel_credentials(root, *pair))
        try:
            reply = await self.in_thread(channel.unary_unary(ECHO.path), b"works", timeout=20)
        except grpc.RpcError as error:
            return f"{error.code().name}: {error.details()}"
        finally:
            await self.in_thread(channel.close)
        return bytes(reply).decode()

    async def test_tls(self) -> None:
        """A client that knows our authority reaches us by address and by name; one that does not refuses us."""
        port = await self.serve(ServerTls(*self.node))
        self.assertEqual(await self.answer(port, self.root), "works")
        self.assertEqual(await self.answer(port, self.root, host="localhost"), "works")
        with capturedLogs() as logged:
            refused = await self.answer(port, Authority("other").certificate.public_bytes(Encoding.PEM))
        self.assertIn("UNAVAILABLE", refused)
        self.assertIn("our certificate", formatEvent(logged[0]))

    async def test_mutual_tls(self) -> None:
        """A client with a certificate of our authority is let in; one without, with another's, or for servers only is not."""
        port = await self.serve(ServerTls(*self.node, self.ca))
        self.assertEqual(await self.answer(port, self.root, self.authority.issue(usages=[CLIENT])), "works")
        for issued, words in (
            (None, "the client showed no certificate, and one is required"),
            (Authority("other").issue(), "comes from an authority that is not known here"),
            (self.authority.issue(usages=[SERVER]), "is not for this use: it lacks clientAuth"),
            (self.authority.issue(begin=-9, end=-1), "has expired"),
        ):
            with capturedLogs() as logged:
                self.assertIn("UNAVAILABLE", await self.answer(port, self.root, issued))
            self.assertIn(words, formatEvent(logged[0]))


class ForeignServers(TlsCase):
    """Our channel calls grpcio's server."""

    def serve(self, issued: Issued, client_root: bytes | None = None) -> int:
        """Grpcio's server; its port."""
        server = grpc.server(futures.ThreadPoolExecutor(2))
        handler = grpc.unary_unary_rpc_method_handler(lambda request, _context: request)
        name = ECHO.path.rpartition("/")[2]
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(ECHO.service, {name: handler})])
        pairs = [(issued.key_pem(), issued.pem)]
        credentials = grpc.ssl_server_credentials(pairs, client_root, require_client_auth=client_root is not None)
        port = server.add_secure_port("127.0.0.1:0", credentials)
        server.start()
        self.addCleanup(lambda: self.in_thread(lambda: server.stop(None).wait()))
        return int(port)

    async def answer(self, port: int, tls: ClientTls, host: str = "127.0.0.1") -> str:
        """What comes of our call."""
        channel = tcp_channel(self.reactor, host, port, tls=tls)
        try:
            return (await channel.unary(ECHO, b"works", timeout=20)).decode()
        except RpcError as error:
            return str(error)
        finally:
            await channel.close()

    async def test_tls(self) -> None:
        """We reach it by address and by name, and refuse it for its authority or its name."""
        port = self.serve(self.issued)
        self.assertEqual(await self.answer(port, ClientTls(self.ca)), "works")
        self.assertEqual(await self.answer(port, ClientTls(self.ca), "localhost"), "works")
        self.assertIn("comes from an authority that is not known here", await self.answer(port, ClientTls()))
        self.assertEqual(await self.answer(port, ClientTls(verify=False)), "works")
        named = self.serve(self.authority.issue(names=["host1"]))
        refused = await self.answer(named, ClientTls(self.ca))
        self.assertIn("the server's certificate is for host1, not for 127.0.0.1", refused)

    async def test_mutual_tls(self) -> None:
        """With a certificate we are let in; without one, and with another authority's, we tell what it is about."""
        port = self.serve(self.issued, self.root)
        self.assertEqual(await self.answer(port, ClientTls(self.ca, *self.node)), "works")
        refused = await self.answer(port, ClientTls(self.ca))
        self.assertRegex(refused, "requires? a certificate from us")
        stranger = Authority("other").issue().write(self.directory, "stranger")
        refused = await self.answer(port, ClientTls(self.ca, *stranger))
        self.assertIn("our certificate", refused)

    async def test_clear_text(self) -> None:
        """Without TLS we say what the server may want."""
        channel = tcp_channel(self.reactor, "127.0.0.1", self.serve(self.issued))
        with self.assertRaises(RpcError) as caught:
            await channel.unary(ECHO, b"", timeout=20)
        await channel.close()
        self.assertRegex(str(caught.exception), "the server expects TLS|closed the connection without a word")
