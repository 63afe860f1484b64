"""The file system's side of the registry. Everything here blocks and belongs into a thread."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from txdagu.registry.entries import SUFFIX, ServiceEntry
from txdagu.system.files import make_directories, put_in_place

# An entry has a few hundred bytes. Whatever is larger is none, and is not read into memory to find out.
MAX_SIZE = 64 * 1024

Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file as last read. `stamp` is mtime in nanoseconds, size and inode: while it stays, the content is not read again."""

    name: str
    stamp: Stamp
    data: bytes

    @property
    def mtime_ns(self) -> int:
        """Time of the last write or touch, as the file system tells it."""
        return self.stamp[0]


def stamp_of(found: os.stat_result) -> Stamp:
    """What `FoundFile.stamp` holds."""
    return (found.st_mtime_ns, found.st_size, found.st_ino)


def read_directory(directory: str, known: Mapping[str, FoundFile]) -> dict[str, FoundFile]:
    """
    All entry files of a directory by name; those whose stamp is as `known` are not read again.

    Files that vanish meanwhile are left out. Raises `OSError` if the directory itself cannot be read, `FileNotFoundError`
    if it does not exist. A file that cannot be read is told with empty content.
    """
    found: dict[str, FoundFile] = {}
    with os.scandir(directory) as listing:
        for item in listing:
            if not item.name.endswith(SUFFIX) or item.name.startswith("."):
                continue
            try:
                if not item.is_file():
                    continue
                stamp = stamp_of(item.stat())
                before = known.get(item.name)
                if before is not None and before.stamp == stamp:
                    found[item.name] = before
                else:
                    found[item.name] = FoundFile(item.name, stamp, _read(item.path))
            except FileNotFoundError:
                continue
    return found


def _read(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            return file.read(MAX_SIZE)
    except PermissionError:
        return b""


def write_entry(path: Path, data: bytes) -> None:
    """Put an entry's file in place whole, and make the directory if it is missing. Raises `OSError`."""
    make_directories(path.parent)
    put_in_place(path, data)


def touch(path: str) -> bool:
    """Move a file's mtime to now; False if there is no such file."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def remove_if_unchanged(directory: str, file: FoundFile) -> bool:
    """Remove a file unless somebody wrote or touched it since it was read; whether it was removed."""
    path = Path(directory, file.name)
    try:
        if stamp_of(path.stat()) != file.stamp:
            return False
        path.unlink()
    except FileNotFoundError:
        return False
    return True


def machine_name() -> str:
    """
    Names the running kernel and the process namespace in it: where two processes agree on this, a pid means the same to both.

    Host names will not do: containers share them without sharing process numbers. Empty where the system does not tell.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except (OSError, ValueError):
        return ""


def process_exists(pid: int) -> bool:
    """Whether a process of that number lives on this machine."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def process_gone(entry: ServiceEntry, machine: str, host_name: str) -> bool:
    """
    Whether the entry's process is known not to exist; `machine` is `machine_name`, `host_name` that of this host.

    Entries of ours say in which process namespace their number counts. Those that do not are of this host if their id or
    address names it; that may err between containers that share a host name, which the next beat then puts right.
    """
    if entry.machine:
        here = entry.machine == machine
    else:
        here = bool(host_name) and host_name in (entry.host, entry.id.rpartition("@")[0])
    return here and entry.pid > 0 and not process_exists(entry.pid)
