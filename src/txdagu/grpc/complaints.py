"""Log lines about badly behaved peers, so few that the peers cannot fill the disk with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

PERIOD = 60.0
"""Seconds after which the same may be told again."""
_PER_ADDRESS = 5
_IN_ALL = 50


class Complaints:
    """
    Passes on the first few lines a minute of each address, and not many in all; what has the same `cause` only once.

    What was kept back is counted and told with the first line of a later minute.
    """

    def __init__(self, clock: IReactorTime, write: Callable[[str], None]) -> None:
        self._clock = clock
        self._write = write
        self._began = clock.seconds()
        self._written: Counter[str] = Counter()
        self._told: set[tuple[str, str]] = set()
        self._lines = 0
        self._kept_back = 0

    def add(self, host: str, text: str, cause: str = "") -> None:
        """Something to say about a peer at this address. `cause` is what does not differ from one connection to the next."""
        now = self._clock.seconds()
        if now - self._began >= PERIOD:
            if self._kept_back:
                self._write(f"{self._kept_back} more complaints about clients were not logged")
            self._began, self._lines, self._kept_back = now, 0, 0
            self._written.clear()
            self._told.clear()
        if cause and (host, cause) in self._told:
            return
        if self._lines >= _IN_ALL or self._written[host] >= _PER_ADDRESS:
            self._kept_back += 1
            return
        if cause:
            self._told.add((host, cause))
        self._lines += 1
        self._written[host] += 1
        self._write(text)
