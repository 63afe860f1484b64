"""
What only SQLite knows: how a database is opened, made durable and checked, and which of its errors mean what.

The rest of the package speaks SQL that PostgreSQL understands as well, with ``?`` for parameters.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from txdagu.model.errors import UnavailableError
from txdagu.system.files import open_new

NUMBER = "INTEGER"
"""A whole number of 64 bits; ``BIGINT`` elsewhere."""

# Tables in place of lists of values in UPDATE (UPDATE FROM) came with this version.
OLDEST = (3, 33, 0)
# Pages; a checkpoint costs two more waits for the disk, so it comes with every 16 MiB only.
CHECKPOINT_PAGES = 4096

_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}

Connect = Callable[[str], sqlite3.Connection]


def connect(path: str) -> sqlite3.Connection:
    """A connection that begins and ends no transactions by itself, and that any one thread at a time may use."""
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)


def open_file(path: Path, connect: Connect, *, shared: bool) -> sqlite3.Connection:
    """
    Open the database, made with mode 0600 if it is not there; commits wait until the disk has them.

    A write-ahead log needs memory shared between processes, which a network file system does not give: `shared` does
    without. Raises `sqlite3.Error`, and `UnavailableError` for a library that is too old.
    """
    if sqlite3.sqlite_version_info < OLDEST:
        needed = ".".join(map(str, OLDEST))
        raise UnavailableError(
            f"the journal needs SQLite {needed} or newer, and this Python has {sqlite3.sqlite_version}; install a newer one"
        )
    _make(path)
    connection = connect(str(path))
    connection.text_factory = _text
    try:
        connection.execute(f"PRAGMA journal_mode = {'TRUNCATE' if shared else 'WAL'}")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    except BaseException:
        connection.close()
        raise
    return connection


def open_to_read(path: Path) -> sqlite3.Connection:
    """Open a database that another process may be writing, without changing it. Raises `sqlite3.Error`."""
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)
    connection.text_factory = _text
    return connection


def faults(connection: sqlite3.Connection) -> str:
    """What is wrong with the file as a whole; empty if nothing is. Reads all of it."""
    found = [str(row[0]) for row in connection.execute("PRAGMA quick_check(3)")]
    return "" if found == ["ok"] else "; ".join(found)


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file is no longer a database, or not a sound one; no waiting heals that."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE


def files_of(path: Path) -> list[Path]:
    """The files that belong to a database, as far as they are there."""
    return [
        file for suffix in ("", "-wal", "-shm", "-journal") if (file := path.with_name(path.name + suffix)).exists()
    ]


def _text(data: bytes) -> str:
    """A text, also where it is none: its checksum tells that, and one bad row must not hide the others."""
    return data.decode("utf-8", "surrogateescape")


def _make(path: Path) -> None:
    try:
        os.close(open_new(path))
    except FileExistsError:
        return
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
