r"""
Params as one text: how ``NAME=value "a b" NAME="a \"quoted\" one"`` is read, and how it is written.

The same syntax serves the DAG file, the command line and the text with which a step calls another DAG. Nothing is
evaluated here: references and backticks stay in the values.

A token is ``NAME=value`` or a bare value, and blanks separate tokens. A value in double quotes may hold blanks, and
``\"`` in it is a quote; a value in backticks keeps them; single quotes are ordinary characters. ``NAME=`` with nothing
behind it is the bare value ``NAME=``, while ``NAME=""`` names an empty value. Where Dagu 1.30.2 cannot write a value so
that it reads it back (a backslash before a closing quote), backslashes in front of a quote are doubled, as in command
lines of Windows.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from typing import Any, TypeAlias

from txdagu.model.errors import InvalidInputError, Problem
from txdagu.model.scalars import scalar_text

Param: TypeAlias = tuple[str | None, str]

# Inside double quotes: anything but quotes and backslashes; an odd run of backslashes and the quote that it escapes; a run in
# front of something else; an even run in front of the quote that ends the value.
_INSIDE = r"""(?:[^"\\]|\\(?:\\\\)*"|\\+(?=[^"\\])|(?:\\\\)+(?="))*+"""
# In the order in which they are tried: a quoted or backticked value on its own; NAME= with such a value or with a bare one; a
# bare value.
_TOKEN = re.compile(
    rf"""
    "(?P<alone>{_INSIDE})"
    | (?P<alone_ticks>`[^`]*`)
    | (?P<name>[^\s="`][^\s=]*)=(?:"(?P<quoted>{_INSIDE})" | (?P<value>`[^`]*` | [^\s"]\S*))
    | (?P<bare>\S+)
    """,
    re.VERBOSE,
)
_NAME = re.compile(r'[^\s="`{\[][^\s=]*')
_PLAIN_NAMED = re.compile(r'[^\s"`][^\s"]*')
_PLAIN_ALONE = re.compile(r'[^\s"`={\[][^\s"=]*')
_TO_ESCAPE = re.compile(r'(\\*)("|\Z)')
_ESCAPED = re.compile(r'(\\+)("|\Z)')


def parse_params(text: str, where: str = "") -> list[Param]:
    """
    Read params in the order in which they are written; a bare value has no name.

    A text that is a JSON object gives named params in the order of their names, a JSON array unnamed ones for strings and
    numbers and named ones for objects. Numbers of JSON are floats, as to Dagu 1.30.2: ids of called runs are made of
    their texts (1234567 is ``1.234567e+06``). Raises `InvalidInputError` for other items of such an array.
    """
    stripped = text.strip()
    if stripped[:1] in ("{", "["):
        try:
            parsed = json.loads(stripped, parse_int=_number, parse_float=_number, parse_constant=_number)
        except (ValueError, RecursionError):
            pass  # it only looks like JSON, and its words are params as in any other text
        else:
            return _json_params(parsed, where)
    return [_param(match) for match in _TOKEN.finditer(stripped)]


def quote_param(name: str | None, value: str, *, always: bool = True) -> str:
    """
    One param so that `parse_params` reads it back: ``NAME="value"``, or ``"value"`` without a name.

    Unless `always`, quotes are left out where they are not needed. Raises `InvalidInputError` for a name which that syntax
    cannot hold: an empty one, one with blanks or ``=`` in it, or one that begins with a quote, backtick or opening bracket.
    """
    if name is not None and not _NAME.fullmatch(name):
        raise InvalidInputError(
            [Problem(f"a param cannot be named {name!r}", advice="use letters, digits and underscores")]
        )
    plain = _PLAIN_ALONE if name is None else _PLAIN_NAMED
    if always or not plain.fullmatch(value):
        value = _quoted(value)
    return value if name is None else f"{name}={value}"


def params_text(params: Iterable[Param], *, always: bool = False) -> str:
    """All `params` as one text that `parse_params` reads back; quotes only where needed unless `always`."""
    return " ".join(quote_param(name, value, always=always) for name, value in params)


def _param(match: re.Match[str]) -> Param:
    if (quoted := match["alone"]) is not None:
        return None, _unquoted(quoted)
    if (quoted := match["quoted"]) is not None:
        return match["name"], _unquoted(quoted)
    if match["name"] is not None:
        return match["name"], match["value"]
    return None, match["alone_ticks"] or match["bare"]


def _quoted(text: str) -> str:
    """The text in double quotes, its quotes escaped, backslashes in front of a quote or of the end doubled."""
    return '"' + _TO_ESCAPE.sub(lambda run: run[1] * 2 + ('\\"' if run[2] else ""), text) + '"'


def _unquoted(text: str) -> str:
    """What stands between the quotes, read back: backslashes in front of a quote or of the end are halved."""
    if "\\" not in text:
        return text
    return _ESCAPED.sub(lambda run: run[1][: len(run[1]) // 2] + run[2], text)


def _number(text: str) -> float:
    """A number of JSON. Raises `ValueError` for what JSON has no number for, and for one that no float can hold."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _json_params(value: Any, where: str) -> list[Param]:
    if isinstance(value, dict):
        return [(str(name), scalar_text(value[name])) for name in sorted(value)]
    params: list[Param] = []
    problems: list[Problem] = []
    for number, item in enumerate(value, 1):
        if isinstance(item, dict):
            params += _json_params(item, where)
        elif isinstance(item, str | int | float) and not isinstance(item, bool):
            params.append((None, scalar_text(item)))
        else:
            problems.append(
                Problem(
                    f"invalid parameter value: item {number} is {scalar_text(item)}",
                    where,
                    "write strings, numbers, or NAME and value as an object",
                )
            )
    if problems:
        raise InvalidInputError(problems)
    return params
