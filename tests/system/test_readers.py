"""Commands whose output nobody reads to its end."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from txdagu.testing.programs import DAGU

STEPS = "steps:\n  - command: echo first > began\n  - command: cat gate\n  - command: echo last > ended\n"


class ReaderTests(SynchronousTestCase):
    """A run is not the business of whoever looks at it."""

    def setUp(self) -> None:
        """A home with a DAG that waits at a pipe."""
        self.home = Path(tempfile.mkdtemp(prefix="txdagu-reader-"))
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)
        (self.home / "three.yaml").write_text(STEPS)
        os.mkfifo(self.home / "gate")

    def test_a_reader_that_leaves_does_not_stop_the_run(self) -> None:
        """``dagu start … 2>&1 | head -1`` runs to the end, and ends."""
        environ = {**os.environ, "DAGU_HOME": str(self.home), "DAGU_DEFAULT_EXECUTION_MODE": "local"}
        with subprocess.Popen(
            [*DAGU, "start", str(self.home / "three.yaml")],
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            self.addCleanup(process.kill)
            assert process.stdout is not None
            process.stdout.readline()
            process.stdout.close()
            (self.home / "gate").write_text("open\n")
            self.assertEqual(process.wait(30), 1)
        self.assertEqual((self.home / "ended").read_text(), "last\n")

    def test_a_stream_that_is_closed(self) -> None:
        """Neither stream need be open; the exit code is the run's."""
        (self.home / "one.yaml").write_text("steps:\n  - command: echo last > ended\n")
        done = subprocess.run(
            ["sh", "-c", '"$@" >&- 2>&-', "sh", *DAGU, "start", str(self.home / "one.yaml")],
            env={**os.environ, "DAGU_HOME": str(self.home), "DAGU_DEFAULT_EXECUTION_MODE": "local"},
            timeout=30,
            check=False,
        )
        self.assertEqual(done.returncode, 0)
        self.assertEqual((self.home / "ended").read_text(), "last\n")

    def test_a_locale_that_lacks_our_signs(self) -> None:
        """What standard output cannot show becomes a question mark; the command works all the same."""
        (self.home / "one.yaml").write_text("steps:\n  - command: echo last\n")
        done = subprocess.run(
            [*DAGU, "start", str(self.home / "one.yaml")],
            env={
                **os.environ,
                "DAGU_HOME": str(self.home),
                "DAGU_DEFAULT_EXECUTION_MODE": "local",
                "PYTHONIOENCODING": "ascii",
            },
            capture_output=True,
            timeout=30,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(b"stdout: last", done.stdout)

    def test_a_full_disk(self) -> None:
        """Output that cannot be written is one sentence, and the command has failed."""
        (self.home / "one.yaml").write_text("steps:\n  - command: echo last\n")
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                [*DAGU, "validate", str(self.home / "one.yaml")],
                env={**os.environ, "DAGU_HOME": str(self.home)},
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                timeout=30,
                check=False,
            )
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr, "Error: cannot write to standard output: No space left on device\n")
