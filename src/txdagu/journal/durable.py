"""The journal as the coordinator knows it: groups of commits, written one after the other in a thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from txdagu.dispatch.journal import Kept
from txdagu.dispatch.records import Entry, StandingEntry, Transition
from txdagu.journal import dialect
from txdagu.journal.database import RETENTION, JournalDatabase, Retention, SetAside
from txdagu.journal.place import DirectoryHold, network_file_system, read_mounts
from txdagu.model.errors import DaguError, UnavailableError
from txdagu.model.run import RunRef
from txdagu.system.files import make_directories
from txdagu.system.threads import InThread

T = TypeVar("T")

FILE_NAME = "journal.sqlite"
PRUNE_EVERY = 500
PRUNED_AT_ONCE = 1_000


class WriterThread(Protocol):
    """Where work that blocks is done, one piece after the other."""

    def start(self) -> InThread:
        """Begin; returns the way in."""

    def stop(self) -> None:
        """End when everything is done. Blocks until then."""


@dataclass(frozen=True, slots=True)
class Place:
    """
    Where a journal is kept, and how.

    `whoami` is told to others that want the same directory. With `set_damaged_aside` a file that is no sound database is
    renamed, and a new one begun; otherwise that is refused. `connect` and `mounts` are the ways to the file and to the list
    of mounts.
    """

    directory: Path
    whoami: str
    set_damaged_aside: bool = False
    retention: Retention = RETENTION
    connect: dialect.Connect = dialect.connect
    mounts: Callable[[], str] = read_mounts

    @property
    def file(self) -> Path:
        """The database."""
        return self.directory / FILE_NAME


@dataclass(slots=True)
class _Commit:
    entries: Sequence[Entry]
    standings: Sequence[StandingEntry] = ()
    done: Deferred[None] = field(default_factory=Deferred)


class DurableJournal:
    """
    Keeps entries in a database: what was committed survives the death of the process and of the machine.

    While one group is being written all further commits gather into the next, so that one wait for the disk serves many.
    `now` is the core's clock and `unix_now` the wall clock, both in seconds. Transitions are kept in Unix time and come back
    in the core's.
    """

    log = Logger()

    def __init__(
        self, place: Place, thread: WriterThread, now: Callable[[], float], unix_now: Callable[[], float]
    ) -> None:
        self._place = place
        self._thread = thread
        self._now = now
        self._unix_now = unix_now
        self._hold = DirectoryHold(place.directory, place.whoami)
        self._in_thread: InThread | None = None
        self._database: JournalDatabase | None = None
        self._shared = False
        self._gathered: list[_Commit] = []
        self._writing = False
        self._idle: list[Deferred[None]] = []
        self._failure: Exception | None = None
        self._ended = 0

    async def open(self) -> None:
        """
        Take hold of the directory and open the database in it, both made if they are not there.

        Raises `UnavailableError` if another coordinator has it, if it cannot be used, or if the file is damaged.
        """
        self._in_thread = self._thread.start()
        try:
            await self._do(self._open)
        except BaseException:
            self._in_thread = None
            self._thread.stop()
            self._close()
            raise

    async def commit(self, entries: Sequence[Entry], standings: Sequence[StandingEntry] = ()) -> None:
        """Keep these entries, all or none. Raises `UnavailableError` with the reason if that cannot be."""
        commit = _Commit(entries, standings)
        self._gathered.append(commit)
        self._write_next()
        await commit.done

    async def load(self) -> Kept:
        """What is kept. After a failed commit the database is opened anew first."""
        kept, damaged = await self._do(
            partial(self._load, self._unix_now(), self._offset, anew=self._failure is not None)
        )
        self._failure = None
        for one in damaged:
            self.log.error(
                "record {number} of the journal is damaged and was set aside: {reason}; `dagu doctor journal` lists such records",
                number=one.number,
                reason=one.reason,
            )
        return kept

    async def timeline(self, root: RunRef, run_id: str) -> Sequence[Transition]:
        """Every transition of every task of that run that is still kept, oldest first."""
        return await self._do(partial(self._of(JournalDatabase.timeline), root, run_id, self._offset))

    async def close(self) -> None:
        """Write what was committed, and let go of database and directory."""
        if self._in_thread is None:
            return
        if self._writing:
            idle: Deferred[None] = Deferred()
            self._idle.append(idle)
            await idle
        await self._do(self._close)
        self._in_thread = None
        self._thread.stop()

    @property
    def _offset(self) -> float:
        return self._unix_now() - self._now()

    # -- groups --------------------------------------------------------------------------------------------------------

    def _write_next(self) -> None:
        if self._writing or not self._gathered:
            return
        group, self._gathered = self._gathered, []
        if self._failure is not None:
            self._finish(group, self._failure)
            return
        entries = [entry for commit in group for entry in commit.entries]
        standings = [standing for commit in group for standing in commit.standings]
        self._writing = True
        self._run(partial(self._write, entries, standings, self._unix_now(), self._offset)).addBoth(
            self._written, group
        )

    def _written(self, result: object, group: list[_Commit]) -> None:
        self._writing = False
        if isinstance(result, Failure):
            error = result.value
            self._failure = error if isinstance(error, Exception) else UnavailableError(str(error))
        if self._failure is None:
            self._write_next()  # before anything else: the disk shall not wait for the reactor
            self._finish(group, None)
        else:
            self._finish(group, self._failure)
            self._write_next()
        if not self._writing:
            idle, self._idle = self._idle, []
            for waiting in idle:
                waiting.callback(None)

    @staticmethod
    def _finish(group: list[_Commit], failure: Exception | None) -> None:
        for commit in group:
            if failure is None:
                commit.done.callback(None)
            else:
                commit.done.errback(failure)

    # -- the way into the thread ---------------------------------------------------------------------------------------

    def _run(self, work: Callable[[], T]) -> Deferred[T]:
        assert self._in_thread is not None, "the journal is not open"
        return self._in_thread(partial(_explained, work, self._place.file))

    async def _do(self, work: Callable[[], T]) -> T:
        return await self._run(work)

    def _of(self, method: Callable[..., T]) -> Callable[..., T]:
        """The method of the database that will be open when its turn comes."""

        def call(*arguments: object) -> T:
            return method(self._database, *arguments)

        return call

    # -- in the thread -------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        directory = self._place.directory
        make_directories(directory)
        kind = network_file_system(str(directory.resolve()), self._place.mounts())
        if kind:
            self._shared = True
            self.log.warn(
                "the journal is on a network file system ({kind}: {directory}): each commit waits for it, and the loss of its "
                "server stops this coordinator; choose a directory on a local disk with coordinator.stateDir",
                kind=kind,
                directory=str(directory),
            )
        self._hold.take()
        try:
            self._database = self._sound_database()
        except BaseException:
            self._hold.release()
            raise

    def _sound_database(self) -> JournalDatabase:
        try:
            return self._opened(check=True)
        except _DamagedFileError as error:
            if not self._place.set_damaged_aside:
                raise UnavailableError(
                    f"the journal {self._place.file} is damaged: {error}; put back a sound copy, or have it set aside and a "
                    "new one begun with coordinator.onDamagedJournal: set-aside (DAGU_COORDINATOR_ON_DAMAGED_JOURNAL): then "
                    "runs go on with their workers, and those that wait are handed in again by whoever waits for them"
                ) from None
            self._put_away(str(error))
            return self._opened(check=True)

    def _opened(self, *, check: bool) -> JournalDatabase:
        connection = None
        try:
            connection = dialect.open_file(self._place.file, self._place.connect, shared=self._shared)
            if check and (wrong := dialect.faults(connection)):
                raise _DamagedFileError(wrong)
            database = JournalDatabase(connection, self._place.retention)
            database.migrate()
        except sqlite3.Error as error:
            if connection is not None:
                connection.close()
            if dialect.is_damage(error):
                raise _DamagedFileError(str(error)) from None
            raise
        except BaseException:
            if connection is not None:
                connection.close()
            raise
        return database

    def _put_away(self, why: str) -> None:
        mark = f".damaged-{int(self._unix_now())}"
        for file in dialect.files_of(self._place.file):
            file.rename(file.with_name(file.name + mark))
        self.log.error(
            "the journal {file} was damaged ({why}); it is kept under the same name with {mark}, and a new one is begun",
            file=str(self._place.file),
            why=why,
            mark=mark,
        )

    def _load(self, unix_now: float, offset: float, *, anew: bool) -> tuple[Kept, list[SetAside]]:
        if anew or self._database is None:
            if self._database is not None:
                self._database.close()
                self._database = None
            self._database = self._opened(check=False)
        return self._database.load(unix_now, offset)

    def _write(self, entries: list[Entry], standings: list[StandingEntry], unix_now: float, offset: float) -> None:
        assert self._database is not None, "a journal that failed is loaded before it is written again"
        if not entries and not standings:
            return
        self._ended += self._database.apply(entries, offset, standings)
        if self._ended >= PRUNE_EVERY:
            self._ended = 0
            self._database.prune(unix_now, PRUNED_AT_ONCE)

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None
        self._hold.release()


class _DamagedFileError(Exception):
    """The file is no sound database."""


def _explained(work: Callable[[], T], file: Path) -> T:
    """What `work` returns; its errors become sentences for people."""
    try:
        return work()
    except DaguError:
        raise
    except _DamagedFileError as error:
        raise UnavailableError(f"the journal {file} is damaged: {error}") from None
    except sqlite3.Error as error:
        raise UnavailableError(f"{file}: {error}") from None
    except OSError as error:
        raise UnavailableError(f"{error.filename or file}: {error.strerror or error}") from None
