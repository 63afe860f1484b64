"""A worker that is drained, and a run that is cancelled, as real processes."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from select import select
from signal import SIGINT
from typing import Any
from unittest import TestCase

from txdagu.testing.programs import DAGU, Program

SOURCES = Path(__file__).parents[2] / "src"
DAG = """\
name: job
workerSelector: {gpu: true}
steps:
  - name: first
    script: echo first >>"$HOME/ran"
  - name: work
    script: |
      if mkdir "$HOME/tried"; then exec 9>"$HOME/first"; else exec 9>"$HOME/second"; fi
      echo it has >&9
      sleep 600 &
      wait
"""


class DrainTests(TestCase):
    """One walk, since every program costs its start."""

    def setUp(self) -> None:
        """A home with a DAG whose second step tells that it has begun, and does not end by itself."""
        self.home = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)
        (self.home / "dags").mkdir()
        (self.home / "dags" / "job.yaml").write_text(DAG)
        for name in ("first", "second"):
            os.mkfifo(self.home / name)
        self.environment = {"DAGU_HOME": str(self.home), "HOME": str(self.home), "PYTHONPATH": str(SOURCES)}

    def start(self, *words: str) -> Program:
        """A command that ends with the test."""
        program = Program([*DAGU, *words], self.environment, cwd=str(self.home))
        self.addCleanup(program.__exit__, None, None, None)
        return program

    def begun(self, name: str) -> int:
        """Wait until the step runs for the first or second time; the pipe it returns ends when nothing of its group is alive."""
        pipe = os.open(self.home / name, os.O_RDONLY)
        self.addCleanup(os.close, pipe)
        self.assertEqual(os.read(pipe, 100), b"it has\n")
        return pipe

    def assert_gone(self, pipe: int) -> None:
        """All that had the other end of the pipe are gone, or go within seconds."""
        self.assertEqual(select([pipe], [], [], 5.0)[0], [pipe], "something of the step is alive")
        self.assertEqual(os.read(pipe, 100), b"")

    def last_status(self, number: int) -> dict[str, Any]:
        """The last line of an attempt's status file."""
        attempts = sorted(self.home.glob("data/dag-runs/job/dag-runs/*/*/*/*/attempt_*/status.jsonl"))
        status: dict[str, Any] = json.loads(attempts[number].read_text().splitlines()[-1])
        return status

    def test_drained_and_cancelled(self) -> None:
        """A drained worker hands its run back, which goes on at another one and is cancelled there; nothing is left of either."""
        coordinator = self.start("coordinator", "--coordinator.port=0")
        workers = [self.start("worker", f"--worker.id={name}", "--worker.labels=gpu=true") for name in ("w1", "w2")]
        coordinator.wait_for("listens on")
        for worker in workers:
            worker.wait_for("coordinator .* answers")
        started = self.start("start", "job")
        first = self.begun("first")
        name = started.wait_for(r"work started, worker (w\d)")[1]
        other = "w2" if name == "w1" else "w1"
        drain = self.start("worker", "drain", name, "--reason", "disk swap", "--deadline", "0", "--wait")
        second = self.begun("second")
        self.assert_gone(first)
        self.assertEqual((drain.wait(), drain.lines[-1]), (0, "nothing runs any more"), drain.output)
        left, taken = self.last_status(-2), self.last_status(-1)
        self.assertEqual((left["status"], taken["workerId"]), (5, other))
        self.assertIn("disk swap", left["error"])
        self.assertEqual((self.home / "ran").read_text(), "first\n")
        listed = self.start("worker", "list", "--output", "json")
        self.assertEqual(started.stop(SIGINT), 0, started.output)
        self.assertIn("Result: Aborted", started.output)
        self.assert_gone(second)
        self.assertEqual(listed.wait(), 0, listed.output)
        states = {row["id"]: row["scheduling"]["state"] for row in json.loads(listed.output)}
        self.assertEqual(states, {name: "drained", other: "schedulable"})
