"""One worker per id and host."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import TestCase

from txdagu.model.errors import InvalidInputError, UnavailableError
from txdagu.worker.custody import Custody


class CustodyTests(TestCase):
    def setUp(self) -> None:
        """A data directory."""
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = directory.name

    def custody(self, host: str = "h") -> Custody:
        """That of a worker whose id is no file name; let go at the end."""
        custody = Custody(self.directory, "a/b c", host)
        self.addCleanup(custody.release, forget=False)
        return custody

    def test_second_worker(self) -> None:
        """T20: while it is held another one is refused, with the process that holds it; on another host it is not."""
        first = self.custody()
        first.take()
        first.begin("one")
        with self.assertRaisesRegex(
            InvalidInputError, rf"'a/b c' is in use on this host by process {os.getpid()}, .*--worker.id"
        ):
            self.custody().take()
        self.custody("other").take()

    def test_reaper_still_works(self) -> None:
        """When the worker is dead and its reaper is not, we wait a while, and say what hangs."""
        first = self.custody()
        first.take()
        first.begin("one")
        ended = subprocess.Popen([sys.executable, "-c", ""])
        ended.wait()
        first.path.write_text(f"one {ended.pid}\n")
        with self.assertRaisesRegex(InvalidInputError, "the reaper of an earlier worker 'a/b c' still waits"):
            self.custody().take(patience=0.1)

    def test_earlier_lives(self) -> None:
        """The next one knows all lives before, and whether a reaper saw the end of the last one's processes."""
        for life, reaped in (("one", False), ("two", True), ("three", False)):
            custody = self.custody()
            custody.take()
            custody.begin(life)
            custody.release(forget=False)
            if reaped:
                with custody.path.open("a") as file:
                    file.write("reaped\n")
            expected = {"one": ((), ""), "two": (("one",), "one"), "three": (("one", "two"), "")}[life]
            self.assertEqual((custody.gone, custody.unreaped), expected)

    def test_no_place(self) -> None:
        """Where no lock can be, it is said where and why."""
        blocked = Path(self.directory, "file")
        blocked.touch()
        with self.assertRaisesRegex(UnavailableError, "cannot be locked on this host: .*worker-locks.*Not a directory"):
            Custody(str(blocked), "w").take()

    def test_forget(self) -> None:
        """An id that was drawn for one process leaves no file."""
        custody = self.custody()
        custody.take()
        custody.release(forget=True)
        self.assertFalse(custody.path.exists())
