"""Deadlines: which comes next, and which have come."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Generic, TypeVar

What = TypeVar("What")


class Deadlines(Generic[What]):
    """
    A heap of things and the times at which somebody must look at them.

    Nothing is ever taken out early: who set a deadline checks, when it comes, whether it still means anything and
    sets it anew if it moved. So a lease that is renewed every second costs nothing but a changed number.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, What]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._heap)

    def set(self, at: float, what: What) -> None:
        """Have `what` come up at that time."""
        self._count += 1
        heapq.heappush(self._heap, (at, self._count, what))

    def next(self) -> float | None:
        """When something must be looked at, at the earliest; None if nothing waits."""
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> Iterator[What]:
        """Everything whose time has come, earliest first; what is set meanwhile for the past comes up too."""
        while self._heap and self._heap[0][0] <= now:
            yield heapq.heappop(self._heap)[2]
