"""The items of ``parallel``: what one text is split into."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from txdagu.execution.steps.items import split_items

# Measured with Dagu 1.30.2.
SPLIT: tuple[tuple[str, list[str]], ...] = (
    ("", []),
    (" , ", []),
    ("one", ["one"]),
    ("a b", ["a", "b"]),
    ("a b,c,d", ["a b", "c", "d"]),
    ("a,,b, c ,", ["a", "b", "c"]),
    ("a b;c;d,e", ["a b", "c", "d,e"]),
    ("a|b|c,d,e", ["a", "b", "c,d,e"]),
    ("x;y|z", ["x;y", "z"]),
    ("x,y\tz", ["x,y", "z"]),
    (" first line \n\nsecond, third\n", ["first line", "second, third"]),
    ('a b\n"c d" e', ["a b", '"c d" e']),
    ('"a b"', ["a b"]),
    ('""', [""]),
    ('"x y",z w', ["x y", ",z", "w"]),
    ('a,"b c"', ["a,", "b c"]),
    ('a" "b', ["a", " ", "b"]),
    ('a "b""c" d', ["a", "b", "c", "d"]),
    ('x,"y"z w', ["x", '"y"z w']),
    ('a"b c"d e', ['a"b', 'c"d', "e"]),
    ('a "b', ["a", '"b']),
    ('{"a": 1} {"b": 2}', ['{"a":', "1}", '{"b":', "2}"]),
    ('{"a": "b"} "x"', ["{", "a", ":", "b", "}", "x"]),
    ("[]", []),
    ("[1, 2", ["[1", "2"]),
    ("[1e999]", ["[1e999]"]),
    ('[" a ", "", 3, true, null, [1, "x"]]', [" a ", "", "3", "true", "null", '[1,"x"]']),
    ('[1000000, 1e21, 0.0000001, {"b": "<", "a": 1e3}]', ["1000000", "1e+21", "1e-7", '{"a":1000,"b":"\\u003c"}']),
    (' {"K": "v", "L": [1, 2]} ', ['{"K": "v", "L": [1, 2]}']),
    ("12", ["12"]),
)


class SplitTests(SynchronousTestCase):
    def test_rules(self) -> None:
        """The first rule that fits a text splits it."""
        for text, items in SPLIT:
            self.assertEqual(split_items(text), items, text)

    @given(st.text())
    def test_any_text(self, text: str) -> None:
        """Whatever a text holds, it is split, and nothing is made up."""
        letters = [letter for item in split_items(text) for letter in item]
        if not text.strip().startswith(("[", "{")):
            self.assertLessEqual(len(letters), len(text))
