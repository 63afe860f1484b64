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
from txdagu.model.words import split_words

_SAFE = re.compile(r"[A-Za-z0-9_./-]+", re.ASCII)
_ASSIGNED = re.compile(r'[^\s=]+="[^"]+"')
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
