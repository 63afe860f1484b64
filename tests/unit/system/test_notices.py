"""Changes in directories, told by the kernel: on the real reactor, with real files."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from txdagu.system.notices import Notices
from txdagu.system.places import Place


class NoticesTests(TestCase):
    """One inotify instance for many places. Each wait ends with an event, or the test's time is up."""

    timeout = 20

    def setUp(self) -> None:
        """Three directories."""
        from twisted.internet import reactor  # noqa: TID251 - only the real one reads inotify

        self.reactor: Any = reactor
        self.home = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)
        self.notices = Notices(self.reactor)
        for name in "abc":
            (self.home / name).mkdir()

    def expect(self, place: Place) -> Deferred[None]:
        """Fires when the place is told of, once."""
        told: Deferred[None] = Deferred()

        def once(_place: Place) -> None:
            self.notices.remove(place, once)
            told.callback(None)

        self.notices.add(place, once)
        return told

    async def test_names(self) -> None:
        """Only what was asked for is told: a name, or an ending."""
        other: list[Place] = []
        quiet = Place(str(self.home / "a"), "other")
        self.notices.add(quiet, other.append)
        name = self.expect(Place(str(self.home / "a"), "wanted"))
        ending = self.expect(Place(str(self.home / "a"), suffix="_r"))
        (self.home / "a" / "wanted").touch()
        await name
        (self.home / "a" / "x_r").touch()
        await ending
        self.assertEqual(other, [])
        self.notices.remove(quiet, other.append)

    async def test_deleted_directory(self) -> None:
        """When one directory is deleted, which ends Twisted's notifier, the others are told and watched on."""
        gone = Place(str(self.home / "a"))
        self.notices.add(gone, print)
        told = self.expect(Place(str(self.home / "b")))
        (self.home / "a").rmdir()
        await told
        later = self.expect(Place(str(self.home / "b")))
        (self.home / "b" / "new").touch()
        await later
        (self.home / "a").mkdir()
        self.notices.remove(gone, print)

    async def test_missing_directory(self) -> None:
        """A directory that comes later is watched after the next sweep, which tells of what may have happened before."""
        place = Place(str(self.home / "later"))
        missed = self.expect(place)
        (self.home / "later").mkdir()
        (self.home / "later" / "old").touch()
        self.notices.arm()
        await missed
        told = self.expect(place)
        (self.home / "later" / "new").touch()
        await told

    async def test_a_callback_that_raises(self) -> None:
        """An error in one callback is logged and does not end the others' notices."""

        def bad(_place: Place) -> None:
            raise ValueError("bad")

        place = Place(str(self.home / "a"))
        self.notices.add(place, bad)
        for name in ("one", "two"):
            told = self.expect(place)
            (self.home / "a" / name).touch()
            await told
        self.notices.remove(place, bad)
        self.assertTrue(self.flushLoggedErrors(ValueError))

    async def test_hundreds_of_directories(self) -> None:
        """One instance serves all directories, and is given back with the last of them."""
        before = self.instances()
        places = [Place(str(self.home / "a"), str(number)) for number in range(3)]
        places += [Place(str(self.home / name)) for name in "bc"]
        for place in places:
            self.notices.add(place, print)
        self.assertEqual(self.instances(), before + 1)
        for place in places:
            self.notices.remove(place, print)
        await deferLater(self.reactor, 0.0)
        self.assertEqual(self.instances(), before)

    def instances(self) -> int:
        """How many inotify instances this process has."""
        found = 0
        for path in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                found += "inotify" in str(path.readlink())
        return found
