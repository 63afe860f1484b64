"""Whole clusters in virtual time: what must hold does, everything that can go wrong does, and a seed is its own replay."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import txdagu.testing.simulation as package
from txdagu.coordinator import service as coordinator_service
from txdagu.execution import run as execution_run
from txdagu.reaper import core as reaper_core
from txdagu.testing.simulation import Parts, simulate
from txdagu.testing.simulation import cluster, coordinators, disk, reaping, runs, workers
from txdagu.testing.simulation.campaign import Campaign, campaign
from txdagu.worker import service as worker_service
from txdagu.worker import session as worker_session

SEEDS = 24


class CampaignTests(SynchronousTestCase):
    """A few seeds of those that ``make simulate`` runs."""

    def test_every_invariant_holds(self) -> None:
        """Guards all eight invariants after every event, under faults of nearly all kinds."""
        done = campaign(range(SEEDS))
        self.assertEqual([result.story() for result in done.failed], [])
        self.assertGreater(len(done.faults), 15)
        self.assertGreater(len(done.edges), 15)

    def test_a_seed_replays_to_the_last_event(self) -> None:
        """Guards that a failing seed shows the same again: same events, same story."""
        first, again = simulate(7), simulate(7)
        self.assertEqual(first.story(), again.story())
        self.assertEqual(first.events, again.events)
        self.assertNotEqual(first.story(), simulate(8).story())

    def test_what_did_not_occur_is_listed(self) -> None:
        """Guards that a campaign which tried too little says so."""
        self.assertIn("running, lease_expired", Campaign().missing)
        self.assertIn("torn last record", Campaign().missing)


class RealCoresTests(SynchronousTestCase):
    """There is no other core than those that production puts together."""

    def test_the_classes_are_those_of_production(self) -> None:
        """Guards that what is simulated is what is shipped."""
        parts = Parts()
        self.assertIs(parts.core, coordinator_service.DispatchCore)
        self.assertIs(parts.dispatcher, coordinator_service.Dispatcher)
        self.assertIs(coordinators.CoordinatorService, coordinator_service.CoordinatorService)
        self.assertIs(coordinators.RandomNames, coordinator_service.RandomNames)
        self.assertIs(parts.tasks, worker_service.Tasks)
        self.assertIs(workers.Session, worker_service.Session)
        self.assertIs(workers.Slots, worker_service.Slots)
        self.assertIs(workers.WorkerLeases, worker_service.WorkerLeases)
        self.assertIs(workers.Surroundings, worker_service.Surroundings)
        self.assertIs(runs.RunCore, execution_run.RunCore)
        self.assertIs(reaping.Reaper, reaper_core.Reaper)
        self.assertEqual(worker_session.Heartbeat.__module__, "txdagu.worker.heartbeat")

    def test_the_simulator_derives_from_no_core(self) -> None:
        """Guards that nothing here is a core in disguise: no class is built on one of production."""
        inherited = set()
        for path in Path(package.__file__).parent.glob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef):
                    inherited.update(ast.unparse(base) for base in node.bases)
        self.assertEqual(inherited, {"Protocol", "Exception"})

    def test_no_reactor_is_imported(self) -> None:
        """Guards virtual time: nothing of the simulator imports the reactor."""
        for module in (cluster, coordinators, disk, reaping, runs, workers):
            self.assertFalse(hasattr(module, "reactor"), module.__name__)
            self.assertNotIn("twisted.internet.reactor", str(vars(sys.modules[module.__name__]).values()))
