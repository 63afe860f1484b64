"""What the YAML parser objects to, said so that it can be mended."""

from __future__ import annotations

import yaml

from txdagu.model.errors import Problem
from txdagu.yamltree.node import Position, where

_ADVICE = {
    "mapping values are not allowed in this context": "quote a text that contains ': ', and check the indentation",
    "could not find expected ':'": "write a colon and a blank behind each key, and check the indentation",
    "did not find expected key": "check the indentation, and that quotes and brackets are closed",
    "did not find expected '-' indicator": "begin each item of a list with '- ' in the same column",
    "did not find expected node content": "close the bracket",
    "found a tab character that violates indentation": "use blanks",
}


def problem_of(error: yaml.YAMLError | UnicodeEncodeError, text: str, source: str) -> Problem:
    """The problem behind an exception of the parser, with the place in `text` at which it stopped."""
    if isinstance(error, UnicodeEncodeError):
        return Problem("half a character (a lone surrogate)", where(source, _position(text, error.start)))
    if isinstance(error, yaml.reader.ReaderError):
        # The position counts bytes of UTF-8, into which the text was turned for the parser.
        index = len(text.encode()[: error.position].decode(errors="ignore"))
        return Problem(
            f"the character {text[index : index + 1]!r} is not allowed in YAML",
            where(source, _position(text, index)),
            "write it as an escape in double quotes",
        )
    assert isinstance(error, yaml.MarkedYAMLError)
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return Problem(f"invalid YAML: {error}", source)
    message = error.problem or error.context or "invalid YAML"
    advice = _ADVICE.get(message, "")
    if error.context == "while scanning a quoted scalar" and error.context_mark is not None:
        # Where the parser stopped is the end of the document; the mistake is where it began.
        mark, message = error.context_mark, f"{message} {error.context}, which begins here"
        advice = "close the quotes, or put the whole value in quotes if these belong to it"
    if message == "found character that cannot start any token":
        message, advice = _bad_start(text[mark.index : mark.index + 1])
    elif error.context and error.context not in message:
        message = f"{message} {error.context}"
    place = Position(mark.line + 1, mark.column + 1)
    if mark.index >= len(text):  # the parser stands behind the last line break; people look at the last line
        place = _position(text, len(text.rstrip()))
    return Problem(f"invalid YAML: {message}", where(source, place), advice)


def _bad_start(character: str) -> tuple[str, str]:
    if character == "\t":
        return "a tab cannot indent a line", "use blanks"
    return f"a text cannot begin with {character!r}", "put it in quotes"


def _position(text: str, index: int) -> Position:
    before = text[:index]
    return Position(before.count("\n") + 1, index - before.rfind("\n"))
