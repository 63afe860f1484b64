"""The shapes that values of fields have in common, as JSON Schema (draft 2020-12)."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
SWITCH: Schema = {"type": "boolean"}
SCALAR: Schema = {"type": ["string", "number", "boolean"]}
NUMBER_OR_TEXT: Schema = {"type": ["string", "number"]}
WHOLE: Schema = {"type": "integer"}
AT_LEAST_ZERO: Schema = {"type": "integer", "minimum": 0}
AT_LEAST_ONE: Schema = {"type": "integer", "minimum": 1}
SCALARS: Schema = {"type": "array", "items": SCALAR}
TEXTS: Schema = {"anyOf": [TEXT, SCALARS]}
ANY_MAP: Schema = {"type": "object"}
TEXT_MAP: Schema = {"type": "object", "additionalProperties": {"type": ["string", "null"]}}
SCALAR_MAP: Schema = {"type": "object", "additionalProperties": SCALAR}
VARIABLES: Schema = {
    "anyOf": [
        {"type": "object"},
        {"type": "array", "items": {"anyOf": [{"type": "object"}, {"type": "string", "pattern": "="}]}},
    ]
}
EXIT_CODE: Schema = {"anyOf": [{"type": "number"}, {"type": "string", "pattern": "^[-+]?[0-9]+$"}]}
EXIT_CODES: Schema = {"anyOf": [EXIT_CODE, {"type": "array", "items": EXIT_CODE}]}
WHOLE_LIST: Schema = {"type": "array", "items": WHOLE}
BACKOFF: Schema = {"anyOf": [SWITCH, {"type": "number", "exclusiveMinimum": 1}, {"const": 0}]}


def words(*known: str) -> Schema:
    """One of some words."""
    return {"type": "string", "enum": list(known)}


def any_case(*known: str) -> Schema:
    """One of some words in any case of letters."""
    patterns = ["".join(f"[{letter.lower()}{letter.upper()}]" for letter in word) for word in known]
    return {"type": "string", "pattern": f"^({'|'.join(patterns)})$"}


def either(*schemas: Schema) -> Schema:
    """Any of several shapes."""
    return {"anyOf": list(schemas)}


def list_of(schema: Schema) -> Schema:
    """A list."""
    return {"type": "array", "items": schema}
