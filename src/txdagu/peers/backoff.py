"""How long to wait before trying again."""

from __future__ import annotations

from random import Random


class FullJitter:
    """
    Waiting times drawn evenly between nothing and a ceiling that doubles with each attempt, up to `longest` seconds.

    Chance over the whole range keeps many clients that failed together from coming back together. `least` is a floor, for
    loops that must never turn without a pause.
    """

    def __init__(self, random: Random, first: float = 1.0, longest: float = 30.0, least: float = 0.0) -> None:
        self._random = random
        self._first = first
        self._longest = longest
        self._least = least
        self._attempt = 0

    def reset(self) -> None:
        """Begin with the first ceiling again, after a success."""
        self._attempt = 0

    def next(self) -> float:
        """Seconds to wait now; the next call has the next ceiling."""
        # The exponent is bounded so that a loop of years stays in the range of floats.
        ceiling: float = min(self._longest, self._first * 2 ** min(self._attempt, 62))
        self._attempt += 1
        return max(self._least, self._random.uniform(0.0, ceiling))
