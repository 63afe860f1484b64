"""Signals to `dagu start`, more than one."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from signal import SIGINT, SIGTERM

from twisted.trial.unittest import SynchronousTestCase

from txdagu.execution.processes import has_living_member
from txdagu.testing.programs import DAGU, Program

STUBBORN = """\
maxCleanUpTimeSec: 600
steps:
  - command: trap '' TERM; echo $$ > leader; while :; do sleep 0.05; done
"""


class SecondSignalTests(SynchronousTestCase):
    """Somebody who does not want to wait."""

    def test_a_second_signal_kills_what_runs(self) -> None:
        """A step that ignores SIGTERM is gone after the second signal, and the run has ended as aborted."""
        home = Path(tempfile.mkdtemp(prefix="txdagu-impatience-"))
        self.addCleanup(shutil.rmtree, home, ignore_errors=True)
        (home / "stubborn.yaml").write_text(STUBBORN)
        env = {"DAGU_HOME": str(home), "DAGU_DEFAULT_EXECUTION_MODE": "local"}
        with Program([*DAGU, "start", str(home / "stubborn.yaml")], env) as start:
            start.wait_for("started, here")
            while not (home / "leader").exists() or not (home / "leader").read_text().endswith("\n"):
                self.assertIsNone(start.process.poll())
            start.signal(SIGINT)
            self.assertEqual(start.stop(SIGTERM), 0, start.output)
        self.assertIn("SIGTERM again: killing what still runs", start.output)
        self.assertIn("Result: Aborted", start.output)
        self.assertFalse(has_living_member(int((home / "leader").read_text())))
        self.assertEqual(list((home / "data" / "proc").rglob("*.proc")), [])
