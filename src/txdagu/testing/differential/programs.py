"""The two programs: every case run in each of them, and what it left behind there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from txdagu.testing.differential.cases import Case
from txdagu.testing.differential.observation import Observer

RUN_ID = "run1"
SECONDS = 120
SECONDS_OF_ONE = 30
AT_ONCE = 4


@dataclass(frozen=True)
class Result:
    """What came of a case in one program: what can be compared, and what it said."""

    observed: dict[str, Any]
    messages: str


def run_both(program: str, cases: Sequence[Case]) -> tuple[dict[str, Result], dict[str, Result]]:
    """All cases in the released program and in this one, at once; what came of them there and here, by name."""
    with TemporaryDirectory(ignore_cleanup_errors=True) as directory, ThreadPoolExecutor(2) as pool:
        theirs = pool.submit(run_reference, program, cases, Path(directory) / "dagu")
        ours = pool.submit(run_ours, cases, Path(directory) / "ours")
        names = [case.name for case in cases]
        return dict(zip(names, theirs.result(), strict=True)), dict(zip(names, ours.result(), strict=True))


def run_ours(cases: Sequence[Case], directory: Path) -> list[Result]:
    """All cases in this program, below `directory`, within one process. `AssertionError` with its last words if that breaks."""
    homes = [_home(case, directory) for case in cases]
    jobs = [
        {
            "environment": case.environment(home, os.environ["PATH"]),
            "directory": str(home),
            "file": str(case.file_in(home)),
            "arguments": case.arguments(home, RUN_ID)[1:],
        }
        for case, home in zip(cases, homes, strict=True)
    ]
    done = subprocess.run(
        [sys.executable, "-m", "txdagu.testing.differential.ours"],
        input=json.dumps(jobs),
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return [
        _result(home, bool(answer["valid"]), int(answer["exit"]), str(answer["messages"]))
        for home, answer in zip(homes, json.loads(done.stdout), strict=True)
    ]


def run_reference(program: str, cases: Sequence[Case], directory: Path) -> list[Result]:
    """All cases in the released program, below `directory`, several at once."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(partial(_run_reference, program, directory), cases))


def _run_reference(program: str, directory: Path, case: Case) -> Result:
    home = _home(case, directory)
    validated = _command(program, case, home, ["validate", str(case.file_in(home))])
    started = _command(program, case, home, case.arguments(home, RUN_ID))
    return _result(home, validated.returncode == 0, started.returncode, validated.stdout + started.stdout)


def _command(program: str, case: Case, home: Path, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """What the program did; a case on which it hangs is a wrong case, and named."""
    return subprocess.run(
        [program, *arguments],
        env=case.environment(home, os.environ["PATH"]),
        cwd=home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="backslashreplace",
        check=False,
        timeout=SECONDS_OF_ONE,
    )


def _home(case: Case, directory: Path) -> Path:
    home = directory / case.name
    case.furnish(home)
    return home


def _result(home: Path, valid: bool, code: int, messages: str) -> Result:
    return Result({"valid": valid, "exit": code, "run": Observer(home).run(RUN_ID)}, messages)
