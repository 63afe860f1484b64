"""
JSON as Dagu 1.30.2 writes what a step type prints.

Keys are sorted, ``<``, ``>``, ``&`` and U+2028/9 are escaped, and numbers have the shortest form of a 64-bit float: digits from
0.000001 up to below 1e21, else an exponent without leading zeros (the rule of ECMAScript, which Go's encoding/json follows).
"""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from typing import Any

_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
_ESCAPED = re.compile("[<>&\u2028\u2029]")


def parse(text: str) -> Any:
    """The value of one JSON text, every number a float. Raises `ValueError`; ``NaN`` and ``Infinity`` are no JSON."""
    return json.loads(text, parse_int=float, parse_constant=_not_json)


def dumps(value: Any, indent: str = "") -> str:
    """The text, on one line or indented; `ValueError` for a number that is not finite."""
    return "".join(_pieces(value, "\n" if indent else "", indent))


def number(value: float) -> str:
    """A number; `ValueError` if it is not finite."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"unsupported value: {'NaN' if math.isnan(value) else '+Inf' if value > 0 else '-Inf'}")
    if isinstance(value, int) and abs(value) < 2**53:
        return str(value)
    value = float(value)
    if value == 0:
        return "-0" if math.copysign(1, value) < 0 else "0"
    shortest = Decimal(repr(value)).normalize()
    exponent = shortest.adjusted()
    if -7 < exponent < 21:
        return f"{shortest:f}"
    digits = "".join(map(str, shortest.as_tuple().digits))
    mantissa = f"{digits[0]}.{digits[1:]}" if len(digits) > 1 else digits
    return f"{'-' if value < 0 else ''}{mantissa}e{exponent:+d}"


def _not_json(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


def _text(text: str) -> str:
    return _ESCAPED.sub(lambda match: _ESCAPES[match[0]], json.dumps(text, ensure_ascii=False))


def _scalar(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return _text(value) if isinstance(value, str) else number(value)


def _pieces(value: Any, line: str, indent: str) -> list[str]:
    """The texts of a value whose lines begin with `line`, which is empty where all stands on one."""
    if not isinstance(value, dict | list | tuple):
        return [_scalar(value)]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    if not value:
        return [opening + closing]
    inner = line + indent
    pieces = [opening]
    colon = ": " if indent else ":"
    items = sorted(value.items()) if isinstance(value, dict) else [("", item) for item in value]
    for position, (key, item) in enumerate(items):
        pieces += ["," if position else "", inner]
        if isinstance(value, dict):
            pieces += [_text(key), colon]
        pieces += _pieces(item, inner, indent)
    return [*pieces, line, closing]
