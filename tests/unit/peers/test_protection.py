"""From settings and files to TLS: what is refused at start, what is warned of, what is read again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from txdagu.config.settings import PathSettings, PeerSettings, Settings
from txdagu.grpc.tls_failures import Trouble
from txdagu.model.errors import InvalidInputError
from txdagu.peers.advice import CLIENT_ADVICE, SERVER_ADVICE
from txdagu.peers.connecting import connector
from txdagu.peers.protection import DAY, CertificateWatch, Protection, protection
from txdagu.peers.security import End
from txdagu.testing.certificates import CLIENT, SERVER, Authority, Issued

NOWHERE = PathSettings("", "", "", "", "", "", "", "", "", "")
ORIGINS = {
    "peer.certFile": "DAGU_PEER_CERT_FILE",
    "peer.keyFile": "config.yaml:3",
    "peer.clientCaFile": "--peer.client-ca-file",
}
MAIN = (End.SERVER, End.CLIENT)


class ProtectionCase(SynchronousTestCase):
    """Files in a directory."""

    def setUp(self) -> None:
        """An authority."""
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.authority = Authority()
        self.ca = self.authority.write_authority(self.directory)
        self.now = datetime.now(UTC)

    def settings(self, issued: Issued | None = None, **peer: object) -> Settings:
        """Settings with that pair and the authority."""
        cert_file, key_file = ("", "") if issued is None else issued.write(self.directory)
        values: dict[str, object] = {"cert_file": cert_file, "key_file": key_file, "client_ca_file": self.ca} | peer
        return Settings(NOWHERE, peer=PeerSettings(**values), origins=ORIGINS)  # type: ignore[arg-type]

    def made(self, settings: Settings, *ends: End) -> Protection:
        """What comes of settings."""
        return protection(settings, ends or MAIN, lambda: self.now)

    def problems(self, settings: Settings, *ends: End) -> list[str]:
        """Why nothing comes of them."""
        with self.assertRaises(InvalidInputError) as caught:
            self.made(settings, *ends)
        return [str(problem) for problem in caught.exception.problems]


class Start(ProtectionCase):
    """What a process begins with."""

    def test_made(self) -> None:
        """Each end gets what it needs, and clear text nothing."""
        settings = self.settings(self.authority.issue())
        both = self.made(settings)
        self.assertTrue(both.server is not None and both.server.wants_certificates)
        self.assertTrue(both.client is not None and both.client.shows_certificate and both.client.verify)
        self.assertIsNone(self.made(settings, End.CLIENT).server)
        self.assertIsNone(self.made(settings, End.SERVER).client)
        self.assertEqual(self.made(Settings(NOWHERE)), Protection())
        self.assertEqual(both.warnings(), [])

    def test_file_problems(self) -> None:
        """Everything wrong with the files is told at once, each once, with the setting and where that was given."""
        cert_file, missing = self.directory / "node.crt", self.directory / "missing"
        settings = self.settings(None, cert_file=str(cert_file), key_file=str(missing), client_ca_file=str(missing))
        cert_file.write_bytes(self.authority.issue("late", begin=-9, end=-1).pem)
        found = self.problems(settings)
        self.assertEqual(len(found), 3, found)
        self.assertRegex(
            found[0], f"^peer.certFile from DAGU_PEER_CERT_FILE: {cert_file}: the certificate CN=late expired on"
        )
        self.assertEqual(found[1], f"peer.keyFile from config.yaml:3: {missing}: there is no such file")
        self.assertEqual(found[2], f"peer.clientCaFile from --peer.client-ca-file: {missing}: there is no such file")

    def test_one_certificate_for_both(self) -> None:
        """The main instance needs a certificate for both uses, and is told so; a coordinator or worker alone does not."""
        for usage, missing, end in ((SERVER, "clientAuth", End.SERVER), (CLIENT, "serverAuth", End.CLIENT)):
            settings = self.settings(self.authority.issue(usages=[usage]))
            found = self.problems(settings)
            self.assertEqual(len(found), 1, found)
            self.assertIn(f"its extended key usage lacks {missing}", found[0])
            self.assertIn(
                "the main instance uses it as a server and as a client, so it must be good for both", found[0]
            )
            self.made(settings, end)
        self.assertNotIn("main instance", self.problems(settings, End.SERVER)[0])

    def test_certificate_for_servers_only(self) -> None:
        """Where nobody is known to ask for a client's certificate, one for servers only is a doubt and no reason to refuse."""
        issued = self.authority.issue(usages=[SERVER])
        for settings, ends in ((self.settings(issued), [End.CLIENT]), (self.settings(issued, client_ca_file=""), MAIN)):
            told = self.made(settings, *ends).warnings()
            self.assertEqual(len(told), 1, told)
            self.assertIn("lacks clientAuth", told[0])
            self.assertIn("or servers that ask for a certificate refuse it", told[0])

    def test_connector(self) -> None:
        """Who connects without more ado gets the same refusals, and a warning when nothing is verified."""
        with capturedLogs() as logged:
            connect = connector(self.settings(None, client_ca_file="", skip_tls_verify=True), Clock())
        self.assertIn("peer.skipTlsVerify: any coordinator is believed", formatEvent(logged[0]))
        self.assertEqual(getattr(connect("10.0.0.1", 5), "authority", ""), "10.0.0.1:5")
        self.assertRaises(InvalidInputError, connector, self.settings(None, client_ca_file="/no/such"), Clock())

    def test_advice(self) -> None:
        """Every trouble that settings can mend has advice that names a setting or says whom to turn to."""
        of_servers = {Trouble.THEIRS_MISSING, Trouble.TLS_SPOKEN, Trouble.OURS_WRONG_NAME}
        for trouble in set(Trouble) - {Trouble.OTHER, Trouble.SILENT} - of_servers:
            self.assertIn(trouble, CLIENT_ADVICE)
        for trouble in (
            Trouble.NOT_TLS,
            Trouble.TLS_SPOKEN,
            Trouble.THEIRS_MISSING,
            Trouble.THEIRS_UNKNOWN,
            Trouble.OURS_REFUSED,
            Trouble.OURS_WRONG_NAME,
        ):
            self.assertIn("peer.", SERVER_ADVICE[trouble])


class Watching(ProtectionCase):
    """What is told while a process runs."""

    def watch(self, settings: Settings) -> tuple[CertificateWatch, Clock, list[str]]:
        """A started watch, its clock, and what it said at start."""
        clock = Clock()
        watch = CertificateWatch(self.made(settings), clock)
        with capturedLogs() as logged:
            watch.startService()
        self.addCleanup(watch.stopService)
        return watch, clock, [formatEvent(event) for event in logged if event["log_level"].name == "warn"]

    def test_warnings_at_start(self) -> None:
        """No verification, a certificate that expires soon and an open key: each is told once."""
        settings = self.settings(self.authority.issue("soon", end=12.5), skip_tls_verify=True)
        Path(settings.peer.key_file).chmod(0o644)
        _, _, said = self.watch(settings)
        self.assertEqual(len(said), 3, said)
        self.assertIn("the certificate CN=soon expires in 12 days", said[0])
        self.assertIn("everybody on this host can read this key (chmod o-r ", said[1])
        self.assertIn("peer.skipTlsVerify: any coordinator is believed", said[2])

    def test_daily(self) -> None:
        """A certificate that comes near its end is told every day from then on, once a day."""
        _, clock, said = self.watch(self.settings(self.authority.issue("node", end=40.5)))
        self.assertEqual(said, [])
        told = []
        for _ in range(12):
            self.now += timedelta(days=1)
            with capturedLogs() as logged:
                clock.advance(DAY)
            told.append([formatEvent(event) for event in logged])
        self.assertEqual([len(day) for day in told], [0] * 10 + [1, 1])
        self.assertRegex(told[10][0], r"^the certificate CN=node expires in 29 days, on \S+: have it renewed$")

    def test_reload(self) -> None:
        """A reload tells for each end what is in use; nothing to reload in clear text."""
        settings = self.settings(self.authority.issue())
        watch, _, _ = self.watch(settings)
        told = watch.reload()
        self.assertEqual(len(told), 2)
        self.assertRegex(told[0], "^TLS files as a server: read again; our certificate is CN=node, valid until ")
        Path(settings.peer.cert_file).write_text("nonsense")
        self.assertRegex(
            watch.reload()[1], "^TLS files as a client: unusable, the previous are kept; our certificate is CN=node"
        )
        self.assertEqual(self.watch(Settings(NOWHERE))[0].reload(), [])
