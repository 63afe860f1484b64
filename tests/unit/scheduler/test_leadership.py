"""One leader at a time: the lock that schedulers share, and what happens when its holder sleeps or dies."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from txdagu.scheduler.leadership import Leadership
from txdagu.scheduler.lockdir import LockDirectory

WALL = 1_800_000_000.0


class LockTests(SynchronousTestCase):
    """The directory itself."""

    def setUp(self) -> None:
        """A lock that does not exist yet."""
        self.directory = self.mktemp()
        self.lock = LockDirectory(self.directory)

    def test_taken_once(self) -> None:
        """Only one gets it, until he gives it back."""
        ours = self.lock.take()
        assert ours is not None
        self.assertIsNone(LockDirectory(self.directory).take())
        self.lock.release(ours)
        self.assertIsNotNone(LockDirectory(self.directory).take())

    def test_foreign_lock_is_left_alone(self) -> None:
        """Who was replaced can neither keep nor release the lock of the one who replaced him."""
        ours = self.lock.take()
        assert ours is not None
        self.assertTrue(self.lock.clear(ours))
        theirs = LockDirectory(self.directory).take()
        os.utime(self.lock.path, (WALL, WALL))
        self.assertIsNotNone(theirs)
        self.assertIsNone(self.lock.keep(ours))
        self.lock.release(ours)
        self.assertTrue(self.lock.path.is_dir())

    def test_clearing_what_was_touched(self) -> None:
        """A lock that was touched since it was judged stale stays, and nothing is left beside it."""
        stale = self.lock.take()
        assert stale is not None
        os.utime(self.lock.path, (WALL, WALL))
        self.assertFalse(self.lock.clear(stale))
        self.assertEqual([".dagu_lock"], [path.name for path in Path(self.directory).iterdir()])

    def test_clearing_what_is_gone(self) -> None:
        """A lock that somebody else has cleared is free."""
        stale = self.lock.take()
        assert stale is not None
        self.lock.path.rmdir()
        self.assertTrue(self.lock.clear(stale))


class Base(SynchronousTestCase):
    """Schedulers over one directory, all on one clock."""

    def setUp(self) -> None:
        """A directory and a clock."""
        self.directory = self.mktemp()
        self.reactor = MemoryReactorClock()
        self.told: list[str] = []

    def leadership(self, name: str, **options: Any) -> Leadership:
        """A scheduler that tells of its fortune; not started."""
        return Leadership(
            self.reactor,
            LockDirectory(self.directory),
            30.0,
            5.0,
            options.get("now", self.reactor.seconds),
            options.get("wall", lambda: WALL + self.reactor.seconds()),
            lambda: self.told.append(f"{name} leads"),
            lambda: self.told.append(f"{name} lost"),
        )

    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.reactor.pump([1] * seconds)


class LeadershipTests(Base):
    """Who leads."""

    def test_free_lock_is_taken_at_once(self) -> None:
        """The first scheduler leads without any pause, keeps the lock for ever, and gives it back at its end."""
        first = self.leadership("first")
        first.startService()
        self.assertEqual(["first leads"], self.told)
        self.wait(300)
        self.assertTrue(first.leading)
        self.successResultOf(first.stopService())
        self.assertEqual([], list(Path(self.directory).iterdir()))
        self.assertEqual([], self.reactor.getDelayedCalls())

    def test_second_stands_by_and_takes_over(self) -> None:
        """T26: the second leads within a retry interval after the first has left in good order."""
        first, second = self.leadership("first"), self.leadership("second")
        first.startService()
        second.startService()
        self.wait(120)
        self.assertEqual(["first leads"], self.told)
        self.successResultOf(first.stopService())
        self.wait(5)
        self.assertEqual(["first leads", "second leads"], self.told)
        self.successResultOf(second.stopService())

    def test_dead_leader_is_replaced(self) -> None:
        """A lock that nobody touches any more is taken over when its threshold has passed, not before."""
        LockDirectory(self.directory).take()
        os.utime(Path(self.directory, ".dagu_lock"), (WALL, WALL))
        second = self.leadership("second")
        second.startService()
        self.wait(29)
        self.assertEqual([], self.told)
        self.wait(7)
        self.assertEqual(["second leads"], self.told)
        self.successResultOf(second.stopService())

    def test_old_lock_is_watched_for_a_beat(self) -> None:
        """A lock of yesterday is taken over soon, but only after its holder had time for a beat: his clock may be wrong."""
        LockDirectory(self.directory).take()
        path = Path(self.directory, ".dagu_lock")
        os.utime(path, (WALL - 86400, WALL - 86400))
        second = self.leadership("second")
        second.startService()
        self.wait(5)
        os.utime(path, (WALL - 86393, WALL - 86393))
        self.wait(9)
        self.assertEqual([], self.told)
        self.wait(6)
        self.assertEqual(["second leads"], self.told)
        self.successResultOf(second.stopService())

    def test_sleeper_fences_itself(self) -> None:
        """T26: a leader that slept too long knows it at once, before any disk is asked, and loses to whoever took over."""
        late = [0.0]
        first = self.leadership("first", now=lambda: self.reactor.seconds() + late[0])
        first.startService()
        self.wait(10)
        late[0] = 60.0
        self.assertFalse(first.leading)
        path = Path(self.directory, ".dagu_lock")
        os.utime(path, (WALL, WALL))
        self.wait(7)
        self.assertEqual(["first leads", "first lost"], self.told)
        self.successResultOf(first.stopService())
        self.assertTrue(path.is_dir())

    def test_unwritable_directory(self) -> None:
        """Trouble with the disk is told once, not with each try, and ends when the disk is back."""
        Path(self.directory).write_text("in the way")
        only = self.leadership("only")
        only.startService()
        self.wait(60)
        self.assertEqual([], self.told)
        Path(self.directory).unlink()
        self.wait(5)
        self.assertEqual(["only leads"], self.told)
        self.successResultOf(only.stopService())
