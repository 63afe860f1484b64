"""The journal looked at from outside, as `dagu doctor journal` does."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txdagu.journal.durable import Place
from txdagu.journal.inspection import history, inspect
from txdagu.model.findings import Mark
from txdagu.testing.journal import Lives, journal_in


class InspectionTests(SynchronousTestCase):
    """A journal in use, with one run that ended and one that waits."""

    def setUp(self) -> None:
        """Commit both."""
        self.directory = Path(self.mktemp())
        self.place = Place(self.directory, "the doctor", mounts=lambda: "")
        self.journal = journal_in(self.directory, Clock())
        lives = Lives()
        self.done(self.journal.open())
        for turn in (lives.submit("waits"), *lives.whole("r1")):
            self.done(self.journal.commit(turn))
        self.addCleanup(lambda: self.done(self.journal.close()))

    def done(self, awaitable: Any) -> Any:
        """Its result, at once."""
        return self.successResultOf(Deferred.fromCoroutine(awaitable))

    def test_sound(self) -> None:
        """Place, holder, file and tasks are told while the coordinator has it open."""
        told = {finding.check: finding.text for finding in inspect(self.place)}
        self.assertEqual("process 1 on host1 says to hold it", told["holder"])
        self.assertEqual("1 ended, 1 queued", told["tasks"])
        self.assertIn("journal.sqlite is sound", told["file"])
        self.assertEqual("none was ever set aside", told["damaged records"])

    def test_damaged_record(self) -> None:
        """A record that was set aside is told by its number, with its reason."""
        with sqlite3.connect(self.place.file) as connection:
            connection.execute("UPDATE tasks SET task = '{}' WHERE number = 1")
        connection.close()
        self.done(self.journal.load())
        (finding,) = [finding for finding in inspect(self.place) if finding.mark is Mark.WARNING]
        self.assertEqual("record 1 was set aside: the checksum of the task is wrong", finding.text)

    def test_no_journal_and_no_database(self) -> None:
        """Where there is none, or something else under its name, that is told with what to do."""
        nowhere = Place(self.directory / "nowhere", "me", mounts=lambda: "")
        self.assertEqual("there is no journal.sqlite", [*inspect(nowhere)][-1].text)
        self.assertIn("cannot be read", [*history(nowhere, "r1")][-1].text)
        elsewhere = Path(self.mktemp())
        elsewhere.mkdir()
        (elsewhere / "journal.sqlite").write_bytes(b"something else" * 100)
        told = [*inspect(Place(elsewhere, "me", mounts=lambda: ""))]
        self.assertEqual((Mark.FAILURE, "no coordinator holds it"), (told[-1].mark, told[-2].text))
        self.assertIn("coordinator.onDamagedJournal: set-aside", told[-1].advice)

    def test_history(self) -> None:
        """Everything that happened to a run, with time, epoch and reason."""
        lines = [(finding.check, finding.text) for finding in history(self.place, "r1")]
        self.assertEqual(
            [
                ("01-02 03:04:07.000", "queued: accepted; waits for a worker"),
                ("01-02 03:04:08.000", "offered (epoch 1): offered to worker worker-r1"),
                ("01-02 03:04:09.000", "running (epoch 1): worker worker-r1 confirmed"),
                ("01-02 03:04:10.000", "ended (epoch 1): worker worker-r1 reported: succeeded"),
            ],
            lines,
        )
        (finding,) = history(self.place, "unknown")
        self.assertEqual(Mark.FAILURE, finding.mark)
