"""
Which value a plain scalar stands for.

As in Dagu 1.30.2: ``yes``, ``no``, ``on`` and ``off``, dates, times of day and ``1e3`` (no dot) are strings; ``0755`` and
``0o755`` are octal, ``0x1f`` is hexadecimal, ``0b11`` binary, ``1_000`` a thousand; ``.inf`` and ``.nan`` are floats; only
``true``, ``True``, ``TRUE`` and their opposites are booleans; ``null``, ``Null``, ``NULL``, ``~`` and nothing at all are null.
"""

from __future__ import annotations

import re

from txdagu.yamltree.node import Scalar

_WORDS: dict[str, Scalar] = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
    **{sign + word: float(sign + "inf") for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")},
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_NUMBER_STARTS = frozenset("0123456789+-.")
_INTEGERS = (
    (re.compile(r"[-+]?(?:0|[1-9][0-9_]*)"), 10),
    (re.compile(r"[-+]?0o?[0-7_]*[0-7]"), 8),
    (re.compile(r"[-+]?0x[0-9a-fA-F_]*[0-9a-fA-F]"), 16),
    (re.compile(r"[-+]?0b[01_]*[01]"), 2),
)
_FLOAT = re.compile(r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?")
_PREFIX = re.compile(r"0[obx]?", re.IGNORECASE)
_LONGEST_NUMBER = 100


def resolve(text: str) -> Scalar:
    """The value of a plain, untagged scalar. More than 100 digits are no number but a string."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMBER_STARTS or len(text) > _LONGEST_NUMBER:
        return text
    for pattern, base in _INTEGERS:
        if pattern.fullmatch(text):
            digits = text.lstrip("+-").replace("_", "")
            number = int(digits, 10) if base == 10 else int(_PREFIX.sub("", digits, count=1), base)
            return -number if text[0] == "-" else number
    if _FLOAT.fullmatch(text):
        return float(text.replace("_", ""))
    return text
