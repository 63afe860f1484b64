"""What a greeting brings to light, beyond what tests of the examination show."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txdagu.grpc.greeting import Answer, Limits, Reply
from txdagu.grpc.probe import Prober
from txdagu.grpc.tls_sight import ssl_words
from txdagu.testing.certificates import Authority
from txdagu.testing.channel import MemoryEndpoint
from txdagu.testing.ports import TlsTerms, reciting

# SETTINGS with MAX_CONCURRENT_STREAMS 7, INITIAL_WINDOW_SIZE 1 MiB, and the ACK of the probe's own.
SETTINGS = b"\0\0\x0c\4\0\0\0\0\0\0\3\0\0\0\7\0\4\0\x10\0\0"


class ProbeTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Nobody listens yet."""
        self.clock = Clock()

    def ask(self, server: Any, *, tls: bool = False, refusal: Exception | None = None) -> Reply:
        """What that server says to a greeting."""
        endpoint = MemoryEndpoint(server, self.clock)
        endpoint.refusal = refusal
        prober = Prober(lambda _address, _port: endpoint, self.clock, self.clock.seconds, 5.0)
        asked: Coroutine[Any, Any, Reply]
        asked = prober.greet_tls("10.0.0.1", 1, "host1", None) if tls else prober.greet("10.0.0.1", 1)
        reply = Deferred.fromCoroutine(asked)
        for _ in range(20):
            self.clock.advance(0)
        if not reply.called:
            self.clock.advance(5)
        result: Reply = self.successResultOf(reply)
        self.clock.advance(60)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        return result

    def test_limits(self) -> None:
        """What SETTINGS say, and the defaults of RFC 9113 for what they do not."""
        reply = self.ask(reciting(SETTINGS))
        self.assertEqual(reply, Reply(Answer.HTTP2, limits=Limits(7, 1 << 20, 16384, None)))

    def test_gone_meanwhile(self) -> None:
        """A server that stops listening between two questions."""
        reply = self.ask(reciting(), refusal=Refused())
        self.assertEqual(reply.answer, Answer.CLOSED)
        self.assertIn("refused", reply.detail)

    def test_wrong_first_frame(self) -> None:
        """A PING before SETTINGS is no HTTP/2 (RFC 9113 section 3.4)."""
        reply = self.ask(reciting(b"\0\0\x08\6\0\0\0\0\0" + bytes(8)))
        self.assertEqual(
            (reply.answer, reply.detail), (Answer.OTHER, "00 00 08 06 00 00 00 00 00 00 00 00 00 00 00 00 00")
        )

    def test_pages(self) -> None:
        """A web server that answers with a bare page is one all the same."""
        reply = self.ask(reciting(b"<!DOCTYPE HTML>\n<html lang='en'>"))
        self.assertEqual((reply.answer, reply.detail), (Answer.HTTP1, "<!DOCTYPE HTML>"))

    def test_tls_facts(self) -> None:
        """Version, protocol and chain as the server sent it, and whose certificates it takes."""
        root = Authority("root")
        between = Authority("between", issuer=root)
        node = between.issue("node")
        terms = TlsTerms(node, authorities=(root.certificate,), newest=SSL.TLS1_2_VERSION)
        tls = self.ask(terms.over(reciting(SETTINGS), self.clock), tls=True).tls
        assert tls is not None
        self.assertEqual(tls.chain, (node.certificate, between.certificate))
        self.assertEqual((tls.version, tls.asked, tls.issuers), ("TLSv1.2", True, ("CN=root",)))
        self.assertFalse(tls.complete, "in TLS 1.2 a server that wants a certificate refuses before the end")

    def test_words(self) -> None:
        """Of an alert only its name is told."""
        self.assertEqual(
            ssl_words(SSL.Error([("SSL routines", "", "tlsv13 alert certificate required")])), "certificate required"
        )
        self.assertEqual(
            ssl_words(SSL.Error([("SSL routines", "", "ssl/tls alert bad certificate")])), "bad certificate"
        )
        self.assertEqual(ssl_words(SSL.Error([])), "")
