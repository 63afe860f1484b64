"""Where a DAG and all that it calls would run."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from txdagu.dagfile import load_dag
from txdagu.dispatch.matching import Fit, Verdict
from txdagu.dispatch.whatif import AddedWorker, FleetChange
from txdagu.execution.explaining.outlook import AS_IT_IS, Outlook, Outlooks, names_of
from txdagu.model.dag import Dag
from txdagu.model.errors import NotFoundError
from txdagu.model.health import Health
from txdagu.model.task import WorkerStatus
from txdagu.peers.interfaces import WorkersView
from txdagu.peers.told import Place
from txdagu.testing.coordinators import ScriptedCoordinators, ScriptedExplainer

OTHER = """\
name: other
workerSelector: {gpu: "true"}
steps:
  - name: inside
    command: echo
  - name: deeper
    call: plain
"""
PLAIN = """\
name: plain
steps:
  - name: only
    command: echo
"""


class OutlookTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A cluster with one healthy worker, and two DAGs that can be called."""
        view = WorkersView((WorkerStatus("w1", {}, Health.HEALTHY, 1, 0), WorkerStatus("w2", {}, Health.OFFLINE, 1, 0)))
        self.coordinators = ScriptedCoordinators(view)
        self.explainer = ScriptedExplainer()
        self.explainer.places["gpu=true"] = Place(("w1",), (Verdict("w1", Fit.MATCHES, "matches"),))
        self.dags = {"other": load_dag(OTHER, "other.yaml"), "plain": load_dag(PLAIN, "plain.yaml")}

    async def find(self, name: str, directory: str) -> Dag:
        """A DAG by its name."""
        if name not in self.dags:
            raise NotFoundError(f"there is no {name}")
        return self.dags[name]

    def outlook(self, text: str, mode: str = "local", params: str = "", change: FleetChange = AS_IT_IS) -> Outlook:
        """Where the DAG in that text would run."""
        outlooks = Outlooks(self.explainer, self.coordinators, self.find, mode)
        return self.successResultOf(Deferred.fromCoroutine(outlooks.of(load_dag(text, "dag.yaml"), params, change)))

    def shown(self, outlook: Outlook) -> list[tuple[int, str, str]]:
        """Depth, name and place of each row."""
        return [
            (row.depth, row.name, "worker" if row.place and row.place.worker_ids else row.beside or "here")
            for row in outlook.rows
        ]

    def test_steps_and_calls(self) -> None:
        """Steps stay with their run, calls go where the called DAG wants, and so do steps with a selector and handlers."""
        outlook = self.outlook(
            """\
name: top
steps:
  - name: first
    command: echo
  - name: call
    call: other
  - name: alone
    command: echo
    workerSelector: {gpu: "true"}
  - name: here
    call: plain
    workerSelector: local
handlerOn:
  exit:
    command: echo
"""
        )
        self.assertEqual(
            self.shown(outlook),
            [
                (0, "top", "here"),
                (1, "first", "top"),
                (1, "call", "worker"),
                (2, "inside", "other"),
                (2, "deeper", "other"),
                (3, "only", "other"),
                (1, "alone", "worker"),
                (1, "here", "top"),
                (2, "only", "top"),
                (1, "onExit", "top"),
            ],
        )
        self.assertEqual([wish.needs for wish in self.explainer.wishes], ["", "single steps"])

    def test_selectors_of_calls_are_laid_over(self) -> None:
        """A calling step's labels come on top of those of the DAG that it calls; a place that nobody has means waiting."""
        outlook = self.outlook("steps:\n  - name: call\n    call: other\n    workerSelector: {zone: a}\n")
        self.assertEqual([dict(wish.selector) for wish in self.explainer.wishes], [{"gpu": "true", "zone": "a"}])
        row = outlook.rows[1]
        assert row.place is not None and row.route is not None
        self.assertEqual((row.place.worker_ids, row.route.reason), ((), "workerSelector asks for gpu=true,zone=a"))

    def test_routing_rule_counts_the_changed_cluster(self) -> None:
        """Automatic mode goes to workers while one is healthy: not one that is left out, but one that is added."""
        text = "name: top\nsteps: [echo]\n"
        new = (AddedWorker("new-1", {}, 1),)
        for change, waits in (
            (AS_IT_IS, True),
            (FleetChange(frozenset({"w1"})), False),
            (FleetChange(frozenset({"w1"}), new), True),
        ):
            self.assertEqual(self.outlook(text, "auto", change=change).rows[0].place is not None, waits)
        self.assertEqual(self.explainer.changes, [AS_IT_IS, FleetChange(frozenset({"w1"}), new)])

    def test_names_that_params_give(self) -> None:
        """A called DAG may be named by params, given ones before written ones; else it is said that it is not known yet."""
        text = "params: WHICH=plain\nsteps:\n  - name: call\n    call: ${WHICH}\n"
        self.assertEqual(self.outlook(text).rows[1].calls, "plain")
        self.assertEqual(self.outlook(text, params="WHICH=other").rows[1].calls, "other")
        unknown = self.outlook(text, params='WHICH="$(date)"').rows[1]
        self.assertEqual(unknown.note, "which DAG it calls (${WHICH}) is known when it runs")
        self.assertIn("it would fail: there is no nobody", self.outlook(text, params="WHICH=nobody").rows[1].note)

    def test_calls_in_a_circle(self) -> None:
        """A DAG that is called from below itself is shown once more, and not what lies below."""
        self.dags["loop"] = load_dag("name: loop\nsteps:\n  - name: again\n    call: loop\n", "loop.yaml")
        rows = self.outlook("name: top\nsteps:\n  - name: call\n    call: loop\n").rows
        self.assertEqual([row.name for row in rows], ["top", "call", "again"])
        self.assertIn("it calls a DAG that called it", rows[2].note)

    def test_parallel_and_local_documents(self) -> None:
        """Each item has a run of its own; documents of the same file come before DAGs elsewhere."""
        text = """\
name: top
steps:
  - name: many
    call: plain
    parallel: {items: [a, b], maxConcurrent: 2}
---
name: plain
workerSelector: {gpu: "true"}
steps:
  - name: mine
    command: echo
"""
        rows = self.outlook(text).rows
        self.assertEqual(rows[1].note, "one run for each item, 2 at a time; each is placed on its own")
        self.assertEqual((rows[2].name, rows[2].beside), ("mine", "plain"))

    def test_names(self) -> None:
        """Several places are joined as people say it."""
        self.assertEqual([names_of(["a"]), names_of(["a", "b"]), names_of("abc")], ["a", "a or b", "a, b or c"])
