"""The DAG files in ``examples/dags``: each runs to a good end with plain tools, in this program and in Dagu."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import TestCase, skipUnless

import pytest

from txdagu.testing.differential.cases import Case
from txdagu.testing.differential.programs import Result, run_ours, run_reference

ROOT = Path(__file__).parents[2]
REFERENCE = os.environ.get("TXDAGU_REFERENCE", "")
CASES = [Case(path, (1,), path.stem) for path in sorted((ROOT / "examples" / "dags").glob("*.yaml"))]

# What each of them says last.
LAST_WORDS = {
    "backup": "1",
    "devnet": "both answer",
    "etl": "4 orders read, 1 totals of eu written",
    "ml-pipeline": "published a model with an accuracy of 0.93",
    "nightly-checks": "exit code 0",
    "release-notes": "Release 0.1.0 is ready",
}


def states(observed: dict[str, Any]) -> dict[str, Any]:
    """How a run and its steps ended; how full the disk is, and how long a service takes, may differ."""
    steps = {name: step["status"] for name, step in observed["run"]["steps"].items()}
    return {"exit": observed["exit"], "run": observed["run"]["status"], "steps": steps}


class ExampleTests(TestCase):
    """All examples at once, in a directory of their own."""

    directory: Path
    ours: Sequence[Result]

    @classmethod
    def setUpClass(cls) -> None:
        """Run all of them."""
        cls.directory = Path(tempfile.mkdtemp())
        cls.addClassCleanup(shutil.rmtree, cls.directory, ignore_errors=True)
        cls.ours = run_ours(CASES, cls.directory / "ours")

    def test_ours(self) -> None:
        """Every example is valid, ends well, and says what it is there to say; all are shown in the README."""
        self.assertEqual({case.path.stem for case in CASES}, set(LAST_WORDS))
        page = (ROOT / "README.md").read_text("utf-8")
        for case, result in zip(CASES, self.ours, strict=True):
            self.assertEqual((result.observed["valid"], result.observed["exit"]), (True, 0), result.messages)
            self.assertEqual(result.observed["run"]["status"], "succeeded", case.path.name)
            self.assertIn(LAST_WORDS[case.path.stem], str(result.observed["run"]), case.path.name)
            self.assertIn(f"examples/dags/{case.path.name}", page)

    @pytest.mark.reference
    @skipUnless(Path(REFERENCE).is_file(), "TXDAGU_REFERENCE does not name the released program")
    def test_both(self) -> None:
        """Dagu comes to the same end of each."""
        theirs = run_reference(REFERENCE, CASES, self.directory / "dagu")
        for case, one, other in zip(CASES, theirs, self.ours, strict=True):
            self.assertEqual(states(other.observed), states(one.observed), case.path.name)
            self.assertEqual(one.observed["exit"], 0, one.messages)
