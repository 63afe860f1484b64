"""Which fields of the language a DAG file uses, and in which shapes: as its text says, whether it is valid or not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from txdagu.dagfile.fields import Field, Level
from txdagu.dagfile.language import DAG, LEVELS
from txdagu.dagfile.values import PARAMS_SCHEMA
from txdagu.model.errors import InvalidInputError
from txdagu.yamltree import parse, plain

Use = tuple[str, str, str]
"""The key of a level, the name of one of its fields, and the shape of a value: text, number, switch, list or map."""

_LEVELS = {level.key: level for level in LEVELS}
_SHAPES = {
    "string": "text",
    "integer": "number",
    "number": "number",
    "boolean": "switch",
    "array": "list",
    "object": "map",
}


def shapes_of(field: Field) -> frozenset[str]:
    """The shapes that a field takes."""
    return frozenset(_shapes(field.schema))


def uses(text: str) -> frozenset[Use]:
    """What the documents of a file use. A text that is no YAML uses nothing."""
    try:
        documents = parse(text, "")
    except InvalidInputError:
        return frozenset()
    return frozenset(use for document in documents for use in _of_level(DAG, plain(document)))


def _of_level(level: Level, value: Any) -> Iterator[Use]:
    if not isinstance(value, dict):
        return
    for key, entry in value.items():
        field = level.field_of(key)
        if field is None or entry is None:
            continue
        yield level.key, field.name, shape_of(entry)
        yield from _below(field.schema, entry)
        if field.name == "params" and isinstance(entry, dict) and isinstance(entry.get("schema"), str):
            yield from _of_level(PARAMS_SCHEMA, entry)


def _below(schema: Mapping[str, Any], value: Any) -> Iterator[Use]:
    """The levels that a value's schema refers to, with the parts of the value that they describe."""
    if (key := schema.get("$ref")) is not None:
        yield from _of_level(_LEVELS[key.rpartition("/")[2]], value)
    for alternative in schema.get("anyOf", ()):
        yield from _below(alternative, value)
    if isinstance(value, list) and isinstance(items := schema.get("items"), dict):
        for item in value:
            yield from _below(items, item)
    if isinstance(value, dict) and isinstance(others := schema.get("additionalProperties"), dict):
        for entry in value.values():
            yield from _below(others, entry)


def shape_of(value: Any) -> str:
    """The shape of a value."""
    if isinstance(value, bool):
        return "switch"
    if isinstance(value, str):
        return "text"
    if isinstance(value, int | float):
        return "number"
    return "list" if isinstance(value, list) else "map"


def _shapes(schema: Mapping[str, Any]) -> Iterator[str]:
    if "$ref" in schema:
        yield "map"
    for alternative in schema.get("anyOf", ()):
        yield from _shapes(alternative)
    kinds = schema.get("type", ())
    yield from (_SHAPES[kind] for kind in ([kinds] if isinstance(kinds, str) else kinds) if kind in _SHAPES)
    if "const" in schema:
        yield shape_of(schema["const"])
