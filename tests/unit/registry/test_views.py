"""Views of directories, and the cleaner."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from txdagu.registry.cleaning import StaleFileCleaner
from txdagu.registry.entries import Beat, Kind, ServiceEntry, entry_to_json
from txdagu.registry.files import machine_name, read_directory, remove_if_unchanged, write_entry
from txdagu.registry.views import MembershipView


def dead_pid() -> int:
    """The number of a process that ended a moment ago."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


class ViewTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A registry without files."""
        self.reactor = MemoryReactorClock()
        self.root = self.mktemp()
        self.directory = Path(self.root, "coordinator")
        self.view = MembershipView(self.reactor, self.root, Kind.COORDINATOR, self.reactor.seconds, "here")
        self.changes = 0
        self.view.subscribe(self._count)

    def _count(self) -> None:
        self.changes += 1

    def _put(self, service_id: str, pid: int = 1, host: str = "h") -> Path:
        path = self.directory / f"{service_id}.json"
        write_entry(path, entry_to_json(ServiceEntry(service_id, host, 1, pid)))
        return path

    def _start(self) -> None:
        self.view.startService()
        self.addCleanup(self.view.stopService)

    def test_sweep(self) -> None:
        """A directory that appears later is found by the sweep; listeners hear of changes and of nothing else."""
        self._start()
        self.assertEqual((self.view.members(), self.view.seen), ((), True))
        self._put("b")
        self._put("a")
        self.reactor.advance(2)
        self.assertEqual([entry.id for entry in self.view.members()], ["a", "b"])
        self.reactor.advance(2)
        self.assertEqual(self.changes, 1)

    def test_unreadable_directory(self) -> None:
        """Known members are kept while the directory cannot be read, however long, and it heals."""
        self._put("a")
        self._start()
        shutil.rmtree(self.directory)
        self.directory.write_text("not a directory")
        self.reactor.pump([2.0] * 30)
        self.assertIn("cannot be read", self.view.problem)
        self.assertEqual([entry.id for entry in self.view.members()], ["a"])
        self.directory.unlink()
        self._put("a")
        self.reactor.advance(2)
        self.assertEqual(self.view.problem, "")
        self.assertEqual([entry.id for entry in self.view.members()], ["a"])

    def test_gone_here(self) -> None:
        """An entry of this host whose process is gone is no member; one of another host with that number is."""
        pid = dead_pid()
        self._put("x", pid, host="here")
        self._put("y", pid, host="elsewhere")
        self._start()
        self.assertEqual([entry.id for entry in self.view.members()], ["y"])

    def test_refresh_without_running(self) -> None:
        """One look is possible without a running service."""
        self._put("a")
        self.successResultOf(Deferred.fromCoroutine(self.view.refresh()))
        self.assertEqual([entry.id for entry in self.view.members()], ["a"])


class CleanerTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A registry without files."""
        self.reactor = MemoryReactorClock()
        self.root = self.mktemp()
        self.cleaner = StaleFileCleaner(self.reactor, self.root, Kind.WORKER, self.reactor.seconds)

    def _put(self, worker_id: str, sequence: int, pid: int, machine: str = "other") -> Path:
        path = Path(self.root, "worker", f"{worker_id}.json")
        entry = ServiceEntry(worker_id, "h", 0, pid, machine=machine, beat=Beat("t", sequence))
        write_entry(path, entry_to_json(entry))
        return path

    def _start(self) -> None:
        self.cleaner.startService()
        self.addCleanup(self.cleaner.stopService)

    def test_stale(self) -> None:
        """A worker that beats stays; one that does not is removed after 30 s."""
        silent = self._put("silent", 1, 1)
        for sequence in range(20):
            beating = self._put("beating", sequence, 2)
            if sequence == 0:
                self._start()
            self.reactor.advance(2)
        self.assertFalse(silent.exists())
        self.assertTrue(beating.exists())

    def test_beat_before_the_removal(self) -> None:
        """T38: an entry that its owner touches after it was judged stale, and before it is removed, stays."""
        path = self._put("w1", 1, 1)
        (file,) = read_directory(str(path.parent), {}).values()
        self._put("w1", 2, 1)
        self.assertFalse(remove_if_unchanged(str(path.parent), file))
        self.assertTrue(path.exists())
        (file,) = read_directory(str(path.parent), {}).values()
        self.assertTrue(remove_if_unchanged(str(path.parent), file))
        self.assertFalse(remove_if_unchanged(str(path.parent), file))

    def test_gone(self) -> None:
        """A worker of this very machine whose process is gone is removed at the next look."""
        gone = self._put("gone", 1, dead_pid(), machine_name())
        alive = self._put("alive", 1, os.getpid(), machine_name())
        self._start()
        self.reactor.advance(5)
        self.assertFalse(gone.exists())
        self.assertTrue(alive.exists())

    def test_each_kind_has_its_own_cleaner(self) -> None:
        """A coordinator's file that no longer changes is removed by the cleaner of coordinators, and by no other."""
        path = Path(self.root, "coordinator", "c.json")
        write_entry(path, entry_to_json(ServiceEntry("c", "h", 1, 1)))
        self._start()
        self.reactor.pump([2.0] * 30)
        self.assertTrue(path.exists())
        cleaner = StaleFileCleaner(self.reactor, self.root, Kind.COORDINATOR, self.reactor.seconds)
        cleaner.startService()
        self.addCleanup(cleaner.stopService)
        self.reactor.pump([2.0] * 20)
        self.assertFalse(path.exists())


class InotifyTests(TestCase):
    def setUp(self) -> None:
        """A real directory and the real reactor."""
        from twisted.internet import reactor  # noqa: TID251 - only the real one reads inotify

        self.reactor: Any = reactor
        self.root = self.mktemp()
        self.directory = Path(self.root, "coordinator")
        self.directory.mkdir(parents=True)
        self.entry = entry_to_json(ServiceEntry("a", "h", 1, 1))
        self.path = str(self.directory / "a.json")

    def _view(self, interval: float) -> MembershipView:
        view = MembershipView(self.reactor, self.root, Kind.COORDINATOR, self.reactor.seconds, interval=interval)
        view.startService()
        self.addCleanup(view.stopService)
        return view

    async def test_fast(self) -> None:
        """With real inotify a new member is known long before the next sweep."""
        view = self._view(60.0)
        changed: Deferred[None] = Deferred()
        view.subscribe(lambda: changed.callback(None))
        await view.refresh()
        write_entry(Path(self.path), self.entry)
        await changed.addTimeout(10, self.reactor)
        self.assertEqual([entry.id for entry in view.members()], ["a"])

    async def test_deleted_directory_is_watched_again(self) -> None:
        """A directory that was deleted and made anew is armed again at the next sweep."""
        view = self._view(0.05)
        await view.refresh()
        changed: Deferred[None] = Deferred()
        view.subscribe(lambda: changed.callback(None))
        self._remake()
        write_entry(Path(self.path), self.entry)
        await changed.addTimeout(10, self.reactor)

    def _remake(self) -> None:
        self.directory.rmdir()
        self.directory.mkdir()
