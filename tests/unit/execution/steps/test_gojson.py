"""JSON in the reference's form."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from txdagu.execution.steps import gojson

# Measured on Dagu 1.30.2 with a jq step over the value.
NUMBERS = (
    (1.5, "1.5"),
    (1234567, "1234567"),
    (1234567.0, "1234567"),
    (0.00001, "0.00001"),
    (0.0000012, "0.0000012"),
    (1e-7, "1e-7"),
    (1e20, "100000000000000000000"),
    (1e21, "1e+21"),
    (12345678901234567890.0, "12345678901234567000"),
    (123456789.5, "123456789.5"),
    (-0.0, "-0"),
    (0, "0"),
    (-1.5e-9, "-1.5e-9"),
    (1 / 3, "0.3333333333333333"),
)
values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


class GoJsonTests(SynchronousTestCase):
    def test_numbers(self) -> None:
        """Every kind of number has the reference's digits."""
        self.assertEqual([(value, gojson.number(value)) for value, _ in NUMBERS], list(NUMBERS))

    def test_no_json_number(self) -> None:
        """What JSON cannot say is refused, in and out."""
        for value, name in ((math.nan, "NaN"), (math.inf, r"\+Inf"), (-math.inf, "-Inf")):
            self.assertRegex(str(self.assertRaises(ValueError, gojson.number, value)), name)
        for text in ("NaN", "[Infinity]", "1 2", ""):
            self.assertRaises(ValueError, gojson.parse, text)

    def test_layout(self) -> None:
        """Keys are sorted, what HTML could take for its own is escaped, empty containers stay on their line."""
        value = {"b": [1.0, {}], "a<": "&é\u2028", "c": []}
        self.assertEqual(
            gojson.dumps(value, "  "),
            '{\n  "a\\u003c": "\\u0026é\\u2028",\n  "b": [\n    1,\n    {}\n  ],\n  "c": []\n}',
        )
        self.assertEqual(gojson.dumps(value), '{"a\\u003c":"\\u0026é\\u2028","b":[1,{}],"c":[]}')

    @given(values)
    def test_same_value(self, value: object) -> None:
        """Whatever is written reads as the value it was, indented or not."""
        for indent in ("", "    "):
            self.assertEqual(gojson.parse(gojson.dumps(value, indent)), value)
