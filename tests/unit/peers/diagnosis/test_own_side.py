"""Our own peer settings, judged without any coordinator."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from txdagu.config.settings import PathSettings, PeerSettings, Settings
from txdagu.model.findings import Finding, Mark
from txdagu.peers.diagnosis.own_side import OwnSide, own_side
from txdagu.testing.certificates import SERVER, Authority

NOWHERE = PathSettings("", "", "", "", "", "", "", "", "", "")
NOW = datetime.now(UTC)


class OwnSideTests(SynchronousTestCase):
    """Settings and files."""

    def setUp(self) -> None:
        """An authority and a good pair."""
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.authority = Authority("the authority")
        self.ca_file = self.authority.write_authority(self.directory)
        self.pair = self.authority.issue("worker").write(self.directory)

    def judged(self, peer: PeerSettings, **origins: str) -> tuple[OwnSide, dict[str, Finding]]:
        """The side, and the findings by what they are about."""
        given = {f"peer.{key}": origin for key, origin in origins.items()}
        own, findings = own_side(Settings(NOWHERE, peer=peer, origins=given), NOW)
        by_check = {finding.check: finding for finding in findings}
        self.assertEqual(len(by_check), len(findings), findings)
        return own, by_check

    def test_clear_text(self) -> None:
        """By default there is nothing to judge."""
        own, found = self.judged(PeerSettings())
        self.assertFalse(own.tls)
        self.assertEqual(
            [(one.mark, one.text) for one in found.values()],
            [(Mark.OK, "we speak clear text (h2c), because peer.insecure is true by default")],
        )

    def test_mutual_tls(self) -> None:
        """Everything given and good: whom we trust, and who we are."""
        own, found = self.judged(PeerSettings(False, *self.pair, self.ca_file), insecure="DAGU_PEER_INSECURE")
        self.assertEqual({one.mark for one in found.values()}, {Mark.OK})
        self.assertEqual(found["settings"].text, "we speak TLS, because peer.insecure is false from DAGU_PEER_INSECURE")
        self.assertIn("CN=the authority, and the system's; peer.clientCaFile is ", found["authorities"].text)
        self.assertIn("CN=worker, valid until ", found["own certificate"].text)
        self.assertTrue(own.tls and own.verify)
        self.assertEqual(own.anchors, (self.authority.certificate,))
        assert own.identity is not None

    def test_tls_by_files(self) -> None:
        """Files alone ask for TLS; the setting that did is named."""
        own, found = self.judged(PeerSettings(client_ca_file=self.ca_file), clientCaFile="config.yaml:3")
        self.assertTrue(own.tls)
        text = f"we speak TLS, because peer.clientCaFile is {self.ca_file} from config.yaml:3"
        self.assertEqual(found["settings"].text, text)

    def test_contradictions(self) -> None:
        """What the settings alone make impossible fails, with the next step."""
        _, found = self.judged(PeerSettings(insecure=False), insecure="--peer.insecure")
        self.assertEqual(found["settings"].mark, Mark.FAILURE)
        self.assertIn("TLS enabled but no certificates provided", found["settings"].text)
        self.assertIn("peer.clientCaFile", found["settings"].advice)
        _, found = self.judged(PeerSettings(client_ca_file=self.ca_file), insecure="x", clientCaFile="y")
        self.assertIn("asks for clear text, but there are files for TLS too", found["settings"].text)

    def test_half_a_pair(self) -> None:
        """A certificate without its key fails."""
        own, found = self.judged(PeerSettings(False, self.pair[0], "", self.ca_file), insecure="x", certFile="y")
        self.assertEqual(found["settings"].mark, Mark.FAILURE)
        self.assertIn("is of no use without peer.keyFile", found["settings"].text)
        self.assertIsNone(own.identity)

    def test_bad_files(self) -> None:
        """All bad files are told at once, each with the setting that names it."""
        other = self.authority.issue("other").write(self.directory, "other")
        peer = PeerSettings(False, self.pair[0], other[1], "/nowhere/ca.pem")
        own, found = self.judged(peer, insecure="x", clientCaFile="--peer.client-ca-file")
        self.assertEqual(found["authorities"].text, "/nowhere/ca.pem: there is no such file")
        self.assertEqual(found["authorities"].advice, "peer.clientCaFile is /nowhere/ca.pem from --peer.client-ca-file")
        self.assertIn("does not belong to the certificate CN=worker", found["own key"].text)
        self.assertEqual((own.anchors, own.identity), ((), None))

    def test_wrong_use(self) -> None:
        """A certificate that is only for servers is a doubt: whether coordinators ask for one is seen later."""
        pair = self.authority.issue("node", usages=(SERVER,)).write(self.directory)
        own, found = own_side(Settings(NOWHERE, peer=PeerSettings(False, *pair, self.ca_file)), NOW)
        about = [finding for finding in found if finding.check == "own certificate"]
        self.assertEqual([finding.mark for finding in about], [Mark.WARNING, Mark.OK])
        self.assertIn("lacks clientAuth", about[0].text)
        self.assertIsNotNone(own.identity)

    def test_unverified(self) -> None:
        """Believing everybody is a warning."""
        own, found = self.judged(
            PeerSettings(False, skip_tls_verify=True), insecure="x", skipTlsVerify="--peer.skip-tls-verify"
        )
        self.assertEqual(found["authorities"].mark, Mark.WARNING)
        self.assertIn("peer.skipTlsVerify is true from --peer.skip-tls-verify", found["authorities"].text)
        self.assertFalse(own.verify)
