"""Trouble that lasts, told once and then every minute, not at every attempt."""

from __future__ import annotations

import re
from collections.abc import Callable

REPEAT_AFTER = 60.0
_NUMBER = re.compile(r"\d+(\.\d+)?")


class Complaint:
    """
    One lasting trouble. `say` writes a sentence, `now` is a monotonic clock in seconds.

    A sentence that differs from those told is told at once; one that differs from them only in numbers ("next attempt in
    0.4 s") says the same.
    """

    def __init__(self, say: Callable[[str], None], now: Callable[[], float]) -> None:
        self._say = say
        self._now = now
        self._told: dict[str, float] = {}
        self._held_back = 0

    @property
    def raised(self) -> bool:
        """Whether the trouble is there."""
        return bool(self._told)

    def trouble(self, sentence: str) -> None:
        """It went wrong, for this reason."""
        now = self._now()
        meaning = _NUMBER.sub("#", sentence)
        if now - self._told.get(meaning, now - REPEAT_AFTER) < REPEAT_AFTER:
            self._held_back += 1
            return
        self._told[meaning] = now
        again = f" (and {self._held_back} times before, untold)" if self._held_back else ""
        self._held_back = 0
        self._say(sentence + again)

    def settled(self) -> bool:
        """It went well; whether there had been trouble."""
        was = self.raised
        self._told.clear()
        self._held_back = 0
        return was
