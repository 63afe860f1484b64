"""Free slots go to the DAGs in turn: none of them waits because another has very many tasks."""

from __future__ import annotations

from collections import Counter, defaultdict

import hypothesis.strategies as st
from hypothesis import given, settings

from txdagu.dispatch.core import Beat, DispatchCore
from txdagu.dispatch.turn import Offer
from txdagu.model.labels import Labels
from txdagu.model.run import RunRef
from txdagu.model.task import Task
from txdagu.testing.dispatch import CoreTestCase, CountedNames, make_poll, make_task, offers

SELECTORS: list[Labels] = [{}, {"gpu": "true"}]
DAGS = "abcd"


def task_of(dag: str, number: int, selector: Labels | None = None) -> Task:
    """A task of the run `number` of that DAG."""
    return make_task(f"{dag}{number}", selector, root=RunRef(dag, f"{dag}{number}"))


def taken(core: DispatchCore, labels: Labels | None = None, most: int = 1) -> list[str]:
    """The runs that a worker of Dagu with those labels is given, with one call after the other."""
    given_to = [offers(core.poll(make_poll("w", labels, incarnation=""), 1)) for _ in range(most)]
    return [offer.task.run.id for some in given_to for offer in some]


class TurnTests(CoreTestCase):
    """One worker, several DAGs."""

    def test_few_beside_many(self) -> None:
        """T51: a DAG with one waiting task has it started with the second free slot, not after the thousand of another one."""
        for number in range(1000):
            self.core.submit(task_of("many", number), 0)
        self.core.submit(task_of("few", 0), 0)
        self.assertEqual(["many0", "few0", "many1", "many2"], taken(self.core, most=4))

    def test_children_have_the_turn_of_their_root(self) -> None:
        """Runs called by a run stand in the line of its DAG, whatever they are called themselves."""
        top = RunRef("top", "t")
        for number in range(3):
            self.core.submit(make_task(f"child{number}", parent=top, root=top), 0)
        self.core.submit(task_of("other", 0), 0)
        self.assertEqual(["child0", "other0", "child1"], taken(self.core, most=3))

    def test_selectors_take_turns_too(self) -> None:
        """A worker that several selectors fit does not serve one of them alone while tasks of another DAG wait with the other."""
        for number in range(4):
            self.core.submit(task_of("many", number, {"gpu": "true"}), 0)
        for number in range(2):
            self.core.submit(task_of("few", number), 0)
        self.assertEqual(["many0", "few0", "many1", "few1", "many2"], taken(self.core, {"gpu": "true"}, 5))

    def test_cancelled_task_costs_no_turn(self) -> None:
        """A task that is cancelled while it waits is passed over, and its DAG keeps its place."""
        for dag in "ab":
            for number in range(3):
                self.core.submit(task_of(dag, number), 0)
        for run_id in ("a0", "a2"):
            self.core.cancel(RunRef("a", run_id), run_id, "asked", 1)
        self.assertEqual(["a1", "b0", "b1", "b2"], taken(self.core, most=4))

    def test_returned_task_is_the_first_of_its_dag(self) -> None:
        """A task whose offer failed comes before the later ones of its DAG, when that has its turn again."""
        for dag in "ab":
            for number in range(2):
                self.core.submit(task_of(dag, number), 0)
        (offer,) = offers(self.core.poll(make_poll("w1"), 1))
        self.core.withdraw(offer.poll, 2)
        self.assertEqual(["b0", "a0", "b1", "a1"], taken(self.core, most=4))

    def test_order_of_waiting_outlives_an_empty_line(self) -> None:
        """A DAG that has nothing waiting for a while is the last when it comes back, and later than those who stayed."""
        self.core.submit(task_of("a", 0), 0)
        self.core.submit(task_of("b", 0), 0)
        self.assertEqual(["a0"], taken(self.core))
        self.core.submit(task_of("a", 1), 2)
        self.assertEqual(["b0", "a1"], taken(self.core, most=2))

    def test_old_worker_is_counted_at_once(self) -> None:
        """T51: what a worker of Dagu was just given counts as its load before any heartbeat names it."""
        for worker in ("old1", "old2"):
            self.core.heartbeat(Beat(worker, {}, "", slots=4), 0)
            for _ in range(4):
                self.core.poll(make_poll(worker, incarnation=""), 0)
        given_to = Counter(
            offer.poll.worker_id for number in range(4) for offer in offers(self.core.submit(task_of("a", number), 1))
        )
        self.assertEqual({"old1": 2, "old2": 2}, given_to)

    @settings(max_examples=80, deadline=None, derandomize=True)
    @given(
        st.lists(
            st.tuples(st.sampled_from("sssspppcw"), st.sampled_from(DAGS), st.booleans()), min_size=15, max_size=60
        )
    )
    def test_no_dag_twice_before_another_once(self, moves: list[tuple[str, str, bool]]) -> None:
        """T51: of one selector, no DAG is served twice while another one waits the whole time, whatever comes, goes and fails."""
        core = DispatchCore(CountedNames())
        waiting: dict[int, Counter[str]] = defaultdict(Counter)
        passed: dict[tuple[int, str], set[str]] = defaultdict(set)
        last: Offer | None = None
        for number, (move, dag, wants_gpu) in enumerate(moves):
            kind = int(wants_gpu)
            if move == "s":
                waiting[kind][dag] += 1
                core.submit(task_of(dag, number, SELECTORS[kind]), 0)
                continue
            before = {(each, name) for each, names in waiting.items() for name in names if names[name]}
            if move == "p":
                poll = make_poll(f"w{number}", SELECTORS[kind])
                found = offers(core.poll(poll, 0))
                if not found:
                    core.withdraw(poll, 0)
                self.assertEqual(len(found), min(1, sum(sum(waiting[each].values()) for each in range(kind + 1))))
            elif move == "w" and last is not None:
                back = last.task
                waiting[SELECTORS.index(back.selector)][back.root.name] += 1
                found = offers(core.withdraw(last.poll, 0))
                last = None
            else:
                found = []
                record = next((task for task in self._waiting(core, moves[:number]) if task.root.name == dag), None)
                if record is not None:
                    core.cancel(record.root, record.run.id, "asked", 0)
                    waiting[SELECTORS.index(record.selector)][dag] -= 1
            for last in found:
                served, name = SELECTORS.index(last.task.selector), last.task.root.name
                self.assertEqual(passed[served, name], set(), f"{name} is served again")
                waiting[served][name] -= 1
                passed[served, name] = {other for each, other in before if each == served and other != name}
                for other in DAGS:
                    passed[served, other].discard(name)
            for (each, _), others in passed.items():
                others.intersection_update([other for other in others if waiting[each][other]])

    @staticmethod
    def _waiting(core: DispatchCore, moves: list[tuple[str, str, bool]]) -> list[Task]:
        """The tasks handed in by those moves that wait."""
        handed_in = [task_of(dag, n, SELECTORS[gpu]) for n, (move, dag, gpu) in enumerate(moves) if move == "s"]
        states = ((task, core.open_state(task.root, task.run.id)) for task in handed_in)
        return [task for task, state in states if state is not None and state.value == "queued"]

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(
        st.lists(st.tuples(st.sampled_from(DAGS), st.booleans()), min_size=1, max_size=30),
        st.integers(0, 12),
        st.data(),
    )
    def test_ahead_is_what_comes_before(self, tasks: list[tuple[str, bool]], served: int, data: st.DataObject) -> None:
        """T43: as many tasks as are told to be before a waiting one are given to the worker that fits all, and then that one."""
        core = DispatchCore(CountedNames())
        core.heartbeat(Beat("w", {"gpu": "true"}, "", slots=1, busy=1), 0)
        handed_in = [task_of(dag, number, SELECTORS[gpu]) for number, (dag, gpu) in enumerate(tasks)]
        for task in handed_in:
            core.submit(task, 0)
        gone = set(taken(core, {"gpu": "true"}, served))
        left = [task for task in handed_in if task.run.id not in gone]
        if not left:
            return
        mine = data.draw(st.sampled_from(left))
        told = core.explanation(mine.root, mine.run.id, 2)
        assert told is not None
        self.assertEqual(taken(core, {"gpu": "true"}, len(left)).index(mine.run.id), told.ahead)
