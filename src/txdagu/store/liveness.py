"""
Liveness files of root runs: eight bytes with the time, rewritten every 15 s; a run whose file stands still for 45 s is dead.

Blocking. Dagu's readers delete dead files they meet, so a file that is gone is made again at the next beat. Our readers delete
nothing.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from txdagu.model.errors import ConflictError
from txdagu.store.dirlock import PROC_STALE_SECONDS, DirectoryLocks
from txdagu.store.layout import parse_proc_file, proc_file_name, single_name
from txdagu.system.files import make_directories, names_in, open_new

BEAT_SECONDS = 15.0
ALIVE_SECONDS = 45.0
_FUTURE_SECONDS = 300.0


def is_alive(content: bytes, modified: float, now: float) -> bool:
    """
    Whether a file speaks of a living run. Times are in Unix seconds.

    Either the file's own time or the one written in it must be younger than 45 s; a written time more than five minutes ahead is
    not believed.
    """
    if now - modified < ALIVE_SECONDS:
        return True
    if len(content) < 8:
        return False
    written = int.from_bytes(content[:8], "big")
    return written - now <= _FUTURE_SECONDS and now - written < ALIVE_SECONDS


class ProcFile:
    """The liveness file of one run, held by the process that executes it."""

    def __init__(self, path: Path, now: Callable[[], datetime]) -> None:
        self.path = path
        self._now = now
        self._lock = threading.Lock()
        self._released = False

    def beat(self) -> None:
        """Say that the run is alive; a file that was taken away is made again. Nothing happens after `release`."""
        with self._lock:
            if self._released:
                return
            try:
                self._write()
            except FileNotFoundError:
                make_directories(self.path.parent)
                self._write()

    def release(self) -> None:
        """Remove the file, and its directory if no other run of the DAG is alive. Calling it again does nothing."""
        with self._lock:
            if self._released:
                return
            self._released = True
            with suppress(FileNotFoundError):
                self.path.unlink()
            with suppress(OSError):
                self.path.parent.rmdir()

    def _write(self) -> None:
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.pwrite(descriptor, _content(self._now()), 0)
        finally:
            os.close(descriptor)


def _content(at: datetime) -> bytes:
    return int(at.timestamp()).to_bytes(8, "big")


class ProcFiles:
    """All liveness files of a data directory: one directory a queue, in it one a DAG."""

    def __init__(self, root: Path, now: Callable[[], datetime], locks: DirectoryLocks) -> None:
        self._root = root
        self._now = now
        self._locks = locks

    def acquire(self, queue: str, dag_name: str, run_id: str, take_over: bool) -> ProcFile:
        """
        Make the liveness file of a run.

        `ConflictError` if the run is alive already. With `take_over` the caller knows from elsewhere that nobody else may
        execute the run: files that an earlier owner left are removed.
        """
        group = self._group(queue)
        directory = group / single_name(dag_name, "DAG name")
        with self._locks.hold(group, PROC_STALE_SECONDS):
            names = self._of_run(directory, run_id)
            for name in names:
                path = directory / name
                if take_over:
                    with suppress(FileNotFoundError):
                        path.unlink()
                elif self._alive(path):
                    raise ConflictError(
                        f"run {dag_name}:{run_id} is being executed by another process, as {path} says; stop it first"
                    )
            at = self._now()
            while proc_file_name(at, run_id) in names:
                at += timedelta(
                    seconds=1
                )  # else the earlier owner, if it still lives, would remove the new owner's file
            path = directory / proc_file_name(at, run_id)
            make_directories(directory)
            descriptor = open_new(path)
            try:
                os.write(descriptor, _content(self._now()))
            finally:
                os.close(descriptor)
        return ProcFile(path, self._now)

    def is_alive(self, queue: str, dag_name: str, run_id: str) -> bool:
        """Whether somebody executes the run now."""
        directory = self._group(queue) / single_name(dag_name, "DAG name")
        return any(self._alive(directory / name) for name in self._of_run(directory, run_id))

    def running(self, queue: str) -> int:
        """How many runs of the queue are alive now."""
        group = self._group(queue)
        return sum(
            len({parse_proc_file(name) for name in files if self._alive(directory / name)})
            for directory, files in _proc_files(group)
        )

    def _group(self, queue: str) -> Path:
        return self._root / single_name(queue, "queue")

    def _of_run(self, directory: Path, run_id: str) -> list[str]:
        return [name for name in names_in(directory) if parse_proc_file(name) == run_id]

    def _alive(self, path: Path) -> bool:
        now = self._now().timestamp()
        try:
            modified = path.stat().st_mtime
            if is_alive(b"", modified, now):
                return True
            with path.open("rb") as file:
                return is_alive(file.read(8), modified, now)
        except FileNotFoundError:
            return False


def _proc_files(group: Path) -> Iterator[tuple[Path, list[str]]]:
    for name in names_in(group):
        yield group / name, [file for file in names_in(group / name) if parse_proc_file(file)]
