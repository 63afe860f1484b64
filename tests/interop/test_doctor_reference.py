"""`dagu doctor peer` and a coordinator of the released Dagu 1.30.2."""

import os
import shutil
import tempfile
import unittest
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from txdagu.testing.certificates import Authority
from txdagu.testing.programs import DAGU, Program, run

REFERENCE = os.environ.get("TXDAGU_REFERENCE", "")


@unittest.skipUnless(REFERENCE, "the released program is not installed (python tests/interop/install_reference.py)")
class ReferenceDoctorTests(SynchronousTestCase):
    """The released coordinator, found in the registry."""

    def setUp(self) -> None:
        """A home that both share, and an authority."""
        self.home = Path(tempfile.mkdtemp(prefix="txdagu-interop-"))
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)
        self.env = {"DAGU_HOME": str(self.home), "HOME": str(self.home)}
        self.authority = Authority("cluster authority")
        self.ca_file = self.authority.write_authority(self.home)

    def start(self, *options: str) -> None:
        """Their coordinator."""
        words = [REFERENCE, "coordinator", "--coordinator.port=0", "--coordinator.advertise=127.0.0.1", *options]
        program = Program(words, self.env, cwd=str(self.home))
        self.addCleanup(program.__exit__, None, None, None)
        program.wait_for("[Cc]oordinator.*(started|starting|[Ss]erving|listening|addr)")

    def test_clear_text(self) -> None:
        """It works, is told to be without our extensions, and its clock to be unknown; over TLS the mismatch is told."""
        self.start()
        done = run([*DAGU, "doctor", "peer"], self.env)
        self.assertEqual(done.process.returncode, 0, done.output)
        for expected in (
            "speaks HTTP/2 in clear text",
            "without our extensions",
            "its clock is unknown",
            "the server is SERVING",
        ):
            self.assertIn(expected, done.output)
        done = run([*DAGU, "doctor", "peer", f"--peer.client-ca-file={self.ca_file}"], self.env)
        self.assertEqual(done.process.returncode, 1, done.output)
        self.assertIn("it speaks HTTP/2 in clear text (h2c), and we speak TLS", done.output)

    def test_mutual_tls(self) -> None:
        """Our certificate is accepted; without it, that one is wanted; in clear text, that it speaks TLS."""
        cert_file, key_file = self.authority.issue("node").write(self.home)
        files = [
            f"--peer.cert-file={cert_file}",
            f"--peer.key-file={key_file}",
            f"--peer.client-ca-file={self.ca_file}",
        ]
        self.start(*files)
        for options, code, expected in (
            (files, 0, "it accepts ours, CN=node"),
            (files[2:], 1, "it wants a certificate from us issued by CN=cluster authority, and we have none"),
            ([], 1, "it speaks TLS, with a certificate for localhost, 127.0.0.1, ::1, and we speak clear text (h2c)"),
        ):
            done = run([*DAGU, "doctor", "peer", *options], self.env)
            self.assertEqual(done.process.returncode, code, done.output)
            self.assertIn(expected, done.output)
