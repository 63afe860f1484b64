"""JSON paths in references: expressions of jq after a variable's name, mostly ``.key``, ``.["key"]`` and ``[n]``."""

from __future__ import annotations

import json
import re
from typing import Any

_PART = re.compile(
    r"\.(?P<key>[A-Za-z_]\w*)|\.?\[(?:(?P<index>-?\d+)|\"(?P<quoted>[^\"\\]*)\")\]|\.\"(?P<text>[^\"\\]*)\"", re.ASCII
)
# What can go on for ever, and what looks beyond the value.
_ENDLESS = re.compile(r"\b(?:def|repeat|recurse|while|until|range|limit|foreach|reduce|label|inputs?|env|debug|ENV)\b")


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
            parts.append(next(key for key in match.group("key", "quoted", "text") if key is not None))
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
    """The JSON value, with all numbers as floats; `ValueError` if the text is none."""
    try:
        return json.loads(text, parse_int=float, parse_constant=_no_json)
    except RecursionError as error:
        raise ValueError(text) from error


def query(text: str, path: str) -> Any:
    """
    What a path, which is an expression of jq, first finds in a JSON text.

    Paths of keys and indexes are looked up here, the package jq answers all others. Raises `ValueError` if the text is no
    JSON, `LookupError` if nothing is found or the expression is wrong, `PathError` if it cannot be answered here.
    """
    value = parse_json(text)
    try:
        parts = parse_path(path)
    except PathError:
        return _by_jq(text, path)
    return look_up(value, parts)


def _by_jq(text: str, expression: str) -> Any:
    if (word := _ENDLESS.search(expression)) is not None:
        raise PathError(f"{word[0]} is for steps of type jq")
    try:
        import jq
    except ImportError:
        raise PathError("other expressions need the package jq: pip install 'txdagu[jq]'") from None
    try:
        return _with_floats(jq.compile(expression).input_text(text).first())
    except (ValueError, StopIteration) as error:
        raise LookupError(expression) from error


def _with_floats(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_floats(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_floats(item) for item in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _no_json(word: str) -> float:
    raise ValueError(word)
