"""The text a value becomes as a param or an environment variable."""

from __future__ import annotations

import math

from twisted.trial.unittest import SynchronousTestCase

from txdagu.model.scalars import scalar_text

TEXTS = [
    ("x y", "x y"),
    (42, "42"),
    (-5, "-5"),
    (12345678901234567890, "12345678901234567890"),
    (True, "true"),
    (False, "false"),
    (None, "<nil>"),
    (1.50, "1.5"),
    (2.0, "2"),
    (-0.25, "-0.25"),
    (0.0, "0"),
    (-0.0, "-0"),
    (100000.0, "100000"),
    (1000000.0, "1e+06"),
    (1234567.0, "1.234567e+06"),
    (123456789.5, "1.234567895e+08"),
    (-1e21, "-1e+21"),
    (0.0001, "0.0001"),
    (0.00001, "1e-05"),
    (1.5e-300, "1.5e-300"),
    (math.inf, "+Inf"),
    (-math.inf, "-Inf"),
    (math.nan, "NaN"),
    ([1, 2], "[1 2]"),
    ({"x": 1}, "map[x:1]"),
    ({"b": [True], "a": None}, "map[a:<nil> b:[true]]"),
]


class ScalarTextTests(SynchronousTestCase):
    def test_table(self) -> None:
        """Every kind of value has the text that Dagu gives it."""
        for value, text in TEXTS:
            assert scalar_text(value) == text
