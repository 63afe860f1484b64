"""Directories and files as several programs share them. Everything here blocks and belongs into a thread."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

_TRIES = 3


def make_directories(path: Path) -> None:
    """
    Make the directory, mode 0750, with its parents; one system call if they are there.

    Another process may remove empty ones meanwhile, so it is tried again. `OSError` if it cannot be made at all.
    """
    for _ in range(_TRIES):
        try:
            path.mkdir(0o750)
        except FileExistsError:
            return
        except FileNotFoundError:
            make_directories(path.parent)
        else:
            return
    path.mkdir(0o750, exist_ok=True)


def names_in(path: Path) -> list[str]:
    """Names of what is in the directory, in no order; empty if there is no such directory."""
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(path) as entries:
        return [entry.name for entry in entries]
    return []


def open_new(path: Path) -> int:
    """A descriptor of a new file, mode 0600, open for writing; `FileExistsError` if there is one."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data`, however little the system takes at once."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def write_file(path: Path, data: bytes) -> None:
    """Put `data` into the file, mode 0600, in place of what was there. Not atomic."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        file.write(data)


def put_in_place(path: Path, data: bytes, temporary: str = "") -> None:
    """
    Write a file, mode 0600, so that readers see the old or the new content, never a part.

    `temporary` is its name until it is complete; empty: one drawn by chance, which ends in ``.tmp``. Raises `OSError`, leaving
    nothing half-written; `FileNotFoundError` if the directory is missing.
    """
    unfinished = path.with_name(temporary or f"{path.name}.{secrets.token_hex(8)}.tmp")
    descriptor = open_new(unfinished)
    try:
        try:
            write_all(descriptor, data)
        finally:
            os.close(descriptor)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
