"""
Stage 5 of evaluation: variables, defaults, slices and arithmetic as a shell expands them between double quotes.

Dagu 1.30.2 hands the text to a shell's expansion first. Where that refuses anything in it (``$(…)``, which is never run, a value
that is missing and required, bad syntax), the whole text is expanded again by simpler rules: `simple`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import translate
from functools import lru_cache

from txdagu.execution.evaluation.arithmetic import ArithmeticTextError, calculate
from txdagu.execution.evaluation.simple import expand_simply

Lookup = Callable[[str], str | None]
_NAME = re.compile(r"[A-Za-z_]\w*|[\d?#@*!$-]", re.ASCII)
_BRACED = re.compile(r"(#?)([A-Za-z_]\w*|\d+|[?#@*!$-])(.*)", re.ASCII | re.DOTALL)
_SLICE = re.compile(r":([^:-][^:]*|\s+-[^:]*)?(?::([^:]*))?", re.DOTALL)
_DEFAULTING = re.compile(r"(:?)([-+?])(.*)", re.DOTALL)
_TRIM = re.compile(r"(##?|%%?)(.*)", re.DOTALL)
_REPLACE = re.compile(r"(//?)((?:[^/\\]|\\.)+)(?:/(.*))?", re.DOTALL)
_CASE = re.compile(r"(\^\^?|,,?)(.*)", re.DOTALL)
_IGNORED = re.compile(r"\[0\]|@[A-Za-z]")


class ExpansionError(ValueError):
    """A shell would refuse the text, or run a program for it."""


def expand(text: str, lookup: Lookup) -> str:
    """Expand `text`; unknown names become empty, ``$(…)`` stays. Never fails: see the head of this file."""
    if text == "~" or text.startswith("~/"):
        home = lookup("HOME")
        if home:
            return home + expand(text[1:], lookup)
    if "$" not in text:
        return text
    try:
        return _expand(text, lookup)
    except (ExpansionError, RecursionError):
        return expand_simply(text, lookup)


def _expand(text: str, lookup: Lookup) -> str:
    pieces: list[str] = []
    position = 0
    while (dollar := text.find("$", position)) >= 0:
        pieces.append(text[position:dollar])
        if text[dollar - 1 : dollar] == "\\" and dollar > position:
            pieces.append("$")
            position = dollar + 1
            continue
        piece, position = _expression(text, dollar, lookup)
        pieces.append(piece)
    return "".join((*pieces, text[position:]))


def _expression(text: str, dollar: int, lookup: Lookup) -> tuple[str, int]:
    """What the expression at `dollar` expands to, and where the text goes on."""
    if text.startswith("$((", dollar) and (end := _closing(text, dollar + 1, "(", ")")) and text[end - 2 : end] == "))":
        return _calculated(text[dollar + 3 : end - 2], lookup), end
    if text.startswith("$(", dollar):
        raise ExpansionError("programs are not run here")
    if text.startswith("${", dollar):
        end = _closing(text, dollar + 1, "{", "}")
        if not end:
            raise ExpansionError("a brace is not closed")
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


def _calculated(text: str, lookup: Lookup) -> str:
    try:
        return str(calculate(_expand(text, lookup), lookup))
    except ArithmeticTextError as error:
        raise ExpansionError(str(error)) from None


def _braced(text: str, lookup: Lookup) -> str:
    match = _BRACED.fullmatch(text)
    if match is None:
        raise ExpansionError(text)
    length, name, rest = match.groups()
    value = lookup(name)
    if length:
        if rest:
            raise ExpansionError(text)
        return str(len(value or ""))
    if not rest or _IGNORED.fullmatch(rest):
        return value or ""
    if found := _DEFAULTING.fullmatch(rest):
        return _default(value, found, lookup)
    if found := _SLICE.fullmatch(rest):
        return _slice(value or "", found[1], found[2], lookup)
    if found := _TRIM.fullmatch(rest):
        return _trim(value or "", found[1], _word(found[2], lookup))
    if found := _REPLACE.fullmatch(rest):
        pattern = _glob(_word(found[2], lookup))
        by = _word(found[3] or "", lookup)
        return pattern.sub(lambda _: by, value or "", count=0 if len(found[1]) == 2 else 1)
    if found := _CASE.fullmatch(rest):
        return _cased(value or "", found[1], _word(found[2], lookup) or "?")
    raise ExpansionError(text)


def _word(text: str, lookup: Lookup) -> str:
    """What stands behind an operator: expanded, a leading ``~`` too, and without its quotes."""
    if text[:1] == "~":
        text = (lookup("HOME") or "~") + text[1:]
    pieces: list[str] = []
    for piece in re.split(r"('[^']*')", text):
        literal = len(piece) > 1 and piece[0] == piece[-1] == "'"
        pieces.append(piece[1:-1] if literal else _expand(piece, lookup).replace('"', ""))
    return "".join(pieces)


def _default(value: str | None, match: re.Match[str], lookup: Lookup) -> str:
    colon, operator, word = match.groups()
    given = bool(value) if colon else value is not None
    if operator == "+":
        return _word(word, lookup) if given else ""
    if given:
        return value or ""
    if operator == "?":
        raise ExpansionError(word)
    return _word(word, lookup)


def _slice(value: str, offset_text: str | None, length_text: str | None, lookup: Lookup) -> str:
    offset = int(_calculated(offset_text or "0", lookup))
    start = max(len(value) + offset, 0) if offset < 0 else offset
    if length_text is None:
        return value[start:]
    length = int(_calculated(length_text or "0", lookup))
    return value[start : start + length] if length >= 0 else value[start:length]


@lru_cache(maxsize=64)
def _glob(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern).replace(r"\Z", "").replace(r"\z", ""))


def _matches(pattern: str, text: str) -> bool:
    return _glob(pattern).fullmatch(text) is not None


def _trim(value: str, operator: str, pattern: str) -> str:
    """Remove the shortest (longest, if doubled) beginning ``#`` or end ``%`` that matches the pattern."""
    cuts = range(len(value) + 1)
    if operator[0] == "#":
        ordered = cuts if len(operator) == 1 else reversed(cuts)
        return next((value[cut:] for cut in ordered if _matches(pattern, value[:cut])), value)
    ordered = reversed(cuts) if len(operator) == 1 else cuts
    return next((value[:cut] for cut in ordered if _matches(pattern, value[cut:])), value)


def _cased(value: str, operator: str, pattern: str) -> str:
    """Capitals for ``^``, small letters for ``,``; doubled for all characters that match the pattern, else for the first."""

    def change(letter: str) -> str:
        if not _matches(pattern, letter):
            return letter
        return letter.upper() if operator[0] == "^" else letter.lower()

    return "".join(map(change, value)) if len(operator) == 2 else change(value[:1]) + value[1:] if value else ""
