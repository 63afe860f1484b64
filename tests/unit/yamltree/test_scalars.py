"""Which value a plain scalar stands for, and which text it becomes."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txdagu.yamltree import label_text, parse, plain, scalar_text

# What is written, its value, and the text it becomes as a param or in the environment.
WRITTEN: list[tuple[str, object, str]] = [
    ("42", 42, "42"),
    ("-5", -5, "-5"),
    ("+5", 5, "5"),
    ("0", 0, "0"),
    ("1.50", 1.5, "1.5"),
    ("2.0", 2.0, "2"),
    (".5", 0.5, "0.5"),
    ("1.", 1.0, "1"),
    ("1.5e3", 1500.0, "1500"),
    ("0755", 493, "493"),
    ("-0755", -493, "-493"),
    ("00", 0, "0"),
    ("0o14", 12, "12"),
    ("0x1f", 31, "31"),
    ("0b11", 3, "3"),
    ("089", "089", "089"),
    ("1_000", 1000, "1000"),
    ("_1", "_1", "_1"),
    ("12345678901234567890", 12345678901234567890, "12345678901234567890"),
    ("9" * 101, "9" * 101, "9" * 101),
    ("true", True, "true"),
    ("True", True, "true"),
    ("FALSE", False, "false"),
    ("tRUE", "tRUE", "tRUE"),
    ("yes", "yes", "yes"),
    ("off", "off", "off"),
    ("on", "on", "on"),
    ("n", "n", "n"),
    ("2024-01-01", "2024-01-01", "2024-01-01"),
    ("12:30:00", "12:30:00", "12:30:00"),
    ("1e3", "1e3", "1e3"),
    ("1e21", "1e21", "1e21"),
    ("123456789.5", 123456789.5, "1.234567895e+08"),
    ("null", None, "<nil>"),
    ("~", None, "<nil>"),
    ("", None, "<nil>"),
    (".inf", float("inf"), "+Inf"),
    ("-.INF", float("-inf"), "-Inf"),
    ("[1, 2]", [1, 2], "[1 2]"),
    ("{x: 1}", {"x": 1}, "map[x:1]"),
    ('"42"', "42", "42"),
    ("'true'", "true", "true"),
    ("|-\n    42", "42", "42"),
    ("!!str 42", "42", "42"),
    ("!!int 0x10", 16, "16"),
    ("!!float 2", 2, "2"),
    ("1.2.3", "1.2.3", "1.2.3"),
    ("-", [None], "[<nil>]"),
    ("+", "+", "+"),
    (".", ".", "."),
    ("0x", "0x", "0x"),
]

LABELS = [
    ("11.10", "11.10"),
    ("0755", "0755"),
    ("1_000", "1_000"),
    ("True", "true"),
    ("false", "false"),
    ('"11.10"', "11.10"),
    ("64G", "64G"),
    ("null", "<nil>"),
]


class ScalarTests(SynchronousTestCase):
    def test_values(self) -> None:
        """Plain scalars are read as Dagu reads them, and become the text that Dagu gives them."""
        for written, value, text in WRITTEN:
            (node,) = parse(f"key:\n  {written}\n", "f.yaml")
            found = plain(node)["key"]
            assert (type(found), found) == (type(value), value), written
            assert scalar_text(found) == text, written

    def test_nan(self) -> None:
        """Not a number is one float that equals nothing, so it stands apart from the table."""
        (node,) = parse("[.nan, .NaN]", "f.yaml")
        assert [scalar_text(value) for value in plain(node)] == ["NaN", "NaN"]

    def test_label_texts(self) -> None:
        """Numbers stay as written in labels, so that 11.10 is not 11.1."""
        for written, text in LABELS:
            (node,) = parse(f"[{written}]", "f.yaml")
            assert isinstance(node.value, list)
            assert label_text(node.value[0]) == text, written
