"""`dagu explain` and `dagu plan` with a coordinator of the released Dagu 1.30.2, which tells its workers only."""

import json
import os
import shutil
import tempfile
import unittest
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from txdagu.testing.programs import DAGU, Program, run

REFERENCE = os.environ.get("TXDAGU_REFERENCE", "")
FAR = """\
name: far
workerSelector: {gpu: "true"}
steps:
  - command: echo
"""


@unittest.skipUnless(REFERENCE, "the released program is not installed (python tests/interop/install_reference.py)")
class ReferenceExplainTests(SynchronousTestCase):
    """The released coordinator with a worker of ours."""

    def setUp(self) -> None:
        """A home that both share."""
        self.home = Path(tempfile.mkdtemp(prefix="txdagu-interop-"))
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)
        (self.home / "far.yaml").write_text(FAR)
        self.env = {"DAGU_HOME": str(self.home), "HOME": str(self.home)}

    def start(self, *words: str) -> Program:
        """A program of the cluster, ended with the test."""
        program = Program(words, self.env, cwd=str(self.home))
        self.addCleanup(program.__exit__, None, None, None)
        return program

    def test_what_can_be_known(self) -> None:
        """A plan comes from its list of workers, and says which choice it does not tell; of a run its silence is told."""
        options = ("--coordinator.port=0", "--coordinator.advertise=127.0.0.1")
        coordinator = self.start(REFERENCE, "coordinator", *options)
        coordinator.wait_for("[Cc]oordinator.*(started|starting|[Ss]erving|listening|addr)")
        worker = self.start(
            *DAGU, "worker", "--worker.id=ours", "--worker.labels=gpu=true", "--worker.max-active-runs=2"
        )
        worker.wait_for("coordinator .* answers")
        plan = json.loads(self.said("plan", "far.yaml", "--output=json", "--with=zone=a*1"))
        (row, _) = plan["rows"]
        self.assertEqual((row["place"], row["workers"]), ("worker", ["ours"]), plan)
        self.assertEqual([one["workerId"] for one in row["verdicts"]], ["ours", "new-1"])
        (uncertain,) = plan["uncertain"]
        self.said("enqueue", "far.yaml", "--run-id=r1")
        told = self.said("explain", "far", "r1")
        self.assertIn("no scheduler leads, so that nobody starts what is queued", told)
        self.assertIn(f"coordinator {uncertain} tells its workers, but neither its tasks nor why they wait", told)

    def said(self, *words: str) -> str:
        """What a command of ours printed."""
        done = run([*DAGU, *words], self.env, cwd=str(self.home))
        self.assertEqual(done.process.returncode, 0, done.output)
        return done.output
