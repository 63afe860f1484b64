"""
A JSON Schema (draft 2020-12) of DAG files, made of the table of fields, for editors and other tools.

It knows the spellings of Dagu 1.30.2 and of Dagu 2; that keys match in any case of letters it cannot say. Apart from such keys,
what it refuses is refused by the reader, too. The reader finds more: names, order and references are beyond a schema.
"""

from __future__ import annotations

from typing import Any

from txdagu.dagfile.fields import Field, Level
from txdagu.dagfile.language import DAG, LEVELS, STEP
from txdagu.dagfile.steptypes import STEP_TYPES, TYPE_NAMES

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_NULL = {"type": "null"}


def json_schema() -> dict[str, Any]:
    """The schema of one document, ready to be written as JSON."""
    definitions = {level.key: _of_level(level) for level in LEVELS}
    definitions[STEP.key]["properties"]["type"]["examples"] = list(TYPE_NAMES)
    definitions[STEP.key]["allOf"] = [
        {
            "if": {"properties": {"type": {"enum": list(one.names)}}, "required": ["type"]},
            "then": {"properties": {"config": {"anyOf": [one.config.reference, _NULL]}}},
        }
        for one in STEP_TYPES
        if one.config is not None
    ]
    return {
        "$schema": DIALECT,
        "title": "DAG",
        "description": "A workflow: steps, their order, and what they need.",
        **DAG.reference,
        "$defs": definitions,
    }


def _of_level(level: Level) -> dict[str, Any]:
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {spelling: _of_field(field) for field in level.fields for spelling in field.spellings},
    }
    if level.unknown:
        schema["additionalProperties"] = False
    if level.required:
        schema["allOf"] = [
            {"anyOf": [{"required": [spelling]} for spelling in level.named(name).spellings]} for name in level.required
        ]
    return schema


def _of_field(field: Field) -> dict[str, Any]:
    """A field's value may always be left out, which is null."""
    sentences = [field.description]
    if field.era:
        sentences.append(f"In Dagu {field.era}.")
    if field.for_scheduler:
        sentences.append("For the scheduler; a run that was started in another way does not look at it.")
    schema: dict[str, Any] = {"description": " ".join(sentences)}
    if field.default is not None:
        schema["default"] = field.default
    if field.now:
        schema["deprecated"] = True
    return schema | ({"anyOf": [dict(field.schema), _NULL]} if field.schema else {})
