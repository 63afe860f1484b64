"""The table of situations and tests."""

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parents[3]
ROW = re.compile(r"^\| (T\d\d) \| (.+?) \| (.+?) \| (.+?) \|$", re.MULTILINE)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


class SituationTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Its rows: number, situation, tests, result."""
        self.rows = ROW.findall((ROOT / "docs" / "reliability.md").read_text())

    def test_every_number(self) -> None:
        """Each situation has one row, in order."""
        self.assertEqual([number for number, *_ in self.rows], [f"T{number:02}" for number in range(1, 80)])

    def test_every_test_exists(self) -> None:
        """Each row names tests that are there; one that has none says that it comes later or is open."""
        for number, _, tests, result in self.rows:
            named = TEST.findall(tests)
            self.assertEqual(len(named), tests.count("::"), number)
            self.assertEqual(bool(named), not result.startswith(("later: ", "open: ")), number)
            for path, name in named:
                found = re.search(rf"(?m)^\s*(async def|def|class) {name}\b", (ROOT / path).read_text())
                self.assertTrue(found, f"{number}: {path} has no {name}")
