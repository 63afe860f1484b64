"""Which workers count when the routing rule asks whether there are any."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from txdagu.model.health import Health
from txdagu.model.standing import Mode, Standing
from txdagu.model.task import WorkerStatus
from txdagu.peers.routing import is_counted

WORKER = WorkerStatus("w1", {}, Health.HEALTHY, 2, 0)


class CountedTests(SynchronousTestCase):
    def test_counted(self) -> None:
        """A worker that is silent or gets nothing new is no reason to send a run away from here."""
        self.assertTrue(is_counted(WORKER))
        self.assertFalse(is_counted(replace(WORKER, health=Health.UNHEALTHY)))
        for mode in Mode:
            self.assertFalse(is_counted(replace(WORKER, standing=Standing(mode, 0.0))))
