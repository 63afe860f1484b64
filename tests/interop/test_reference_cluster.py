"""
One cluster of both programs: the released Dagu 1.30.2 and ours share a data directory and a registry.

Each test starts real processes of both and looks at what a user would: the result of the run, and where it ran.
"""

import json
import os
import shutil
import tempfile
import unittest
from pathlib import Path
from typing import ClassVar

from twisted.trial.unittest import SynchronousTestCase

from txdagu.testing.programs import DAGU, Program, run

REFERENCE = os.environ.get("TXDAGU_REFERENCE", "")

PARENT = """\
name: family
steps:
  - name: before
    command: echo from-parent
    output: WORD
  - name: remote
    call: child
    params: WORD="${WORD}"
    output: RESULT
  - name: after
    command: echo "got ${RESULT.outputs.ANSWER}"
    output: LAST
---
name: child
workerSelector:
  gpu: "true"
params: WORD=none
steps:
  - name: work
    command: echo "answer to $WORD"
    output: ANSWER
"""

ROOT = """\
name: rooted
workerSelector:
  gpu: "true"
steps:
  - name: only
    command: echo done-remotely
    output: SAID
"""

PLAIN = """\
name: plain
steps:
  - name: only
    command: echo said-by-plain
    output: SAID
"""

SINGLE = """\
name: single
steps:
  - name: far
    workerSelector: {gpu: "true"}
    command: touch "$HOME/ran"
"""


@unittest.skipUnless(REFERENCE, "the released program is not installed (python tests/interop/install_reference.py)")
class SharedClusterTests(SynchronousTestCase):
    """Both programs in one cluster, each in both roles."""

    environment: ClassVar[dict[str, str]] = {}

    def setUp(self) -> None:
        """A home for one cluster, with the DAG files of this module."""
        self.home = Path(tempfile.mkdtemp(prefix="txdagu-interop-"))
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)
        (self.home / "dags").mkdir()
        (self.home / "dags" / "family.yaml").write_text(PARENT)
        (self.home / "dags" / "rooted.yaml").write_text(ROOT)
        (self.home / "dags" / "plain.yaml").write_text(PLAIN)
        self.env = {"DAGU_HOME": str(self.home), "HOME": str(self.home), "DAGU_DEFAULT_EXECUTION_MODE": "local"}

    def start(self, *argv: str) -> Program:
        """A program of the cluster, ended with the test."""
        program = Program(argv, self.env, cwd=str(self.home))
        self.addCleanup(program.__exit__, None, None, None)
        return program

    def last_status(self, pattern: str) -> dict[str, object]:
        """The last line of the newest status file under the run store that matches."""
        found = max((self.home / "data" / "dag-runs").glob(pattern), key=lambda path: path.parent.name)
        last: dict[str, object] = json.loads(found.read_text().splitlines()[-1])
        return last

    def assert_family_ran_on(self, worker: str) -> None:
        """The parent has the child's output, and the child ran on that worker."""
        parent = self.last_status("family/dag-runs/*/*/*/*/attempt_*/status.jsonl")
        child = self.last_status("family/dag-runs/*/*/*/*/children/*/attempt_*/status.jsonl")
        self.assertEqual(parent["status"], 4, parent)
        self.assertEqual(parent["nodes"][-1]["outputVariables"], {"LAST": "LAST=got answer to from-parent"})  # type: ignore[index]
        self.assertEqual((child["status"], child["workerId"]), (4, worker))

    def test_their_worker_runs_a_child_that_our_parent_dispatched(self) -> None:
        """
        The released worker finds our coordinator in the registry, runs child, without our words in it, root and retry; we have
        the results.
        """
        family = PARENT.replace("name: child\n", "name: child\nonWorkerLost: {policy: fail}\n")
        (self.home / "dags" / "family.yaml").write_text(family)
        coordinator = self.start(*DAGU, "coordinator", "--coordinator.port=0")
        coordinator.wait_for("listens on")
        worker = self.start(REFERENCE, "worker", "--worker.id=theirs", "--worker.labels=gpu=true")
        worker.wait_for("[Ww]orker")
        started = run([*DAGU, "start", "family"], self.env)
        self.assertEqual(started.process.returncode, 0, started.output)
        self.assert_family_ran_on("theirs")
        for arguments in (["start", "--run-id=r1", "rooted"], ["retry", "--run-id=r1", "--step=only", "rooted"]):
            done = run([*DAGU, *arguments], self.env)
            self.assertEqual(done.process.returncode, 0, done.output)
            self.assertIn("only started, worker theirs", done.output)
        attempts = list(self.home.glob("data/dag-runs/rooted/dag-runs/*/*/*/*_r1/attempt_*/outputs.json"))
        self.assertEqual(len(attempts), 2)

    def test_single_step_waits_for_our_worker(self) -> None:
        """A released worker that matches is not given a single step, and the reason is shown; one of ours runs it."""
        (self.home / "dags" / "single.yaml").write_text(SINGLE)
        self.start(*DAGU, "coordinator", "--coordinator.port=0").wait_for("listens on")
        self.start(REFERENCE, "worker", "--worker.id=theirs", "--worker.labels=gpu=true").wait_for("[Ww]orker")
        started = self.start(*DAGU, "start", "single")
        started.wait_for("theirs: is a worker of Dagu, which does not know single steps")
        self.start(*DAGU, "worker", "--worker.id=ours", "--worker.labels=gpu=true").wait_for("coordinator .* answers")
        self.assertEqual(started.wait(), 0, started.output)
        self.assertIn("ran on ours", started.output)

    def test_single_step_at_their_coordinator(self) -> None:
        """Handed out by a released coordinator to a released worker, a single step fails and says why; nothing wrong is run."""
        (self.home / "dags" / "single.yaml").write_text(SINGLE)
        coordinator = self.start(REFERENCE, "coordinator", "--coordinator.port=0", "--coordinator.advertise=127.0.0.1")
        coordinator.wait_for("[Cc]oordinator")
        self.start(REFERENCE, "worker", "--worker.id=theirs", "--worker.labels=gpu=true").wait_for("[Ww]orker")
        started = run([*DAGU, "start", "single"], self.env)
        self.assertEqual(started.process.returncode, 1, started.output)
        self.assertIn("step far of DAG single is a task for a worker of txdagu", started.output)
        self.assertFalse((self.home / "ran").exists())

    def test_our_worker_serves_their_coordinator_and_their_parent(self) -> None:
        """Our worker takes a child from the released coordinator; the released parent has the result."""
        coordinator = self.start(REFERENCE, "coordinator", "--coordinator.port=0", "--coordinator.advertise=127.0.0.1")
        coordinator.wait_for("[Cc]oordinator")
        worker = self.start(*DAGU, "worker", "--worker.id=ours", "--worker.labels=gpu=true")
        worker.wait_for("coordinator .* answers")
        started = run([REFERENCE, "start", str(self.home / "dags" / "family.yaml")], self.env)
        self.assertEqual(started.process.returncode, 0, started.output)
        self.assert_family_ran_on("ours")

    def test_their_worker_runs_a_root_that_we_enqueued(self) -> None:
        """A run from our queue, dispatched by our main instance, is executed by the released worker from the shared store."""
        (self.home / "dags" / "rooted.yaml").write_text(f"onWorkerLost: wait\n{ROOT}")
        main = self.start(*DAGU, "start-all", "--port=0", "--coordinator.port=0")
        main.wait_for("listens on")
        worker = self.start(REFERENCE, "worker", "--worker.id=theirs", "--worker.labels=gpu=true")
        worker.wait_for("[Ww]orker")
        self.assertEqual(run([*DAGU, "enqueue", "--run-id=r1", "rooted"], self.env).process.returncode, 0)
        worker.wait_for("run-id=r1|r1")
        followed = self._until_done("rooted", "r1")
        self.assertEqual((followed["status"], followed["workerId"]), (4, "theirs"))

    def test_our_worker_runs_a_root_that_their_scheduler_dispatched(self) -> None:
        """A run from the released program's queue is executed by our worker from the snapshot in the shared store."""
        self.env["DAGU_COORDINATOR_ADVERTISE"] = "127.0.0.1"
        main = self.start(REFERENCE, "start-all", "--port=0", "--coordinator.port=0")
        main.wait_for("[Cc]oordinator.*")
        worker = self.start(*DAGU, "worker", "--worker.id=ours", "--worker.labels=gpu=true")
        worker.wait_for("coordinator .* answers")
        enqueued = run([REFERENCE, "enqueue", "--run-id=r2", str(self.home / "dags" / "rooted.yaml")], self.env)
        self.assertEqual(enqueued.process.returncode, 0, enqueued.output)
        worker.wait_for("r2")
        followed = self._until_done("rooted", "r2")
        self.assertEqual((followed["status"], followed["workerId"]), (4, "ours"))

    def test_each_reads_the_other_s_runs(self) -> None:
        """`status` of each program shows a run that the other executed."""
        plain = str(self.home / "dags" / "plain.yaml")
        for run_id, starter, reader in (("by-us", [*DAGU], [REFERENCE]), ("by-them", [REFERENCE], [*DAGU])):
            started = run([*starter, "start", f"--run-id={run_id}", plain], self.env)
            self.assertEqual(started.process.returncode, 0, started.output)
            told = run([*reader, "status", f"--run-id={run_id}", plain], self.env)
            self.assertIn("said-by-plain", told.output)
            self.assertIn("Succeeded", told.output)

    def _until_done(self, name: str, run_id: str) -> dict[str, object]:
        """Our `status --follow`-like look: wait with the program itself until the run has ended."""
        followed = run([*DAGU, "status", "--wait", f"--run-id={run_id}", name], self.env)
        self.assertEqual(followed.process.returncode, 0, followed.output)
        return self.last_status(f"{name}/dag-runs/*/*/*/dag-run_*_{run_id}/attempt_*/status.jsonl")
