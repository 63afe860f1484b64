"""Who is alive, judged by change alone. A core: files come in, members come out; no clock, no I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from txdagu.registry.entries import ServiceEntry, entry_from_json
from txdagu.registry.files import FoundFile

STALE_AFTER = 30.0
# An observer that was away for longer than this (stopped, blocked, directory unreadable) has not seen what changed meanwhile.
LONGEST_ABSENCE = 10.0


@dataclass(frozen=True, slots=True)
class StaleFile:
    """A file whose owner is believed dead, and the reason in words."""

    file: FoundFile
    entry: ServiceEntry
    reason: str


@dataclass(slots=True)
class _Record:
    file: FoundFile
    entry: ServiceEntry
    mark: tuple[object, ...]
    changed_at: float
    gone: bool


def _mark(entry: ServiceEntry, file: FoundFile) -> tuple[object, ...]:
    """What must change for the owner to count as alive: the sequence, or the mtime where there is none."""
    beat = file.mtime_ns if entry.beat is None else entry.beat.sequence
    return (entry.id, entry.pid, entry.started_at, beat)


class Membership:
    """
    Judges the files of one directory.

    A file is fresh while its beat (sequence, else mtime) was seen to change within the last 30 s of the observer's own
    monotonic clock; the first sight counts as a change. Clocks of other hosts play no part, so skew between hosts neither
    hides the living nor keeps the dead. An entry whose process is known to be gone is stale at once, until its beat
    changes after all: then somebody lives whose process we cannot see.
    """

    def __init__(self, stale_after: float = STALE_AFTER) -> None:
        self._stale_after = stale_after
        self._records: dict[str, _Record] = {}
        self._unreadable: dict[str, bytes] = {}
        self._observed_at: float | None = None

    @property
    def files(self) -> Mapping[str, FoundFile]:
        """The files as last observed."""
        return {name: record.file for name, record in self._records.items()}

    def observe(
        self, files: Mapping[str, FoundFile], now: float, process_gone: Callable[[ServiceEntry], bool] = lambda _: False
    ) -> list[str]:
        """
        Take in the directory as it is `now` and return a warning for each file that is not an entry, once per content.

        `process_gone` says whether the entry's process is known not to exist; it is asked when an entry is new and
        while it does not change.
        """
        if self._observed_at is not None and now - self._observed_at > LONGEST_ABSENCE:
            for seen in self._records.values():
                seen.changed_at += now - self._observed_at
        self._observed_at = now
        warnings: list[str] = []
        records: dict[str, _Record] = {}
        unreadable: dict[str, bytes] = {}
        for name, file in files.items():
            record = self._records.get(name)
            if record is not None and record.file.stamp == file.stamp:
                if not record.gone:
                    record.gone = process_gone(record.entry)
                records[name] = record
                continue
            try:
                entry = entry_from_json(file.data)
            except ValueError as error:
                unreadable[name] = file.data
                if self._unreadable.get(name) != file.data:
                    warnings.append(f"{name} is skipped: {error}")
                if record is not None:
                    # Half-written by somebody who does not write atomically: what was known stays for its 30 s.
                    records[name] = record
                continue
            mark = _mark(entry, file)
            if record is None:
                records[name] = _Record(file, entry, mark, now, process_gone(entry))
            elif record.mark == mark:
                records[name] = _Record(file, entry, mark, record.changed_at, record.gone or process_gone(entry))
            else:
                records[name] = _Record(file, entry, mark, now, gone=False)
        self._records = records
        self._unreadable = unreadable
        return warnings

    def members(self) -> tuple[ServiceEntry, ...]:
        """
        The living as of the last observation, sorted by id.

        Two files with the same id (a worker started anew on the same host) are told as one, the one that changed last.
        """
        newest: dict[str, _Record] = {}
        for record in self._records.values():
            if self._fault(record):
                continue
            other = newest.get(record.entry.id)
            if other is None or other.changed_at <= record.changed_at:
                newest[record.entry.id] = record
        return tuple(newest[service_id].entry for service_id in sorted(newest))

    def stale(self) -> tuple[StaleFile, ...]:
        """The files of the dead as of the last observation, sorted by name."""
        found = []
        for name in sorted(self._records):
            record = self._records[name]
            reason = self._fault(record)
            if reason:
                found.append(StaleFile(record.file, record.entry, reason))
        return tuple(found)

    def _fault(self, record: _Record) -> str:
        assert self._observed_at is not None
        if record.gone:
            return f"its process {record.entry.pid} is gone"
        age = self._observed_at - record.changed_at
        return f"no beat for {age:.0f} s" if age > self._stale_after else ""
