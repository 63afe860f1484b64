"""Queries over JSON. What is expected was measured on Dagu 1.30.2, unless it says otherwise."""

from __future__ import annotations

import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from txdagu.execution.steps.jq_program import answer

TABLE = (
    (".a[]", '{"a": [1, "x", null, 1.50, {"k": "<"}]}', False, '1\n"x"\nnull\n1.5\n{\n    "k": "\\u003c"\n}\n'),
    (".[]", '["x", "a\\nb", null, true, {"k": [1]}, []]', True, 'x\na\nb\n\ntrue\n{"k":[1]}\n[]\n'),
    (".[]", "[1234567, 0.00001, 100000, 1e300, 2.0]", True, "1.234567e+06\n1e-05\n100000\n1e+300\n2\n"),
    (".x", '{"x": 12345678901234567890}', False, "12345678901234567000\n"),
    ("select(.x)", "{}", False, ""),
)


class JqTests(SynchronousTestCase):
    def ask(self, query: str, text: str, raw: bool = False) -> tuple[str, str, str]:
        out, err = StringIO(), StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            error = answer(query, text, raw)
        return out.getvalue(), err.getvalue(), error

    def test_results(self) -> None:
        """Each result stands on a line of its own, as JSON or raw."""
        for query, text, raw, expected in TABLE:
            self.assertEqual(self.ask(query, text, raw), (expected, "", ""), query)

    def test_errors_within(self) -> None:
        """What goes wrong within the query is told on standard error, after the results before it, and is no failure."""
        out, err, error = self.ask(".[] | tonumber", '["1", "x"]')
        self.assertEqual((out, error), ("1\n", ""))
        self.assertRegex(err, "^failed to run jq query: .*cannot be parsed as a number")

    def test_unreadable(self) -> None:
        """A query or an input that cannot be read is a failure."""
        self.assertRegex(self.ask(".a[", "{}")[2], "^the query cannot be read: ")
        for text in ("[1", "1 2", "NaN"):
            self.assertRegex(self.ask(".", text)[2], "^the script is not one JSON text: ")

    def test_package_missing(self) -> None:
        """Without the package the step says what to install."""
        with patch.dict(sys.modules, {"jq": None}):
            error = self.ask(".", "1")[2]
        self.assertEqual(error, "jq steps need the package jq, which is not installed: pip install 'txdagu[jq]'")
