"""Workers and coordinators that are killed, as real processes, while tasks wait, are offered, and run."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from signal import SIGINT, SIGKILL
from typing import Any
from unittest import TestCase

from txdagu.testing.programs import DAGU, Program

SOURCES = Path(__file__).parents[2] / "src"

# Asks for work as a worker of ours does, says what it was offered, and then nothing any more.
POLLER = """
import sys
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from txdagu.grpc.channel import tcp_channel
from txdagu.protocol import coordinator_pb2 as pb
from txdagu.protocol.services import POLL

async def main():
    channel = tcp_channel(reactor, "127.0.0.1", int(sys.argv[1]))
    request = pb.PollRequest(
        worker_id="first", poller_id="p1", labels={"gpu": "true"}, incarnation="life-1", free_slots=1
    )
    answer = await channel.unary(POLL, request)
    print("offered", answer.task.target, "with", "a token" if answer.task.claim_token else "nothing", flush=True)

reactor.callWhenRunning(lambda: Deferred.fromCoroutine(main()))
reactor.run()
"""

# One line for each time that the step runs; it goes on as long as the file ``flag`` is there, and tells those who read ``begun``.
STEP = """\
    script: |
      echo ran >>"$HOME/ran"
      [ ! -p "$HOME/begun" ] || echo it has >"$HOME/begun"
      while [ -e "$HOME/flag" ]; do sleep 0.1; done
"""
ROOT = (
    """\
name: root
workerSelector: {gpu: true}
steps:
  - name: first
    script: echo first >>"$HOME/ran"
    output: DONE
  - name: work
"""
    + STEP
)
PARENT = """\
name: parent
workerSelector: local
steps:
  - name: call
    run: child
---
name: child
workerSelector: {gpu: true}
onWorkerLost: fail
steps:
  - name: work
"""


class LostWorkers(TestCase):
    """A coordinator with short time limits; every test brings its own workers."""

    def setUp(self) -> None:
        """A home with two DAGs, and the coordinator."""
        self.home = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)
        (self.home / "dags").mkdir()
        (self.home / "dags" / "root.yaml").write_text(ROOT)
        (self.home / "dags" / "parent.yaml").write_text(PARENT + STEP)
        # Steps that outlive their worker end with the test.
        self.addCleanup((self.home / "flag").unlink, missing_ok=True)
        self.environment = {
            "DAGU_HOME": str(self.home),
            "HOME": str(self.home),
            "PYTHONPATH": str(SOURCES),
            "DAGU_COORDINATOR_OFFER_TIMEOUT": "1s",
            "DAGU_COORDINATOR_LEASE_TTL": "3s",
        }
        self.coordinator = self.start(*DAGU, "coordinator", "--coordinator.port=0")
        self.port = self.coordinator.wait_for(r"listens on 127\.0\.0\.1:(\d+)")[1]

    def start(self, *argv: str) -> Program:
        """A program that ends with the test."""
        program = Program(argv, self.environment, cwd=str(self.home))
        self.addCleanup(program.__exit__, None, None, None)
        return program

    def worker(self, name: str) -> Program:
        """A worker that has found the coordinator."""
        worker = self.start(*DAGU, "worker", f"--worker.id={name}", "--worker.labels=gpu=true")
        worker.wait_for("coordinator .* answers")
        return worker

    def last_status(self, attempts: str) -> dict[str, Any]:
        """The last line of the newest of these attempts' status files."""
        newest = max(self.home.glob(f"data/dag-runs/{attempts}/status.jsonl"))
        status: dict[str, Any] = json.loads(newest.read_text().splitlines()[-1])
        return status

    def kill_while_it_runs(self, dag: str) -> Program:
        """Start the DAG, kill the only worker once the step runs, and return the ended command."""
        (self.home / "flag").touch()
        first = self.worker("first")
        started = self.start(*DAGU, "start", dag)
        started.wait_for("work started")
        first.stop(SIGKILL)
        started.wait()
        return started

    def test_killed_before_it_confirmed(self) -> None:
        """A task that was offered to a worker which is killed before it confirms runs on another worker, once."""
        first = self.start(sys.executable, "-c", POLLER, self.port)
        started = self.start(*DAGU, "start", "root")
        first.wait_for("offered root with a token")
        first.stop(SIGKILL)
        self.worker("second")
        self.assertEqual(started.wait(), 0, started.output)
        self.assertEqual((self.home / "ran").read_text(), "first\nran\n")
        status = self.last_status("root/dag-runs/*/*/*/*/attempt_*")
        self.assertEqual((status["status"], status["workerId"]), (4, "second"))

    def test_the_coordinator_is_killed_while_a_run_waits(self) -> None:
        """A run that waits for a worker is handed in again at the coordinator that comes after one that was killed."""
        started = self.start(*DAGU, "start", "root")
        started.wait_for("waiting for a worker with gpu=true: no worker is connected")
        self.coordinator.stop(SIGKILL)
        self.start(*DAGU, "coordinator", f"--coordinator.port={self.port}").wait_for("listens on")
        self.worker("late")
        self.assertEqual(started.wait(), 0, started.output)
        self.assertEqual((self.home / "ran").read_text(), "first\nran\n")

    def test_killed_while_it_runs_a_child(self) -> None:
        """The parent of a child that was lost with its worker fails, and says why, when the lease has ended."""
        started = self.kill_while_it_runs("parent")
        self.assertEqual(started.process.returncode, 1, started.output)
        self.assertRegex(
            started.output, r"Error: parent .*failed: worker first was silent for \d+ s while running child:"
        )
        self.assertNotIn("Traceback", started.output)
        child = self.last_status("parent/dag-runs/*/*/*/*/children/*/attempt_*")
        self.assertEqual((child["status"], child["nodes"][0]["status"]), (2, 2))

    def test_stopped_while_it_waits(self) -> None:
        """A run that no worker takes and that is stopped is told as aborted, at once and ever after."""
        started = self.start(*DAGU, "start", "root")
        started.wait_for("root runs on a worker")
        self.assertEqual(started.stop(SIGINT), 0, started.output)
        self.assertIn("Result: Aborted", started.output)
        self.assertEqual(self.last_status("root/dag-runs/*/*/*/*/attempt_*")["status"], 3)

    def test_killed_while_it_runs_a_root(self) -> None:
        """A run whose worker is killed with all its group goes on at another one; what was finished is not done again."""
        (self.home / "flag").touch()
        os.mkfifo(self.home / "begun")
        first = self.worker("first")
        started = self.start(*DAGU, "start", "root")
        self.assertEqual((self.home / "begun").read_text(), "it has\n")
        os.killpg(first.process.pid, SIGKILL)
        for name in ("begun", "flag"):
            (self.home / name).unlink()
        self.worker("second")
        self.assertEqual(started.wait(), 0, started.output)
        self.assertEqual((self.home / "ran").read_text(), "first\nran\nran\n")
        status = self.last_status("root/dag-runs/*/*/*/*/attempt_*")
        self.assertEqual((status["status"], status["workerId"]), (4, "second"))
        self.assertNotIn("Traceback", started.output)
