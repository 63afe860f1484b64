"""Conditions, as preconditions and repeat policies state them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Condition:
    """
    One condition; nothing is evaluated yet.

    Without `expected`, `text` is a command that must end with 0. With it, `text` is evaluated, and one of its lines must equal
    `expected`, or contain a match of what follows its ``re:``. `negate` turns met and not met round. `error` is set in records
    of a run only: why the condition was not met.
    """

    text: str
    expected: str = ""
    negate: bool = False
    error: str = ""
