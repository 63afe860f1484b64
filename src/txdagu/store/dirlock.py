"""
Locks that several programs share: a directory named ``.dagu_lock`` inside the locked one. Blocking.

Taken with mkdir, released by removing it; a lock that is older than its threshold was left by a dead process and is taken over.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from txdagu.model.errors import UnavailableError
from txdagu.system.files import make_directories

LOCK_NAME = ".dagu_lock"
RUNS_STALE_SECONDS = 30.0
PROC_STALE_SECONDS = 5.0
RETRY_SECONDS = 0.05
GIVE_UP_SECONDS = 10.0


def _wait(seconds: float) -> None:
    threading.Event().wait(seconds)


class DirectoryLocks:
    """
    Takes such locks for the threads of one process.

    Threads queue up inside the process first, so that only one of them competes with other processes, and they do not
    wait 50 ms for each other. `now` tells the time, `wait` pauses the calling thread for some seconds.
    """

    def __init__(self, now: Callable[[], datetime], wait: Callable[[float], None] = _wait) -> None:
        self._now = now
        self._wait = wait
        self._guard = threading.Lock()
        self._queues: dict[Path, tuple[threading.Lock, list[None]]] = {}

    @contextmanager
    def hold(self, directory: Path, stale: float) -> Iterator[None]:
        """
        Hold the lock of `directory`, which is made if missing, for the body.

        A lock older than `stale` seconds is taken over. Raises `UnavailableError` if it is not to be had within 10 s.
        """
        with self._in_turn(directory):
            path = directory / LOCK_NAME
            self._take(path, stale)
            try:
                yield
            finally:
                with suppress(FileNotFoundError):  # taken over, because we were too slow
                    path.rmdir()

    @contextmanager
    def _in_turn(self, directory: Path) -> Iterator[None]:
        with self._guard:
            queue, users = self._queues.setdefault(directory, (threading.Lock(), []))
            users.append(None)
        try:
            if not queue.acquire(timeout=GIVE_UP_SECONDS):
                raise UnavailableError(_given_up(directory / LOCK_NAME))
            try:
                yield
            finally:
                queue.release()
        finally:
            with self._guard:
                users.pop()
                if not users:
                    del self._queues[directory]

    def _take(self, path: Path, stale: float) -> None:
        for _ in range(int(GIVE_UP_SECONDS / RETRY_SECONDS) + 1):
            try:
                path.mkdir(0o700)
                return
            except FileNotFoundError:
                make_directories(path.parent)
                continue
            except FileExistsError:
                pass
            if self._older_than(path, stale):
                with suppress(OSError):
                    path.rmdir()
                continue
            self._wait(RETRY_SECONDS)
        raise UnavailableError(_given_up(path))

    def _older_than(self, path: Path, stale: float) -> bool:
        try:
            return self._now().timestamp() - path.stat().st_mtime > stale
        except FileNotFoundError:
            return False


def _given_up(path: Path) -> str:
    return f"{path} is held by another process and was not released within {GIVE_UP_SECONDS:.0f} s; try again"
