"""What `dagu doctor peer` finds out about TLS."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from tests.unit.peers.diagnosis.test_steps import NOWHERE, ExaminationTestCase

from txdagu.config.settings import PeerSettings, Settings
from txdagu.grpc.certificates import Identity
from txdagu.grpc.tls import ClientTls
from txdagu.model.findings import Finding, Mark
from txdagu.peers.diagnosis.own_side import OwnSide
from txdagu.testing.certificates import CLIENT, SERVER, Authority, Issued
from txdagu.testing.ports import TlsTerms, reciting


class Tls(ExaminationTestCase):
    """Certificates and what surrounds them, for a client that speaks TLS."""

    def setUp(self) -> None:
        """An authority that the client trusts."""
        super().setUp()
        self.authority = Authority("the authority")
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.peer_is()

    def peer_is(self, identity: Issued | None = None, *, verify: bool = True, trusts: Authority | None = None) -> None:
        """The client's side."""
        trusts = trusts or self.authority
        ca_file = trusts.write_authority(self.directory)
        cert_file, key_file = ("", "") if identity is None else identity.write(self.directory)
        peer = PeerSettings(False, cert_file, key_file, ca_file, skip_tls_verify=not verify)
        origins = {"peer.insecure": "--peer.insecure", "peer.clientCaFile": "DAGU_PEER_CLIENT_CA_FILE"}
        shown = None if identity is None else Identity((identity.certificate, *identity.chain), identity.key)
        self.own = OwnSide(Settings(NOWHERE, peer=peer, origins=origins), True, verify, (trusts.certificate,), shown)
        self.tls = ClientTls(ca_file, cert_file, key_file, verify)

    def serve(self, node: Issued, **terms: Any) -> None:
        """A coordinator with that certificate."""
        self.listen(TlsTerms(node, **terms).over(self.server, self.clock))

    def test_all_is_well(self) -> None:
        """Every step is told, and the channel of workers works too."""
        self.serve(self.authority.issue("node", names=["host1", "10.0.0.1"], end=365.5))
        examination = self.examine()
        self.assertFalse(examination.failed, examination)
        self.assertEqual(self.one(examination, "names").text, "the certificate is for host1, 10.0.0.1")
        chain = self.one(examination, "chain").text
        self.assertIn("issued by CN=the authority (peer.clientCaFile is ", chain)
        self.assertIn("from DAGU_PEER_CLIENT_CA_FILE", chain)
        self.assertEqual(self.one(examination, "client certificate").text, "it asks for none")
        self.assertEqual(self.one(examination, "alpn").text, "HTTP/2 is agreed on (ALPN h2)")
        self.assertEqual(self.one(examination, "protocol").text, "it speaks TLSv1.3, and so do we")

    def test_clear_text(self) -> None:
        """A coordinator that speaks clear text: both ways out are named."""
        self.listen(self.server)
        examination = self.examine()
        self.assertEqual(
            self.failures(examination), {"protocol": "it speaks HTTP/2 in clear text (h2c), and we speak TLS"}
        )
        advice = examination.findings[-1].advice
        self.assertIn(
            "give the coordinator a certificate (peer.certFile and peer.keyFile), or ask for clear text here", advice
        )
        self.assertIn("peer.insecure is false from --peer.insecure", advice)

    def test_http1(self) -> None:
        """The web pages' port is recognised in spite of TLS."""
        self.listen(reciting(b"HTTP/1.1 400 Bad Request\r\n\r\n", closes=True))
        text = "it does not speak HTTP/2: an HTTP/1 server answers (HTTP/1.1 400 Bad Request)"
        self.assertEqual(self.failures(self.examine()), {"protocol": text})

    def test_silence(self) -> None:
        """A port that says nothing to TLS either is not waited for for ever."""
        self.listen(reciting())
        text = "it does not speak HTTP/2: it takes the connection and says nothing"
        self.assertEqual(self.failures(self.examine(seconds=12)), {"protocol": text})

    def test_no_alpn(self) -> None:
        """TLS without ALPN is not HTTP/2, even if HTTP/2 is spoken in it."""
        self.serve(self.authority.issue(names=["host1"]), alpn=None)
        failures = self.failures(self.examine())
        self.assertEqual(failures["alpn"], "HTTP/2 is not agreed on (ALPN h2): it chose no protocol")

    def test_https_server(self) -> None:
        """A web server with TLS chooses nothing and answers in HTTP/1."""
        terms = TlsTerms(self.authority.issue(names=["host1"]), alpn=None)
        self.listen(terms.over(reciting(b"HTTP/1.1 400 Bad Request\r\n\r\n", closes=True), self.clock))
        failures = self.failures(self.examine())
        self.assertIn("an HTTP/1 server answers (HTTP/1.1 400 Bad Request)", failures["alpn"])

    def test_old_version(self) -> None:
        """TLS 1.1 is too old."""
        self.serve(self.authority.issue(names=["host1"]), newest=SSL.TLS1_1_VERSION)
        examination = self.examine()
        self.assertIn("it speaks TLS and refuses the handshake", self.failures(examination)["protocol"])
        self.assertEqual(examination.findings[-1].advice, "let it speak TLS 1.2 or 1.3")

    def test_everything_wrong_at_once(self) -> None:
        """Authority, name, date and use are all told, not only the first."""
        self.serve(
            Authority("a stranger").issue("node", names=["other.example"], usages=(CLIENT,), begin=-9.5, end=-2.5)
        )
        failures = self.failures(self.examine())
        self.assertEqual(failures["names"], "the certificate of CN=node is not for host1 but for other.example")
        self.assertIn("the certificate of CN=node expired 2 days ago, on ", failures["dates"])
        self.assertIn("lacks serverAuth", failures["usage"])
        self.assertEqual(failures["chain"], "CN=node was issued by CN=a stranger, which is not known here")

    def test_own_files_unusable(self) -> None:
        """Where our own files are given and cannot be used, that is what must be mended, and nothing must be set."""
        self.peer_is(self.authority.issue("worker"))
        self.own = replace(self.own, anchors=(), identity=None)
        self.serve(self.authority.issue(names=["host1"]), authorities=(self.authority.certificate,))
        examination = self.examine()
        self.assertTrue(
            self.one(examination, "chain").advice.startswith("mend what is said about the authorities above; ")
        )
        found = self.one(examination, "client certificate")
        self.assertIn("and ours cannot be used", found.text)
        self.assertEqual(found.advice, "mend what is said about our own certificate and key above")

    def test_no_names(self) -> None:
        """A certificate with only a common name is for no host."""
        self.serve(self.authority.issue("host1", names=()))
        failures = self.failures(self.examine())
        self.assertIn("not for host1 but for no host at all (a common name does not count)", failures["names"])

    def test_missing_intermediate(self) -> None:
        """A coordinator that does not send the authority between is told to."""
        between = Authority("between", issuer=self.authority)
        node = between.issue("node", names=["host1"])
        self.serve(Issued(node.certificate, node.key))
        examination = self.examine()
        self.assertEqual(
            self.failures(examination)["chain"], "CN=node was issued by CN=between, which is not known here"
        )
        self.assertIn("must be sent by the coordinator", self.one(examination, "chain").advice)
        self.told.clear()
        self.serve(node)
        self.assertFalse(self.examine().failed)

    def test_not_yet_valid(self) -> None:
        """A certificate of the future, or a clock of the past."""
        self.serve(self.authority.issue("node", names=["host1"], begin=2))
        examination = self.examine()
        self.assertIn("the certificate of CN=node is not valid before ", self.failures(examination)["dates"])
        self.assertIn("set the clock of this host: it says", self.one(examination, "dates").advice)

    def test_expires_soon(self) -> None:
        """A certificate near its end is a warning; the days left can be read by programs."""
        self.serve(self.authority.issue("node", names=["host1"], end=7.5))
        found = self.one(self.examine(), "dates")
        self.assertEqual(found.mark, Mark.WARNING)
        self.assertIn("the certificate of CN=node expires in 7 days", found.text)
        self.assertAlmostEqual(float(found.figures["days_left"]), 7.5, 1)

    def test_unverified(self) -> None:
        """Whoever asks for no verification gets warnings instead of failures."""
        self.peer_is(verify=False)
        self.serve(Authority("a stranger").issue("node", names=["other.example"]))
        examination = self.examine()
        self.assertFalse(examination.failed, examination)
        self.assertEqual(self.one(examination, "names").mark, Mark.WARNING)
        self.assertEqual(self.one(examination, "chain").mark, Mark.WARNING)

    def required(self, identity: Issued | None, newest: int = SSL.TLS1_3_VERSION) -> Finding:
        """What is said of our certificate by a coordinator that requires one."""
        self.peer_is(identity)
        self.told.clear()
        node = self.authority.issue(names=["host1"])
        self.serve(node, authorities=(self.authority.certificate,), newest=newest)
        return self.one(self.examine(), "client certificate")

    def test_client_certificate(self) -> None:
        """A certificate that is required: shown, missing, of a stranger, for servers only, expired; in both versions of TLS."""
        stranger = Authority("a stranger")
        for newest in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            found = self.required(self.authority.issue("worker", usages=(CLIENT,)), newest)
            self.assertEqual((found.mark, found.text), (Mark.OK, "it accepts ours, CN=worker"))

            found = self.required(None, newest)
            self.assertEqual(found.mark, Mark.FAILURE)
            self.assertEqual(found.text, "it wants a certificate from us issued by CN=the authority, and we have none")
            self.assertIn("peer.certFile is not set", found.advice)

            found = self.required(stranger.issue("worker"), newest)
            self.assertEqual((found.mark, found.text), (Mark.FAILURE, "it refuses ours, CN=worker: unknown ca"))
            self.assertIn("take one issued by CN=the authority", found.advice)

            found = self.required(self.authority.issue("worker", usages=(SERVER,)), newest)
            self.assertEqual(found.mark, Mark.FAILURE)
            self.assertIn("extendedKeyUsage clientAuth", found.advice)

            found = self.required(self.authority.issue("worker", begin=-3, end=-1), newest)
            self.assertEqual(
                (found.mark, found.text), (Mark.FAILURE, "it refuses ours, CN=worker: certificate expired")
            )
