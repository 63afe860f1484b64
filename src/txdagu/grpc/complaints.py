"""Log lines about badly behaved peers, so few that the peers cannot fill the disk with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

_PERIOD = 60.0
_PER_ADDRESS = 5
_IN_ALL = 50


class Complaints:
    """
    Passes on the first few lines a minute of each address, and not many in all.

    What was kept back is counted and told with the first line of a later minute.
    """

    def __init__(self, clock: IReactorTime, write: Callable[[str], None]) -> None:
        self._clock = clock
        self._write = write
        self._began = clock.seconds()
        self._written: Counter[str] = Counter()
        self._lines = 0
        self._kept_back = 0

    def add(self, host: str, text: str) -> None:
        """Something to say about a peer at this address."""
        now = self._clock.seconds()
        if now - self._began >= _PERIOD:
            if self._kept_back:
                self._write(f"{self._kept_back} more complaints about clients were not logged")
            self._began, self._lines, self._kept_back = now, 0, 0
            self._written.clear()
        if self._lines >= _IN_ALL or self._written[host] >= _PER_ADDRESS:
            self._kept_back += 1
            return
        self._lines += 1
        self._written[host] += 1
        self._write(text)
