"""Which shell runs a step, and with which words."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePath

from txdagu.execution.evaluation.expansion import expand
from txdagu.execution.evaluation.stages import Evaluator
from txdagu.model.dag import Dag, Step
from txdagu.model.errors import DaguError

STOPS_AT_ERRORS = frozenset({"sh", "bash", "zsh", "ksh", "ash", "dash"})
_UNSUPPORTED = frozenset({"nix-shell", "powershell", "powershell.exe", "cmd", "cmd.exe"})


@dataclass(frozen=True, slots=True)
class Shell:
    """A shell with its arguments. `exits_on_error` says whether ``-e`` is added; `direct` means no shell at all."""

    program: str
    args: tuple[str, ...] = ()
    exits_on_error: bool = False

    @property
    def direct(self) -> bool:
        """Programs are started as they are."""
        return self.program == "direct"

    @property
    def posix(self) -> bool:
        """Whether it belongs to the family of sh."""
        return PurePath(self.program).name in STOPS_AT_ERRORS

    def _words(self) -> tuple[str, ...]:
        adds = self.exits_on_error and self.posix and not any(_has_errexit(arg) for arg in self.args)
        return (self.program, *self.args, *(("-e",) if adds else ()))

    def command(self, text: str) -> tuple[str, ...]:
        """Program and arguments that run a command line."""
        words = self._words()
        return (*words, text) if "-c" in self.args else (*words, "-c", text)

    def file(self, path: str) -> tuple[str, ...]:
        """Program and arguments that run a script."""
        return (*(word for word in self._words() if word != "-c"), path)


def _has_errexit(arg: str) -> bool:
    """Whether an argument is or contains ``-e``, alone or in a cluster such as ``-euo``."""
    return arg.startswith("-") and not arg.startswith("--") and "e" in arg


def default_shell(configured: str, environ: Mapping[str, str]) -> Shell:
    """The shell where nobody names one: ``DAGU_DEFAULT_SHELL``, the configured one, ``SHELL``, else ``sh``."""
    text = environ.get("DAGU_DEFAULT_SHELL") or configured or environ.get("SHELL") or "sh"
    words = _split(text, "the default shell")
    return Shell(words[0], words[1:], exits_on_error=True)


async def step_shell(step: Step, dag: Dag, evaluator: Evaluator, fallback: Shell) -> Shell:
    """The step's own shell, without ``-e``; else the DAG's; else the default one."""
    if step.shell:
        words = [await evaluator.field(word) for word in (step.shell, *step.shell_args)]
        return _known(Shell(words[0], tuple(words[1:])))
    if dag.shell:
        lookup = evaluator.scope.environ.get
        words = [expand(word, lookup) for word in (dag.shell, *dag.shell_args)]
        return _known(Shell(words[0], tuple(words[1:]), exits_on_error=True))
    return fallback


def _known(shell: Shell) -> Shell:
    if PurePath(shell.program).name in _UNSUPPORTED:
        raise DaguError(
            f"shell {shell.program} is not supported: use a shell of the sh family, another program, or direct"
        )
    return shell


def shebang(script: str) -> tuple[str, ...]:
    """Interpreter and arguments of a script that begins with ``#!``; empty if it does not."""
    first, _, _ = script.partition("\n")
    if not first.startswith("#!"):
        return ()
    return _split(first[2:], "the first line of the script")


@lru_cache(maxsize=64)
def _split(text: str, what: str) -> tuple[str, ...]:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise DaguError(f"{what} cannot be split into words: {text!r}: {error}") from error
    if not words:
        raise DaguError(f"{what} names no program: {text!r}")
    return tuple(words)
