"""The parts of the core on their own: table, verdicts, deadlines, history."""

from __future__ import annotations

from string import Formatter

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from txdagu.dispatch.history import History
from txdagu.dispatch.leases import Deadlines
from txdagu.dispatch.machine import TABLE, ImpossibleInputError, Input, State, edge
from txdagu.dispatch.matching import Fit, label_misses, matches, nearest_first, verdict
from txdagu.dispatch.records import TaskRecord
from txdagu.model.health import health_of_age
from txdagu.model.labels import Labels
from txdagu.model.run import RunRef
from txdagu.model.task import WorkerStatus
from txdagu.testing.dispatch import make_task

LABELS = st.dictionaries(st.sampled_from(["gpu", "zone", "mem"]), st.sampled_from(["", "a", "b"]))


def worker(worker_id: str, labels: Labels, busy: int = 0, age: float = 0.0) -> WorkerStatus:
    """A worker of four slots."""
    return WorkerStatus(worker_id, labels, health_of_age(age), 4, busy, heartbeat_age=age)


class TableTests(SynchronousTestCase):
    """The table itself."""

    def test_ended_is_final(self) -> None:
        """No row leads out of the end state, and every other state can reach it."""
        self.assertEqual([], [happened for state, happened in TABLE if state is State.ENDED])
        reach = {State.ENDED}
        for _ in State:
            reach |= {state for (state, _), row in TABLE.items() if row.target in reach}
        self.assertEqual(set(State), reach)

    def test_reasons_name_known_facts(self) -> None:
        """Every row has a sentence, and its blanks are among those that the core fills in."""
        for row in TABLE.values():
            self.assertTrue(row.reason)
            blanks = {name for _, name, _, _ in Formatter().parse(row.reason) if name}
            self.assertLessEqual(blanks, {"worker", "reason", "timeout", "silence", "run"})

    def test_impossible_input(self) -> None:
        """What is not in the table is an error of the caller, told with state and input."""
        with self.assertRaisesRegex(ImpossibleInputError, "ack cannot happen to a task that is queued"):
            edge(State.QUEUED, Input.ACK)


class MatchingTests(SynchronousTestCase):
    """Labels and verdicts."""

    @given(LABELS, LABELS)
    def test_matching_means_containing(self, selector: dict[str, str], labels: dict[str, str]) -> None:
        """T49: a worker matches exactly if it has every label of the selector; a missing one equals nothing."""
        expected = set(selector.items()) <= set(labels.items())
        self.assertEqual(expected, matches(selector, labels))
        self.assertEqual(expected, not label_misses(selector, labels))

    def test_verdicts(self) -> None:
        """Each kind of verdict, with the words that people read."""
        selector = {"gpu": "true", "zone": ""}
        full = {"gpu": "true", "zone": ""}
        cases = [
            (
                worker("a", {"gpu": "false"}),
                1,
                Fit.LABELS,
                'label gpu wanted true, has false; label zone wanted "", has nothing',
            ),
            (worker("b", full, age=17.2), 1, Fit.UNHEALTHY, "unhealthy 17 s"),
            (worker("c", full, age=44), 1, Fit.UNHEALTHY, "offline 44 s"),
            (worker("d", full, busy=4), 0, Fit.BUSY, "busy 4 of 4"),
            (worker("e", full, busy=1), 0, Fit.BUSY, "does not ask for work now, busy 1 of 4"),
            (worker("f", full), 2, Fit.MATCHES, "matches"),
        ]
        found = [verdict(selector, status, free) for status, free, _, _ in cases]
        self.assertEqual([(fit, text) for _, _, fit, text in cases], [(one.fit, one.reason) for one in found])
        self.assertEqual(["f", "d", "e", "b", "c", "a"], [one.worker_id for one in nearest_first(found)])


class DeadlineTests(SynchronousTestCase):
    """The heap of deadlines."""

    @given(st.lists(st.floats(0, 100)), st.floats(0, 100))
    def test_due_in_order(self, times: list[float], now: float) -> None:
        """Everything up to now comes, earliest first, and the next one is later than now."""
        deadlines: Deadlines[float] = Deadlines()
        for at in times:
            deadlines.set(at, at)
        self.assertEqual(sorted(at for at in times if at <= now), list(deadlines.due(now)))
        self.assertEqual(min((at for at in times if at > now), default=None), deadlines.next())


class HistoryTests(SynchronousTestCase):
    """Ended tasks."""

    def test_bounds(self) -> None:
        """At most so many are kept, none longer than an hour, and the latest of a run wins."""
        history = History(tasks=2, seconds=3600)
        records = [TaskRecord(make_task(f"r{number}"), number) for number in range(3)]
        for record in records:
            history.add(record, 0)
        self.assertIsNone(history.find(RunRef("job", "r0"), "r0"))
        again = TaskRecord(make_task("r1"), 9)
        history.add(again, 10)
        self.assertIs(again, history.find(RunRef("job", "r1"), "r1"))
        history.expire(3601)
        self.assertEqual(1, len(history))
