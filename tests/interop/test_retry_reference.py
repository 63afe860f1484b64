"""
`dagu retry` of both programs on runs of both: the same steps run again, with the same ends and exit codes.

`TXDAGU_REFERENCE` names the released program; without it these tests are skipped.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import TestCase, skipUnless

import pytest

from txdagu.testing.programs import DAGU

REFERENCE = os.environ.get("TXDAGU_REFERENCE", "")

# Each step says that it ran, and so do the params (several times, where Dagu reads a file several times); b goes well only when
# the file `go` is there.
FILE = """\
type: graph
params: "P=`echo x >> $DAGU_HOME/trace; echo 1`"
handlerOn:
  init: {command: echo init >> $DAGU_HOME/trace}
  success: {command: echo success >> $DAGU_HOME/trace}
  failure: {command: echo failure >> $DAGU_HOME/trace}
  exit: {command: echo exit $DAG_RUN_STATUS >> $DAGU_HOME/trace}
steps:
  - name: a
    command: echo a ${P} >> $DAGU_HOME/trace; echo from-a
    output: A
  - name: b
    command: echo b ${A} >> $DAGU_HOME/trace; test -e $DAGU_HOME/go
    depends: [a]
  - name: c
    command: echo c ${A} >> $DAGU_HOME/trace
    depends: [b]
  - name: skipped
    command: echo skipped >> $DAGU_HOME/trace
    preconditions: ["false"]
  - name: below
    command: echo below >> $DAGU_HOME/trace
    depends: [skipped]
  - name: excused
    command: echo excused >> $DAGU_HOME/trace; exit 1
    continueOn: failed
  - name: after
    command: echo after ${P} >> $DAGU_HOME/trace
    depends: [excused]
  - name: call
    call: child
    output: R
---
name: child
steps:
  - command: echo child >> $DAGU_HOME/trace; test -e $DAGU_HOME/go
"""

# What is done to the run, and whether `go` is there then.
DEEDS: Sequence[tuple[tuple[str, ...], bool]] = (
    (("start", "--run-id=r1", "dags/sample.yaml"), False),
    (("retry", "--run-id=r1", "sample"), True),
    (("retry", "--run-id=r1", "--step=a", "sample"), True),
    (("retry", "--run-id=r1", "--step=below", "sample"), True),
    (("retry", "--run-id=r1", "--step=b", "dags/sample.yaml"), False),
)
OURS, THEIRS = DAGU, (REFERENCE,)


def observed(home: Path) -> dict[str, Any]:
    """What the newest attempt says, and how many there are."""
    paths = sorted(home.glob("data/dag-runs/sample/dag-runs/*/*/*/dag-run_*/attempt_*/status.jsonl"))
    record = json.loads(paths[-1].read_text().splitlines()[-1])
    keys = ("onInit", "onSuccess", "onFailure", "onExit")
    nodes = [*record["nodes"], *(record[key] for key in keys)]
    return {
        "attempts": len(paths),
        "status": record["status"],
        "params": record["params"],
        "outputs": record["nodes"][0]["outputVariables"],
        "created": record["createdAt"],
        "log": record["log"],
        "nodes": {node["step"]["name"]: (node["status"], node.get("error", "").split(": ")[0]) for node in nodes},
        "logs": {node["step"]["name"]: node["stdout"].split("/")[-2:-1] for node in record["nodes"]},
    }


def session(directory: Path, programs: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    """All deeds on one run, each by its program: exit code, what ran, what was written."""
    (directory / "dags").mkdir(parents=True)
    (directory / "dags" / "sample.yaml").write_text(FILE)
    trace, go = directory / "trace", directory / "go"
    found: list[dict[str, Any]] = []
    for program, (arguments, there) in zip(programs, DEEDS, strict=True):
        trace.write_text("")
        go.touch() if there else go.unlink(missing_ok=True)
        done = subprocess.run(
            [*program, *arguments],
            env={
                **os.environ,
                "DAGU_HOME": str(directory),
                "DAGU_DEFAULT_EXECUTION_MODE": "local",
                "TZ": "UTC",
                "NO_COLOR": "1",
            },
            cwd=directory,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "dag:" in done.stdout, done.stderr
        found.append(
            {"exit": done.returncode, "ran": sorted(set(trace.read_text().splitlines())), **observed(directory)}
        )
    return found


@pytest.mark.reference
@skipUnless(Path(REFERENCE).is_file(), "TXDAGU_REFERENCE does not name the released program")
class RetryTests(TestCase):
    """One run, taken up again several times."""

    def test_both_programs_take_turns(self) -> None:
        """Whoever began the run and whoever retries it: what runs, how it ends and what is kept is as with Dagu alone."""
        directory = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, directory, ignore_errors=True)
        casts = ((THEIRS,) * 5, (THEIRS, OURS, OURS, THEIRS, OURS), (OURS, THEIRS, THEIRS, OURS, THEIRS))
        with ThreadPoolExecutor() as pool:
            homes = [directory / str(number) for number in range(len(casts))]
            alone, *mixed = pool.map(session, homes, casts)
        for found in mixed:
            for deed, wanted, got in zip(DEEDS, alone, found, strict=True):
                for key in ("exit", "ran", "attempts", "status", "params", "outputs", "nodes"):
                    self.assertEqual(got[key], wanted[key], (deed, key))
        for found in (alone, *mixed):
            first, *retries = found
            for later in retries:
                self.assertEqual(later["log"], first["log"])
            if found is not mixed[1]:  # Dagu takes the time of its own last write, we that of the first
                self.assertEqual({later["created"] for later in found}, {first["created"]})
            kept = retries[0]["logs"]
            self.assertEqual(kept["a"], first["logs"]["a"])
            self.assertNotEqual(kept["b"], first["logs"]["b"])
