"""Tokens that nobody guesses, and attempts named after the time."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

PREFIX = "attempt_"
TIME_LENGTH = len("20260101_000000_000Z")


def attempt_name(at: datetime, attempt_id: str) -> str:
    """``attempt_YYYYMMDD_HHMMSS_mmmZ_<id>`` in UTC, as Dagu 1.30.2 names attempt directories."""
    at = at.astimezone(UTC)
    return f"{PREFIX}{at:%Y%m%d_%H%M%S}_{at.microsecond // 1000:03d}Z_{attempt_id}"


def attempt_time(name: str) -> datetime | None:
    """The time in an attempt's name; None if it is not such a name."""
    try:
        return datetime.strptime(name[len(PREFIX) : len(PREFIX) + TIME_LENGTH] + "+0000", "%Y%m%d_%H%M%S_%fZ%z")
    except ValueError:
        return None


class RandomNames:
    """Names from the system's randomness and the wall clock `wall`, which may jump back: attempts still sort in order."""

    def __init__(self, wall: Callable[[], datetime], hexadecimal: Callable[[int], str] = secrets.token_hex) -> None:
        self._wall = wall
        self._hexadecimal = hexadecimal

    def token(self) -> str:
        """128 random bits in hexadecimal."""
        return self._hexadecimal(16)

    def attempt(self, after: str) -> tuple[str, str]:
        """Six hexadecimal digits, and a directory name at least a millisecond later than `after`."""
        at = self._wall()
        earlier = attempt_time(after)
        if earlier is not None:
            at = max(at, earlier + timedelta(milliseconds=1))
        attempt_id = self._hexadecimal(3)
        return attempt_id, attempt_name(at, attempt_id)
