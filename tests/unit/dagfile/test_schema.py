"""The JSON Schema, by the validator of the `jsonschema` package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from txdagu.dagfile import load_dag
from txdagu.dagfile.language import DAG, LEVELS, STEP
from txdagu.dagfile.schema import DIALECT, json_schema
from txdagu.model.errors import InvalidInputError
from txdagu.testing.validation import DIFFERENT, INVALID, VALID
from txdagu.yamltree import parse, plain

ROOT = Path(__file__).parents[3]
SCHEMA = json_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
SPELLINGS = sorted({spelling for level in LEVELS for field in level.fields for spelling in field.spellings})
# Files whose keys are in other letters than the schema's.
OTHER_LETTERS = ("NAME: x", "preconditions: {Condition: a, EXPECTED: b}")
# What is wrong with these is their shape, which a schema can see.
SHAPES = (
    "has invalid keys",
    "invalid key:",
    "unknown key",
    "unconvertible type",
    "source data must be",
    "expected boolean",
    "must be map or array",
    "must be a boolean",
    "must be string or map",
    "must be >= 0",
    "must be greater than",
    "'separate' or 'merged'",
    "must be a string or an array",
    "must be an array or a map",
    "invalid type: tree",
    "invalid signal",
    "name must only contain",
    "invalid provider",
    "between 0.0",
    "at least 1",
    "expected a map or struct",
)


def _fits(text: str) -> bool:
    return all(VALIDATOR.is_valid(plain(root)) for root in parse(text, "f.yaml"))


class SchemaTests(SynchronousTestCase):
    def test_is_a_schema(self) -> None:
        """It is a schema of its dialect, in which every reference leads somewhere and every field is described."""
        jsonschema.Draft202012Validator.check_schema(SCHEMA)
        assert SCHEMA["$schema"] == DIALECT
        for level in LEVELS:
            properties = SCHEMA["$defs"][level.key]["properties"]
            assert set(properties) == {spelling for field in level.fields for spelling in field.spellings}, level.what
            assert all(one["description"] for one in properties.values()), level.what
        for reference in _references(SCHEMA):
            assert reference.removeprefix("#/$defs/") in SCHEMA["$defs"], reference

    def test_examples(self) -> None:
        """Every example file of the project fits."""
        files = [*(ROOT / "examples").rglob("*.yaml"), *(ROOT / "src" / "txdagu" / "cli" / "examples").glob("*.yaml")]
        assert files
        for file in files:
            for root in parse(file.read_text("utf-8"), file.name):
                VALIDATOR.validate(plain(root))

    def test_valid(self) -> None:
        """What the reader takes fits."""
        accepted = [*VALID, *(text for text, phrase, _ in DIFFERENT if not phrase)]
        assert [text for text in accepted if not _fits(text) and text not in OTHER_LETTERS] == []

    def test_invalid(self) -> None:
        """Wrong keys, types and numbers do not fit."""
        wrong = [text for text, phrase in INVALID if any(shape in phrase for shape in SHAPES)]
        assert len(wrong) > 30
        assert [text for text in wrong if _fits(text)] == []

    @settings(deadline=None)
    @given(
        st.sampled_from([DAG, STEP]),
        st.sampled_from(SPELLINGS),
        st.recursive(
            st.sampled_from(["a", "5", "1.5", "true", "", "''", "'5'", "A=1", "separate", "'* * * * *'"]),
            lambda inner: (
                st.lists(inner, max_size=2).map(lambda items: f"[{', '.join(items)}]")
                | st.dictionaries(st.sampled_from(SPELLINGS), inner, max_size=2).map(
                    lambda items: "{" + ", ".join(f"{key}: {value}" for key, value in items.items()) + "}"
                )
            ),
            max_leaves=4,
        ),
    )
    def test_reader_and_schema_agree(self, level: Any, spelling: str, value: str) -> None:
        """Whatever stands in a field: what the reader takes, the schema takes, too."""
        text = f"{spelling}: {value}" if level is DAG else f"steps: [{{command: x, {spelling}: {value}}}]"
        try:
            load_dag(text, "f.yaml")
        except InvalidInputError:
            return
        assert _fits(text), text


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        found = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return found + [reference for item in value.values() for reference in _references(item)]
    return [reference for item in value for reference in _references(item)] if isinstance(value, list) else []
