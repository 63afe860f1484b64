"""Workers, reapers and coordinators that are stopped and killed while a step runs: nothing runs unwatched, or twice."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP
from unittest import TestCase

from txdagu.testing.programs import DAGU, Program

SOURCES = Path(__file__).parents[2] / "src"

# The step starts a daemon that leaves its group and session, and a child without any environment; all of them name themselves.
DAG = """\
name: job
workerSelector: {gpu: true}
steps:
  - name: work
    shell: /bin/bash
    script: |
      setsid bash -c '(echo $BASHPID >>"$HOME/pids"; exec sleep 1000) & wait' &
      env -i /bin/bash -c "echo \\$\\$ >>'$HOME/pids'; exec sleep 1000" &
      echo $$ >>"$HOME/pids"
      echo ran >>"$HOME/ran"
      while [ -e "$HOME/flag" ]; do read -t 0.05 <>"$HOME/never" || true; done
      kill %2
"""


def state(pid: int) -> str:
    """The letter of a process' state; empty if it has ended."""
    try:
        letter = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""
    return "" if letter in "ZX" else letter


class FrozenTests(TestCase):
    """A coordinator, a worker and a step that runs there."""

    def setUp(self) -> None:
        """A home with the DAG; every test starts what it needs."""
        self.home = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)
        (self.home / "dags").mkdir()
        (self.home / "dags" / "job.yaml").write_text(DAG)
        os.mkfifo(self.home / "never")
        (self.home / "flag").touch()
        self.addCleanup((self.home / "flag").unlink, missing_ok=True)
        self.environment = {
            "DAGU_HOME": str(self.home),
            "HOME": str(self.home),
            "PYTHONPATH": str(SOURCES),
        }

    def start(self, *argv: str) -> Program:
        """A program that ends with the test."""
        program = Program(argv, self.environment, cwd=str(self.home))
        self.addCleanup(program.__exit__, None, None, None)
        return program

    def begin(self, lease: str) -> None:
        """Coordinator, worker, and the run, begun."""
        self.environment["DAGU_COORDINATOR_LEASE_TTL"] = lease
        self.coordinator = self.start(*DAGU, "coordinator", "--coordinator.port=0")
        self.worker = self.start(*DAGU, "worker", "--worker.id=first", "--worker.labels=gpu=true")
        self.port = self.coordinator.wait_for(r"listens on 127\.0\.0\.1:(\d+)")[1]
        self.run_of_it = self.start(*DAGU, "start", "job")
        self.until(lambda: len(self.pids()) == 3)

    def pids(self) -> list[int]:
        """All processes of the step that have named themselves."""
        path = self.home / "pids"
        return [int(line) for line in path.read_text().splitlines()] if path.exists() else []

    def states(self, pids: list[int]) -> str:
        """Their letters, one for each that lives."""
        return "".join(state(pid) for pid in pids)

    def until(self, condition: Callable[[], bool], seconds: float = 20) -> None:
        """Look until it is so."""
        end = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), end, "\n".join((self.worker.output, self.states(self.pids()))))
            threading.Event().wait(0.01)

    def lost(self) -> bool:
        """Whether the coordinator has given the run away, as its journal tells."""
        (directory,) = self.home.glob("data/dag-runs/job/dag-runs/*/*/*/dag-run_*")
        journal = self.start(*DAGU, "doctor", "journal", directory.name.rpartition("_")[2])
        journal.wait()
        return "lost (epoch 1)" in journal.output

    def reaper(self) -> int:
        """The worker's reaper; 0 while there is none."""
        return next((pid for pid in self.all_children() if b"reaper" in Path(f"/proc/{pid}/cmdline").read_bytes()), 0)

    def all_children(self) -> list[int]:
        """Those of all threads of the worker."""
        tasks = Path(f"/proc/{self.worker.process.pid}/task").iterdir()
        return [int(pid) for task in tasks for pid in (task / "children").read_text().split()]

    def test_worker_stopped_then_coordinator_away(self) -> None:
        """
        T06, T23: the step of a stopped worker is stopped before its lease ends, and killed when the worker learns that it is
        not its own any more. T30: while the coordinator is away all of the step is stopped, by a reaper that replaced another;
        then the same run goes on.
        """
        self.begin("3s")
        first = self.pids()
        self.worker.signal(SIGSTOP)
        self.until(lambda: self.states(first) == "TTT")
        self.until(self.lost)
        self.worker.signal(SIGCONT)
        self.worker.wait_for("is killed: coordinator .* says: it was given away")
        self.until(lambda: self.states(first) == "" and len(self.pids()) == 6)
        reaper, pids = self.reaper(), self.pids()[3:]
        os.kill(reaper, SIGKILL)
        self.coordinator.stop(SIGKILL)
        self.until(lambda: self.states(pids) == "TTT")
        self.assertNotIn(self.reaper(), (0, reaper))
        self.start(*DAGU, "coordinator", f"--coordinator.port={self.port}")
        self.until(lambda: "T" not in self.states(pids))
        self.assertEqual(len(self.states(pids)), 3)
        (self.home / "flag").unlink()
        self.assertEqual(self.run_of_it.wait(), 0, self.run_of_it.output)
        self.assertIn("work: frozen: coordinator", self.run_of_it.output)
        self.assertEqual((self.home / "ran").read_text(), "ran\nran\n")

    def test_worker_killed(self) -> None:
        """T10, T21: nothing outlives a worker that is killed; the next one under its id need not wait for the lease."""
        self.begin("30m")
        pids = self.pids()
        second = self.start(*DAGU, "worker", "--worker.id=first")
        self.assertEqual(second.wait(), 1)
        self.assertIn(f"in use on this host by process {self.worker.process.pid}", second.output)
        self.worker.stop(SIGKILL)
        self.until(lambda: self.states(pids) == "")
        (self.home / "flag").unlink()
        self.worker = self.start(*DAGU, "worker", "--worker.id=first", "--worker.labels=gpu=true")
        self.assertEqual(self.run_of_it.wait(), 0, self.run_of_it.output)
        self.assertEqual((self.home / "ran").read_text(), "ran\nran\n")
