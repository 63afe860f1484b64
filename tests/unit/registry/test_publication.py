"""Our own file."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from twisted.internet.testing import MemoryReactorClock
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from txdagu.registry.entries import Activity, ServiceEntry, entry_from_json, entry_to_json
from txdagu.registry.publication import Publication, WorkerState

ENTRY = ServiceEntry("host1@50055", "host1", 50055, 10)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class PublicationTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A directory that does not exist yet."""
        self.reactor = MemoryReactorClock()
        self.directory = Path(self.mktemp(), "coordinator")
        self.file = self.directory / "a.json"
        self.tasks = 0

    def _publication(self, worker: bool = False) -> Publication:
        state = (lambda: WorkerState("healthy", self.tasks)) if worker else None
        return Publication(self.reactor, str(self.directory), "a.json", ENTRY, lambda: NOON, state)

    def _read(self) -> ServiceEntry:
        return entry_from_json(self.file.read_bytes())

    def test_life(self) -> None:
        """Written at start with private mode, beaten by mtime alone, re-created when gone, removed at stop."""
        publication = self._publication()
        publication.startService()
        self.assertEqual(self._read().started_at, "2026-01-01T12:00:00+00:00")
        self.assertEqual(self.file.stat().st_mode & 0o777, 0o600)
        before = self.file.stat()
        os.utime(self.file, (1, 1))
        self.reactor.advance(10)
        after = self.file.stat()
        self.assertEqual(after.st_ino, before.st_ino)
        self.assertGreater(after.st_mtime, 1)
        self.file.unlink()
        self.reactor.advance(10)
        self.assertEqual(self._read().id, "host1@50055")
        self.successResultOf(publication.stopService())
        self.assertEqual(list(self.directory.iterdir()), [])
        self.reactor.advance(60)
        self.assertEqual(list(self.directory.iterdir()), [])

    def test_worker_beats(self) -> None:
        """A worker's sequence grows with every beat, and its tasks are counted anew."""
        self._publication(worker=True).startService()
        first = self._read().beat
        self.tasks = 4
        self.reactor.advance(10)
        second = self._read().beat
        assert first is not None and second is not None
        self.assertEqual((first.sequence, first.active_tasks), (1, 0))
        self.assertEqual((second.sequence, second.active_tasks), (2, 4))

    def test_trouble_heals(self) -> None:
        """A directory that cannot be made is a reason told once; when it can, the file appears."""
        self.directory.parent.write_text("in the way")
        publication = self._publication()
        publication.startService()
        self.assertIn("cannot be written", publication.problem)
        self.reactor.advance(10)
        self.directory.parent.unlink()
        self.reactor.advance(10)
        self.assertEqual(publication.problem, "")
        self.assertTrue(self.file.exists())

    def test_conflict(self) -> None:
        """Somebody else who writes the same file is named in a warning, and his file is not removed by us."""
        events: list[str] = []

        @implementer(ILogObserver)
        def observe(event: LogEvent) -> None:
            events.append(formatEvent(event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        publication = self._publication()
        publication.startService()
        other = entry_to_json(ServiceEntry("host1@50055", "elsewhere", 50055, 11))
        self.file.write_bytes(other)
        self.reactor.advance(10)
        self.assertTrue(any("also written by process 11" in event for event in events), events)
        self.file.write_bytes(other)
        self.successResultOf(publication.stopService())
        self.assertEqual(self.file.read_bytes(), other)

    def test_update(self) -> None:
        """A scheduler that got the lock says so at once."""
        publication = self._publication()
        publication.startService()
        self.successResultOf(publication.update(Activity.INACTIVE))
        self.assertEqual(self._read().status, 2)
