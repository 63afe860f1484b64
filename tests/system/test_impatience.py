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


class WaitingTests(SynchronousTestCase):
    """Somebody who only looks."""

    def test_ctrl_c_while_waiting_for_a_run(self) -> None:
        """``dagu status --wait`` ends without a word and with the shell's code; the run goes on."""
        home = Path(tempfile.mkdtemp(prefix="txdagu-waiting-"))
        self.addCleanup(shutil.rmtree, home, ignore_errors=True)
        dag = home / "waiting.yaml"
        dag.write_text("steps:\n  - command: while ! test -e gate; do sleep 0.05; done\n")
        env = {"DAGU_HOME": str(home), "DAGU_DEFAULT_EXECUTION_MODE": "local"}
        with Program([*DAGU, "start", str(dag)], env) as start:
            start.wait_for("started, here")
            with Program([*DAGU, "status", "--wait", str(dag)], env) as status:
                status.wait_for("started, here")
                self.assertEqual(status.stop(SIGINT), 130)
            self.assertEqual(len(status.lines), 1, status.output)
            (home / "gate").touch()
            self.assertEqual(start.wait(), 0, start.output)


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
            # Signals that are pending together arrive in no order of ours.
            start.wait_for("SIGINT: stopping what runs; a second signal kills it")
            self.assertEqual(start.stop(SIGTERM), 0, start.output)
        self.assertIn("SIGTERM: killing what still runs", start.output)
        self.assertIn("Result: Aborted", start.output)
        self.assertFalse(has_living_member(int((home / "leader").read_text())))
        self.assertEqual(list((home / "data" / "proc").rglob("*.proc")), [])
