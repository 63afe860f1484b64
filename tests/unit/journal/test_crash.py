"""T30, T35: whatever instant the process or the machine dies in, nothing that was told is lost, and nothing is there by half."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txdagu.dispatch.journal import Kept
from txdagu.dispatch.records import Entry
from txdagu.testing.journal import Lives, WatchedDisk, journal_in

State = dict[int, tuple[str, int, int]]


def state_after(turns: Sequence[Sequence[Entry]]) -> State:
    """Where each task is after these turns: state, epoch, number of transitions."""
    return {
        entry.number: (entry.transition.state.value, entry.transition.epoch, entry.sequence)
        for turn in turns
        for entry in turn
    }


def state_of(kept: Kept) -> State:
    """The same as a journal has it."""
    return state_after([(*kept.open, *kept.ended)])


class CrashTests(SynchronousTestCase):
    """A copy of the files is what the next process finds when this one is killed in that instant."""

    def setUp(self) -> None:
        """A journal, and some lives to commit."""
        self.directory = Path(self.mktemp())
        self.clock = Clock()
        self.disk = WatchedDisk()
        lives = Lives()
        self.turns = [lives.submit("r1"), *lives.whole("r2")]
        # One turn that moves several tasks.
        self.turns.append([entry for turn in (lives.submit("r3"), *lives.whole("r2")) for entry in turn])

    def done(self, awaitable: Any) -> Any:
        """Its result, at once."""
        return self.successResultOf(Deferred.fromCoroutine(awaitable))

    def found_in(self, directory: Path) -> State:
        """What a process that starts with these files has."""
        journal = journal_in(directory, self.clock)
        self.done(journal.open())
        found = state_of(self.done(journal.load()))
        self.done(journal.close())
        return found

    def copy(self) -> Path:
        """The files as they are now."""
        target = Path(self.mktemp())
        shutil.copytree(self.directory, target)
        return target

    def test_killed_at_every_statement(self) -> None:
        """Killed before or after any statement of any commit, the next process has all that was told, each turn whole or not."""
        told = 0
        instants: list[tuple[Path, int]] = []

        def look(_statement: str) -> None:
            instants.append((self.copy(), told))

        journal = journal_in(self.directory, self.clock, self.disk)
        self.done(journal.open())
        self.done(journal.load())
        self.disk.before = self.disk.after = look
        for turn in self.turns:
            self.done(journal.commit(turn))
            told += 1
        self.disk.before = self.disk.after = lambda _: None
        self.done(journal.close())
        self.assertGreater(len(instants), 6 * len(self.turns))
        for directory, count in instants:
            found = self.found_in(directory)
            allowed = [state_after(self.turns[:count]), state_after(self.turns[: count + 1])]
            self.assertIn(found, allowed, f"killed after {count} answers")

    def test_power_lost_while_writing(self) -> None:
        """A log that was cut anywhere, or whose end was never written, holds a whole number of turns from the first on."""
        journal = journal_in(self.directory, self.clock)
        self.done(journal.open())
        self.done(journal.load())
        log = self.directory / "journal.sqlite-wal"
        sizes = [log.stat().st_size]
        for turn in self.turns:
            self.done(journal.commit(turn))
            sizes.append(log.stat().st_size)
        whole = self.copy()
        self.done(journal.close())
        data = (whole / log.name).read_bytes()
        (whole / "journal.sqlite-shm").unlink()
        states = [state_after(self.turns[:count]) for count in range(len(self.turns) + 1)]
        for count, (start, end) in enumerate(pairwise(sizes)):
            for cut in (start, start + 1, (start + end) // 2, end - 1):
                for rest in (b"", bytes(len(data) - cut)):
                    (whole / log.name).write_bytes(data[:cut] + rest)
                    target = Path(self.mktemp())
                    shutil.copytree(whole, target)
                    self.assertEqual(states[count], self.found_in(target), f"cut at {cut}")

    def test_next_process_goes_on(self) -> None:
        """What the next process decides on top of what it found is accepted by the tables."""
        journal = journal_in(self.directory, self.clock)
        self.done(journal.open())
        self.done(journal.commit(self.turns[1]))
        found = self.copy()
        self.done(journal.close())
        journal = journal_in(found, self.clock)
        self.done(journal.open())
        (kept,) = self.done(journal.load()).open
        (following,) = self.turns[2]
        self.assertEqual((kept.transition.state, kept.transition.epoch), (following.before, following.before_epoch))
        self.done(journal.commit([replace(following, task=kept.task)]))
        self.done(journal.close())
