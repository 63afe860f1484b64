"""The living members of one kind, kept up to date."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from txdagu.registry.entries import Kind, ServiceEntry
from txdagu.registry.files import FoundFile, machine_name, process_gone, read_directory
from txdagu.registry.membership import STALE_AFTER, Membership, StaleFile
from txdagu.registry.watching import SWEEP_INTERVAL, DirectoryWatch
from txdagu.system.threads import threads_of
from txdagu.system.waiting import end_of


class MembershipView(Service):
    """
    Watches the registry directory of one `kind` and knows who in it is alive.

    `directory` is the registry's root. `now` is a monotonic clock in seconds. While the service runs the view follows the
    directory by itself; `refresh` reads it once, running or not. A directory that cannot be read is told once and in
    `problem`, and leaves the members as they were last seen; one that does not exist yet has no members.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        directory: str,
        kind: Kind,
        now: Callable[[], float],
        host_name: str = "",
        interval: float = SWEEP_INTERVAL,
        stale_after: float = STALE_AFTER,
    ) -> None:
        self.directory = str(Path(directory, kind.value))
        self.kind = kind
        self.problem = ""
        self._in_thread = threads_of(reactor)
        self._now = now
        self._host_name = host_name
        self._core = Membership(stale_after)
        self._machine: str | None = None
        self._known: dict[str, FoundFile] = {}
        self._members: tuple[ServiceEntry, ...] = ()
        self._listeners: list[Callable[[], None]] = []
        self._watch = DirectoryWatch(reactor, self.directory, self._follow, interval)
        self._reading: Deferred[None] | None = None
        self._again = False
        self._seen = False

    @property
    def seen(self) -> bool:
        """Whether the directory was looked at, so that `members` means something."""
        return self._seen

    def members(self) -> tuple[ServiceEntry, ...]:
        """The living, sorted by id."""
        return self._members

    def stale(self) -> tuple[StaleFile, ...]:
        """The files of those believed dead."""
        return self._core.stale() if self._seen else ()

    def subscribe(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Call `changed` after every reading of the directory in which the members became others; returns how to end that."""
        self._listeners.append(changed)

        def end() -> None:
            if changed in self._listeners:
                self._listeners.remove(changed)

        return end

    def startService(self) -> None:
        """Follow the directory."""
        Service.startService(self)
        self._watch.startService()

    def stopService(self) -> Deferred[None] | None:
        """Stop following; waits for a reading under way."""
        Service.stopService(self)
        self._watch.stopService()
        return self._reading

    def _follow(self) -> None:
        Deferred.fromCoroutine(self.refresh()).addErrback(
            lambda failure: self.log.failure("reading {path} failed", failure, path=self.directory)
        )

    async def refresh(self) -> None:
        """Read the directory now. Readings never overlap: one asked for during another begins after it."""
        if self._reading is not None:
            self._again = True
            await end_of(self._reading)
            return
        done: Deferred[None] = Deferred()
        self._reading = done
        try:
            await self._read()
            while self._again:
                self._again = False
                await self._read()
        finally:
            self._reading = None
            self._again = False
            done.callback(None)

    async def _read(self) -> None:
        try:
            found = await self._in_thread(self._look)
        except OSError as error:
            self._trouble(error)
            return
        if self.problem:
            self.log.info("{path} can be read again", path=self.directory)
            self.problem = ""
        for warning in self._core.observe(found, self._now(), self._process_gone):
            self.log.warn("{path}: {warning}", path=self.directory, warning=warning)
        self._known = found
        self._seen = True
        self._told(self._core.members())

    def _trouble(self, error: OSError) -> None:
        self._seen = True
        problem = f"the registry directory {self.directory} cannot be read: {error.strerror or error}"
        if problem != self.problem:
            self.problem = problem
            self.log.warn("{problem}; known members are kept, and it is tried again", problem=problem)

    def _told(self, members: tuple[ServiceEntry, ...]) -> None:
        # A beat alone is no change that anybody waits for: only who is there, where, and in which state.
        before = [(entry.id, entry.address, entry.pid, entry.status) for entry in self._members]
        after = [(entry.id, entry.address, entry.pid, entry.status) for entry in members]
        self._members = members
        if before == after:
            return
        for listener in list(self._listeners):
            try:
                listener()
            except Exception:  # noqa: BLE001 - a listener's fault must not end the view
                self.log.failure("a listener for changes in {path} failed", path=self.directory)

    def _look(self) -> dict[str, FoundFile]:
        """In a thread: the files of the directory."""
        if self._machine is None:
            self._machine = machine_name()
        try:
            return read_directory(self.directory, self._known)
        except FileNotFoundError:
            if self._known:
                raise  # it was there: its members are kept as they are with any other trouble
            return {}

    def _process_gone(self, entry: ServiceEntry) -> bool:
        return process_gone(entry, self._machine or "", self._host_name)
