"""
What is sent to the other host for a command.

The shell of the login runs it there, but nothing of the command is left to that shell: the command is cut into words here,
references and environment variables in them are replaced here, and each word arrives as one word. With a shell of the step's
own the words are joined again, and that shell is given them as its command line. Both were measured on Dagu 1.30.2, with a
server that prints what it is asked to execute.
"""

from __future__ import annotations

import re
from pathlib import PurePath

from txdagu.execution.evaluation.simple import expand_simply
from txdagu.execution.evaluation.stages import Evaluator
from txdagu.model.dag import Command

_SAFE = re.compile(r"[A-Za-z0-9_./-]+", re.ASCII)
_ASSIGNED = re.compile(r'[^\s=]+="[^"]+"')
_QUOTES = "\"'`"
_LITERAL = re.compile(
    r'(?:[^"\\\n]|\\(?:[abfnrtv\\"]|[0-3][0-7]{2}|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}))*', re.ASCII
)
_ESCAPE = re.compile(r"\\(?:([abfnrtv\\\"])|([0-7]{3})|x(..)|u(.{4})|U(.{8}))")
_LETTERS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"'}
_POWERSHELL = frozenset({"pwsh", "powershell", "pwsh.exe", "powershell.exe"})
_CMD = frozenset({"cmd", "cmd.exe"})


async def evaluated_command(command: Command, evaluator: Evaluator, shell: tuple[str, ...]) -> tuple[Command, str]:
    """
    The command with its words evaluated, and the line to execute there; `shell` is program and arguments of a shell, or empty.

    The program is taken as it stands, the other words are evaluated: all stages if there is a shell, else with nothing but
    ``$NAME`` and ``${NAME}`` in the last.
    """
    program, *written = split_words(command.text) or [""]
    if shell:
        words = [await evaluator.field(word) for word in written]
        line = shell_line(shell, joined(program, words))
    else:
        words = [expand_simply(await evaluator.command(word), evaluator.scope.expanded) for word in written]
        line = " ".join(map(quoted, (program, *words)))
    return Command(command.text, program, tuple(words)), line


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


def quoted(word: str) -> str:
    """The word as a POSIX shell has to read it."""
    return word if _SAFE.fullmatch(word) else "'" + word.replace("'", "'\\''") + "'"


def joined(program: str, words: list[str]) -> str:
    """
    One text for a shell: words with a blank in them get double quotes, unless they stand in quotes already or are
    ``name="value"``.
    """
    return " ".join((program, *map(_in_line, words)))


def _in_line(word: str) -> str:
    in_quotes = word[:1] in ('"', "'") and word[:1] == word[-1:]
    if " " not in word or in_quotes or _ASSIGNED.fullmatch(word):
        return word
    return '"' + word.replace('"', '\\"') + '"'


def shell_line(shell: tuple[str, ...], text: str) -> str:
    """The line that has that shell run the text; its option for a command line is added where it is not given."""
    name = PurePath(shell[0]).name.lower()
    if name in _POWERSHELL:
        option = "-Command"
    elif name in _CMD:
        option = "/c"
    else:
        option = "--run" if name == "nix-shell" else "-c"
    words = shell if option in shell[1:] else (*shell, option)
    return " ".join(map(quoted, (*words, text)))
