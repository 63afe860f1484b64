"""Waiting times and merging."""

from __future__ import annotations

from collections import Counter
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from txdagu.model.health import Health
from txdagu.model.task import WorkerStatus
from txdagu.peers.backoff import FullJitter
from txdagu.peers.merging import merge_workers


class FullJitterTests(SynchronousTestCase):
    def test_range(self) -> None:
        """Waits stay below ceilings that double up to the longest, and start anew after a success."""
        backoff = FullJitter(Random(1), 1.0, 30.0)
        waits = [backoff.next() for _ in range(3000)]
        for wait, ceiling in zip(waits, [1, 2, 4, 8, 16, 30], strict=False):
            self.assertLessEqual(wait, ceiling)
        self.assertGreater(max(waits[5:]), 28)
        self.assertLess(min(waits[5:]), 1)
        backoff.reset()
        self.assertLessEqual(backoff.next(), 1.0)

    def test_floor(self) -> None:
        """A floor holds, so that no loop turns without a pause."""
        backoff = FullJitter(Random(1), 1.0, 60.0, 0.5)
        self.assertGreaterEqual(min(backoff.next() for _ in range(1000)), 0.5)


class CrowdTests(SynchronousTestCase):
    """Many clients at once."""

    def test_no_lockstep(self) -> None:
        """T34: of 200 workers that lost their coordinator at one instant, no tenth of the time sees more than a quarter call."""
        for attempt in range(1, 6):
            waits = []
            for worker in range(200):
                pause = FullJitter(Random(worker))
                waits.append([pause.next() for _ in range(attempt)][-1])
            tenths = Counter(int(wait / max(waits) * 10) for wait in waits)
            self.assertLess(max(tenths.values()), 50, attempt)


class MergeTests(SynchronousTestCase):
    def _worker(self, worker_id: str, age: float = 0.0, at: int = 0, busy: int = 0) -> WorkerStatus:
        return WorkerStatus(worker_id, {}, Health.HEALTHY, 4, busy, heartbeat_age=age, last_heartbeat_at=at)

    def test_freshest_age_wins(self) -> None:
        """By age where both coordinators tell one, however wrong a coordinator's time of day is."""
        old = self._worker("w", age=9.0, at=5000)
        new = self._worker("w", age=0.5, at=10, busy=1)
        self.assertEqual(merge_workers([[old], [new]]), (new,))
        self.assertEqual(merge_workers([[new], [old]]), (new,))

    def test_times_of_old_coordinators(self) -> None:
        """Coordinators of 1.30.2 tell no age; there the later time of day wins."""
        old, new = self._worker("w", at=10), self._worker("w", at=11)
        self.assertEqual(merge_workers([[old], [new]]), (new,))

    def test_sorted(self) -> None:
        """Every worker appears once, sorted by id."""
        merged = merge_workers([[self._worker("b"), self._worker("a")], [self._worker("c"), self._worker("a")]])
        self.assertEqual([worker.id for worker in merged], ["a", "b", "c"])
