"""Stage 5 of evaluation: variables, defaults, slices and arithmetic as a shell expands them between double quotes."""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import fnmatchcase

from txdagu.execution.evaluation.arithmetic import ArithmeticTextError, calculate
from txdagu.model.errors import InvalidInputError, Problem

Lookup = Callable[[str], str | None]
_NAME = re.compile(r"[A-Za-z_]\w*|\d+", re.ASCII)
_BRACED = re.compile(r"(#?)([A-Za-z_]\w*|\d+)(.*)", re.ASCII | re.DOTALL)
_PATH = re.compile(r"\.[^{}]+")
_SLICE = re.compile(r":\s*(-?\d+)(?::\s*(-?\d+))?")
_DEFAULTING = re.compile(r"(:?)([-=+?])(.*)", re.DOTALL)
_TRIM = re.compile(r"(##?|%%?)(.*)", re.DOTALL)


def expand(text: str, lookup: Lookup) -> str:
    """
    Expand `text`; unknown names become empty, ``$(…)`` stays as it is.

    Raises `InvalidInputError` for ``${NAME:?…}`` without a value, and for expressions that are not supported.
    """
    if text == "~" or text.startswith("~/"):
        text = (lookup("HOME") or "~").replace("$", "\\$") + text[1:]
    if "$" not in text:
        return text
    pieces: list[str] = []
    position = 0
    while (dollar := text.find("$", position)) >= 0:
        if text[dollar - 1 : dollar] == "\\":
            pieces += (text[position : dollar - 1], "$")
            position = dollar + 1
            continue
        pieces.append(text[position:dollar])
        piece, position = _expression(text, dollar, lookup)
        pieces.append(piece)
    return "".join((*pieces, text[position:]))


def _expression(text: str, dollar: int, lookup: Lookup) -> tuple[str, int]:
    """What the expression at `dollar` expands to, and where the text goes on."""
    if text.startswith("$((", dollar) and (end := _closing(text, dollar + 1, "(", ")")) and text[end - 2 : end] == "))":
        return _arithmetic(text[dollar + 3 : end - 2], lookup), end
    if text.startswith("$(", dollar):
        end = _closing(text, dollar + 1, "(", ")") or len(text)
        return text[dollar:end], end
    if text.startswith("${", dollar) and (end := _closing(text, dollar + 1, "{", "}")):
        return _braced(text[dollar + 2 : end - 1], lookup), end
    if match := _NAME.match(text, dollar + 1):
        return lookup(match[0]) or "", match.end()
    return "$", dollar + 1


def _closing(text: str, start: int, opening: str, closing: str) -> int:
    """The position behind the bracket that closes the one at `start`; 0 if nothing does."""
    depth = 0
    for position in range(start, len(text)):
        if text[position] == opening:
            depth += 1
        elif text[position] == closing:
            depth -= 1
            if depth == 0:
                return position + 1
    return 0


def _arithmetic(text: str, lookup: Lookup) -> str:
    try:
        return str(calculate(expand(text, lookup), lookup))
    except ArithmeticTextError as error:
        raise InvalidInputError([Problem(f"cannot calculate $(({text})): {error}")]) from None


def _braced(text: str, lookup: Lookup) -> str:
    match = _BRACED.fullmatch(text)
    if match is None:
        raise _unsupported(text)
    length, name, rest = match.groups()
    value = lookup(name)
    if length:
        if rest:
            raise _unsupported(text)
        return str(len(value or ""))
    if not rest:
        return value or ""
    if found := _SLICE.fullmatch(rest):
        return _slice(value or "", int(found[1]), None if found[2] is None else int(found[2]))
    if found := _DEFAULTING.fullmatch(rest):
        return _default(name, value, found, lookup)
    if found := _TRIM.fullmatch(rest):
        return _trim(value or "", found[1], expand(found[2], lookup))
    if _PATH.fullmatch(rest):
        return f"${{{text}}}"  # a reference with a path that nobody could resolve stays as written
    raise _unsupported(text)


def _unsupported(text: str) -> InvalidInputError:
    return InvalidInputError(
        [Problem(f"${{{text}}} is not supported", advice="write ${NAME}, ${NAME:-default} or ${NAME:offset:length}")]
    )


def _default(name: str, value: str | None, match: re.Match[str], lookup: Lookup) -> str:
    colon, operator, word = match.groups()
    given = bool(value) if colon else value is not None
    if operator == "+":
        return expand(word, lookup) if given else ""
    if given:
        return value or ""
    if operator == "?":
        raise InvalidInputError([Problem(f"{name} has no value: {expand(word, lookup) or 'it is required'}")])
    return expand(word, lookup)


def _slice(value: str, offset: int, length: int | None) -> str:
    start = max(len(value) + offset, 0) if offset < 0 else offset
    if length is None:
        return value[start:]
    return value[start : start + length] if length >= 0 else value[start:length]


def _trim(value: str, operator: str, pattern: str) -> str:
    """Remove the shortest (longest, if doubled) beginning ``#`` or end ``%`` that matches the pattern."""
    cuts = range(len(value) + 1)
    if operator[0] == "#":
        ordered = cuts if len(operator) == 1 else reversed(cuts)
        return next((value[cut:] for cut in ordered if fnmatchcase(value[:cut], pattern)), value)
    ordered = reversed(cuts) if len(operator) == 1 else cuts
    return next((value[:cut] for cut in ordered if fnmatchcase(value[cut:], pattern)), value)
