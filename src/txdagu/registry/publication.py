"""Our own entry in the registry: written, kept fresh, and taken away again."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger

from txdagu.config.settings import Settings
from txdagu.registry.entries import (
    Activity,
    Beat,
    Kind,
    ServiceEntry,
    entry_from_json,
    entry_to_json,
    service_file_name,
    worker_file_name,
)
from txdagu.registry.files import MAX_SIZE, machine_name, touch, write_entry
from txdagu.system.clock import local_now
from txdagu.system.repeating import Repeating
from txdagu.system.threads import threads_of

BEAT_INTERVAL = 10.0


@dataclass(frozen=True, slots=True)
class WorkerState:
    """What a worker says of itself at a beat."""

    health: str = "healthy"
    active_tasks: int = 0


class Publication(Service):
    """
    Keeps one entry in the registry while it runs.

    Written at start, beaten every 10 s (coordinators and schedulers move the mtime, as Dagu 1.30.2 does; with `state`, a worker
    also writes a higher sequence), written anew when it is gone, removed at stop. Trouble with the directory never ends
    anything: it is logged once, told in `problem` for health checks, and tried again at every beat.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        directory: str,
        file_name: str,
        entry: ServiceEntry,
        now: Callable[[], datetime] = local_now,
        state: Callable[[], WorkerState] | None = None,
        interval: float = BEAT_INTERVAL,
    ) -> None:
        self.path = str(Path(directory, file_name))
        self.entry = entry
        self.problem = ""
        self._in_thread = threads_of(reactor)
        self._now = now
        self._state = state
        self._sequence = 0
        self._conflict = ""
        self._ours: bytes | None = None
        # One access to the file at a time: a beat that is still in its thread must not bring back a removed file.
        self._lock = DeferredLock()
        self._loop = Repeating(reactor, interval, self._beat, f"beating in {self.path}")

    def startService(self) -> None:
        """Write the entry now, and beat from then on."""
        Service.startService(self)
        self.entry = replace(self.entry, started_at=self._now().isoformat())
        self._loop.start()

    def stopService(self) -> Deferred[None]:
        """Remove the file; fires when it is gone, or could not be removed, which is logged."""
        Service.stopService(self)
        self._loop.stop()
        return self._lock.run(lambda: Deferred.fromCoroutine(self._remove()))

    def update(self, status: Activity) -> Deferred[None]:
        """Say another `status` from now on; fires when the file says so or the trouble was logged."""
        self.entry = replace(self.entry, status=status)
        self._ours = None
        return self._beat()

    def _beat(self) -> Deferred[None]:
        return self._lock.run(lambda: Deferred.fromCoroutine(self._keep()))

    async def _keep(self) -> None:
        if not self.running:
            return
        entry = self.entry
        if self._state is not None:
            state = self._state()
            self._sequence += 1
            beat = Beat(self._now().isoformat(), self._sequence, state.health, state.active_tasks)
            entry = replace(entry, beat=beat)
        try:
            stranger = await self._in_thread(partial(self._write, entry))
        except OSError as error:
            problem = f"the registry file {self.path} cannot be written: {error.strerror or error}"
            if problem != self.problem:
                self.problem = problem
                self.log.warn("{problem}; others may not find this process, and it is tried again", problem=problem)
            return
        if self.problem:
            self.log.info("{path} can be written again", path=self.path)
            self.problem = ""
        if stranger and stranger != self._conflict:
            self.log.warn(
                "{path} is also written by {stranger}; give each process its own id",
                path=self.path,
                stranger=stranger,
            )
        self._conflict = stranger

    def _write(self, entry: ServiceEntry) -> str:
        """In a thread: beat. Returns who else wrote the file since our last beat, in words, or nothing."""
        data = entry_to_json(entry)
        stranger = self._stranger()
        unchanged = self._ours == data and not stranger
        if not (unchanged and touch(self.path)):
            write_entry(Path(self.path), data)
        self._ours = data
        return stranger

    def _stranger(self) -> str:
        if self._ours is None:
            return ""  # at the first beat the file may be what a former life left
        try:
            with Path(self.path).open("rb") as file:
                found = file.read(MAX_SIZE)
        except FileNotFoundError:
            return ""
        if found == self._ours:
            return ""
        try:
            other = entry_from_json(found)
        except ValueError:
            return ""
        if (other.id, other.pid, other.machine) == (self.entry.id, self.entry.pid, self.entry.machine):
            return ""
        return f"process {other.pid} of {other.id} at {other.address}"

    async def _remove(self) -> None:
        try:
            await self._in_thread(self._take_away)
        except OSError as error:
            self.log.warn(
                "{path} cannot be removed: {error}; others take it for stale in 30 s",
                path=self.path,
                error=error.strerror or error,
            )

    def _take_away(self) -> None:
        """In a thread: remove the file, unless somebody else has put his own there."""
        if not self._stranger():
            Path(self.path).unlink(missing_ok=True)


def coordinator_publication(
    settings: Settings, reactor: Any, host: str, port: int, now: Callable[[], datetime] = local_now
) -> Publication:
    """
    The entry of a coordinator that others dial at `host` and `port`; start it when the port accepts connections.

    The id is ``<host name>@<port>``, as Dagu 1.30.2 makes it.
    """
    entry = ServiceEntry(f"{socket.gethostname()}@{port}", host, port, os.getpid())
    return Publication(reactor, _directory(settings, Kind.COORDINATOR), service_file_name(entry.id), entry, now)


def scheduler_publication(
    settings: Settings, reactor: Any, port: int, now: Callable[[], datetime] = local_now
) -> Publication:
    """The entry of a scheduler: inactive until `Publication.update` says that it holds the lock (Dagu 1.30.2)."""
    host = socket.gethostname()
    service_id = f"{host}-{os.getpid()}-{int(now().timestamp())}"
    entry = ServiceEntry(service_id, host, port, os.getpid(), Activity.INACTIVE)
    return Publication(reactor, _directory(settings, Kind.SCHEDULER), service_file_name(service_id), entry, now)


def server_publication(
    settings: Settings, reactor: Any, host: str, port: int, now: Callable[[], datetime] = local_now
) -> Publication:
    """
    The entry of a web server whose pages are at `host` and `port`; start it when the port accepts connections.

    Dagu 1.30.2 writes none and does not look into this directory.
    """
    entry = ServiceEntry(f"{socket.gethostname()}@{port}", host, port, os.getpid(), machine=machine_name())
    return Publication(reactor, _directory(settings, Kind.SERVER), service_file_name(entry.id), entry, now)


def worker_publication(
    settings: Settings,
    reactor: Any,
    worker_id: str,
    state: Callable[[], WorkerState],
    now: Callable[[], datetime] = local_now,
) -> Publication:
    """The entry of a worker; `state` is asked at every beat. A worker listens on nothing, so its port is 0."""
    host = socket.gethostname()
    pid = os.getpid()
    entry = ServiceEntry(worker_id, host, 0, pid, machine=machine_name())
    name = worker_file_name(worker_id, host, pid)
    return Publication(reactor, _directory(settings, Kind.WORKER), name, entry, now, state)


def _directory(settings: Settings, kind: Kind) -> str:
    return str(Path(settings.paths.service_registry_dir, kind.value))
