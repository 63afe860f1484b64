"""
DAG files through Dagu 1.30.2 and through us: the same verdict, statuses, outputs, logs and exit codes.

Every file in ``dags`` runs once in each program, in homes of their own; its comment tells what it tests (see
`txdagu.testing.differential.cases`). `TXDAGU_REFERENCE` names the released program; without it these tests are skipped.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from unittest import TestCase, skipUnless

import pytest

from txdagu.testing.differential.cases import Case, read_cases
from txdagu.testing.differential.programs import Result, run_both
from txdagu.testing.differential.verdicts import verdict

REFERENCE = os.environ.get("TXDAGU_REFERENCE", "")
DIRECTORY = Path(__file__).parent / "dags"
COMPATIBILITY = Path(__file__).parents[2] / "docs" / "compatibility.md"

CASES = {case.name: case for case in read_cases(DIRECTORY)}


class CatalogueTests(TestCase):
    """What the files say of themselves."""

    def test_every_section_has_files(self) -> None:
        """No section of the language is without a file, and there are many."""
        sections = {section for case in CASES.values() for section in case.sections}
        self.assertGreaterEqual(sections, {*range(2, 19), 20, 22, 23, 24, 25})
        self.assertGreaterEqual(len(CASES), 150)

    def test_no_trap_twice(self) -> None:
        """Each file says something of its own, and no two are the same file."""
        traps = [case.trap for case in CASES.values()]
        self.assertEqual(len(traps), len(set(traps)))
        shapes: dict[str, str] = {}
        for case in CASES.values():
            shape = re.sub(r"\s+", " ", "\n".join(_body(case)))
            self.assertNotIn(shape, shapes, f"{case.name} and {shapes.get(shape)}")
            shapes[shape] = case.name

    def test_deviations_are_listed(self) -> None:
        """The documentation lists the files that differ on purpose, with the same reasons."""
        text = COMPATIBILITY.read_text("utf-8")
        listed = dict(
            re.findall(r"^\| \[`(\w+)`\]\(\.\./tests/interop/dags/\1\.yaml\) \| (.*) \|$", text, re.MULTILINE)
        )
        self.assertEqual(listed, {case.name: case.deviates for case in CASES.values() if case.deviates})

    def test_deviations_say_where(self) -> None:
        """A reason without a place, or a place without a reason, is a mistake; so is a name of no file in the list."""
        for case in CASES.values():
            self.assertEqual(bool(case.deviates), bool(case.differs), case.name)


def _body(case: Case) -> list[str]:
    lines = case.path.read_text("utf-8").splitlines()
    texts = [line for line in lines if not line.startswith("#")]
    return [*case.args, repr(sorted(case.env.items())), repr(sorted(case.files.items())), *texts]


@pytest.mark.reference
@skipUnless(Path(REFERENCE).is_file(), "TXDAGU_REFERENCE does not name the released program")
class DifferentialTests(TestCase):
    """One test for each file; all files have run before the first."""

    theirs: dict[str, Result]
    ours: dict[str, Result]

    @classmethod
    def setUpClass(cls) -> None:
        """Run all files, in both programs at once."""
        cls.theirs, cls.ours = run_both(REFERENCE, list(CASES.values()))

    def check(self, name: str) -> None:
        """Compare what came of one file."""
        wrong = verdict(CASES[name], self.theirs[name], self.ours[name])
        self.assertFalse(wrong, wrong)


def _add_tests() -> None:
    for name, case in CASES.items():

        def test(self: DifferentialTests, name: str = name) -> None:
            self.check(name)

        test.__doc__ = f"Section {', '.join(map(str, case.sections))}: {case.trap}"
        test.__name__ = f"test_{name}"
        setattr(DifferentialTests, test.__name__, test)


_add_tests()
