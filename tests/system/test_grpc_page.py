"""The programs of docs/grpc.md, run as they stand there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from txdagu.testing.certificates import Authority
from txdagu.testing.programs import Program, run

PAGE = Path(__file__).parents[2] / "docs" / "grpc.md"
SAID = [
    "length 4 len",
    "split one",
    "split two",
    "joined a b",
    "upper PING",
    "INVALID_ARGUMENT: no text value",
]


class GrpcPageTests(SynchronousTestCase):
    """What users copy must work."""

    def setUp(self) -> None:
        """Every block is a file."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        for name, code in re.findall(r"```python\n# (\w+\.py)\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL):
            (self.directory / name).write_text(code, "utf-8")

    def talk(self, server: list[str], client: str) -> list[str]:
        """What a client of a server says."""
        env, here = {"PYTHONPATH": ":".join(path for path in sys.path if path)}, str(self.directory)
        with Program([sys.executable, *server], env, here) as serving:
            port = serving.wait_for(r"listening on port (\d+)")[1]
            return run([sys.executable, client, port], env, here).lines

    def test_clear_text(self) -> None:
        """All four kinds of calls, metadata, and an error with details."""
        self.assertEqual(self.talk(["server.py", "tcp:0:interface=127.0.0.1"], "client.py"), SAID)

    def test_tls(self) -> None:
        """The same over mutual TLS, with files in the working directory."""
        authority = Authority()
        authority.issue().write(self.directory)
        authority.write_authority(self.directory)
        self.assertEqual(self.talk(["tls_server.py", "0"], "tls_client.py"), SAID)
