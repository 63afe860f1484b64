"""
`dagu validate` of Dagu 1.30.2 and our reader say the same about small files.

`TXDAGU_REFERENCE` names the released program; without it these tests are skipped.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import TestCase, skipUnless

import pytest

from txdagu.testing.validation import DIFFERENT, INVALID, VALID

REFERENCE = os.environ.get("TXDAGU_REFERENCE", "")


@pytest.mark.reference
@skipUnless(Path(REFERENCE).is_file(), "TXDAGU_REFERENCE does not name the released program")
class ValidateTests(TestCase):
    """The table that our own tests check us against, checked against the program that it is about."""

    def setUp(self) -> None:
        self.home = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)

    def verdicts(self, texts: list[str]) -> list[tuple[bool, str]]:
        """For each text, whether it is valid, and what is printed."""

        def verdict(number: int) -> tuple[bool, str]:
            path = self.home / f"f{number}.yaml"
            path.write_text(texts[number] + "\n")
            done = subprocess.run(
                [REFERENCE, "validate", str(path)],
                env={"PATH": os.environ["PATH"], "HOME": str(self.home), "DAGU_HOME": str(self.home)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=60,
                check=False,
                text=True,
            )
            return done.returncode == 0, done.stdout.partition("Usage:")[0]

        with ThreadPoolExecutor(4) as executor:
            return list(executor.map(verdict, range(len(texts))))

    def test_table(self) -> None:
        """It accepts and refuses the same files, with the same phrases, and differs where we say so."""
        texts = [*VALID, *(text for text, _ in INVALID), *(text for text, _, _ in DIFFERENT)]
        verdicts = dict(zip(texts, self.verdicts(texts), strict=True))
        wrong = [f"{text!r} is refused: {verdicts[text][1]}" for text in VALID if not verdicts[text][0]]
        for text, phrase in INVALID:
            valid, printed = verdicts[text]
            if valid or phrase not in printed:
                wrong.append(f"{text!r} gives {'no error' if valid else printed}, and not {phrase!r}")
        for text, phrase, _ in DIFFERENT:
            if verdicts[text][0] is not bool(phrase):
                wrong.append(f"{text!r} is no difference: {verdicts[text][1]}")
        self.assertEqual(wrong, [])
