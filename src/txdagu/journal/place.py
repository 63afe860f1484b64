"""The directory of the journal: whether it is on this host, and who holds it. Blocking."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from txdagu.model.errors import UnavailableError
from txdagu.system.files import write_all

LOCK_NAME = "lock"
MOUNTS = Path("/proc/self/mountinfo")

_NETWORK = ("nfs", "nfs4", "cifs", "smb2", "smb3", "smbfs", "afs", "9p")
_CLUSTER = ("ceph", "glusterfs", "lustre", "beegfs", "gpfs", "gfs2", "ocfs2")
_FUSE = ("fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.ceph-fuse", "fuse.s3fs", "fuse.rclone", "fuse.juicefs")
NETWORK_FILE_SYSTEMS = frozenset((*_NETWORK, *_CLUSTER, *_FUSE))


def network_file_system(directory: str, mounts: str) -> str:
    """
    The kind of network file system on which an absolute directory lies; empty if it is on this host.

    `mounts` is the text of ``/proc/self/mountinfo`` (proc_pid_mountinfo(5)); of several mounts on one point the last counts.
    """
    found, kind = "", ""
    for line in mounts.splitlines():
        mounted, dash, source = line.partition(" - ")
        fields = mounted.split(" ")
        if not dash or len(fields) < 5:
            continue
        point = _unescaped(fields[4])
        inside = directory == point or directory.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(found):
            found, kind = point, source.split(" ")[0]
    return kind if kind in NETWORK_FILE_SYSTEMS else ""


def _unescaped(point: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        point = point.replace(code, character)
    return point


def read_mounts() -> str:
    """What is mounted where; empty on systems that do not tell."""
    try:
        return MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""


def holder(directory: Path) -> str:
    """Who says to hold the directory; empty if nobody does. A process that was killed is named until another one comes."""
    try:
        return (directory / LOCK_NAME).read_text(encoding="utf-8", errors="replace").strip()
    except FileNotFoundError:
        return ""


class DirectoryHold:
    """
    This process' exclusive hold on a directory, by flock(2) on a file in it; it ends with the process, however that ends.

    `whoami` is what others are told: who holds it.
    """

    def __init__(self, directory: Path, whoami: str) -> None:
        self._path = directory / LOCK_NAME
        self._whoami = whoami
        self._descriptor = -1

    def take(self) -> None:
        """Take hold. Raises `UnavailableError`, with the holder's name, if another process has it; `OSError` if it cannot be."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            write_all(descriptor, f"{self._whoami}\n".encode())
        except BlockingIOError:
            holder = os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip() or "a process without a name"
            os.close(descriptor)
            raise UnavailableError(
                f"another coordinator ({holder}) keeps its journal in {self._path.parent}; end that one, or give this one a "
                "directory of its own with coordinator.stateDir"
            ) from None
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def release(self) -> None:
        """Let go. Does nothing if it is not held."""
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = -1
