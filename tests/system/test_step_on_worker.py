"""A single step on a worker, as real processes: below a run that holds the only slot of the same worker."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from unittest import TestCase

from txdagu.testing.programs import DAGU, Program

DAG = """\
name: nested
workerSelector: {gpu: "true"}
env: [PLACE: home]
steps:
  - name: before
    command: printf 'it"s'
    output: SAID
  - name: far
    workerSelector: {gpu: "true"}
    script: |
      printenv SAID PLACE DAG_NAME
      [ -e "$HOME/again" ] || { touch "$HOME/again"; echo no >&2; exit 7; }
    retryPolicy: {limit: 1, intervalSec: 0, exitCode: [7]}
    output: RESULT
  - name: after
    command: printenv RESULT
"""


class StepOnWorkerTests(TestCase):
    def test_nested_on_one_slot(self) -> None:
        """The step sees what it would see beside its run, is retried by its exit code, and its logs are the run's."""
        home = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, home, ignore_errors=True)
        (home / "dags").mkdir()
        (home / "dags" / "nested.yaml").write_text(DAG)
        environment = {"DAGU_HOME": str(home), "HOME": str(home)}

        def start(*argv: str) -> Program:
            program = Program([*DAGU, *argv], environment, cwd=str(home))
            self.addCleanup(program.__exit__, None, None, None)
            return program

        start("coordinator", "--coordinator.port=0").wait_for("listens on")
        worker = start("worker", "--worker.id=only", "--worker.labels=gpu=true", "--worker.max-active-runs=1")
        worker.wait_for("coordinator .* answers")
        started = start("start", "nested")
        self.assertEqual(started.wait(), 0, started.output)
        self.assertIn("ran on only", started.output)
        path = max(home.glob("data/dag-runs/nested/dag-runs/*/*/*/*/attempt_*/status.jsonl"))
        before, far, after = json.loads(path.read_text().splitlines()[-1])["nodes"]
        self.assertEqual((before["status"], far["status"], far["retryCount"]), (4, 4, 1))
        self.assertEqual(Path(far["stdout"]).read_text(), 'it"s\nhome\nnested\n')
        self.assertEqual(Path(after["stdout"]).read_text(), 'it"s\nhome\nnested\n')
        attempts = list(home.glob("data/dag-runs/nested/dag-runs/*/*/*/*/children/*/attempt_*"))
        self.assertEqual(len(attempts), 2)
