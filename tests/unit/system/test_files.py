"""Files that are put in place whole."""

from __future__ import annotations

import os
from pathlib import Path
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from txdagu.system.files import make_directories, names_in, put_in_place


class PutInPlaceTests(SynchronousTestCase):
    """`put_in_place`."""

    def setUp(self) -> None:
        """A file with content."""
        self.directory = Path(self.mktemp())
        make_directories(self.directory)
        self.path = self.directory / "file.json"
        put_in_place(self.path, b"old")

    def test_replaces(self) -> None:
        """The new content is there, for its owner only, and nothing else is."""
        put_in_place(self.path, b"new", "unfinished")
        self.assertEqual(self.path.read_bytes(), b"new")
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)
        self.assertEqual(names_in(self.directory), ["file.json"])

    def test_full_disk(self) -> None:
        """What cannot be written whole leaves the old content and no remains."""
        with patch.object(os, "write", side_effect=OSError(28, "No space left on device")):
            self.assertRaises(OSError, put_in_place, self.path, b"new")
        self.assertEqual(self.path.read_bytes(), b"old")
        self.assertEqual(names_in(self.directory), ["file.json"])
