r"""
Files of environment variables (``.env``), read as Dagu 1.30.2 reads them.

A line is ``NAME=value``, ``NAME: value`` or ``export NAME=value``. A value in double quotes may span lines and knows ``\n``,
``\r``, escaped characters and references; one in single quotes is literal; behind a closing quote the next variable may
follow. A bare value ends before a blank and ``#``, and knows references. An end of the file without ``=`` is ignored.
``$NAME`` and ``${NAME}`` refer to earlier variables of the same file; names in references have capitals, digits and underscores
only, and unknown ones are empty. Nothing is run.
"""

from __future__ import annotations

import re

from txdagu.model.errors import InvalidInputError, Problem

_BETWEEN = re.compile(r"(?:\s+|#[^\n]*(?:\n|\Z))*")
_NAME = re.compile(r"(?:export[^\S\n]+)?(?P<name>[\w.\s]*?)\s*[=:][^\S\n]*")
_REST = re.compile(r"[\w.\s]*\Z")
_CLOSING = {quote: re.compile(rf"(?<!\\){quote}") for quote in "\"'"}
_BARE = re.compile(r"(?P<value>[^\n\r]*)")
_COMMENT = re.compile(r"(?<=\s)#")
_REFERENCE = re.compile(r"(\\)?\$\(?\{?([A-Z0-9_]+)?\}?")
_ESCAPED = re.compile(r"\\([^$])", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r"}


def parse_dotenv(text: str, source: str) -> dict[str, str]:
    """The variables in order; a name given twice has its last value. Raises `InvalidInputError` with the line."""
    text = text.replace("\r\n", "\n")
    found: dict[str, str] = {}
    position = _skip(text, 0)
    while position < len(text):
        if _REST.match(text, position):
            break
        match = _NAME.match(text, position)
        if match is None or "\n" in match["name"]:
            line = text[position:].partition("\n")[0]
            raise _wrong(text, position, source, f"{line!r} is not NAME=value", "names have letters, digits, _ and .")
        value, end = _value(text, match.end(), found, source)
        found[match["name"]] = value
        position = _skip(text, end)
    return found


def _skip(text: str, position: int) -> int:
    """Over blanks, line ends and comments."""
    match = _BETWEEN.match(text, position)
    return match.end() if match is not None else position


def _value(text: str, start: int, found: dict[str, str], source: str) -> tuple[str, int]:
    """The value that begins at `start`, and where its line ends."""
    quote = text[start : start + 1]
    if quote in _CLOSING:
        closing = _CLOSING[quote].search(text, start + 1)
        if closing is None:
            raise _wrong(text, start, source, "a quoted value does not end", f"write {quote} behind it")
        inner = text[start + 1 : closing.start()]
        return _expanded(_unescaped(inner), found) if quote == '"' else inner, closing.end()
    match = _BARE.match(text, start)
    assert match is not None
    value = match["value"]
    if (comment := _COMMENT.search(value)) is not None:
        value = value[: comment.start()]
    return _expanded(value.strip(), found), match.end()


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda match: _ESCAPES.get(match[1], match[1]), text)


def _expanded(text: str, found: dict[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        if match[1]:
            return match[0][1:]
        return found.get(match[2], "") if match[2] else match[0]

    return _REFERENCE.sub(value, text)


def _wrong(text: str, position: int, source: str, message: str, advice: str) -> InvalidInputError:
    return InvalidInputError([Problem(message, f"{source}:{text.count(chr(10), 0, position) + 1}", advice)])
