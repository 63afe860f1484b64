"""Where transitions are kept, so that a task outlives the process that accepted it."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Protocol

from txdagu.dispatch.machine import State
from txdagu.dispatch.records import Entry


class Journal(Protocol):
    """
    Keeps entries in the order in which they are committed.

    One process writes. The newest entry of each task decides; entries of tasks that have not ended must be there
    again after `load`.
    """

    def commit(self, entries: Sequence[Entry]) -> Awaitable[None]:
        """Keep these entries, all or none; when it returns they survive whatever the journal promises to survive."""

    def load(self) -> Awaitable[Sequence[Entry]]:
        """The newest entry of every task that has not ended, in the order of acceptance."""


class MemoryJournal:
    """
    A journal that survives mistakes of the core but not the end of the process.

    It holds one entry for each open task and nothing of ended ones.
    """

    def __init__(self) -> None:
        self._newest: dict[int, Entry] = {}

    async def commit(self, entries: Sequence[Entry]) -> None:
        """Keep these entries."""
        for entry in entries:
            if entry.transition.state is State.ENDED:
                self._newest.pop(entry.number, None)
            else:
                self._newest[entry.number] = entry

    async def load(self) -> Sequence[Entry]:
        """The newest entry of every open task."""
        return [self._newest[number] for number in sorted(self._newest)]
