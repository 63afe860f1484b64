"""Liveness by change."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from txdagu.registry.entries import Beat, ServiceEntry, entry_to_json
from txdagu.registry.files import FoundFile
from txdagu.registry.membership import Membership

COORDINATOR = ServiceEntry("host1@50055", "host1", 50055, 10, started_at="2026-01-01T00:00:00Z")
WORKER = ServiceEntry("w", "host2", 0, 20, machine="m", beat=Beat("t", 1))


def file_of(entry: ServiceEntry, mtime: int = 1, name: str = "a.json") -> dict[str, FoundFile]:
    data = entry_to_json(entry)
    return {name: FoundFile(name, (mtime, len(data), 1), data)}


class MembershipTests(SynchronousTestCase):
    def setUp(self) -> None:
        """An empty membership."""
        self.membership = Membership()

    def _ids(self) -> list[str]:
        return [entry.id for entry in self.membership.members()]

    def _follow(self, files: dict[str, FoundFile], start: float, end: float) -> None:
        """Observe the same files every two seconds."""
        now = start
        while now <= end:
            self.membership.observe(files, now)
            now += 2

    def test_first_sight_is_fresh(self) -> None:
        """However old a file's mtime may be by its writer's clock, the first sight counts as life."""
        self.membership.observe(file_of(COORDINATOR, mtime=0), 1000.0)
        self.assertEqual(self._ids(), ["host1@50055"])

    def test_stale_after_thirty_seconds(self) -> None:
        """Without a change a member is alive for 30 s and then dead, with the reason."""
        files = file_of(COORDINATOR)
        self._follow(files, 0, 30)
        self.assertEqual(self._ids(), ["host1@50055"])
        self._follow(files, 32, 34)
        self.assertEqual(self._ids(), [])
        (stale,) = self.membership.stale()
        self.assertEqual(stale.reason, "no beat for 34 s")

    def test_mtime_in_the_past_counts(self) -> None:
        """Any change of the mtime is a beat, also one backwards: hosts' clocks differ and jump."""
        self._follow(file_of(COORDINATOR, mtime=10**18), 0, 28)
        self.membership.observe(file_of(COORDINATOR, mtime=5), 30.0)
        self._follow(file_of(COORDINATOR, mtime=5), 32, 58)
        self.assertEqual(self._ids(), ["host1@50055"])

    def test_sequence_decides_for_workers(self) -> None:
        """A worker whose mtime moves without a higher sequence does not live; one whose sequence moves does."""
        for step in range(20):
            self.membership.observe(file_of(WORKER, mtime=step), step * 2.0)
        self.assertEqual(self._ids(), [])
        self.membership.observe(file_of(replace(WORKER, beat=Beat("t", 2)), mtime=3), 40.0)
        self.assertEqual(self._ids(), ["w"])

    def test_gone_process(self) -> None:
        """A process known to be gone is stale at once."""
        self.membership.observe(file_of(WORKER), 0.0, lambda entry: entry.pid == 20)
        self.assertEqual(self._ids(), [])
        self.assertEqual(self.membership.stale()[0].reason, "its process 20 is gone")

    def test_beat_refutes_gone(self) -> None:
        """Who beats is alive, even where his process cannot be seen from here (containers sharing a host name)."""
        self.membership.observe(file_of(COORDINATOR, 1), 0.0, lambda _: True)
        self.assertEqual(self._ids(), [])
        self.membership.observe(file_of(COORDINATOR, 2), 2.0, lambda _: True)
        self.assertEqual(self._ids(), ["host1@50055"])

    def test_absent_observer(self) -> None:
        """An observer that was stopped for a minute does not take everybody for dead when it wakes."""
        files = file_of(COORDINATOR)
        self._follow(files, 0, 10)
        self.membership.observe(files, 100.0)
        self.assertEqual(self._ids(), ["host1@50055"])
        self._follow(files, 102, 130)
        self.assertEqual(self._ids(), [])

    def test_one_warning_per_content(self) -> None:
        """An unreadable file is told once, and again only when it became another one."""
        torn = {"x.json": FoundFile("x.json", (1, 3, 1), b'{"i')}
        (warning,) = self.membership.observe(torn, 0.0)
        self.assertIn("x.json is skipped", warning)
        self.assertEqual(self.membership.observe(torn, 2.0), [])
        touched = {"x.json": FoundFile("x.json", (2, 3, 1), b'{"i')}
        self.assertEqual(self.membership.observe(touched, 4.0), [])
        other = {"x.json": FoundFile("x.json", (3, 4, 1), b'{"id')}
        self.assertEqual(len(self.membership.observe(other, 6.0)), 1)

    def test_torn_write_keeps_member(self) -> None:
        """A half-written file does not hide its owner, who was alive a moment ago."""
        self.membership.observe(file_of(COORDINATOR), 0.0)
        self.membership.observe({"a.json": FoundFile("a.json", (2, 3, 1), b'{"i')}, 2.0)
        self.assertEqual(self._ids(), ["host1@50055"])

    def test_removed(self) -> None:
        """A removed file is a member gone."""
        self.membership.observe(file_of(COORDINATOR), 0.0)
        self.membership.observe({}, 2.0)
        self.assertEqual(self._ids(), [])
        self.assertEqual(self.membership.stale(), ())

    def test_same_id_twice(self) -> None:
        """Two files of one id are one member: the one that changed last."""
        files = file_of(WORKER, name="a.json")
        self.membership.observe(files, 0.0)
        files |= file_of(replace(WORKER, pid=21), name="b.json")
        self.membership.observe(files, 2.0)
        self.assertEqual([entry.pid for entry in self.membership.members()], [21])
