"""
One run, read by both programs while it runs, when it has ended, and when whoever executed it was killed.

Runs of both are held at a gate (a named pipe that a step reads). What Dagu's `status` prints of a run is compared with our
report of it, whoever executes it. `TXDAGU_REFERENCE` names the released program; without it these tests are skipped.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from datetime import datetime
from pathlib import Path
from signal import SIGKILL, SIGTERM
from unittest import TestCase, skipUnless

import pytest

from txdagu.cli.report import report
from txdagu.model.ids import child_run_id
from txdagu.model.run import RunRef
from txdagu.store.runs import Runs
from txdagu.testing.programs import DAGU, Program
from txdagu.testing.store import paths_under

REFERENCE = os.environ.get("TXDAGU_REFERENCE", "")
SECONDS = 20
LOOKS = 20

FILE = """\
type: graph
params: GATE=none
handlerOn:
  init: {command: echo begins}
  exit: {command: echo ends}
  cancel: {command: echo was stopped}
steps:
  - name: plain
    command: echo said by plain
  - name: retried
    command: test -e $DAGU_HOME/once-${GATE} || { touch $DAGU_HOME/once-${GATE}; exit 1; }
    retryPolicy: {limit: 1, intervalSec: 0}
  - name: repeated
    command: echo again
    repeatPolicy: {limit: 2, intervalSec: 0}
  - name: skipped
    command: "true"
    preconditions: ["false"]
  - name: below
    command: "true"
    depends: skipped
  - name: excused
    command: echo trouble >&2; exit 3
    continueOn: failed
  - name: called
    call: child
    params: GATE=${GATE}
    depends: [plain, retried, repeated, excused]
  - name: last
    command: echo the last one
    depends: called
---
name: child
params: GATE=none
steps:
  - name: first
    command: echo said by the child
  - name: gated
    command: echo here > $DAGU_HOME/reached-${GATE}; exec cat $DAGU_HOME/gate-${GATE}
"""

_STEP = re.compile(r"^[├└]─(.+?)(?: \([^)]*\))? \[(\w+)\]$")
_SAID = re.compile(r"^[│ ] [├└]─((?:stdout|stderr|error|subdag): ?.*)$")
_STATE = re.compile(r"^\w+ [a-z_]+$|^[A-Z]")
_HEADING = re.compile(r"^(?:Status|Result): (.*)$")


# What both programs tell of the steps before the gate.
BEFORE = [
    "plain succeeded",
    "stdout: said by plain",
    "retried succeeded",
    "repeated succeeded",
    "stdout: again",
    "skipped skipped",
    "below skipped",
    "excused failed",
    "stderr: trouble",
    "error",
]


def called(gated: Gated, state: str) -> list[str]:
    """What they tell of the step that calls."""
    params = f'GATE="{gated.run.id}"'
    return [f"called {state}", f"subdag: {child_run_id(gated.run.id, 'called', params)} [{params}]"]


def told(text: str) -> list[str]:
    """
    What a report says: each step that had its turn, with its state and what it said, and the state of the run.

    Dagu tells neither of steps that are still to come nor of handlers, and of an error only the first line.
    """
    lines = []
    shown = True
    for line in text.splitlines():
        if step := _STEP.match(line):
            shown = not step[1].startswith("on") and step[2] != "not_started"
            if shown:
                lines.append(f"{step[1]} {step[2]}")
        elif (said := _SAID.match(line)) and shown:
            lines.append(said[1].strip() if not said[1].startswith("error") else "error")
        elif heading := _HEADING.match(line):
            lines.append(heading[1])
    return lines


class Gated:
    """A run that waits at its gate, executed by one of the programs."""

    def __init__(self, home: Path, program: Sequence[str], run_id: str) -> None:
        self.run = RunRef("live", run_id)
        self.home = home
        self._reached, self._gate = home / f"reached-{run_id}", home / f"gate-{run_id}"
        os.mkfifo(self._reached)
        os.mkfifo(self._gate)
        self._pipe = os.open(self._reached, os.O_RDWR | os.O_NONBLOCK)
        env = {"DAGU_HOME": str(home), "DAGU_DEFAULT_EXECUTION_MODE": "local", "NO_COLOR": "1", "TZ": "UTC"}
        arguments = ("start", f"--run-id={run_id}", "dags/live.yaml", "--", f"GATE={run_id}")
        self.program = Program([*program, *arguments], env, str(home))

    def wait(self) -> None:
        """Until the step at the gate runs."""
        ready, _, _ = select.select([self._pipe], [], [], SECONDS)
        if not ready:
            raise AssertionError(f"{self.run} never came to its gate:\n{self.program.output}")
        os.close(self._pipe)

    def open(self) -> None:
        """Let the step go on."""
        with self._gate.open("w") as gate:
            gate.write("through the gate\n")

    def end(self) -> None:
        """Its last word."""
        self.program.wait()

    def leave_nobody(self) -> None:
        """Let what Dagu leaves behind go through the gate: its called runs are processes that outlive it."""
        with suppress(OSError):  # nobody waits there
            os.close(os.open(self._gate, os.O_WRONLY | os.O_NONBLOCK))


@pytest.mark.reference
@skipUnless(Path(REFERENCE).is_file(), "TXDAGU_REFERENCE does not name the released program")
class LiveReadingTests(TestCase):
    """Both programs in one home; three runs of each kind at a time."""

    def setUp(self) -> None:
        """A home with one file."""
        self.home = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)
        (self.home / "dags").mkdir()
        (self.home / "dags" / "live.yaml").write_text(FILE)
        self.runs = Runs(paths_under(self.home), lambda: datetime.now().astimezone())

    def ours(self, run: RunRef) -> list[str]:
        """What we tell of a run."""
        status = self.runs.read_status(run, run)
        assert status is not None
        return told(report(status))

    def theirs(self, run: RunRef) -> list[str]:
        """What Dagu tells of a run."""
        done = subprocess.run(
            [REFERENCE, "status", f"--run-id={run.id}", run.name],
            env={"PATH": os.environ["PATH"], "HOME": str(self.home), "DAGU_HOME": str(self.home), "NO_COLOR": "1"},
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=True,
        )
        return told(done.stdout)

    def agree(self, run: RunRef, wanted: Sequence[str], late: Sequence[str] = ()) -> None:
        """
        Both tell this of a run, but for lines that may come `late`.

        A file may be some moments behind the step that it tells of; each look takes a moment.
        """
        expected = [line for line in wanted if line not in late]
        for _ in range(LOOKS):
            told_by_both = self.ours(run), self.theirs(run)
            found = [[line for line in lines if line not in late] for lines in told_by_both]
            if found == [expected, expected]:
                break
        self.assertEqual(found, [expected, expected])

    def agreed_end(self, run: RunRef) -> str:
        """The state of a run that did not come to a good end; both tell the same states of its steps."""
        ours, theirs = ([line for line in told if _STATE.search(line)] for told in (self.ours(run), self.theirs(run)))
        self.assertEqual(ours, theirs)
        return ours[-1]

    def forget_signs_of_life(self) -> None:
        """Let a minute pass for those who look at liveness files."""
        for path in self.home.glob("data/proc/live/live/proc_*.proc"):
            then = int(path.stat().st_mtime) - 60
            path.write_bytes(then.to_bytes(8, "big"))
            os.utime(path, (then, then))

    def check(self, program: Sequence[str]) -> None:
        """Three runs of a program: one goes through its gate, one is stopped there, one is killed."""
        with ExitStack() as stack:
            through, stopped, killed = runs = [Gated(self.home, program, name) for name in ("open", "term", "kill")]
            for gated in runs:
                stack.enter_context(gated.program)
                stack.callback(gated.leave_nobody)
            for gated in runs:
                gated.wait()
                # What followed from the last step is in a file of Dagu's with the next one.
                late = () if program == DAGU else ("below skipped", called(gated, "running")[1])
                self.agree(gated.run, [*BEFORE, *called(gated, "running"), "Running"], late)
            through.open()
            through.end()
            after = ["stdout:", *called(through, "succeeded")[1:], "last succeeded", "stdout: the last one"]
            self.agree(through.run, [*BEFORE, "called succeeded", *after, "Partially Succeeded"])
            stopped.program.signal(SIGTERM)
            stopped.end()
            self.assertEqual(self.agreed_end(stopped.run), "Aborted")
            killed.program.signal(SIGKILL)
            killed.end()
            self.assertEqual(self.agreed_end(killed.run), "Running")
            self.forget_signs_of_life()
            self.assertEqual([self.ours(killed.run)[-1], self.theirs(killed.run)[-1]], ["Failed", "Failed"])

    def test_runs_of_dagu(self) -> None:
        """We tell of a run of Dagu's what Dagu tells of it."""
        self.check((REFERENCE,))

    def test_runs_of_ours(self) -> None:
        """Dagu tells of a run of ours what we tell of it."""
        self.check(DAGU)
