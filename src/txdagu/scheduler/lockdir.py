"""The lock among schedulers: a directory that whoever makes it holds, and keeps fresh by its mtime. Blocking; for threads."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from txdagu.store.dirlock import LOCK_NAME
from txdagu.system.files import make_directories


@dataclass(frozen=True, slots=True)
class Look:
    """What a lock looked like at one moment. Whoever else touches it makes it look otherwise."""

    inode: int
    mtime_ns: int


class LockDirectory:
    """
    ``<directory>/.dagu_lock``, as Dagu 1.30.2 locks (``internal/common/dirlock``): taken with mkdir, nothing inside,
    kept by its mtime.

    The mtime that we set last is our mark of ownership, since the lock itself names nobody.
    """

    def __init__(self, directory: str) -> None:
        self.path = Path(directory, LOCK_NAME)

    def take(self) -> Look | None:
        """Take the lock; None if somebody has it. Raises `OSError` if the directory cannot be written."""
        make_directories(self.path.parent)
        try:
            self.path.mkdir(mode=0o700)
        except FileExistsError:
            return None
        return self.look()

    def look(self) -> Look | None:
        """What it looks like; None if there is none."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return Look(found.st_ino, found.st_mtime_ns)

    def age(self, look: Look, wall: float) -> float:
        """How many seconds ago the lock was touched, by the wall clock's time `wall`."""
        return wall - look.mtime_ns / 1e9

    def keep(self, ours: Look) -> Look | None:
        """Touch our lock; None if it is not ours any more."""
        if self.look() != ours:
            return None
        os.utime(self.path)
        return self.look()

    def clear(self, stale: Look) -> bool:
        """
        Take away a lock that was left behind; False if it was touched meanwhile.

        It is moved aside first and looked at there, so that of several who clear it only one does, and none takes
        away the lock that another has just made in its place.
        """
        aside = self.path.with_name(f"{LOCK_NAME}.{secrets.token_hex(8)}")
        try:
            self.path.rename(aside)
        except FileNotFoundError:
            return True
        found = aside.stat()
        if Look(found.st_ino, found.st_mtime_ns) != stale:
            with suppress(OSError):  # there is a new one already; then the one we moved has lost
                aside.rename(self.path)
            return False
        aside.rmdir()
        return True

    def release(self, ours: Look) -> None:
        """Give our lock back; one that is not ours any more is left alone."""
        if self.look() == ours:
            with suppress(FileNotFoundError):
                self.path.rmdir()
