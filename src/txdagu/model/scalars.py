"""The text a value of YAML or JSON becomes when it is used as a param or an environment variable."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any


def scalar_text(value: Any) -> str:
    """
    The text of a plain value, as Dagu 1.30.2 writes it.

    Strings stay as they are; ``true`` and ``false``; integers in decimal digits; floats in their shortest form, with an
    exponent from 1000000 up and below 0.0001; nothing is ``<nil>``; lists are ``[1 2]`` and mappings ``map[a:1 b:2]`` with
    sorted keys.
    """
    if isinstance(value, str):
        return value
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _float_text(value)
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{scalar_text(value[key])}' for key in sorted(value))}]"
    if isinstance(value, list | tuple):
        return f"[{' '.join(map(scalar_text, value))}]"
    return str(value)


_HTML = {ord(letter): f"\\u{ord(letter):04x}" for letter in "<>&\u2028\u2029"}


def json_text(value: Any, indent: int | None = None) -> str:
    """The JSON text of a value, as Dagu writes it: ``<``, ``>`` and ``&`` are escaped, as for pages."""
    separators = (",", ":") if indent is None else (",", ": ")
    return json.dumps(value, ensure_ascii=False, indent=indent, separators=separators).translate(_HTML)


def _float_text(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if value == 0:
        return "-0" if math.copysign(1, value) < 0 else "0"
    shortest = Decimal(repr(value)).normalize()
    exponent = shortest.adjusted()
    if -4 <= exponent < 6:
        return f"{shortest:f}"
    digits = "".join(map(str, shortest.as_tuple().digits))
    mantissa = f"{digits[0]}.{digits[1:]}" if len(digits) > 1 else digits
    return f"{'-' if value < 0 else ''}{mantissa}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"
