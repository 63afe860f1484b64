"""Params as one text: what is read, and that what is written is read back."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from txdagu.model.errors import InvalidInputError
from txdagu.model.params import Param, params_text, parse_params, quote_param

READ: list[tuple[str, str, list[Param]]] = [
    ("nothing", "", []),
    ("only blanks", " \n\t ", []),
    ("named and bare values keep their order", "A=1 two B=3", [("A", "1"), (None, "two"), ("B", "3")]),
    ("any blank separates", "A=1\n\tB=2", [("A", "1"), ("B", "2")]),
    ("double quotes hold blanks", 'MSG="a b" "c d"', [("MSG", "a b"), (None, "c d")]),
    ("an escaped quote is a quote", r'A="say \"hi\" now"', [("A", 'say "hi" now')]),
    ("a backslash elsewhere is itself", r'A="C:\new\dir" B=x\y', [("A", r"C:\new\dir"), ("B", r"x\y")]),
    ("doubled backslashes before the end are halved", r'A="dir\\" B=1', [("A", "dir\\"), ("B", "1")]),
    ("doubled backslashes before an escaped quote too", r'A="x\\\"y"', [("A", r"x\"y")]),
    ("a line break inside quotes is kept", 'A="one\ntwo"', [("A", "one\ntwo")]),
    ("backticks stay and hold blanks", "A=`date +%s` `ls -l`", [("A", "`date +%s`"), (None, "`ls -l`")]),
    ("backticks inside quotes stay", 'A="`date`"', [("A", "`date`")]),
    ("single quotes are ordinary", "B='x y'", [("B", "'x"), (None, "y'")]),
    ("a name with nothing behind it is a bare value", "KEY= B=1", [(None, "KEY="), ("B", "1")]),
    ("a quoted nothing is an empty value", 'KEY="" ""', [("KEY", ""), (None, "")]),
    ("the first = ends the name", "URL=http://x?a=b", [("URL", "http://x?a=b")]),
    ("a quoted bare value may hold =", '"a=b"', [(None, "a=b")]),
    ("a quote within a bare value is ordinary", 'P={"a":1}', [("P", '{"a":1}')]),
    ("references stay", 'A=${X} B="${Y.outputs.Z}"', [("A", "${X}"), ("B", "${Y.outputs.Z}")]),
    ("a quote that never ends is ordinary", 'A="x y', [(None, 'A="x'), (None, "y")]),
    ("a value may follow a quoted one at once", '"a"b', [(None, "a"), (None, "b")]),
    ("no name in front of =", "=x", [(None, "=x")]),
    ("a JSON object, by name", '{"B": 2, "A": "x y"}', [("A", "x y"), ("B", "2")]),
    ("JSON values become text", '{"A": true, "B": null, "C": 1.5}', [("A", "true"), ("B", "<nil>"), ("C", "1.5")]),
    ("nested JSON values", '{"A": {"x": 1}, "B": [1, 2]}', [("A", "map[x:1]"), ("B", "[1 2]")]),
    ("a JSON array", '["a b", 2, {"C": 3}]', [(None, "a b"), (None, "2"), ("C", "3")]),
    (
        "JSON numbers are floats",
        '{"A": 1234567, "B": [-1e6, 999999]}',
        [("A", "1.234567e+06"), ("B", "[-1e+06 999999]")],
    ),
    ("no number of JSON", "[NaN]", [(None, "[NaN]")]),
    ("a number beyond floats", "[1e999]", [(None, "[1e999]")]),
    ("no JSON after all", "{a b}", [(None, "{a"), (None, "b}")]),
]

QUOTED = [
    ("a name and a plain value", "A", "1", 'A="1"', "A=1"),
    ("no name", None, "x", '"x"', "x"),
    ("blanks", "A", "a b", 'A="a b"', 'A="a b"'),
    ("nothing", "A", "", 'A=""', 'A=""'),
    ("quotes", "A", 'say "hi"', r'A="say \"hi\""', r'A="say \"hi\""'),
    ("a trailing backslash", "A", "x\\", r'A="x\\"', "A=x\\"),
    ("a backslash before a quote", "A", r"x\"y", r'A="x\\\"y"', r'A="x\\\"y"'),
    ("other backslashes", "A", r"C:\new", r'A="C:\new"', r"A=C:\new"),
    ("backticks", "A", "`x`", 'A="`x`"', 'A="`x`"'),
    ("what looks like a name", None, "a=b", '"a=b"', '"a=b"'),
    ("what looks like JSON", None, "[1]", '"[1]"', '"[1]"'),
    ("an = in a named value", "A", "b=c", 'A="b=c"', "A=b=c"),
]

NAMES = st.none() | st.from_regex(r'[^\s="`{\[][^\s=]*', fullmatch=True)
VALUES = st.text() | st.text(alphabet="ab \\\"`='{}[]\n")


class ReadTests(SynchronousTestCase):
    def test_table(self) -> None:
        """Each form of the syntax gives the names and values it stands for."""
        for sentence, text, expected in READ:
            assert parse_params(text) == expected, sentence

    def test_bad_json_items(self) -> None:
        """Every item of a JSON array that cannot be a param is named, with the place that was given."""
        with pytest.raises(InvalidInputError) as caught:
            parse_params('[1, null, ["x"], true]', "-p")
        assert [(problem.where, problem.message) for problem in caught.value.problems] == [
            ("-p", "invalid parameter value: item 2 is <nil>"),
            ("-p", "invalid parameter value: item 3 is [x]"),
            ("-p", "invalid parameter value: item 4 is true"),
        ]

    @settings(deadline=None)
    @given(st.text() | st.text(alphabet="ab \\\"`='{}[]\n"))
    def test_any_text(self, text: str) -> None:
        """Any text is read or refused, and what was read is read back from what is written of it."""
        try:
            params = parse_params(text)
            written = params_text(params)
        except InvalidInputError:
            return
        assert parse_params(written) == params

    def test_long_texts_take_linear_time(self) -> None:
        """Texts made to let a pattern try everything twice are read at once."""
        assert len(parse_params('"' + "\\" * 200_001)) == 1
        assert len(parse_params('A="' + '\\" ' * 100_000)) == 100_000


class WriteTests(SynchronousTestCase):
    def test_table(self) -> None:
        """Values are quoted always, or only where they would not be read back."""
        for sentence, name, value, always, needed in QUOTED:
            assert quote_param(name, value) == always, sentence
            assert quote_param(name, value, always=False) == needed, sentence

    def test_names_that_cannot_be_written(self) -> None:
        """A name that would not be read back is refused instead of written."""
        for name in ("", "a b", "a=b", '"a', "`a", "{a", "[a", "a\n"):
            with pytest.raises(InvalidInputError, match="a param cannot be named"):
                quote_param(name, "x")

    @settings(deadline=None)
    @given(st.lists(st.tuples(NAMES, VALUES)), st.booleans())
    def test_round_trip(self, params: list[Param], always: bool) -> None:
        """Whatever is written is read back."""
        assert parse_params(params_text(params, always=always)) == params
