"""The commands of the README that make certificates, run as they stand there."""

from __future__ import annotations

import re
import shutil
import subprocess
import unittest
from datetime import UTC, datetime
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from txdagu.grpc.certificates import Usage, host_names, read_authorities, read_identity

README = Path(__file__).parents[2] / "README.md"


@unittest.skipUnless(shutil.which("openssl"), "there is no openssl command")
class ReadmeTests(SynchronousTestCase):
    """What users copy must work."""

    def test_openssl(self) -> None:
        """The pair is good for both ends, names its host, and comes from the authority, as openssl judges too."""
        commands = re.search(r"```bash\n(# once; ca\.key.*?)```", README.read_text("utf-8"), re.DOTALL)
        assert commands is not None
        directory = Path(self.mktemp())
        directory.mkdir()
        script = f"set -e\n{commands[1]}\nopenssl verify -x509_strict -CAfile ca.crt main.crt\n"
        ended = subprocess.run(
            ["bash", "-c", script], cwd=directory, capture_output=True, text=True, timeout=60, check=False
        )
        self.assertEqual(ended.returncode, 0, ended.stderr)
        now = datetime.now(UTC)
        identity, findings = read_identity(str(directory / "main.crt"), str(directory / "main.key"), tuple(Usage), now)
        self.assertEqual(findings, [])
        assert identity is not None
        self.assertEqual(host_names(identity.chain[0]), ("main.example.org", "10.77.0.1"))
        authorities, findings = read_authorities(str(directory / "ca.crt"), now)
        self.assertEqual(findings, [])
        identity.chain[0].verify_directly_issued_by(authorities[0])
