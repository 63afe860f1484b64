"""Runs that wait for a person, with the released Dagu 1.30.2: each program decides on what the other left waiting."""

import json
import os
import shutil
import tempfile
import time
import unittest
import urllib.request
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from txdagu.testing.programs import DAGU, Program, run

REFERENCE = os.environ.get("TXDAGU_REFERENCE", "")

ASKING = """\
name: asking
type: graph
handlerOn:
  exit:
    command: echo "ended as $DAG_RUN_STATUS"
steps:
  - name: version
    command: echo v3
    output: VERSION
  - name: ask
    type: hitl
    depends: version
    config:
      prompt: Deploy ${VERSION}?
      input: [WHO]
      required: [WHO]
  - name: deploy
    command: echo "${VERSION} for $WHO"
    depends: ask
    output: SAID
"""


def listening_port(pid: int, seconds: float = 30) -> int:
    """The port that a process has opened, as soon as it has; its log names only the one it was asked for."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        sockets = {str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir() if entry.is_symlink()}
        for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
            local, state, inode = (line.split()[column] for column in (1, 3, 9))
            if state == "0A" and f"socket:[{inode}]" in sockets:
                return int(local.rpartition(":")[2], 16)
        os.sched_yield()
    raise AssertionError(f"process {pid} listens on no port")


@unittest.skipUnless(REFERENCE, "the released program is not installed (python tests/interop/install_reference.py)")
class ApprovalTests(SynchronousTestCase):
    """Both programs in one home."""

    def setUp(self) -> None:
        """A home with one file."""
        self.home = Path(tempfile.mkdtemp(prefix="txdagu-interop-"))
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)
        (self.home / "dags").mkdir()
        self.file = self.home / "dags" / "asking.yaml"
        self.file.write_text(ASKING)
        self.env = {"DAGU_HOME": str(self.home), "HOME": str(self.home), "DAGU_DEFAULT_EXECUTION_MODE": "local"}

    def start(self, program: list[str], run_id: str) -> None:
        """A run comes to rest."""
        started = run([*program, "start", f"--run-id={run_id}", str(self.file)], self.env)
        self.assertEqual(started.process.returncode, 0, started.output)

    def status(self, run_id: str) -> dict[str, object]:
        """The last line of the newest attempt."""
        pattern = f"data/dag-runs/asking/dag-runs/*/*/*/dag-run_*_{run_id}/attempt_*/status.jsonl"
        newest = max(self.home.glob(pattern), key=lambda path: path.parent.name)
        last: dict[str, object] = json.loads(newest.read_text().splitlines()[-1])
        return last

    def test_they_decide_on_our_runs(self) -> None:
        """Their server approves a run of ours, which their process then ends, and rejects another."""
        for run_id in ("yes", "no"):
            self.start([*DAGU], run_id)
        shown = run([REFERENCE, "status", "--run-id=yes", "asking"], self.env)
        self.assertIn("Result: Waiting", shown.output)
        server = Program([REFERENCE, "server", "--host=127.0.0.1", "--port=0"], self.env, cwd=str(self.home))
        self.addCleanup(server.__exit__, None, None, None)
        server.wait_for("Server is starting")
        port = listening_port(server.process.pid)
        self.post(port, "yes/steps/ask/approve", {"inputs": {"WHO": "ada"}})
        self.post(port, "no/steps/ask/reject", {"reason": "too late"})
        followed = run([*DAGU, "status", "--wait", "--run-id=yes", "asking"], self.env)
        self.assertIn("stdout: v3 for ada", followed.output)
        self.assertEqual((self.status("yes")["status"], self.status("no")["status"]), (4, 8))
        told = run([*DAGU, "status", "--run-id=no", "asking"], self.env)
        self.assertRegex(told.output, r"decision: rejected at .*: too late")

    def post(self, port: int, path: str, body: object) -> None:
        """Ask their server for something."""
        url = f"http://127.0.0.1:{port}/api/v2/dag-runs/asking/{path}"
        request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            self.assertEqual(answer.status, 200)

    def test_we_decide_on_their_runs(self) -> None:
        """We approve a run of theirs and end it, keeping what it did, and reject another; they show both."""
        for run_id in ("yes", "no"):
            self.start([REFERENCE], run_id)
        approved = run([*DAGU, "approve", "asking", "--run-id=yes", "WHO=ada"], self.env)
        self.assertEqual(approved.process.returncode, 0, approved.output)
        self.assertIn("stdout: v3 for ada", approved.output)
        rejected = run([*DAGU, "reject", "asking", "--run-id=no", "--reason=too late"], self.env)
        self.assertEqual(rejected.process.returncode, 0, rejected.output)
        for run_id, words in (("yes", ("Result: Succeeded", "v3 for ada")), ("no", ("Result: Rejected",))):
            shown = run([REFERENCE, "status", f"--run-id={run_id}", "asking"], self.env)
            for word in words:
                self.assertIn(word, shown.output)
        self.assertEqual(self.status("yes")["onExit"]["status"], 4)  # type: ignore[index]
