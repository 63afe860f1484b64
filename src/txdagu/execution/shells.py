"""Which shell runs a step, and with which words."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import PurePath

from txdagu.execution.evaluation.expansion import expand
from txdagu.execution.evaluation.stages import Evaluator
from txdagu.model.dag import Dag, Step
from txdagu.model.errors import DaguError

STOPS_AT_ERRORS = frozenset({"sh", "bash", "zsh", "ksh", "ash", "dash"})
_POWERSHELL = frozenset({"pwsh", "powershell", "pwsh.exe", "powershell.exe"})
_CMD = frozenset({"cmd", "cmd.exe"})
_POWERSHELL_STOPS_AT_ERRORS = "$ErrorActionPreference = 'Stop'\n$PSNativeCommandUseErrorActionPreference = $true\n"


@dataclass(frozen=True, slots=True)
class Shell:
    """
    A shell with its arguments. `exits_on_error` says whether ``-e`` is added; `direct` means no shell at all. `packages` are
    for nix-shell.
    """

    program: str
    args: tuple[str, ...] = ()
    exits_on_error: bool = False
    packages: tuple[str, ...] = ()

    @property
    def direct(self) -> bool:
        """Programs are started as they are."""
        return self.program == "direct"

    @property
    def _name(self) -> str:
        return PurePath(self.program).name

    @property
    def posix(self) -> bool:
        """Whether it belongs to the family of sh."""
        return self._name in STOPS_AT_ERRORS

    @property
    def suffix(self) -> str:
        """How names of its script files end."""
        if self._name in _POWERSHELL:
            return ".ps1"
        if self._name in _CMD:
            return ".bat"
        return ".sh" if self.posix else ""

    def script_text(self, text: str) -> str:
        """What stands in the script file for this script."""
        return _POWERSHELL_STOPS_AT_ERRORS + text if self._name in _POWERSHELL else text

    def _words(self) -> tuple[str, ...]:
        adds = self.exits_on_error and self.posix and not any(_has_errexit(arg) for arg in self.args)
        return (self.program, *self.args, *(("-e",) if adds else ()))

    def _nix(self, text: str, packages: tuple[str, ...]) -> tuple[str, ...]:
        words = tuple(word for package in packages for word in ("-p", package))
        pure = () if {"--pure", "--impure"} & set(self.args) else ("--pure",)
        run = () if "--run" in self.args else ("--run",)
        return (self.program, *self.args, *words, *pure, *run, f"set -e; {text}" if self.exits_on_error else text)

    def command(self, text: str) -> tuple[str, ...]:
        """Program and arguments that run a command line."""
        words = self._words()
        if self._name == "nix-shell":
            return self._nix(text, self.packages)
        flag = "-Command" if self._name in _POWERSHELL else "/c" if self._name in _CMD else "-c"
        return (*words, text) if flag in self.args else (*words, flag, text)

    def file(self, path: str) -> tuple[str, ...]:
        """Program and arguments that run a script."""
        if self._name == "nix-shell":
            return self._nix(path, ())
        if self._name in _POWERSHELL:
            return (*self._words(), "-ExecutionPolicy", "Bypass", "-File", path)
        if self._name in _CMD:
            return (*self._words(), *(() if "/c" in self.args else ("/c",)), path)
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
        return Shell(words[0], tuple(words[1:]), packages=step.shell_packages)
    if dag.shell:
        lookup = evaluator.scope.environ.get
        words = [expand(word, lookup) for word in (dag.shell, *dag.shell_args)]
        return Shell(words[0], tuple(words[1:]), exits_on_error=True, packages=step.shell_packages)
    return replace(fallback, packages=step.shell_packages) if step.shell_packages else fallback


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
