"""JSON paths in references: ``.key``, ``["key"]`` and ``[n]`` after a variable's name."""

from __future__ import annotations

import json
import re
from typing import Any

_PART = re.compile(r"\.(?P<key>[A-Za-z_][\w-]*)|\.?\[(?:(?P<index>-?\d+)|\"(?P<quoted>[^\"]*)\")\]", re.ASCII)


class PathError(ValueError):
    """The text after the name is no path that we know."""


def parse_path(text: str) -> list[str | int]:
    """Keys and indexes of a path that begins with a dot or bracket; `PathError` if it is anything else."""
    parts: list[str | int] = []
    position = 0
    while position < len(text):
        match = _PART.match(text, position)
        if match is None:
            raise PathError(text)
        if match["index"] is not None:
            parts.append(int(match["index"]))
        else:
            parts.append(match["key"] if match["key"] is not None else match["quoted"])
        position = match.end()
    return parts


def look_up(value: Any, path: list[str | int]) -> Any:
    """
    What stands at the path; None for missing keys, indexes beyond the end, and anything below null.

    Raises `LookupError` where the path asks for a key of something that has no keys.
    """
    for part in path:
        if value is None:
            continue
        if isinstance(part, str) and isinstance(value, dict):
            value = value.get(part)
        elif isinstance(part, int) and isinstance(value, list):
            value = value[part] if -len(value) <= part < len(value) else None
        else:
            raise LookupError(part)
    return value


def parse_json(text: str) -> Any:
    """The JSON object or array, with all numbers as floats; `ValueError` if the text is neither."""
    if not text.lstrip().startswith(("{", "[")):
        raise ValueError(text)
    try:
        return json.loads(text, parse_int=float)
    except RecursionError as error:
        raise ValueError(text) from error
