"""Whole clusters in virtual time: what must hold does, everything that can go wrong does, and a seed is its own replay."""

from __future__ import annotations

import ast
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import txdagu.testing.simulation as package
from txdagu.coordinator import service as coordinator_service
from txdagu.coordinator.dispatcher import Dispatcher
from txdagu.dispatch.machine import Input, State
from txdagu.execution import run as execution_run
from txdagu.reaper import __main__ as reaper_process
from txdagu.testing.simulation import Parts, coordinators, reaping, runs, simulate, workers
from txdagu.testing.simulation.campaign import Campaign, campaign
from txdagu.worker import service as worker_service

SEEDS = 10


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

    def test_orders_and_lost_confirmations_are_driven(self) -> None:
        """Guards that runs are handed back by drained workers, and that a confirmation is missed by its worker alone."""
        edges = simulate(48).edges | simulate(6).edges
        for happened in (Input.RECALL, Input.HANDED_BACK, Input.NOT_NAMED):
            self.assertIn((State.RUNNING, happened), edges)

    def test_what_did_not_occur_is_listed(self) -> None:
        """Guards that a campaign which tried too little says so."""
        self.assertIn("running, lease_expired", Campaign().missing)
        self.assertIn("torn last record", Campaign().missing)


class RealCoresTests(SynchronousTestCase):
    """There is no other core than those that production puts together."""

    def test_the_classes_are_those_of_production(self) -> None:
        """Guards that what is simulated is what is shipped."""
        parts = Parts()
        production = {
            coordinator_service: ("DispatchCore", "Dispatcher", "CoordinatorService", "RandomNames"),
            worker_service: ("Tasks", "Session", "Slots", "WorkerLeases", "Surroundings"),
            execution_run: ("RunCore",),
            reaper_process: ("Reaper",),
        }
        here = {**vars(coordinators), **vars(workers), **vars(runs), **vars(reaping)}
        for module, names in production.items():
            for name in names:
                self.assertIs(here[name], getattr(module, name), name)
        self.assertEqual((parts.core, parts.dispatcher, parts.tasks), (here["DispatchCore"], Dispatcher, here["Tasks"]))

    def test_the_simulator_derives_from_no_core(self) -> None:
        """Guards that nothing here is a core in disguise: no class is built on one of production."""
        inherited: set[str] = set()
        for path in Path(package.__file__).parent.glob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef):
                    inherited.update(ast.unparse(base) for base in node.bases)
        self.assertEqual(inherited, {"Protocol", "Exception"})

    def test_no_reactor_is_imported(self) -> None:
        """Guards virtual time: nothing of the simulator imports the reactor."""
        for path in Path(package.__file__).parent.glob("*.py"):
            self.assertNotRegex(
                path.read_text(encoding="utf-8"), r"import (reactor|time$)|internet\.reactor", path.name
            )
