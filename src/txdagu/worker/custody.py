"""One worker per id and host, and proof of what became of the ones before: a lock that lasts as long as any process of theirs."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import threading
from pathlib import Path
from urllib.parse import quote

from txdagu.model.errors import InvalidInputError, Problem, UnavailableError

DIRECTORY = "worker-locks"
REAPED = "reaped"
"""A line of its own at the end: the reaper of the last worker has seen all of its processes gone."""
LIVES_KEPT = 16
# A worker that was just killed leaves its reaper some work; so long we wait for it at the start.
PATIENCE, PAUSE = 10.0, 0.05


class Custody:
    """
    The lock file of a worker id on this host, in the data directory. Blocking.

    It is held through a descriptor that the reaper inherits, so it is free only when worker and reaper are gone. Its lines name
    the lives of the worker, the latest last: incarnation and process.
    """

    def __init__(self, data_dir: str, worker_id: str, host: str = "") -> None:
        host = host or socket.gethostname() or "unknown"
        self.path = Path(data_dir) / DIRECTORY / f"{quote(worker_id, safe='@.-_')}@{quote(host, safe='.-_')}.lock"
        self.descriptor = -1
        self.gone: tuple[str, ...] = ()
        self.unreaped = ""
        self._worker_id = worker_id

    def take(self, patience: float = PATIENCE) -> None:
        """
        Take hold; `gone` are the incarnations that had it before, `unreaped` is the last one if nobody saw its processes end.

        Waits some seconds while only a reaper holds it. `InvalidInputError` if another worker does, with its process;
        `UnavailableError` if there can be no such file.
        """
        try:
            self._take(patience)
        except OSError as error:
            raise UnavailableError(
                f"worker id {self._worker_id!r} cannot be locked on this host: {self.path}: {error.strerror}; locks (flock) must "
                "work in the data directory"
            ) from error

    def _take(self, patience: float) -> None:
        self.path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        attempts = int(patience / PAUSE)
        while not _locked(descriptor):
            pid = self._holder()
            attempts -= 1
            if attempts <= 0 or (pid and _lives(pid)):
                os.close(descriptor)
                raise InvalidInputError([Problem(self._refusal(pid), "worker.id", "")])
            threading.Event().wait(PAUSE)
        lives = self._lives()
        self.gone = tuple(incarnation for incarnation, _ in lives)
        self.unreaped = "" if self._lines()[-1:] == [REAPED] or not lives else lives[-1][0]
        self.descriptor = descriptor

    def begin(self, incarnation: str) -> None:
        """Write down that this process has it now, under that incarnation."""
        lives = [*self._lives(), (incarnation, os.getpid())][-LIVES_KEPT:]
        text = "".join(f"{name} {pid}\n" for name, pid in lives)
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, text.encode(), 0)

    def release(self, forget: bool) -> None:
        """Let go; the reaper still holds it until it has ended. If `forget`, nobody will ever have that id again."""
        if self.descriptor >= 0:
            if forget:
                self.path.unlink(missing_ok=True)
            os.close(self.descriptor)
            self.descriptor = -1

    def _refusal(self, pid: int) -> str:
        if pid and _lives(pid):
            return (
                f"worker id {self._worker_id!r} is in use on this host by process {pid}, which holds {self.path}; stop it, or "
                "give this worker another --worker.id"
            )
        return (
            f"the reaper of an earlier worker {self._worker_id!r} still waits for the end of its processes, and holds "
            f"{self.path}; end them (kill -9 cannot end what hangs in the kernel), or give this worker another --worker.id"
        )

    def _holder(self) -> int:
        lives = self._lives()
        return lives[-1][1] if lives else 0

    def _lives(self) -> list[tuple[str, int]]:
        lives = []
        for line in self._lines():
            incarnation, _, pid = line.partition(" ")
            if pid.isdigit():
                lives.append((incarnation, int(pid)))
        return lives

    def _lines(self) -> list[str]:
        return self.path.read_text(encoding="utf-8", errors="replace").splitlines()


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
