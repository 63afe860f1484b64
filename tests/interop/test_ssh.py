"""
Steps of type ssh through Dagu 1.30.2 and through us, against one sshd of OpenSSH: what is asked of it and what comes of that is
the same, byte for byte.

The files in ``ssh`` are compared like those in ``dags``. The server lets in who runs the tests, with the key ``id`` and a home of
its own, so that no start-up file of a shell says anything; who comes with the key ``recorder`` gets nothing executed but the text
of the command printed. `TXDAGU_REFERENCE` names the released
program; without it, or without sshd, these tests are skipped.
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from unittest import TestCase, skipUnless

import pytest

from txdagu.testing.differential.cases import read_cases
from txdagu.testing.differential.comparison import covered, differences
from txdagu.testing.differential.programs import Result, run_both

REFERENCE = os.environ.get("TXDAGU_REFERENCE", "")
SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:" + os.environ.get("PATH", "")) or ""
CASES = {case.name: case for case in read_cases(Path(__file__).parent / "ssh")}
COMPATIBILITY = Path(__file__).parents[2] / "docs" / "compatibility.md"
RECORDER = 'command="printf \'%s\' \\"$SSH_ORIGINAL_COMMAND\\"; echo; echo --" '
CONFIG = """\
HostKey {directory}/host
AuthorizedKeysFile {directory}/authorized
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
SetEnv HOME={directory}/home
AcceptEnv *
"""


class Sshd:
    """A server below `directory`, until `stop`: for each connection to `port` an sshd of its own, as inetd starts them."""

    def __init__(self, directory: Path) -> None:
        for name in ("host", "id", "recorder", "other"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / name], check=True)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port = self._listener.getsockname()[1]
        publics = {name: (directory / f"{name}.pub").read_text() for name in ("host", "id", "recorder", "other")}
        (directory / "authorized").write_text(publics["id"] + RECORDER + publics["recorder"])
        for name, key in (("known", "host"), ("mismatch", "other")):
            (directory / name).write_text(f"[127.0.0.1]:{self.port} {publics[key]}")
        (directory / "config").write_text(CONFIG.format(directory=directory))
        for path in (directory, directory / "authorized"):
            path.chmod(0o755)  # read as the user who logs in
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # where it wants to be when it has given up its rights
        self._argv = [SSHD, "-i", "-f", str(directory / "config"), "-E", str(directory / "log")]
        self._processes: list[subprocess.Popen[bytes]] = []
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                if self._argv:
                    self._processes.append(
                        subprocess.Popen(self._argv, stdin=connection.fileno(), stdout=connection.fileno())
                    )
                else:
                    return

    def stop(self) -> None:
        """End it, and what it has started."""
        self._argv = []
        socket.create_connection(("127.0.0.1", self.port)).close()
        self._thread.join()
        self._listener.close()
        for process in self._processes:
            process.kill()
            process.wait()


class CatalogueTests(TestCase):
    def test_deviations_are_listed(self) -> None:
        """What differs on purpose stands in the documentation."""
        text = COMPATIBILITY.read_text("utf-8")
        for case in CASES.values():
            self.assertEqual(bool(case.deviates), bool(case.differs), case.name)
            if case.deviates:
                self.assertIn(f"| [`{case.name}`](../tests/interop/ssh/{case.name}.yaml) | {case.deviates} |", text)


@pytest.mark.reference
@skipUnless(Path(REFERENCE).is_file(), "TXDAGU_REFERENCE does not name the released program")
@skipUnless(SSHD and shutil.which("ssh-keygen"), "OpenSSH's server is not installed: apt-get install openssh-server")
class SameResultTests(TestCase):
    """All files run at once, in both programs."""

    theirs: dict[str, Result]
    ours: dict[str, Result]
    maxDiff = None

    @classmethod
    def setUpClass(cls) -> None:
        """Run them."""
        directory = Path(tempfile.mkdtemp())
        cls.addClassCleanup(shutil.rmtree, directory, ignore_errors=True)
        sshd = Sshd(directory)
        cls.addClassCleanup(sshd.stop)
        told = {"SSH_DIR": str(directory), "SSH_PORT": str(sshd.port), "SSH_USER": getpass.getuser()}
        cases = [replace(case, env={**case.env, **told}) for case in CASES.values()]
        cls.theirs, cls.ours = run_both(REFERENCE, cases)

    def test_same(self) -> None:
        """Statuses, outputs, logs, errors and exit codes are the same, but for what a file says."""
        for name, case in CASES.items():
            with self.subTest(name):
                theirs, ours = self.theirs[name], self.ours[name]
                for phrase in case.refused:
                    self.assertIn(phrase, theirs.messages)
                    self.assertIn(phrase, ours.messages)
                found = list(differences(theirs.observed, ours.observed))
                self.assertEqual([one for one in found if not covered(one[0], case.differs)], [], ours.messages)
                self.assertEqual({covered(path, case.differs) for path, _, _ in found} - {""}, set(case.differs))
                if not case.refused:
                    self.assertEqual(theirs.observed["valid"], True, theirs.messages)

    def test_recorded(self) -> None:
        """The recorder records: the lines that are compared are those that were sent."""
        self.assertIn("one two\n--\n", self.theirs["words_without_shell"].observed["run"]["steps"]["several"]["stdout"])
