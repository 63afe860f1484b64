"""
DAG files through Dagu 1.30.2 and through us: the same verdict, statuses, outputs, logs and exit codes.

Every file in ``dags`` runs once in each program, in homes of their own; its comment tells what it tests (see
`txdagu.testing.differential.cases`). `TXDAGU_REFERENCE` names the released program; without it these tests are skipped.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import TestCase, skipUnless

import pytest

from txdagu.testing.differential.cases import Case, read_cases
from txdagu.testing.differential.comparison import covered, differences, value_at
from txdagu.testing.differential.programs import Result, run_ours, run_reference

REFERENCE = os.environ.get("TXDAGU_REFERENCE", "")
DIRECTORY = Path(__file__).parent / "dags"
COMPATIBILITY = Path(__file__).parents[2] / "docs" / "compatibility.md"

# Files with something that the released program does and this version does not do yet; those that no longer differ leave.
_NOT_YET = """
hitl_waits log_dir_evaluated params_schema_violated
"""
NOT_YET = frozenset(_NOT_YET.split())

CASES = {case.name: case for case in read_cases(DIRECTORY)}


def facts_missed(case: Case, theirs: Result) -> list[str]:
    """Where the released program does not do what the file says of it, one text for each value."""
    found = [f"it does not refuse it with {phrase!r}" for phrase in case.refused if not _refused(theirs, phrase)]
    for path, wanted in case.expected.items():
        if (value := value_at(theirs.observed, path)) != wanted:
            found.append(f"{path} is {_shown(value)}, not {_shown(wanted)}")
    return found


def remarks(case: Case, theirs: Result, ours: Result) -> list[str]:
    """Where we are not as we should be, one text for each value."""
    found = [f"it is not refused with {phrase!r}" for phrase in case.refused if not _refused(ours, phrase)]
    seen = set()
    for path, dagu, txdagu in differences(theirs.observed, ours.observed):
        allowed = covered(path, case.differs)
        if not allowed:
            found.append(f"{path}\n    Dagu:   {_shown(dagu)}\n    txdagu: {_shown(txdagu)}")
        seen.add(allowed)
    return found + [f"{path} does not differ, though the file says so" for path in case.differs if path not in seen]


def _refused(result: Result, phrase: str) -> bool:
    return not result.observed["valid"] and phrase in result.messages


def _shown(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)[:2000]


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
        self.assertLessEqual(NOT_YET, set(CASES))


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
        directory = Path(tempfile.mkdtemp())
        cls.addClassCleanup(shutil.rmtree, directory, ignore_errors=True)
        cases = list(CASES.values())
        with ThreadPoolExecutor(2) as pool:
            theirs = pool.submit(run_reference, REFERENCE, cases, directory / "dagu")
            ours = pool.submit(run_ours, cases, directory / "ours")
            cls.theirs = dict(zip(CASES, theirs.result(), strict=True))
            cls.ours = dict(zip(CASES, ours.result(), strict=True))

    def check(self, name: str) -> None:
        """Compare what came of one file."""
        case, theirs, ours = CASES[name], self.theirs[name], self.ours[name]
        missed = facts_missed(case, theirs)
        self.assertFalse(missed, "\n  ".join([f"Dagu, {name}: {case.trap}", *missed, theirs.messages]))
        found = remarks(case, theirs, ours)
        if name in NOT_YET:
            self.assertTrue(found, f"{name} is as it should be now: take it off the list NOT_YET")
            return
        self.assertFalse(found, "\n  ".join([f"{name}: {case.trap}", *found, ours.messages]))


def _add_tests() -> None:
    for name, case in CASES.items():

        def test(self: DifferentialTests, name: str = name) -> None:
            self.check(name)

        test.__doc__ = f"Section {', '.join(map(str, case.sections))}: {case.trap}"
        test.__name__ = f"test_{name}"
        setattr(DifferentialTests, test.__name__, test)


_add_tests()
