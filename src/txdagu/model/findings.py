"""What an examination of something comes to: findings, each one sentence with a mark, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class Mark(Enum):
    """How good or bad a finding is. Only failures make an examination fail."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Finding:
    """
    One thing that was looked at.

    `check` names what was looked at, the same at every run. `text` is a sentence without a full stop. `advice` is the next step
    and may be empty. `figures` repeats what programs may want to read out of the text; times are in seconds.
    """

    mark: Mark
    check: str
    text: str
    advice: str = ""
    figures: Mapping[str, float | str] = field(default_factory=dict)


def ok(check: str, text: str, **figures: float | str) -> Finding:
    """It is as it should be."""
    return Finding(Mark.OK, check, text, "", figures)


def warning(check: str, text: str, advice: str = "", **figures: float | str) -> Finding:
    """It works, but somebody should know."""
    return Finding(Mark.WARNING, check, text, advice, figures)


def failure(check: str, text: str, advice: str = "", **figures: float | str) -> Finding:
    """It does not work."""
    return Finding(Mark.FAILURE, check, text, advice, figures)


@dataclass(frozen=True, slots=True)
class Examination:
    """All findings about one subject, in the order in which they were made."""

    subject: str
    findings: tuple[Finding, ...]

    def count(self, mark: Mark) -> int:
        """How many findings have that mark."""
        return sum(finding.mark is mark for finding in self.findings)

    @property
    def failed(self) -> bool:
        """Whether anything does not work."""
        return self.count(Mark.FAILURE) > 0
