"""Who belongs to a task."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import TestCase

from txdagu.reaper.strays import members, processes

PROCESSES = {
    10: (10, 10, "S", b"A=1\0DAGU_REAPER_TOKEN=out.1:in.2\0B=2\0"),  # a step
    11: (10, 10, "T", b""),  # its child without an environment
    12: (12, 12, "S", b"DAGU_REAPER_TOKEN=in.2\0"),  # a daemon
    13: (12, 12, "Z", b""),  # a zombie
    14: (14, 14, "S", b"DAGU_REAPER_TOKEN=in.21\0"),  # another task
    15: (15, 15, "S", b"NO_DAGU_REAPER_TOKEN=in.2\0"),
    16: (20, 20, "S", b"A=DAGU_REAPER_TOKEN=in.2\0"),
}


class StraysTests(TestCase):
    def setUp(self) -> None:
        """A /proc with a name that has a bracket and spaces, and one process that has just ended."""
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        for pid, (group, session, state, environment) in PROCESSES.items():
            place = Path(directory.name, str(pid))
            place.mkdir()
            (place / "stat").write_text(f"{pid} (a) b ) {state} 1 {group} {session} 0 -1 4194304\n")
            (place / "environ").write_bytes(environment)
        Path(directory.name, "99").mkdir()
        Path(directory.name, "meminfo").touch()
        self.everybody = processes(directory.name)

    def found(self, target: str, *groups: int) -> list[int]:
        """Process ids, sorted."""
        return sorted(process.pid for process in members(self.everybody, target, groups))

    def test_by_token(self) -> None:
        """Those with the token, and those in the sessions that they lead; neither zombies nor tokens that only begin so."""
        self.assertEqual(self.found("in.2"), [10, 11, 12])
        self.assertEqual(self.found("out.1"), [10, 11])

    def test_by_prefix(self) -> None:
        """All tasks of one worker."""
        self.assertEqual(self.found("in."), [10, 11, 12, 14])

    def test_by_group(self) -> None:
        """Those in groups that are known, whatever their environment."""
        self.assertEqual(self.found("in.3", 20), [16])

    def test_not_ourselves(self) -> None:
        """Whoever looks is not found, also with the token."""
        self.assertNotIn(os.getpid(), [process.pid for process in processes()])
