"""Journals under test: what there is to commit, and disks that are full, that fail, or that are looked at in any instant."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock

from txdagu.dispatch.core import DispatchCore
from txdagu.dispatch.records import Entry
from txdagu.dispatch.turn import Turn
from txdagu.journal.durable import DurableJournal, Place
from txdagu.system.threads import NoThread
from txdagu.testing.dispatch import DONE, CountedNames, make_poll, make_task, offers

UNIX_START = 1_767_323_045.0
"""The wall clock's time when a test's clock shows 0."""

Observer = Callable[[str], None]


class WatchedDisk:
    """
    A way to a database on which every statement can be watched and made to fail.

    `before` and `after` are called with each statement's text; what they raise is raised in the statement's place, or after it
    was carried out. `pages` is how many pages of 4 KiB the disk has for it.
    """

    def __init__(self) -> None:
        self.before: Observer = _ignore
        self.after: Observer = _ignore
        self.pages = 0
        self.statements: list[str] = []

    def connect(self, path: str) -> sqlite3.Connection:
        """A connection that is watched."""
        disk = self

        class Watched(sqlite3.Connection):
            """Tells the disk of its statements."""

            def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
                """Carry a statement out."""
                disk.statements.append(sql)
                disk.before(sql)
                super().execute(f"PRAGMA max_page_count = {disk.pages or 2**30}")
                cursor = super().execute(sql, parameters)
                disk.after(sql)
                return cursor

        return sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=Watched)


def _ignore(_statement: str) -> None:
    """Neither watch nor fail."""


def failing(word: str, count: int = 1, message: str = "disk I/O error") -> Observer:
    """Makes the next `count` statements fail that begin with this word."""
    left = [count]

    def fail(statement: str) -> None:
        if statement.startswith(word) and left[0]:
            left[0] -= 1
            raise sqlite3.OperationalError(message)

    return fail


def journal_in(
    directory: Path, clock: Clock, disk: WatchedDisk | None = None, unix_start: float = UNIX_START, **place: Any
) -> DurableJournal:
    """A journal on a clock, which does all its work at once; `place` are further fields of `Place`."""
    if disk is not None:
        place["connect"] = disk.connect
    where = Place(directory, "process 1 on host1", **place)
    return DurableJournal(where, NoThread(), clock.seconds, lambda: unix_start + clock.seconds())


class Lives:
    """The lives of tasks on a real core, told turn by turn: each turn's entries go into one commit."""

    def __init__(self) -> None:
        self.core = DispatchCore(CountedNames())
        self.now = 0.0

    def submit(self, run_id: str) -> Sequence[Entry]:
        """A task is accepted that no worker ever takes."""
        return self._turn(self.core.submit(make_task(run_id, {"for": "nobody"}), self._later()))

    def whole(self, run_id: str) -> list[Sequence[Entry]]:
        """A task is accepted, offered to a worker of its own that nobody else polls for, confirmed, and ends."""
        task = make_task(run_id, {"for": run_id})
        turns = [self._turn(self.core.submit(task, self._later()))]
        polled = self.core.poll(make_poll(f"worker-{run_id}", {"for": run_id}), self._later())
        (offer,) = offers(polled)
        turns.append(self._turn(polled))
        turns.append(self._turn(self.core.ack(offer.poll.worker_id, offer.token, self._later())))
        ended = self.core.report_end(offer.poll.worker_id, task.root, run_id, offer.epoch, DONE, self._later())
        return [*turns, self._turn(ended)]

    def _later(self) -> float:
        self.now += 1
        return self.now

    def _turn(self, turn: Turn[Any]) -> Sequence[Entry]:
        return turn.entries
