"""Entries and their files."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from txdagu.registry.entries import (
    Beat,
    ServiceEntry,
    entry_from_json,
    entry_to_json,
    service_file_name,
    worker_file_name,
)

# A file that the released Dagu 1.30.2 wrote.
REFERENCE = b"""{
  "id": "host1@50055",
  "host": "127.0.0.1",
  "port": 50055,
  "pid": 15327,
  "status": 1,
  "startedAt": "2026-11-23T17:54:50.654601804Z"
}"""


class EntryTests(SynchronousTestCase):
    def test_reference_round_trip(self) -> None:
        """A coordinator's file is byte for byte what Dagu 1.30.2 writes."""
        entry = entry_from_json(REFERENCE)
        self.assertEqual(
            entry, ServiceEntry("host1@50055", "127.0.0.1", 50055, 15327, 1, "2026-11-23T17:54:50.654601804Z")
        )
        self.assertEqual(entry_to_json(entry), REFERENCE)

    def test_worker_round_trip(self) -> None:
        """A worker's file keeps its beat, in the promised words."""
        entry = ServiceEntry("gpu-01", "host2", 0, 1234, 1, "then", "boot/1", Beat("now", 7, "healthy", 3))
        data = entry_to_json(entry)
        self.assertEqual(entry_from_json(data), entry)
        for key in (b'"timestamp": "now"', b'"sequence": 7', b'"health": "healthy"', b'"activeTasks": 3'):
            self.assertIn(key, data)

    def test_unknown_keys(self) -> None:
        """Files of newer versions are read; what we do not know is skipped."""
        newer = REFERENCE.replace(b'"port"', b'"zone": {"a": [1]},\n  "port"')
        self.assertEqual(entry_from_json(newer), entry_from_json(REFERENCE))

    def test_refused(self) -> None:
        """Whatever is not an entry is refused with a reason and never with another error."""
        for data in (
            b"",
            REFERENCE[:40],
            b"[1]",
            b"null",
            b"\xff\xfe",
            b'{"id": 7, "host": "h"}',
            b'{"id": "a", "host": "h", "port": "50055"}',
            b'{"id": "a", "host": "h", "port": 70000}',
            b'{"id": "a"}',
            b"[" * 100_000,
        ):
            with self.subTest(data=data[:20]):
                self.assertRaises(ValueError, entry_from_json, data)

    @given(st.binary(max_size=60))
    def test_never_another_error(self, data: bytes) -> None:
        """Random bytes raise nothing but ValueError."""
        try:
            entry_from_json(data)
        except ValueError:
            return

    def test_address(self) -> None:
        """IPv6 addresses are bracketed."""
        self.assertEqual(ServiceEntry("a", "::1", 5, 1).address, "[::1]:5")
        self.assertEqual(ServiceEntry("a", "h", 5, 1).address, "h:5")


class NameTests(SynchronousTestCase):
    def test_coordinator(self) -> None:
        """Coordinators use the safe-id rule of Dagu 1.30.2, cut at 100 characters."""
        self.assertEqual(service_file_name("host1@50055"), "host1_50055.json")
        self.assertEqual(service_file_name("a.b/ü" + "x" * 200), "a_b__" + "x" * 95 + ".json")

    def test_worker(self) -> None:
        """Ordinary names appear as they are."""
        self.assertEqual(worker_file_name("worker-gpu-01", "host2", 1234), "worker-gpu-01-host2-1234.json")
        self.assertEqual(worker_file_name("host@77", "host.example.org", 77), "host@77-host.example.org-77.json")

    def test_hostile_worker_names(self) -> None:
        """No separator, no parent directory, no over-long name, no two names alike."""
        ids = ["a/b", "a:b", "a b", "a_b", "../x", "..", ".", "ü", "ö", "x" * 300, "x" * 301, "", "\udc80", "a\0b"]
        names = [worker_file_name(worker_id, "h", 1) for worker_id in ids]
        self.assertEqual(len(set(names)), len(ids))
        for name in names:
            self.assertNotIn("/", name)
            self.assertNotIn("\0", name)
            self.assertFalse(name.startswith("."), name)
            self.assertLess(len(name.encode()), 250)

    @given(st.lists(st.text(max_size=12), min_size=2, max_size=2, unique=True))
    def test_no_collision(self, ids: list[str]) -> None:
        """Different ids on one host never share a file."""
        self.assertNotEqual(worker_file_name(ids[0], "h", 1), worker_file_name(ids[1], "h", 1))
