"""JSON paths in references: ``.key``, ``["key"]`` and ``[n]`` after a variable's name, and values in the notation of Go."""

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
    """The JSON value; `ValueError` if it is none. Only objects and arrays are looked into, so others end early."""
    if not text.lstrip().startswith(("{", "[")):
        raise ValueError(text)
    return json.loads(text)


def go_text(value: Any) -> str:
    """A JSON value as Go prints it: ``<nil>``, ``[1 2]``, ``map[a:1]``, numbers as shortest floats."""
    match value:
        case None:
            return "<nil>"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return go_float(float(value))
        case list():
            return f"[{' '.join(go_text(item) for item in value)}]"
        case dict():
            return f"map[{' '.join(f'{key}:{go_text(value[key])}' for key in sorted(value))}]"
        case _:
            return str(value)


def go_float(number: float) -> str:
    """Shortest digits that give the number back; in exponent form from 1000000 up and below 0.0001."""
    if number != number:
        return "NaN"
    if number in (float("inf"), float("-inf")):
        return "+Inf" if number > 0 else "-Inf"
    if number == 0:
        return "0"
    mantissa, _, exponent_text = f"{number!r}e0".partition("e")
    exponent = int(exponent_text.partition("e")[0])
    sign = "-" if mantissa.startswith("-") else ""
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + exponent - (len(whole + fraction) - len(digits))  # where the point stands within `digits`
    digits = digits.rstrip("0")
    power = point - 1
    if power < -4 or power >= 6:
        tail = f".{digits[1:]}" if len(digits) > 1 else ""
        return f"{sign}{digits[0]}{tail}e{'-' if power < 0 else '+'}{abs(power):02d}"
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    if len(digits) <= point:
        return f"{sign}{digits}{'0' * (point - len(digits))}"
    return f"{sign}{digits[:point]}.{digits[point:]}"
