"""Looking for lines in logs of any size."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from txdagu.execution.logsearch import PIECE, log_has
from txdagu.model.errors import DaguError


class LogSearchTests(SynchronousTestCase):
    def has(self, content: bytes, *texts: str) -> bool:
        Path("log").write_bytes(content)
        return log_has("log", texts)

    def test_text(self) -> None:
        """A text is found anywhere in a line, one of several is enough, and it does not reach over the end of a line."""
        self.assertTrue(self.has(b"one\ntwo three\n", "x", "o t"))
        self.assertFalse(self.has(b"one\ntwo\n", "one\ntwo", "e t"))
        self.assertFalse(self.has(b"", "x"))

    def test_expression(self) -> None:
        """A regular expression searches within each line, whose end is no part of it."""
        self.assertTrue(self.has(b"a\ncode=42\r\n", "re:^code=[0-9]+$"))
        self.assertFalse(self.has(b"a\nb\n", "re:a.b"))

    def test_text_on_the_edge_of_pieces(self) -> None:
        """In a line that is longer than a piece, a text is found wherever it stands."""
        for before in range(PIECE - 5, PIECE + 2):
            self.assertTrue(self.has(b"x" * before + b"needle" + b"y" * PIECE, "needle"), before)
        self.assertFalse(self.has(b"x" * (PIECE - 3) + b"\nneedle"[:4] + b"\ndle", "needle"))

    def test_bytes_that_are_no_text(self) -> None:
        """Binary output is searched like any other."""
        self.assertTrue(self.has(b"\xff\x00\xfe ok \x80\n", " ok ", "re:^never$"))
        self.assertTrue(self.has(b"\xff\x00\xfe ok \x80\n", "re:ok"))

    def test_no_file(self) -> None:
        """A log that is not there has nothing."""
        self.assertFalse(log_has("nothing", ("x",)))

    def test_no_expression(self) -> None:
        """What is no regular expression is refused with a sentence."""
        error = self.assertRaises(DaguError, self.has, b"x", "re:[")
        self.assertIn("'[' is no regular expression", str(error))
