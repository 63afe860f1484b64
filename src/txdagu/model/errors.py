"""Errors for people: what was wrong, where, and what to do. Everything this project raises on purpose is one of these."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


class DaguError(Exception):
    """
    Anything that stops us for a reason a person can act on.

    The message is one sentence that is shown as it is. `http_status` is what the REST API answers and `exit_code` what
    the command line ends with when nothing better is known.
    """

    http_status = 500
    exit_code = 1


class NotFoundError(DaguError):
    """A DAG, run, step or file that was asked for does not exist."""

    http_status = 404


class ConflictError(DaguError):
    """What was asked for exists already, or is held by somebody else."""

    http_status = 409


class UnavailableError(DaguError):
    """Somebody whom we need (a coordinator, a directory) cannot be reached now; trying again later is sensible."""

    http_status = 503


@dataclass(frozen=True, slots=True)
class Problem:
    """
    One thing that is wrong with what somebody gave us.

    `where` says from which file and line, option or variable it came: ``"etl.yaml:12:5"``, ``"--worker.labels"``,
    ``"DAGU_COORDINATOR_PORT"``. `path` is the path of keys within a file, ``"steps[1].retryPolicy.limit"``. `advice` says what
    to do. All but the message may be empty.
    """

    message: str
    where: str = ""
    advice: str = ""
    path: str = ""

    def __str__(self) -> str:
        """One line: where, what, what to do. A path of one key is not shown, for the message names it."""
        text = self.message
        if any(mark in self.path for mark in ".["):
            text = f"{self.path}: {text}"
        if self.where:
            text = f"{self.where}: {text}"
        return f"{text} ({self.advice})" if self.advice else text


def not_utf8(error: UnicodeDecodeError, source: str) -> Problem:
    """The problem that a file is not UTF-8 text, with the first place where it is not."""
    before = bytes(error.object[: error.start])
    line = before.count(b"\n") + 1
    column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
    byte = error.object[error.start]
    return Problem(
        f"is not UTF-8 text: here is a byte 0x{byte:02x}", f"{source}:{line}:{column}", "save the file as UTF-8"
    )


class InvalidInputError(DaguError):
    """Bad input, with every problem found in it and not only the first."""

    http_status = 400

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(str(problem) for problem in self.problems))


def error_lines(error: DaguError) -> str:
    """An error as the command line shows it: one line, or one line a problem, each beginning with ``Error: ``."""
    problems = error.problems if isinstance(error, InvalidInputError) else ()
    return "\n".join(f"Error: {line}" for line in (problems or (error,)))
