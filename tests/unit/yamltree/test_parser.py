"""Documents, positions, anchors and errors of YAML texts."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from txdagu.model.errors import InvalidInputError
from txdagu.yamltree import Node, Position, parse, parse_documents, plain, where

BAD: list[tuple[str, str, list[tuple[str, str]]]] = [
    ("a tab as indentation", "a:\n\tb: 1", [("2:1", "a tab cannot indent a line")]),
    ("a tab in a later line", "a:\n  b: 1\n\tc: 2", [("3:1", "tab character that violates indentation")]),
    ("a bracket that stays open", "a: [1,\n", [("1:7", "did not find expected node content")]),
    ("quotes that stay open", "a: 'x\nb: y\n", [("1:4", "found unexpected end of stream")]),
    ("quotes that stay open in one of several documents", 'a: "x\n---\nb: y\n', [("1:4", "found unexpected document")]),
    ("two colons", "a: b: c", [("1:5", "mapping values are not allowed in this context")]),
    ("a wrong indentation", "a: 1\n b: 2", [("2:3", "mapping values are not allowed in this context")]),
    ("a line without a colon", "a: b\nc\nd: 1", [("3:1", "could not find expected ':'")]),
    ("a list that becomes a mapping", "- a\nb: c", [("2:1", "did not find expected '-' indicator")]),
    ("a reserved character", "a: @x", [("1:4", "a text cannot begin with '@'")]),
    ("a control character", "key: é\x07", [("1:7", r"the character '\x07' is not allowed")]),
    ("a control character in a later line", "é: é\nb: \x01", [("2:4", r"the character '\x01' is not allowed")]),
    ("half a character", "a: 1\nb: \ud800", [("2:4", "lone surrogate")]),
    ("a later document", "a: 1\n---\nb: [", [("3:5", "did not find expected node content")]),
    ("a future version", "%YAML 3.0\n---\na: 1", [("1:1", "found incompatible YAML document")]),
    ("a key given twice", "a: 1\nb: 2\na: 3", [("3:1", 'mapping key "a" already defined at line 1')]),
    ("keys given twice in flow", "{a: 1, a: 2}", [("1:8", 'mapping key "a" already defined at line 1')]),
    ("a key quoted the second time", "a: 1\n'a': 2", [("2:1", 'mapping key "a" already defined at line 1')]),
    ("an unknown anchor", "a: *x", [("1:4", "the anchor &x is not defined")]),
    ("an anchor of another document", "a: &x 1\n---\nb: *x", [("3:4", "the anchor &x is not defined")]),
    ("an anchor within itself", "a: &x [*x]", [("1:8", "the anchor &x contains itself")]),
    ("a list as key", "? [x]\n: 1", [("1:3", "a key must be a word or a number")]),
    ("a merge of no mapping", "<<: 1", [("1:5", "<< merges mappings")]),
    ("a merge of a list with a text", "a: &a {x: 1}\nb:\n  <<: [*a, y]", [("3:12", "<< merges mappings")]),
    ("two merges", "a: &a {x: 1}\nb:\n  <<: *a\n  <<: *a", [("4:3", 'mapping key "<<" already defined at line 3')]),
    ("an unknown tag", "a: !secret x", [("1:4", "the tag !secret is not known here")]),
    ("an unknown tag of a list", "a: !!set {x: 1}", [("1:4", "the tag !!set is not known here")]),
    ("a tag that lies", "a: !!int x", [("1:4", "'x' is no int")]),
    ("too deep", "[" * 101, [("1:101", "nested deeper than 100 levels")]),
    ("much too deep", "[" * 100_000, [("1:101", "nested deeper than 100 levels")]),
    (
        "everything at once, over two documents",
        "a: 1\na: 2\n---\nb: *x\nc: !y z\n",
        [("2:1", 'mapping key "a"'), ("4:4", "the anchor &x"), ("5:4", "the tag !y")],
    ),
]


def _value(node: Node, *path: str | int) -> Node:
    for step in path:
        value: Any = node.value
        node = value[step]
    return node


class PositionTests(SynchronousTestCase):
    def test_keys_and_values(self) -> None:
        """Lines and columns count from 1, in characters, for keys as for values."""
        (root,) = parse("# x\nname: é\nsteps:\n  - é: ü\n    command:  run\n", "f.yaml")
        assert (root.line, root.column) == (2, 1)
        assert root.keys == {"name": Position(2, 1), "steps": Position(3, 1)}
        assert where("f.yaml", _value(root, "name")) == "f.yaml:2:7"
        step = _value(root, "steps", 0)
        assert where("f.yaml", step) == "f.yaml:4:5"
        assert where("f.yaml", step.keys["command"]) == "f.yaml:5:5"
        assert where("f.yaml", _value(step, "command")) == "f.yaml:5:15"

    def test_byte_order_mark(self) -> None:
        """A byte order mark is no part of the text."""
        (document,) = parse_documents("\ufeffa: 1", "f.yaml")
        assert plain(document.root) == {"a": 1}
        assert document.root.keys["a"] == Position(1, 1)
        assert document.text == "a: 1"

    def test_windows_line_ends(self) -> None:
        """Lines that end as on Windows count once."""
        documents = parse_documents("a: 1\r\nb: 2\r\n---\r\nc: 3\r\n", "f.yaml")
        assert documents[0].root.keys["b"] == Position(2, 1)
        assert documents[1].root.keys["c"] == Position(4, 1)
        assert documents[1].text == "c: 3\r\n"

    @settings(deadline=None)
    @given(
        st.dictionaries(
            st.text(alphabet="abcé", min_size=1, max_size=5),
            st.lists(st.text(alphabet="xyzü", min_size=1, max_size=5), min_size=1, max_size=4),
            min_size=1,
            max_size=5,
        ),
        st.integers(0, 3),
        st.integers(1, 4),
    )
    def test_written_where_they_are_said_to_be(self, tree: dict[str, list[str]], blank: int, indent: int) -> None:
        """At every position that is told stands the text of that key or value."""
        lines = []
        for key, items in tree.items():
            lines += ["# comment"] * blank + [f"{key}:"] + [f"{' ' * indent}- {item}" for item in items]
        (root,) = parse("\n".join(lines), "f.yaml")
        assert plain(root) == tree
        for key, items in tree.items():
            position = root.keys[key]
            assert lines[position.line - 1][position.column - 1 :] == f"{key}:"
            for index, item in enumerate(items):
                node = _value(root, key, index)
                assert lines[node.line - 1][node.column - 1 :] == item

    @settings(deadline=None)
    @given(
        st.recursive(
            st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Co", "Cn")))
            | st.integers()
            | st.booleans(),
            lambda children: st.lists(children) | st.dictionaries(st.text("abc", max_size=5), children),
            max_leaves=20,
        )
    )
    def test_same_values_as_the_reference_parser(self, value: Any) -> None:
        """What PyYAML writes with quotes where it thinks them necessary is read back."""
        text = yaml.safe_dump({"root": value}, allow_unicode=True, default_style='"')
        (root,) = parse(text, "f.yaml")
        assert plain(root) == {"root": value}


class DocumentTests(SynchronousTestCase):
    def test_several(self) -> None:
        """Empty documents are skipped, and each other has its own text that gives the same document again."""
        text = (
            "# the first\na: &x [1]\nb: *x\n---\n---\n# the second\nc: |+\n  text\n\n--- # the third\n{d: 4}\n...\n"
            "---\nnull\n--- !!map\ne: 5\n"
        )
        documents = parse_documents(text, "f.yaml")
        values = [{"a": [1], "b": [1]}, {"c": "text\n\n"}, {"d": 4}, {"e": 5}]
        assert [plain(document.root) for document in documents] == values
        assert [plain(root) for document in documents for root in parse(document.text, "g.yaml")] == values
        assert documents[1].text == "# the second\nc: |+\n  text\n\n"

    def test_nothing(self) -> None:
        """A text without content has no documents."""
        for text in ("", "\n", "# only a comment\n", "---\n", "---\n---\n...\n"):
            assert parse(text, "f.yaml") == [], text

    def test_texts_that_look_like_markers(self) -> None:
        """A marker inside a block of text or quotes separates nothing."""
        (document,) = parse_documents("a: |\n  ---\n  b\nc: '\n  --- x'\n", "f.yaml")
        assert plain(document.root) == {"a": "---\nb\n", "c": " --- x"}


class AnchorTests(SynchronousTestCase):
    def test_alias(self) -> None:
        """An alias is the anchored value, with the place where that was written."""
        (root,) = parse("a: &x\n  k: 1\nb: *x\n", "f.yaml")
        assert _value(root, "b") is _value(root, "a")

    def test_merge(self) -> None:
        """Merged keys keep their places and yield to the mapping's own; of several mappings the earlier wins."""
        (root,) = parse("a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc:\n  <<: [*a, *b]\n  x: 3\n", "f.yaml")
        merged = _value(root, "c")
        assert plain(merged) == {"x": 3, "y": 1, "z": 2}
        assert merged.keys == {"x": Position(5, 3), "y": Position(1, 14), "z": Position(2, 14)}

    def test_quoted_merge_key(self) -> None:
        """A quoted << is a key like any other."""
        (root,) = parse("'<<': 1", "f.yaml")
        assert plain(root) == {"<<": 1}

    def test_alias_as_key(self) -> None:
        """An alias of a scalar may be a key."""
        (root,) = parse("a: &x name\n*x : 1\n", "f.yaml")
        assert plain(root) == {"a": "name", "name": 1}

    def test_redefined(self) -> None:
        """An anchor may be given again, and the last one counts."""
        (root,) = parse("a: &x 1\nb: *x\nc: &x 2\nd: *x\n", "f.yaml")
        assert plain(root) == {"a": 1, "b": 1, "c": 2, "d": 2}

    def test_explosion(self) -> None:
        """Aliases that would expand to millions of values, or to a very deep tree, are refused while reading."""
        wide = "a0: &a0 [1, 1]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 64))
        deep = "".join(f"a{i}: &a{i} {'[' * 30}{f'*a{i - 1}' if i else ''}{']' * 30}\n" for i in range(9))
        merged = "a0: &a0 {k0: 1}\n" + "".join(f"a{i}: &a{i} {{<<: *a{i - 1}, k{i}: 1}}\n" for i in range(1, 3000))
        for text, message in (
            (wide, "more than 1000000 values"),
            (deep, "nested deeper than 100 levels"),
            (merged, "more than 1000000 values"),
        ):
            with pytest.raises(InvalidInputError, match=message):
                parse(text, "f.yaml")


class ErrorTests(SynchronousTestCase):
    def test_table(self) -> None:
        """Each error says what is wrong, at its line and column; all that can be found at once are."""
        for sentence, text, expected in BAD:
            with pytest.raises(InvalidInputError) as caught:
                parse(text, "f.yaml")
            problems = caught.value.problems
            assert [problem.where for problem in problems] == [f"f.yaml:{place}" for place, _ in expected], sentence
            for problem, (_, phrase) in zip(problems, expected, strict=True):
                assert phrase in problem.message, sentence

    @settings(deadline=None)
    @given(st.text(alphabet="ab:-[]{}&*!|>'\"#%@` \t\n,?<~1.\ufeff\x85\u2028") | st.text())
    def test_any_text(self, text: str) -> None:
        """Any text is read or refused, never anything else."""
        try:
            for document in parse_documents(text, "f.yaml"):
                assert plain(document.root) is not None
        except InvalidInputError as error:
            assert all(problem.where.startswith("f.yaml") for problem in error.problems)
