"""Following a run in the store, and what counts when its files and a coordinator disagree about its end."""

from __future__ import annotations

from dataclasses import replace
from shutil import rmtree
from tempfile import mkdtemp

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from txdagu.cli.following import Family, Follower
from txdagu.model.dag import ChildCall, Parallel, Step
from txdagu.model.run import ChildRun, NodeStatus, RunRef, RunStatus
from txdagu.model.status import NodeState, RunState
from txdagu.testing.recording import RecordingStore

RUN = RunRef("main", "run-1")
RUNNING = RunStatus(RUN, RUN, RunState.RUNNING, attempt_id="aa")
LOST = replace(RUNNING, state=RunState.FAILED, error="worker w1 was silent for 30 s")
SUCCEEDED = replace(RUNNING, state=RunState.SUCCEEDED)


class FollowerTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A follower of one run, and the families it told of."""
        directory = mkdtemp()
        self.addCleanup(rmtree, directory)
        self.store = RecordingStore(directory)
        self.told: list[Family] = []
        self.follower = Follower(self.store, RUN, self.told.append)

    def test_end_in_the_store(self) -> None:
        """An end that the store tells is told once, and nothing is watched afterwards."""
        self.store.put(RUNNING)
        self.follower.watch_top()
        self.assertNoResult(self.follower.ended)
        self.store.put(SUCCEEDED)
        self.assertIs(self.successResultOf(self.follower.ended).top, SUCCEEDED)
        self.assertEqual([family.top for family in self.told], [RUNNING, SUCCEEDED])
        self.assertEqual(self.store.watchers, 0)

    def test_end_seen_twice(self) -> None:
        """An end that is in the store and is handed over as well breaks nothing."""
        self.follower.watch_top()
        self.store.put(SUCCEEDED)
        self.follower.saw(SUCCEEDED)
        self.assertIs(self.successResultOf(self.follower_finishes()).top, SUCCEEDED)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_end_that_the_files_do_not_know(self) -> None:
        """A run lost with its worker has ended as the coordinator says, though its file says for ever that it runs."""
        self.store.put(RUNNING)
        self.follower.watch_top()
        self.follower.saw(LOST)
        self.assertIs(self.successResultOf(self.follower_finishes()).top, LOST)

    def test_attempt_before(self) -> None:
        """Who follows a retry is not told the end of the attempt before it."""
        follower = Follower(self.store, RUN, self.told.append, earlier="aa")
        self.store.put(SUCCEEDED)
        follower.watch_top()
        self.assertNoResult(follower.ended)
        again = replace(SUCCEEDED, attempt_id="bb")
        self.store.put(again)
        self.assertIs(self.successResultOf(follower.ended).top, again)
        self.assertEqual([family.top for family in self.told], [again])

    def test_end_of_a_lost_attempt(self) -> None:
        """Where somebody else waits for the end, an end in the files is only believed when that one says so."""
        self.follower.watch_top(ends=False)
        for status in (RUNNING, LOST, replace(RUNNING, attempt_id="bb")):
            self.store.put(status)
        self.assertEqual([family.top.attempt_id for family in self.told], ["aa", "bb"])
        self.follower.saw(SUCCEEDED)
        self.assertIs(self.successResultOf(self.follower_finishes()).top, SUCCEEDED)

    def test_single_steps(self) -> None:
        """The run of a step that calls nothing and runs on a worker is followed under the step's name."""
        step = NodeStatus(Step("load data"), NodeState.RUNNING, children=(ChildRun("far"),))
        self.follower.saw(replace(RUNNING, nodes=(step,)))
        below = RunStatus(RunRef("load_data", "far"), RUN, RunState.RUNNING, worker_id="gpu-1")
        self.store.put(below)
        self.assertEqual(self.told[-1].workers(), {"far": "gpu-1"})

    def test_many_children(self) -> None:
        """Of a step's children no more are watched than may run at once; all ends are known at the end, whoever was watched."""
        children = tuple(ChildRun(f"k{number}") for number in range(7))
        step = Step("call", child=ChildCall("kid"), parallel=Parallel(items=("x",), max_concurrent=2))
        self.follower.saw(replace(RUNNING, nodes=(NodeStatus(step, NodeState.RUNNING, children=children),)))
        self.assertEqual(self.store.watchers, 2)
        for run_id, state in (("k0", RunState.SUCCEEDED), ("k2", RunState.RUNNING), ("k1", RunState.FAILED)):
            self.store.put(RunStatus(RunRef("kid", run_id), RUN, state, attempt_id="bb"))
        self.assertEqual(set(self.told[-1].below), {"k0", "k1", "k2"})
        self.assertEqual(self.store.watchers, 3)  # k1, which may be taken up again, k2 and k3
        self.store.put(RunStatus(RunRef("kid", "k1"), RUN, RunState.RUNNING, attempt_id="cc"))
        self.assertIs(self.told[-1].below["k1"].state, RunState.RUNNING)
        self.store.put(RunStatus(RunRef("kid", "k6"), RUN, RunState.SUCCEEDED, attempt_id="bb"))
        family = self.successResultOf(self.follower_finishes())
        self.assertEqual(set(family.below), {"k0", "k1", "k2", "k6"})
        self.assertEqual(self.store.watchers, 0)

    def follower_finishes(self) -> Deferred[Family]:
        """The family as the follower leaves it."""
        return Deferred.fromCoroutine(self.follower.finish())
