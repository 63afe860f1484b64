"""What several coordinators tell, made one; and its way over the wire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import hypothesis.strategies as st
from hypothesis import given, settings
from twisted.trial.unittest import SynchronousTestCase

from txdagu.dispatch.explanation import Explanation
from txdagu.dispatch.machine import State
from txdagu.dispatch.matching import Fit, Verdict
from txdagu.dispatch.records import Outcome
from txdagu.dispatch.whatif import AddedWorker, FleetChange, Placed, Wish
from txdagu.model.health import Health
from txdagu.model.policies import LostWorkerPolicy, OnWorkerLost
from txdagu.model.run import RunRef
from txdagu.model.status import RunState
from txdagu.model.task import WorkerStatus
from txdagu.peers.told import ClusterWord, HistoryLine, Listed, Place, Told, merge_places, merge_verdicts
from txdagu.peers.toldmessages import plan_from_message, plan_to_message, told_from_message, told_to_message
from txdagu.protocol import explain_pb2 as pb

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
RUN = RunRef("job", "r1")

names = st.text(min_size=1, max_size=8)
refs = st.builds(RunRef, names, names)
labels = st.dictionaries(names, st.text(max_size=8), max_size=3)
seconds = st.integers(0, 10**7).map(lambda ms: ms / 1000)
verdicts = st.lists(
    st.builds(Verdict, names, st.sampled_from(Fit), st.text(max_size=8), st.integers(0, 5)), max_size=3
).map(tuple)
explanations = st.builds(
    Explanation,
    run=refs,
    root=refs,
    state=st.sampled_from(State),
    age=seconds,
    parent=st.none() | refs,
    selector=labels,
    needs=st.text(max_size=8),
    on_worker_lost=st.builds(OnWorkerLost, st.sampled_from(LostWorkerPolicy), st.integers(1, 9)),
    worker_id=names,
    epoch=st.integers(0, 9),
    attempt_name=names,
    confirms=st.booleans(),
    heard_age=seconds,
    lease_left=st.none() | seconds,
    silent=st.booleans(),
    adopted=st.booleans(),
    lost_workers=st.lists(names, max_size=3).map(tuple),
    cancel_reason=st.text(max_size=8),
    ahead=st.integers(0, 99),
    verdicts=verdicts,
    outcome=st.none() | st.builds(Outcome, st.none() | st.sampled_from(RunState), st.text(max_size=8)),
)
times = st.integers(0, 10**9).map(lambda ms: AT + timedelta(milliseconds=ms))
lines = st.builds(
    HistoryLine, times, st.sampled_from(State), names, st.integers(0, 9), st.text(max_size=8), st.just("c")
)
lots = st.builds(
    Told,
    coordinator=st.just("c"),
    at=times,
    task=st.none() | explanations,
    history=st.lists(lines, max_size=3).map(tuple),
    below=st.lists(explanations, max_size=2).map(tuple),
    below_count=st.integers(0, 99),
)


class WireTests(SynchronousTestCase):
    @settings(max_examples=30)
    @given(lots)
    def test_what_is_told_survives_the_wire(self, told: Told) -> None:
        """Encoding and decoding changes nothing."""
        message = pb.ExplainResponse.FromString(told_to_message(told).SerializeToString())
        self.assertEqual(told_from_message(message, "c"), told)

    @settings(max_examples=30)
    @given(st.lists(st.builds(Wish, labels, st.text(max_size=8)), max_size=3), st.frozensets(names, max_size=3))
    def test_a_plan_survives_the_wire(self, wishes: list[Wish], without: frozenset[str]) -> None:
        """Wishes and changes arrive as they were asked."""
        change = FleetChange(without, (AddedWorker("new-1", {"a": ""}, 3),))
        message = pb.PlanRequest.FromString(plan_to_message(wishes, change).SerializeToString())
        self.assertEqual(plan_from_message(message), (tuple(wishes), change))

    def test_words_of_newer_coordinators(self) -> None:
        """A kind of verdict that is not known here passes for one that heals by itself; its sentence is shown as it is."""
        message = pb.ExplainResponse(
            task=pb.TaskExplanation(
                state="queued", verdicts=[pb.WorkerVerdict(worker_id="w", fit="asleep", reason="why")]
            )
        )
        task = told_from_message(message, "c").task
        assert task is not None
        self.assertEqual(task.verdicts, (Verdict("w", Fit.BUSY, "why"),))


def told(coordinator: str, state: State | None, age: float = 1.0, history: int | None = None) -> Told:
    """A coordinator that has the task in that state; with `history`, something happened to it that many seconds ago."""
    task = None if state is None else Explanation(RUN, RUN, state, age)
    happened = () if history is None else (HistoryLine(AT - timedelta(seconds=history), State.ENDED, "w", 1, "x"),)
    return Told(coordinator, AT, task, happened)


class MergeTests(SynchronousTestCase):
    def test_whose_word_counts(self) -> None:
        """Where the task is open; else who saw something of it last; who knows nothing is not asked twice."""
        never = told("never", None)
        ended, long_ago = told("ended", State.ENDED, 50), told("long-ago", None, history=500)
        is_open = told("open", State.QUEUED, 900)
        for among, expected in (
            ((never,), None),
            ((never, long_ago), long_ago),
            ((long_ago, ended, never), ended),
            ((ended, is_open, long_ago), is_open),
        ):
            self.assertIs(ClusterWord(among).best, expected)

    def test_history_of_all(self) -> None:
        """A run that went through two coordinators has one history, in the order of time."""
        early, late = told("a", State.ENDED, 1, history=9), told("b", None, history=3)
        self.assertEqual(ClusterWord((late, early)).history, (*early.history, *late.history))

    def test_nearest_verdict_of_each_worker(self) -> None:
        """A worker that two coordinators see is one row, with what is nearer to a match."""
        far, near = Verdict("w1", Fit.UNHEALTHY, "unhealthy 17 s"), Verdict("w1", Fit.BUSY, "busy 4 of 4")
        other = Verdict("w2", Fit.LABELS, "label gpu wanted true, has nothing", 1)
        self.assertEqual(merge_verdicts([other, far, near]), (near, other))

    def test_places(self) -> None:
        """Coordinators that agree give one place, those that do not several; one of Dagu all that fit by its list."""
        fits, busy = Verdict("w1", Fit.MATCHES, "matches"), Verdict("w2", Fit.BUSY, "busy 1 of 1")
        one, other = [Placed("w1", (fits, busy))], [Placed("w2", (Verdict("w2", Fit.MATCHES, "matches"),))]
        wish, as_it_is = [Wish({"gpu": "true"})], FleetChange()
        self.assertEqual(merge_places(wish, [one, one], [], as_it_is), (Place(("w1",), (fits, busy)),))
        self.assertEqual(merge_places(wish, [one, other], [], as_it_is)[0].worker_ids, ("w1", "w2"))
        gpu = {"gpu": "true"}
        workers = (
            WorkerStatus("d1", gpu, Health.HEALTHY, 2, 2),
            WorkerStatus("d2", gpu, Health.HEALTHY, 2, 1),
            WorkerStatus("d3", {}, Health.HEALTHY, 2, 0),
            WorkerStatus("d4", gpu, Health.HEALTHY, 2, 0),
        )
        change = FleetChange(frozenset({"d4"}), (AddedWorker("new-1", gpu, 1),))
        (place,) = merge_places(wish, [], [Listed("dagu", workers)], change)
        self.assertEqual(place.worker_ids, ("d2", "new-1"))
        self.assertEqual([one.worker_id for one in place.verdicts], ["d2", "new-1", "d1", "d3"])
