"""How the demonstration judges where runs ran."""

from dataclasses import replace
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from txdagu.cli.demoplan import PIPELINE, WORKERS, all_well, members, placements
from txdagu.cli.following import Family
from txdagu.dagfile import load_dag
from txdagu.model.run import ChildRun, NodeStatus, RunRef, RunStatus
from txdagu.model.status import NodeState, RunState

EXAMPLE = Path(__file__).parents[3] / "examples" / f"{PIPELINE}.yaml"


class PlacementTests(SynchronousTestCase):
    def setUp(self) -> None:
        """The example pipeline, run as it should be."""
        self.dag = load_dag(EXAMPLE.read_text(), PIPELINE)
        root = RunRef(self.dag.name, "r")
        nodes = tuple(
            NodeStatus(
                step,
                NodeState.SUCCEEDED,
                children=(ChildRun(f"id-{step.child.name}"),) if step.child else (),
            )
            for step in self.dag.steps
        )
        self.top = RunStatus(root, root, RunState.SUCCEEDED, worker_id="local", nodes=nodes)
        self.below = {
            f"id-{name}": RunStatus(RunRef(name, f"id-{name}"), root, RunState.SUCCEEDED, worker_id=worker)
            for name, worker in (("train-model", "gpu-1"), ("report", "eu-1"))
        }

    def judged(self, **changes: str) -> tuple[list[str], bool]:
        """What is wrong, and the whole verdict, with children at other workers than they should be."""
        below = {
            key: replace(run, worker_id=changes.get(run.run.name, run.worker_id)) for key, run in self.below.items()
        }
        family = Family(self.top, {key: run for key, run in below.items() if run.worker_id})
        found = list(placements(self.dag, family, WORKERS))
        return [placement.wrong for placement in found if placement.wrong], all_well(family, found)

    def test_all_well(self) -> None:
        """Where every run is where its labels say, nothing is wrong."""
        self.assertEqual(self.judged(), ([], True))

    def test_a_run_on_the_wrong_worker(self) -> None:
        """A worker without the label is named with what it lacks."""
        self.assertEqual(self.judged(report="gpu-1"), (["that worker lacks region=eu-west-1"], False))

    def test_a_run_that_stayed_here(self) -> None:
        """A child that did not go to any worker is wrong even if it succeeded."""
        self.assertEqual(self.judged(**{"train-model": "local"}), (["it ran here, not on a worker"], False))

    def test_a_run_that_never_started(self) -> None:
        """A missing child is told as such."""
        self.assertEqual(self.judged(report=""), (["it never started"], False))

    def test_a_parent_that_went_away(self) -> None:
        """`workerSelector: local` is held to, too."""
        self.top = replace(self.top, worker_id="gpu-1")
        self.assertEqual(self.judged(), (["it should have stayed here"], False))

    def test_members_use_free_ports(self) -> None:
        """The demonstration disturbs nothing that runs already."""
        main = members()[0]
        self.assertIn("--port=0", main.arguments)
        self.assertIn("--coordinator.port=0", main.arguments)
