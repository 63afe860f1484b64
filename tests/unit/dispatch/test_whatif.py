"""Plans are what happens: the planned place is the one that the core really gives, and planning changes nothing."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import hypothesis.strategies as st
from hypothesis import assume, given, settings
from twisted.trial.unittest import SynchronousTestCase

from txdagu.dispatch.core import Beat, DispatchCore
from txdagu.dispatch.matching import Fit
from txdagu.dispatch.records import Poll
from txdagu.dispatch.turn import Turn
from txdagu.dispatch.whatif import AddedWorker, FleetChange, Wish
from txdagu.model.standing import Action, WorkerOrder
from txdagu.testing.dispatch import CoreTestCase, CountedNames, make_poll, make_task, offers

SELECTORS: list[dict[str, str]] = [{}, {"gpu": "true"}, {"zone": "a"}, {"gpu": "true", "zone": "a"}, {"zone": ""}]
FLEET: dict[str, dict[str, str]] = {
    "plain": {},
    "gpu": {"gpu": "true"},
    "gpu-2": {"gpu": "true"},
    "gpu-a": {"gpu": "true", "zone": "a"},
    "old": {"zone": "a"},
}
SLOTS = 3
NEW = AddedWorker("new", {"gpu": "true", "zone": "a"}, 2)

names = st.sampled_from(sorted(FLEET))
happenings = st.lists(
    st.one_of(
        st.tuples(st.just("poll"), names),
        st.tuples(st.just("beat"), names),
        st.tuples(st.just("submit"), st.sampled_from(SELECTORS)),
        st.tuples(st.just("confirm"), st.booleans()),
        st.tuples(st.just("wait"), st.integers(1, 20)),
    ),
    max_size=25,
)


class Cluster:
    """A core to which things happen."""

    def __init__(self, events: list[tuple[str, object]]) -> None:
        self.core = DispatchCore(CountedNames())
        self.now = 0.0
        self.tokens: list[tuple[str, str]] = []
        for number, (kind, what) in enumerate(events):
            self.happen(kind, what, number)

    def happen(self, kind: str, what: object, number: int) -> None:
        """One event."""
        turn: Turn[Any] | None = None
        if kind == "wait":
            self.now += float(str(what))
            turn = self.core.tick(self.now)
        elif kind == "submit":
            assert isinstance(what, dict)
            turn = self.core.submit(make_task(f"r{number}", what, needs="" if number % 3 else "new things"), self.now)
        elif kind == "poll":
            turn = self.core.poll(self.poll(str(what)), self.now)
        elif kind == "beat":
            turn = self.core.heartbeat(Beat(str(what), FLEET[str(what)], self.incarnation(str(what)), SLOTS), self.now)
        elif self.tokens:
            worker_id, token = self.tokens.pop()
            turn = self.core.ack(worker_id, token, self.now)
        if turn is not None:
            self.tokens += [(offer.poll.worker_id, offer.token) for offer in offers(turn)]

    def poll(self, name: str) -> Poll:
        """A call for work of that worker."""
        return make_poll(name, FLEET[name], self.incarnation(name), SLOTS)

    @staticmethod
    def incarnation(name: str) -> str:
        """Nothing for the one that is of Dagu."""
        return "" if name == "old" else "one"

    def handed_in(self, core: DispatchCore, wish: Wish) -> str:
        """Who really gets a task with that wish now."""
        found = offers(core.submit(make_task("asked", wish.selector, needs=wish.needs), self.now))
        return next((offer.poll.worker_id for offer in found if offer.task.run.id == "asked"), "")


class PlanPropertyTests(SynchronousTestCase):
    @given(happenings, st.sampled_from(SELECTORS), st.booleans())
    @settings(max_examples=100, deadline=None, derandomize=True)
    def test_plan_is_what_happens(self, events: list[tuple[str, object]], selector: dict[str, str], ours: bool) -> None:
        """Whatever went before, the planned worker is the one that gets the task; asking twice gives the same."""
        cluster, wish = Cluster(events), Wish(selector, "new things" if ours else "")
        (first,) = cluster.core.plan([wish], FleetChange(), cluster.now)
        (second,) = cluster.core.plan([wish], FleetChange(), cluster.now)
        self.assertEqual(first, second)
        self.assertEqual(first.worker_id, cluster.handed_in(cluster.core, wish))
        if not first.worker_id:
            self.assertNotIn(Fit.MATCHES, [one.fit for one in first.verdicts])

    @given(happenings, st.sampled_from(SELECTORS), st.sets(names, min_size=1, max_size=2))
    @settings(max_examples=100, deadline=None, derandomize=True)
    def test_without_a_worker(self, events: list[tuple[str, object]], selector: dict[str, str], out: set[str]) -> None:
        """A plan without workers is what happens when these really are cordoned."""
        cluster, wish = Cluster(events), Wish(selector)
        (planned,) = cluster.core.plan([wish], FleetChange(frozenset(out)), cluster.now)
        core = deepcopy(cluster.core)
        ordered = core.order(WorkerOrder(Action.CORDON, tuple(sorted(out & set(core._tasks.workers)))), cluster.now)
        assume(not offers(ordered))  # what an unconfirmed offer frees elsewhere was not there when the plan was made
        self.assertEqual(planned.worker_id, cluster.handed_in(core, wish))
        self.assertFalse(out & {one.worker_id for one in planned.verdicts})

    @given(happenings, st.sampled_from(SELECTORS))
    @settings(max_examples=100, deadline=None, derandomize=True)
    def test_with_a_worker(self, events: list[tuple[str, object]], selector: dict[str, str]) -> None:
        """A plan with one more worker is what happens when it has really come, and taken what waited for it."""
        cluster, wish = Cluster(events), Wish(selector)
        (planned,) = cluster.core.plan([wish], FleetChange(added=(NEW,)), cluster.now)
        core = deepcopy(cluster.core)
        arrived = core.poll(make_poll(NEW.id, NEW.labels, free_slots=NEW.slots), cluster.now)
        if not offers(arrived):
            self.assertEqual(planned.worker_id, cluster.handed_in(core, wish))


class PlanTests(CoreTestCase):
    def test_verdicts(self) -> None:
        """Each worker has its verdict, the added one too; the one that is left out has none."""
        self.core.heartbeat(Beat("w1", {"gpu": "true"}, "one", slots=4, busy=4), 0)
        self.core.poll(make_poll("w2", {"gpu": "true"}), 0)
        wishes = [Wish({"gpu": "true"}), Wish({"mem": "64G"})]
        change = FleetChange(frozenset({"w2"}), (AddedWorker("new-1", {"mem": "64G"}, 1),))
        first, second = self.core.plan(wishes, change, 1)
        self.assertEqual(("", "new-1"), (first.worker_id, second.worker_id))
        self.assertEqual(
            [("w1", "busy 4 of 4"), ("new-1", "label gpu wanted true, has nothing")],
            [(one.worker_id, one.reason) for one in first.verdicts],
        )
