"""A journal on a disk that loses what was not synced, tears the last record, fills up, and is lost as a whole."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

from twisted.internet.defer import Deferred

from txdagu.dispatch.journal import Kept
from txdagu.dispatch.machine import State
from txdagu.dispatch.records import Entry, StandingEntry, Transition
from txdagu.journal.rows import to_entry, to_row
from txdagu.model.errors import UnavailableError
from txdagu.model.run import RunRef
from txdagu.testing.simulation.world import Process

FAST = 0.02
"""Seconds that a commit takes at most on a disk that is well."""


@dataclass(eq=False)
class Record:
    """
    One commit as the disk has it, and what it means; `synced` is said once the disk has promised to keep it. The times of
    `standings` are Unix seconds.
    """

    data: bytes
    entries: Sequence[Entry]
    synced: bool = False
    standings: Sequence[StandingEntry] = ()


class Disk:
    """
    A log of records, of which a crash keeps those that were synced, and of the others a part.

    `failing` disks sync nothing, others take up to `slow` seconds for it. `kept` is called with the entries and standings of a
    record as soon as nothing can take them away again, `written` once, as soon as the next record is to be synced.
    """

    def __init__(self, random: Random, kept: Callable[[Sequence[Entry], Sequence[StandingEntry]], None]) -> None:
        self.failing = False
        self.slow = FAST
        self.written: Callable[[], None] | None = None
        self.records: list[Record] = []
        self.seen: set[str] = set()
        self._random = random
        self._kept = kept

    def write(self, record: Record) -> None:
        """Take a record, which is not safe yet."""
        self.records.append(record)
        written, self.written = self.written, None
        if written is not None:
            written()

    def sync(self, record: Record) -> None:
        """Keep a record for good."""
        if record in self.records and not record.synced:
            record.synced = True
            self._kept(record.entries, record.standings)

    def fail(self) -> None:
        """A sync failed: of what was to be synced a part is there all the same, and nobody knows which."""
        self.seen.add("failed commit")
        unsynced = [record for record in self.records if not record.synced]
        for record in unsynced[self._random.randint(0, len(unsynced)) :]:
            self.records.remove(record)

    def crash(self) -> None:
        """The power goes: records that were not synced are there, are gone, or are there by half."""
        unsynced = [record for record in self.records if not record.synced]
        whole = self._random.randint(0, len(unsynced))
        for record in unsynced[whole:]:
            self.records.remove(record)
            self.seen.add("lost un-synced write")
        if whole < len(unsynced) and self._random.random() < 0.8:
            torn = unsynced[whole].data
            self.records.append(Record(torn[: self._random.randint(0, len(torn) - 1)], ()))
            self.seen.add("torn last record")

    def wipe(self) -> None:
        """The disk is replaced by an empty one."""
        self.records.clear()

    def read(self) -> list[Record]:
        """All sound records from the first on; what follows a torn one is cut off."""
        for position, record in enumerate(self.records):
            checksum, _, text = record.data.partition(b" ")
            if not checksum.isdigit() or int(checksum) != zlib.crc32(text):
                del self.records[position:]
                break
        for record in self.records:
            self.sync(record)
        return self.records


def shifted(entry: StandingEntry, seconds: float) -> StandingEntry:
    """The same by a clock that is ahead so much."""
    return entry if entry.standing is None else replace(entry, standing=entry.standing.shifted(seconds))


class DiskJournal:
    """
    A `txdagu.dispatch.journal.Journal` on such a disk, written by one process, in the rows that the real one writes.

    As the interface asks, a failed one fails all others until `load`, which calls `loaded`.
    """

    def __init__(self, process: Process, disk: Disk, loaded: Callable[[], None]) -> None:
        self._process = process
        self._disk = disk
        self._loaded = loaded
        self._failed = False
        self._waiting: list[tuple[Record | None, Deferred[None]]] = []
        self._syncing = False

    @property
    def _offset(self) -> float:
        return self._process.unix_now() - self._process.seconds()

    async def open(self) -> None:
        """Nothing needs to be made ready."""

    async def commit(self, entries: Sequence[Entry], standings: Sequence[StandingEntry] = ()) -> None:
        """Keep these entries, all or none."""
        if self._failed:
            raise UnavailableError("disk I/O error")
        record = None
        if entries or standings:
            text = json.dumps([to_row(entry, self._offset) for entry in entries]).encode()
            data = b"%d %s" % (zlib.crc32(text), text)
            record = Record(data, tuple(entries), standings=[shifted(one, self._offset) for one in standings])
            self._disk.write(record)
        done: Deferred[None] = Deferred()
        self._waiting.append((record, done))
        self._sync_later()
        await done

    def _sync_later(self) -> None:
        if not self._syncing and self._waiting:
            self._syncing = True
            self._process.callLater(
                self._process.random.uniform(0.0005, self._disk.slow), self._sync, len(self._waiting)
            )

    def _sync(self, count: int) -> None:
        self._syncing = False
        group, self._waiting = self._waiting[:count], self._waiting[count:]
        if self._disk.failing:
            self._failed = True
            group, self._waiting = group + self._waiting, []
            self._disk.fail()
        for record, _ in group:
            if record is not None and not self._failed:
                self._disk.sync(record)
        for _, done in group:
            if self._failed:
                done.errback(UnavailableError("disk I/O error"))
            else:
                done.callback(None)
        self._sync_later()

    async def load(self) -> Kept:
        """What is kept."""
        if self._disk.failing:
            raise UnavailableError("disk I/O error")
        newest: dict[int, list[object]] = {}
        standings: dict[str, StandingEntry] = {}
        for record in self._disk.read():
            for row in json.loads(record.data.partition(b" ")[2]):
                newest.pop(row[0], None)
                newest[row[0]] = row
            standings.update((one.worker_id, shifted(one, -self._offset)) for one in record.standings)
        self._failed = False
        self._loaded()
        entries = [to_entry(row, self._offset) for row in newest.values()]
        still = sorted((one for one in entries if one.transition.state is not State.ENDED), key=lambda one: one.number)
        ended = [one for one in entries if one.transition.state is State.ENDED]
        kept = tuple(one for one in standings.values() if one.standing is not None)
        return Kept(tuple(still), tuple(ended), max(newest, default=0), kept)

    async def timeline(self, root: RunRef, run_id: str) -> Sequence[Transition]:
        """Every transition of every task of that run."""
        return [
            entry.transition
            for record in self._disk.records
            for entry in record.entries
            if (entry.task.root, entry.task.run.id) == (root, run_id)
        ]

    async def close(self) -> None:
        """Nothing needs to be let go."""
