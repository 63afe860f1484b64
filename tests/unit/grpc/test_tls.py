"""TLS between channel and server, in memory: each combination of settings with its result and the words at both ends."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from txdagu.grpc.channel import Channel, ChannelOptions
from txdagu.grpc.clear_text import ClearTextClientEndpoint
from txdagu.grpc.server import CallContext, GrpcServerFactory, Handler
from txdagu.grpc.tls import RETRY_AFTER, ClientTls, ServerTls
from txdagu.grpc.tls_endpoints import TlsClientEndpoint, tls_factory
from txdagu.grpc.tls_failures import Evidence, Trouble, explain
from txdagu.grpc.tls_protocol import TlsEnd
from txdagu.testing.certificates import CLIENT, SERVER, Authority, Issued
from txdagu.testing.channel import MemoryEndpoint
from txdagu.testing.echo import ECHO
from txdagu.wire.method import RpcMethod
from txdagu.wire.status import RpcError

HTTPS = ChannelOptions(scheme="https")


class Echo:
    """Answers with the request."""

    def handlers(self) -> Mapping[RpcMethod[Any, Any], Handler]:
        """See `GrpcService`."""
        return {ECHO: self.echo}

    async def echo(self, request: bytes, context: CallContext) -> bytes:
        """The request."""
        return request


def some_days_ago() -> datetime:
    """The time by a clock that is wrong, which makes an end use a certificate that has expired."""
    return datetime.now(UTC) - timedelta(days=5)


class TlsCase(SynchronousTestCase):
    """Files in a directory, and both ends in memory."""

    def setUp(self) -> None:
        """An authority that both know."""
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.clock = Clock()
        self.authority = Authority()
        self.ca = self.authority.write_authority(self.directory)
        self.node = self.write(self.authority.issue())
        self.server_says: list[str] = []
        self.factory = GrpcServerFactory([Echo()], self.clock)

    def write(self, issued: Issued, stem: str = "node") -> tuple[str, str]:
        """The files of a pair."""
        return issued.write(self.directory, stem)

    def server(self, tls: ServerTls | None) -> MemoryEndpoint:
        """The way to a server."""
        return MemoryEndpoint(self.factory if tls is None else tls_factory(tls, self.factory, self.clock), self.clock)  # type: ignore[arg-type]

    def call(self, endpoint: IStreamClientEndpoint, host: str = "localhost") -> str:
        """What comes of a call: ``works``, or the error's text."""
        channel = Channel(lambda: endpoint, self.clock, authority=f"{host}:50055", options=HTTPS)
        outcome: list[object] = []
        with capturedLogs() as logged:
            Deferred.fromCoroutine(channel.unary(ECHO, b"works", timeout=60)).addBoth(outcome.append)
            self.let_pass()
            while not outcome:
                self.clock.advance(1)
            self.let_pass()
            closed = Deferred.fromCoroutine(channel.close())
            self.let_pass(6)
        self.successResultOf(closed)
        self.server_says = [formatEvent(event) for event in logged if event["log_level"].name in ("warn", "info")]
        if isinstance(outcome[0], Failure):
            outcome[0].trap(RpcError)
            return outcome[0].getErrorMessage()
        assert isinstance(outcome[0], bytes)
        return outcome[0].decode()

    def let_pass(self, seconds: int = 0) -> None:
        """Deliver what is on its way."""
        for _ in range(20):
            self.clock.advance(0)
        for _ in range(seconds):
            self.clock.advance(1)

    def meet(self, server: ServerTls | None, client: ClientTls | None, host: str = "localhost") -> str:
        """What comes of a call between these two; None speaks clear text."""
        way = self.server(server)
        if client is None:
            return self.call(ClearTextClientEndpoint(way, {}), host)
        return self.call(TlsClientEndpoint(way, client, host, self.clock), host)

    def assert_refused(self, answer: str, *, client: str, server: str) -> None:
        """The call failed, and these words were told at the two ends."""
        self.assertIn(client, answer)
        self.assertIn("UNAVAILABLE: ", answer)
        if server:
            self.assertEqual(len(self.server_says), 1, self.server_says)
            self.assertIn("no TLS connection with 127.0.0.1:4", self.server_says[0])
            self.assertIn(server, self.server_says[0])


class Table(TlsCase):
    """Server and client as settings make them."""

    def test_certificate_and_authority(self) -> None:
        """A server with a certificate and a client that knows its authority, by name and by address: works."""
        for host in ("localhost", "127.0.0.1", "::1", "LOCALHOST"):
            self.assertEqual(self.meet(ServerTls(*self.node), ClientTls(self.ca), host), "works")
        self.assertEqual(self.server_says, [])

    def test_intermediate_authority(self) -> None:
        """A certificate of an intermediate authority, sent with its chain, is believed by who knows the root."""
        middle = Authority("middle", issuer=self.authority)
        pair = self.write(middle.issue(), "deep")
        self.assertEqual(self.meet(ServerTls(*pair, self.ca), ClientTls(self.ca, *pair)), "works")

    def test_authority_below_the_root(self) -> None:
        """An authority below the root is enough where it is named, at both ends, as for programs in Go."""
        between = Authority("between", issuer=self.authority)
        ca = between.write_authority(self.directory, "between")
        pair = self.write(between.issue("below"), "below")
        self.assertEqual(self.meet(ServerTls(*pair, ca), ClientTls(ca, *pair)), "works")
        other = self.write(Authority("beside", issuer=self.authority).issue(), "beside")
        answer = self.meet(ServerTls(*other), ClientTls(ca))
        self.assertIn("comes from an authority that is not known here", answer)

    def test_issuer_that_is_no_authority(self) -> None:
        """Who has a certificate cannot issue others with its key, and both the chain and the words say so."""
        node = self.authority.issue("ambitious")
        forged = Authority.pretend(node).issue("forged")
        answer = self.meet(ServerTls(*self.write(forged, "forged")), ClientTls(self.ca))
        self.assertIn("the issuer CN=ambitious is no authority: it lacks basicConstraints CA:TRUE", answer)

    def test_mutual(self) -> None:
        """A client with a certificate of an authority that the server knows: works."""
        self.assertEqual(self.meet(ServerTls(*self.node, self.ca), ClientTls(self.ca, *self.node)), "works")

    def test_client_without_certificate(self) -> None:
        """A server that wants certificates refuses a client that has none; with TLS 1.3 that comes after the handshake."""
        answer = self.meet(ServerTls(*self.node, self.ca), ClientTls(self.ca))
        self.assert_refused(
            answer,
            client="the server requires a certificate from us",
            server="the client showed no certificate, and one is required",
        )

    def test_client_of_another_authority(self) -> None:
        """A client's certificate of an authority that the server does not know."""
        pair = self.write(Authority("somebody else").issue(), "stranger")
        answer = self.meet(ServerTls(*self.node, self.ca), ClientTls(self.ca, *pair))
        self.assert_refused(
            answer,
            client="the server does not know the authority that issued our certificate",
            server="the client's certificate (issued by CN=somebody else) comes from an authority that is not known here",
        )

    def test_client_with_expired_certificate(self) -> None:
        """A client's certificate that has expired."""
        pair = self.write(self.authority.issue("late", begin=-10, end=-1), "late")
        answer = self.meet(ServerTls(*self.node, self.ca), ClientTls(self.ca, *pair, now=some_days_ago))
        self.assert_refused(
            answer,
            client="the server says that our certificate has expired, or is not valid yet",
            server="the client's certificate is refused: the certificate CN=late has expired",
        )

    def test_client_with_wrong_usage(self) -> None:
        """A client's certificate that its authority may issue for servers only."""
        servers_only = Authority("for servers", issuer=self.authority, usages=[SERVER])
        pair = self.write(servers_only.issue(), "server")
        answer = self.meet(ServerTls(*self.node, self.ca), ClientTls(self.ca, *pair))
        self.assert_refused(
            answer,
            client="the server says that our certificate is not for this use",
            server="the client's certificate is refused: the certificate CN=for servers is not for this use",
        )

    def test_skip_verification(self) -> None:
        """A client that verifies nothing believes any server, also with an authority named, and still shows its certificate."""
        other = Authority("somebody else").write_authority(self.directory, "other")
        self.assertEqual(self.meet(ServerTls(*self.node), ClientTls(verify=False), "host1"), "works")
        self.assertEqual(self.meet(ServerTls(*self.node), ClientTls(other, verify=False), "host1"), "works")
        mutual = ServerTls(*self.node, self.ca)
        self.assertEqual(self.meet(mutual, ClientTls("", *self.node, verify=False), "10.0.0.9"), "works")

    def test_wrong_authority(self) -> None:
        """A client that does not know the authority of the server's certificate; the system's own do not help."""
        other = Authority("somebody else").write_authority(self.directory, "other")
        for client in (ClientTls(other), ClientTls()):
            answer = self.meet(ServerTls(*self.node), client)
            self.assert_refused(
                answer,
                client="the server's certificate (issued by CN=test authority) comes from an authority that is not known here",
                server="the client does not know the authority that issued our certificate",
            )

    def test_wrong_name(self) -> None:
        """A server whose certificate is for other names or addresses than the one dialled; a common name does not count."""
        pair = self.write(self.authority.issue("host1", names=["*.example.org", "10.0.0.2"]), "named")
        for host in ("host1", "10.0.0.1", "example.org", "a.b.example.org"):
            answer = self.meet(ServerTls(*pair), ClientTls(self.ca), host)
            client = f"the server's certificate is for *.example.org, 10.0.0.2, not for {host}"
            self.assert_refused(answer, client=client, server="the client")
        self.assertEqual(self.meet(ServerTls(*pair), ClientTls(self.ca), "host1.example.org"), "works")
        nameless = self.write(self.authority.issue("host1", names=[]), "nameless")
        answer = self.meet(ServerTls(*nameless), ClientTls(self.ca), "host1")
        self.assertIn("the server's certificate is for no host at all, not for host1", answer)

    def test_no_name(self) -> None:
        """Nobody gets around the name by having none; who believes everybody needs none."""
        way = self.server(ServerTls(*self.node))
        self.assertRaises(ValueError, TlsClientEndpoint, way, ClientTls(self.ca), "", self.clock)
        self.assertEqual(self.call(TlsClientEndpoint(way, ClientTls(verify=False), "", self.clock)), "works")

    def test_expired_server(self) -> None:
        """A server whose certificate has expired, with the dates."""
        pair = self.write(self.authority.issue("late", begin=-10, end=-1), "late")
        answer = self.meet(ServerTls(*pair, now=some_days_ago), ClientTls(self.ca))
        self.assertRegex(answer, r"CN=late has expired, if the clocks are right \(CN=late is valid from .* to .* UTC\)")
        self.assert_refused(
            answer, client="", server="the client says that our certificate has expired, or is not valid yet"
        )

    def test_server_with_wrong_usage(self) -> None:
        """A server whose certificate comes from an authority that may issue for clients only."""
        clients_only = Authority("for clients", issuer=self.authority, usages=[CLIENT])
        answer = self.meet(ServerTls(*self.write(clients_only.issue(), "client")), ClientTls(self.ca))
        self.assert_refused(
            answer,
            client="the server's certificate is refused: the certificate CN=for clients is not for this use",
            server="the client says that our certificate is not for this use",
        )

    def test_clear_text_client(self) -> None:
        """A client in clear text hears that TLS is expected, and the server tells what came instead."""
        answer = self.meet(ServerTls(*self.node), None)
        self.assert_refused(answer, client="the server expects TLS", server="the client speaks HTTP/2 in clear text")

    def test_clear_text_server(self) -> None:
        """A client with TLS tells what it met, and so does the server, with what to do, once a minute."""
        advice = {Trouble.TLS_SPOKEN: "give it a certificate"}
        self.factory = GrpcServerFactory([Echo()], self.clock, advice=advice)
        client = ClientTls(self.ca)
        way = self.server(None)
        answer = self.call(TlsClientEndpoint(way, client, "localhost", self.clock))
        self.assert_refused(
            answer, client="the server does not speak TLS: it answers with HTTP/2 in clear text", server=""
        )
        self.assertEqual(len(self.server_says), 1, self.server_says)
        self.assertRegex(
            self.server_says[0],
            r"^closing the connection of 127\.0\.0\.1:\d+: "
            r"it speaks TLS, and we speak clear text \(h2c\): give it a certificate$",
        )
        self.call(TlsClientEndpoint(way, client, "localhost", self.clock))
        self.assertEqual(self.server_says, [])

    def test_clear_text_both(self) -> None:
        """Without TLS at either end all is as before."""
        self.assertEqual(self.meet(None, None), "works")

    def test_closed_without_a_word(self) -> None:
        """A server of another make closes a connection in clear text in silence: that may be TLS, and is said so."""
        way = MemoryEndpoint(Silent(lambda protocol: protocol.abort()), self.clock)
        advice = {Trouble.UNANSWERED: "perhaps it expects TLS"}
        answer = self.call(ClearTextClientEndpoint(way, advice))
        self.assertIn("the server closed the connection without a word: perhaps it expects TLS", answer)

    def test_unusable_files(self) -> None:
        """A client whose files cannot be used dials nobody, and says which."""
        answer = self.meet(ServerTls(*self.node), ClientTls(str(self.directory / "missing.crt")))
        self.assertIn("our own TLS files cannot be used: ", answer)
        self.assertIn("missing.crt: there is no such file", answer)

    def test_advice(self) -> None:
        """Whoever knows the settings adds what to do."""
        advice = {Trouble.OURS_MISSING: "show yours", Trouble.THEIRS_MISSING: "let them show theirs"}
        server = ServerTls(*self.node, self.ca, advice=advice)
        answer = self.meet(server, ClientTls(self.ca, advice=advice))
        self.assertTrue(answer.endswith("from us: show yours"), answer)
        self.assertTrue(self.server_says[0].endswith("one is required: let them show theirs"), self.server_says)


class Foreign(Protocol):
    """What another program would be; keeps what it receives and how it ended."""

    def __init__(self) -> None:
        self.received = b""
        self.ended: Failure | None = None
        self.then: Callable[[Foreign], None] = lambda _: None

    def dataReceived(self, data: bytes) -> None:
        """Keep it."""
        self.received += data
        self.then(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Keep it."""
        self.ended = reason

    def abort(self) -> None:
        """Close."""
        self.transport.abortConnection()  # type: ignore[union-attr]


class Silent(Factory):
    """Accepts connections, says nothing, and does `then` when something arrives."""

    noisy = False

    def __init__(self, then: Callable[[Foreign], None] = lambda _: None) -> None:
        self.then = then

    def buildProtocol(self, addr: object) -> Foreign:
        """A connection."""
        protocol = Foreign()
        protocol.then = self.then
        return protocol


class Reloading(TlsCase):
    """Files that are replaced while they are in use."""

    def issuer_seen(self, way: MemoryEndpoint, authority: Authority) -> str:
        """What comes of a call by a client that believes only this authority."""
        ca = authority.write_authority(self.directory, "seen")
        return self.call(TlsClientEndpoint(way, ClientTls(ca), "localhost", self.clock))

    def test_replaced_pair(self) -> None:
        """The next connection uses the new pair; the one that is open goes on."""
        tls = ServerTls(*self.node)
        way = self.server(tls)
        client = TlsClientEndpoint(way, ClientTls(self.ca), "localhost", self.clock)
        channel = Channel(lambda: client, self.clock, authority="localhost:50055", options=HTTPS)
        first = Deferred.fromCoroutine(channel.unary(ECHO, b"before"))
        self.let_pass()
        self.assertEqual(self.successResultOf(first), b"before")
        other = Authority("new authority")
        self.write(other.issue())
        self.assertEqual(self.issuer_seen(way, other), "works")
        second = Deferred.fromCoroutine(channel.unary(ECHO, b"still"))
        self.let_pass()
        self.assertEqual(self.successResultOf(second), b"still")
        Deferred.fromCoroutine(channel.close())
        self.let_pass(6)

    def test_broken_replacement(self) -> None:
        """Nonsense, half a file, a missing file and a key of another certificate keep the old pair; each is told once."""
        tls = ServerTls(*self.node)
        way = self.server(tls)
        cert_file, key_file = (Path(file) for file in self.node)
        good_cert, good_key = cert_file.read_bytes(), key_file.read_bytes()
        other = self.authority.issue()
        for path, content, words in (
            (cert_file, b"nonsense", "holds no certificate in PEM"),
            (cert_file, good_cert[: len(good_cert) // 2], "holds a certificate that cannot be read"),
            (key_file, other.key_pem(), "this key does not belong to the certificate"),
            (key_file, None, "there is no such file"),
        ):
            if content is None:
                path.unlink()
            else:
                path.write_bytes(content)
            with capturedLogs() as logged:
                self.assertEqual(self.issuer_seen(way, self.authority), "works")
                self.assertEqual(self.issuer_seen(way, self.authority), "works")
            told = [formatEvent(event) for event in logged if event["log_level"].name == "error"]
            self.assertEqual(len(told), 1, told)
            self.assertIn("changed TLS files cannot be used, the previous ones stay in use", told[0])
            self.assertIn(words, told[0])
            cert_file.write_bytes(good_cert)
            key_file.write_bytes(good_key)
            self.assertEqual(self.issuer_seen(way, self.authority), "works")

    def test_mended_in_place(self) -> None:
        """A change that shows neither in time, size nor place of a file is seen too, as when its permissions are mended."""
        tls = ServerTls(*self.node)
        way = self.server(tls)
        other = Authority("new authority")
        key_file = Path(self.node[1])
        self.write(other.issue())
        key = key_file.read_bytes()
        key_file.write_bytes(b"x" * len(key))
        self.assertEqual(self.issuer_seen(way, self.authority), "works")
        times = key_file.stat()
        key_file.write_bytes(key)
        os.utime(key_file, ns=(times.st_atime_ns, times.st_mtime_ns))
        while key_file.stat().st_ctime_ns == times.st_ctime_ns:  # file systems count in ticks of some milliseconds
            os.utime(key_file, ns=(times.st_atime_ns, times.st_mtime_ns))
        self.assertEqual(self.issuer_seen(way, other), "works")

    def test_not_valid_yet(self) -> None:
        """A new certificate whose time has not come is tried again every minute, and not complained about each time."""
        moment = [datetime.now(UTC)]
        tls = ServerTls(*self.node, now=lambda: moment[0])
        old = tls.certificates
        self.write(self.authority.issue("early", begin=90 / 86400))
        with capturedLogs() as logged:
            for _ in range(2):
                tls.context()
                self.assertEqual(tls.certificates, old)
                moment[0] += RETRY_AFTER
            moment[0] += RETRY_AFTER
            tls.context()
        self.assertNotEqual(tls.certificates, old)
        told = [formatEvent(event) for event in logged]
        self.assertEqual(len(told), 2, told)
        self.assertIn("is not valid before", told[0])
        self.assertIn("TLS files were read again: our certificate is CN=early", told[1])

    def test_mended_client(self) -> None:
        """A client reads its files for each attempt: an authority that was missing is found by the next."""
        path = self.directory / "later.crt"
        client = ClientTls(str(path))
        self.assertFalse(client.usable)
        self.assertIn("there is no such file", self.meet(ServerTls(*self.node), client))
        path.write_bytes(Path(self.ca).read_bytes())
        self.assertEqual(self.meet(ServerTls(*self.node), client), "works")

    def test_replacement_for_another_name(self) -> None:
        """A new certificate without the name that clients dial is used, and told."""
        tls = ServerTls(*self.node)
        tls.dialled_as = "localhost"
        self.assertEqual(tls.misnaming(), "")
        self.write(self.authority.issue(names=["elsewhere.example"]))
        with capturedLogs() as logged:
            tls.context()
        told = [formatEvent(event) for event in logged if event["log_level"].name == "warn"]
        self.assertEqual(len(told), 1, told)
        self.assertIn("is for elsewhere.example, not for localhost, which clients dial", told[0])

    def test_new_client_authority(self) -> None:
        """A server's new file of client authorities counts for the next connection."""
        authorities = self.directory / "clients.crt"
        authorities.write_bytes(Path(self.ca).read_bytes())
        tls = ServerTls(*self.node, str(authorities))
        self.assertEqual(self.meet(tls, ClientTls(self.ca, *self.node)), "works")
        Authority("somebody else").write_authority(self.directory, "clients")
        answer = self.meet(tls, ClientTls(self.ca, *self.node))
        self.assertIn("the server does not know the authority that issued our certificate", answer)

    def test_reload_by_hand(self) -> None:
        """Files are read again when asked for, changed or not, and what is in use can be told."""
        tls = ServerTls(*self.node)
        self.assertTrue(tls.reload())
        self.assertRegex(tls.describe(), r"^our certificate is CN=node, valid until \d{4}-\d\d-\d\d$")
        Path(self.node[1]).write_text("nonsense")
        self.assertFalse(tls.reload())
        self.assertTrue(tls.usable)
        self.assertEqual(ClientTls(self.ca).describe(), "no certificate of our own")


class Judging(SynchronousTestCase):
    """What OpenSSL's question about a certificate is answered with."""

    def test_strange_certificate(self) -> None:
        """A certificate that cannot even be looked at is refused, and raises nothing into OpenSSL."""

        class Unreadable:
            def to_cryptography(self) -> None:
                """Fail as for a certificate with impossible content."""
                raise ValueError("error parsing asn1 value")

        clock = Clock()
        evidence = Evidence(server_end=True)
        end = TlsEnd(Foreign(), evidence, {}, clock)
        self.assertFalse(end.judge(None, Unreadable(), 0, 0, 1))  # type: ignore[arg-type]
        told = explain(SSL.Error([("", "", "certificate verify failed")]), evidence, {})
        self.assertIn("the client's certificate is refused", str(told))
        end.stop_timer()
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_never_judged(self) -> None:
        """A handshake in which nobody asked about the server's certificate is worth nothing."""
        end = TlsEnd(Foreign(), Evidence(server_end=False, host="localhost"), {}, Clock())
        end.handshakeCompleted()
        self.assertEqual(str(end.failure), "the server's certificate was not looked at")
