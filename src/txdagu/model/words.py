"""A command line in words, as Dagu 1.30.2 cuts it; measured with a program that prints its arguments."""

from __future__ import annotations

import re

_QUOTES = "\"'`"
_LITERAL = re.compile(
    r'(?:[^"\\\n]|\\(?:[abfnrtv\\"]|[0-3][0-7]{2}|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}))*', re.ASCII
)
_ESCAPE = re.compile(r"\\(?:([abfnrtv\\\"])|([0-7]{3})|x(..)|u(.{4})|U(.{8}))")
_LETTERS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"'}


def split_words(text: str) -> list[str]:
    """
    The words of a command. Quotes and backticks hold blanks together, a backslash takes the meaning from what follows it, and
    ``|`` and ``||`` are words. A word loses its quotes where the same stand at both of its ends.
    """
    words: list[str] = []
    word, quote, escaped = "", "", False
    for letter in text:
        if escaped or letter == "\\":
            escaped = not escaped
            word += letter
        elif quote:
            word += letter
            quote = "" if letter == quote else quote
        elif letter.isspace():
            words.append(word)
            word = ""
        elif letter == "|":
            if word != "|":
                words.append(word)
                word = ""
            word += letter
            if word == "||":
                words.append(word)
                word = ""
        else:
            if word == "|":
                words.append(word)
                word = ""
            word += letter
            quote = letter if letter in _QUOTES else ""
    return [_unquoted(word) for word in (*words, word) if word]


def _unquoted(word: str) -> str:
    """
    The word without the quotes around it. Double quotes make it a literal with escapes as in Go; where it is none, as for
    the others, they are only taken away.
    """
    if len(word) < 2 or word[0] != word[-1] or word[0] not in "\"'":
        return word
    inner = word[1:-1]
    if word[0] == '"' and _LITERAL.fullmatch(inner):
        return _ESCAPE.sub(_character, inner)
    return inner


def _character(match: re.Match[str]) -> str:
    letter, octal, *hexadecimal = match.groups()
    if letter:
        return _LETTERS[letter]
    code = int(octal, 8) if octal else int(next(filter(None, hexadecimal)), 16)
    return chr(code) if code <= 0x10FFFF else match[0]
