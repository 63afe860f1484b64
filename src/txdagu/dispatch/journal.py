"""Where transitions are kept, so that a task outlives the process that accepted it."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Protocol

from txdagu.dispatch.history import KEPT_TASKS
from txdagu.dispatch.machine import State
from txdagu.dispatch.records import TIMELINE_LENGTH, Entry, StandingEntry, Transition
from txdagu.model.run import RunRef


@dataclass(frozen=True, slots=True)
class Kept:
    """
    What a journal has: the newest entry of every open task, in the order of acceptance, and of tasks that ended lately, in
    the order of their ends. `last_number` is the highest number that any task ever had. `standings` are those of the workers that
    may not have new tasks.
    """

    open: tuple[Entry, ...] = ()
    ended: tuple[Entry, ...] = ()
    last_number: int = 0
    standings: tuple[StandingEntry, ...] = ()


class Journal(Protocol):
    """
    Keeps entries in the order in which they are committed.

    One process writes. The newest entry of each task, and of each worker, decides. After a commit has failed all further ones
    fail too, until `load` has succeeded: what was decided on top of something that is not kept must not be kept either.
    """

    def open(self) -> Awaitable[None]:
        """Get ready. Raises `DaguError` with a sentence that says what to do, if that cannot be."""

    def commit(self, entries: Sequence[Entry], standings: Sequence[StandingEntry] = ()) -> Awaitable[None]:
        """
        Keep these entries of tasks and workers, all or none; when it returns they survive whatever the journal promises to
        survive.

        Without entries it returns once all commits before it are kept.
        """

    def load(self) -> Awaitable[Kept]:
        """What is kept. Raises `UnavailableError` if that cannot be read, or if nothing could be written now."""

    def timeline(self, root: RunRef, run_id: str) -> Awaitable[Sequence[Transition]]:
        """Every transition of every task of that run that is still kept, oldest first."""

    def close(self) -> Awaitable[None]:
        """Finish what was begun and let go of everything."""


class MemoryJournal:
    """
    A journal that survives mistakes of the core but not the end of the process.

    It holds one entry for each open task and for the latest ended ones, and the latest transitions of both.
    """

    def __init__(self, ended: int = KEPT_TASKS) -> None:
        self._limit = ended
        self._open: dict[int, Entry] = {}
        self._ended: OrderedDict[int, Entry] = OrderedDict()
        self._timelines: dict[int, deque[Transition]] = {}
        self._standings: dict[str, StandingEntry] = {}
        self._last_number = 0

    async def open(self) -> None:
        """Nothing needs to be made ready."""

    async def commit(self, entries: Sequence[Entry], standings: Sequence[StandingEntry] = ()) -> None:
        """Keep these entries."""
        for standing in standings:
            self._standings.pop(standing.worker_id, None)
            if standing.standing is not None:
                self._standings[standing.worker_id] = standing
        for entry in entries:
            self._last_number = max(self._last_number, entry.number)
            self._timelines.setdefault(entry.number, deque(maxlen=TIMELINE_LENGTH)).append(entry.transition)
            if entry.transition.state is not State.ENDED:
                self._open[entry.number] = entry
                continue
            self._open.pop(entry.number, None)
            self._ended[entry.number] = entry
            if len(self._ended) > self._limit:
                forgotten, _ = self._ended.popitem(last=False)
                del self._timelines[forgotten]

    async def load(self) -> Kept:
        """The newest entry of every task."""
        kept = tuple(self._open[number] for number in sorted(self._open))
        return Kept(kept, tuple(self._ended.values()), self._last_number, tuple(self._standings.values()))

    async def timeline(self, root: RunRef, run_id: str) -> Sequence[Transition]:
        """Every transition of every task of that run."""
        found = {**self._ended, **self._open}
        return [
            transition
            for number in sorted(found)
            if (found[number].task.root, found[number].task.run.id) == (root, run_id)
            for transition in self._timelines[number]
        ]

    async def close(self) -> None:
        """Nothing needs to be let go."""
