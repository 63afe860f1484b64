"""
The status file of an attempt: one record a line, the last valid one holds. Blocking.

Only a line with its end counts, so a record that was cut off by a crash or a full disk changes nothing. Lines are not synced to
the disk one by one: what must survive a power failure is the coordinator's journal.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from txdagu.store.errors import CorruptRecordError, UnfinishedRecordError
from txdagu.system.files import names_in, put_in_place, write_all

T = TypeVar("T")

_BLOCK = 64 * 1024
_COMPACT = "compact_"
_COMPACTED_FROM = 64 * 1024


class StatusFile:
    """
    The one writer of a status file.

    The file is opened for each line and closed again, because on NFS it is the closing that shows a line to other hosts, and
    because whoever else replaces the file is not overlooked.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._size = -1

    def append(self, line: bytes) -> None:
        """Add a record with its line end. A tail that somebody left without one gets it first, so that nothing is glued to it."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            if size and size != self._size and os.pread(descriptor, 1, size - 1) != b"\n":
                line = b"\n" + line
            self._size = -1
            write_all(descriptor, line)
            self._size = size + len(line)
        finally:
            os.close(descriptor)

    def finish(self, line: bytes, token: str) -> None:
        """
        Add the last record; if the file has grown large, make it the only one.

        That happens in one step: the file is there at every moment. `token` makes the name of the temporary file unique. Small
        files stay as they are, because making a file costs more than reading some lines too many. Dagu's servers read a file
        again only when its size differs or its time in whole seconds is newer, so a record of the old size gets a blank more.
        """
        if self._size + len(line) <= _COMPACTED_FROM:
            self.append(line)
            return
        if len(line) == self._size:
            line = line[:-1] + b" \n"
        put_in_place(self.path, line, f"{_COMPACT}{token}.tmp")
        self._size = len(line)


def read_last(path: Path, decode: Callable[[bytes], T]) -> T:
    """
    The last line that `decode` takes; it refuses lines with `ValueError`, which are passed over.

    Raises `FileNotFoundError`, `UnfinishedRecordError` if no line has ended yet, and `CorruptRecordError` if no line is a
    record.
    """
    try:
        return _read_last(path, decode)
    except FileNotFoundError:
        # Dagu removes the file before it renames the compacted one into its place, and may have died in between.
        found = _compacted(path)
        if not found:
            raise
    try:
        return _read_last(path, decode)
    except FileNotFoundError:
        return _read_last(found, decode)


def _compacted(path: Path) -> Path | None:
    for name in names_in(path.parent):
        if name.startswith(_COMPACT) and name.endswith(".tmp"):
            return path.with_name(name)
    return None


def _read_last(path: Path, decode: Callable[[bytes], T]) -> T:
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        reason = ""
        length = _BLOCK
        while True:
            start = max(0, size - length)
            lines = os.pread(file.fileno(), size - start, start).split(b"\n")
            for line in reversed(lines[1 if start else 0 : -1]):
                if line.strip():
                    try:
                        return decode(line)
                    except ValueError as error:
                        reason = str(error) or "it is no record"
            if not start and reason:
                raise CorruptRecordError(str(path), reason)
            if not start:
                raise UnfinishedRecordError(str(path), "it holds no complete record" if size else "it is empty")
            length *= 4
