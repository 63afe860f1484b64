"""Params against the JSON Schema that a DAG names: defaults filled in, then everything checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from txdagu.model.errors import InvalidInputError, Problem
from txdagu.model.scalars import scalar_text

LARGEST = 4 * 1024 * 1024  # bytes of a schema


def is_url(location: str) -> bool:
    """Whether a schema has to be fetched, and is no file."""
    return urlsplit(location).scheme in ("http", "https")


def read_schema_file(location: str, places: tuple[str, ...]) -> bytes:
    """The schema file, looked for in the `places` in order. Blocks. Raises `InvalidInputError` if it is not there."""
    paths = [Path(place or ".", location).expanduser() for place in places]
    for path in paths:
        if path.is_file():
            try:
                return path.read_bytes()
            except OSError as error:
                raise _wrong(f"the schema {path} cannot be read: {error.strerror}") from error
    tried = ", ".join(dict.fromkeys(map(str, paths)))
    raise _wrong(f'schema file not found for "{location}"; tried {tried}')


def parse_schema(data: bytes, location: str) -> Mapping[str, Any]:
    """The schema, itself checked. Raises `InvalidInputError`. The work of a moment, but loading jsonschema takes longer."""
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import validator_for

    if len(data) > LARGEST:
        raise _wrong(f"the schema {location} has more than {LARGEST} bytes")
    try:
        schema = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _wrong(f"failed to parse schema JSON: {location}: {error}") from error
    if not isinstance(schema, dict):
        raise _wrong(f"failed to parse schema JSON: {location}: a schema of params must be an object")
    try:
        _validator(validator_for, schema).check_schema(schema)
    except SchemaError as error:
        raise _wrong(f"failed to parse schema JSON: {location}: {error.json_path}: {error.message}") from error
    return schema


def apply_schema(schema: Mapping[str, Any], params: Mapping[str, str]) -> dict[str, str]:
    """
    The params with the schema's defaults behind them, in its order.

    Texts count as what their property's type says they are, if they can be read so. Raises `InvalidInputError` with everything
    that the schema refuses.
    """
    from jsonschema.validators import validator_for

    properties = schema.get("properties")
    known = properties if isinstance(properties, dict) else {}
    complete = dict(params)
    for name, described in known.items():
        if isinstance(described, dict) and "default" in described and name not in complete:
            complete[name] = _text(described["default"])
    values = {name: _value(text, known.get(name)) for name, text in complete.items()}
    validator = _validator(validator_for, schema)(schema)
    errors = sorted(validator.iter_errors(values), key=lambda error: (list(map(str, error.path)), error.message))
    if errors:
        raise InvalidInputError(
            Problem(f"parameter validation failed: {error.message}", "params" + _place(error.path)) for error in errors
        )
    return complete


def _validator(validator_for: Any, schema: Mapping[str, Any]) -> Any:
    from jsonschema import Draft202012Validator

    return validator_for(schema, default=Draft202012Validator)


def _place(path: Any) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)


def _text(value: Any) -> str:
    """The text of a default: lists and objects as JSON."""
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return scalar_text(value)


def _value(text: str, described: Any) -> Any:
    """A text as a value of the type that its property has; a property without a type takes what the text looks like."""
    types = described.get("type") if isinstance(described, dict) else None
    names = [types] if isinstance(types, str) else types if isinstance(types, list) else []
    if "string" in names:
        return text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return text if isinstance(value, str) else value


def _wrong(message: str) -> InvalidInputError:
    return InvalidInputError([Problem(message, "params.schema")])
