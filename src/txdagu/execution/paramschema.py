"""Params against the JSON Schema that a DAG names: defaults filled in, then everything checked."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from txdagu.execution.evaluation.params import merge_params
from txdagu.model.dag import Dag
from txdagu.model.errors import InvalidInputError, NotFoundError, Problem
from txdagu.model.scalars import scalar_text

_BY_NAMES = frozenset({"type", "required", "additionalProperties", "propertyNames", "minProperties", "maxProperties"})
LARGEST = 4 * 1024 * 1024  # bytes of a schema


def is_url(location: str) -> bool:
    """Whether a schema has to be fetched, and is no file."""
    return urlsplit(location).scheme in ("http", "https")


def read_schema_file(location: str, places: tuple[str, ...]) -> bytes:
    """
    The schema file, looked for in the `places` in order. Blocks.

    Raises `NotFoundError` if it is in none of them, `InvalidInputError` if it cannot be read.
    """
    paths = [Path(place or ".", location).expanduser() for place in places]
    for path in paths:
        if path.is_file():
            try:
                return path.read_bytes()
            except OSError as error:
                raise _wrong(f"the schema {path} cannot be read: {error.strerror}") from error
    tried = ", ".join(dict.fromkeys(map(str, paths)))
    raise NotFoundError(f'params.schema: schema file not found for "{location}"; tried {tried}')


def check_as_written(dag: Dag, given: str, *, complete: bool = True) -> None:
    """
    Check a DAG's params, as they are before any is evaluated, against the schema that it names as a file. Blocks.

    `given` lies over them. Values that are still to be evaluated count as good; unless they are `complete`, so do missing ones.
    Raises `InvalidInputError` with everything that the schema refuses, `NotFoundError` if it is not on this host.
    """
    location = dag.params_schema.location if dag.params_schema is not None else ""
    if not location or is_url(location):
        return
    directory = dag.working_dir if "$" not in dag.working_dir else ""
    data = read_schema_file(location, ("", str(Path(dag.base_dir, directory)), dag.base_dir))
    params = dict(merge_params(dag.params, given))
    unknown = {name for name, value in params.items() if "$" in value or "`" in value or value.startswith("~")}
    apply_schema(parse_schema(data, location), params, unknown, complete=complete)


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


def apply_schema(
    schema: Mapping[str, Any], params: Mapping[str, str], unknown: Collection[str] = (), *, complete: bool = True
) -> dict[str, str]:
    """
    The params with the schema's defaults behind them, in its order.

    Texts count as what their property's type says they are, if they can be read so. Raises `InvalidInputError` with everything
    that the schema refuses, whatever the values of the `unknown` params; that others are missing only if they are `complete`.
    """
    from jsonschema.validators import validator_for

    properties = schema.get("properties")
    known = properties if isinstance(properties, dict) else {}
    filled = dict(params)
    for name, described in known.items():
        if isinstance(described, dict) and "default" in described and name not in filled:
            filled[name] = _text(described["default"])
    values = {name: _value(text, known.get(name)) for name, text in filled.items()}
    validator = _validator(validator_for, schema)(schema)
    certain = (error for error in validator.iter_errors(values) if _certain(error, unknown, complete))
    errors = sorted(certain, key=lambda error: (list(map(str, error.path)), error.message))
    if errors:
        raise InvalidInputError(
            Problem(f"parameter validation failed: {error.message}", "params" + _place(error.path)) for error in errors
        )
    return filled


def _certain(error: Any, unknown: Collection[str], complete: bool) -> bool:
    """Whether it is an error whatever becomes of unknown values, and of missing ones unless all are there."""
    if error.path:
        return error.path[0] not in unknown
    if error.validator in _BY_NAMES:
        return complete or error.validator not in ("required", "minProperties")
    return complete and not unknown


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
