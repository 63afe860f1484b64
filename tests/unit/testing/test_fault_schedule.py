"""The faults of a seed."""

from __future__ import annotations

from itertools import pairwise

from twisted.trial.unittest import SynchronousTestCase

from txdagu.testing.faults.schedule import COORDINATOR, Bounds, Fault, Kind, schedule

WORKERS = ("w1", "w2", "w3")
BOUNDS = Bounds()


class ScheduleTests(SynchronousTestCase):
    """A hundred seeds."""

    def setUp(self) -> None:
        """All their faults."""
        self.faults = {seed: schedule(seed, WORKERS, BOUNDS) for seed in range(100)}

    def test_replay(self) -> None:
        """The same seed has the same faults, another one others."""
        self.assertEqual(self.faults[7], schedule(7, WORKERS, BOUNDS))
        self.assertEqual(len(set(self.faults.values())), 100)

    def test_everything_occurs(self) -> None:
        """Everybody is hit by everything that can hit him, for shorter and for longer than a lease."""
        every = [fault for faults in self.faults.values() for fault in faults]
        kinds = {(fault.target, fault.kind) for fault in every}
        possible = {(name, kind) for name in WORKERS for kind in Kind}
        self.assertEqual(kinds, possible | {(COORDINATOR, Kind.KILL), (COORDINATOR, Kind.STOP)})
        silences = [fault.duration for fault in every if fault.kind in (Kind.STOP, Kind.CUT)]
        self.assertLess(min(silences), BOUNDS.lease_ttl / 2)
        self.assertGreater(max(silences), BOUNDS.lease_ttl)

    def test_bounds(self) -> None:
        """No more than asked for, in their time, in order, and never two at once for one process."""
        for faults in self.faults.values():
            self.assertLessEqual(len(faults), BOUNDS.faults)
            self.assertEqual(list(faults), sorted(faults, key=lambda fault: fault.at))
            self.assertLessEqual(faults[-1].at, BOUNDS.seconds)
            for target in (*WORKERS, COORDINATOR):
                own = [fault for fault in faults if fault.target == target]
                for before, after in pairwise(own):
                    self.assertGreater(after.at, before.at + before.duration)

    def test_words(self) -> None:
        """A fault reads as one line."""
        self.assertEqual(str(Fault(1.25, Kind.CUT, "w1", 3.5)), "  1.2 s: w1 is cut off for 3.5 s")
        self.assertEqual(Fault(1.25, Kind.UNGUARD, "w1", 0.0).said, "w1 is robbed of its reaper")
