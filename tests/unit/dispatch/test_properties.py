"""Random clusters on the real core: whatever happens in whatever order, these things stay true."""

from __future__ import annotations

from collections import Counter
from collections.abc import Coroutine
from typing import Any, TypeVar

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from txdagu.dispatch.core import Beat, DispatchCore
from txdagu.dispatch.journal import MemoryJournal
from txdagu.dispatch.machine import State
from txdagu.dispatch.matching import matches
from txdagu.dispatch.records import Outcome, Poll
from txdagu.dispatch.turn import Dismissal, Ending, Inquiry, Offer, Turn
from txdagu.model.run import RunRef
from txdagu.model.standing import Action, WorkerOrder
from txdagu.model.status import RunState
from txdagu.model.task import Task
from txdagu.testing.dispatch import CountedNames, make_poll, make_task, running

Result = TypeVar("Result")

SELECTORS = [{}, {"gpu": "true"}, {"zone": "a"}, {"gpu": "true", "zone": "a"}, {"zone": ""}]
FLEET = {
    "plain": {},
    "gpu": {"gpu": "true"},
    "gpu-a": {"gpu": "true", "zone": "a"},
    "zone-b": {"zone": "b"},
    "old": {"zone": "a"},
}
SLOTS = 3
OLD = "old"


def ensured(step: Coroutine[Any, Any, Result]) -> Result:
    """What a coroutine that never waits returns."""
    try:
        step.send(None)
    except StopIteration as stop:
        result: Result = stop.value
        return result
    raise AssertionError("a journal in memory does not wait")


class SimulatedWorker:
    """A worker that confirms each offer before it starts, and polls once for all its free slots; ``old`` does neither."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.incarnation = "" if name == OLD else "i1"
        self.leaving = False
        self.gone: tuple[str, ...] = ()
        self.polls: list[Poll] = []
        self.unconfirmed: list[Offer] = []
        self.running: list[Offer] = []

    @property
    def free(self) -> int:
        """Slots that the worker itself counts as free."""
        return SLOTS - len(self.running) - len(self.unconfirmed)


class Cluster(RuleBasedStateMachine):
    """One core, five workers, tasks with various selectors, and everything that can go wrong between them."""

    tasks = Bundle("tasks")

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.core = DispatchCore(CountedNames())
        self.workers = {name: SimulatedWorker(name) for name in FLEET}
        self.accepted: dict[str, Task] = {}
        self.ends: Counter[str] = Counter()
        self.submitted: Counter[str] = Counter()
        self.journal = MemoryJournal()
        self.closed: set[str] = set()

    def absorb(self, turn: Turn[Any]) -> None:
        """Do what the shell would do with the effects, answering questions with "not started"."""
        ensured(self.journal.commit(turn.entries, turn.standings))
        for effect in turn.effects:
            if isinstance(effect, Offer):
                self.receive(effect)
            elif isinstance(effect, Ending):
                self.ends[effect.task.run.id] += 1
            elif isinstance(effect, Dismissal):
                worker = self.workers[effect.poll.worker_id]
                worker.polls = [poll for poll in worker.polls if poll is not effect.poll]
            elif isinstance(effect, Inquiry):
                worker = self.workers[effect.worker_id]
                ran = any(one.task.run == effect.task.run for one in worker.running)
                self.absorb(self.core.inquiry_answered(effect, ran, None, self.now))

    def receive(self, offer: Offer) -> None:
        """An offer reaches its worker."""
        worker = self.workers[offer.poll.worker_id]
        assert matches(offer.task.selector, FLEET[worker.name]), "a task went to a worker that does not match"
        assert worker.name not in self.closed, "a task went to a worker that is cordoned"
        assert not worker.leaving, "a task went to a worker that shuts down"
        assert offer.poll in worker.polls, "an offer was made to a call that does not wait"
        worker.polls.remove(offer.poll)
        if worker.name == OLD:
            worker.running.append(offer)
        else:
            worker.unconfirmed.append(offer)

    @rule(target=tasks, number=st.integers(0, 20), selector=st.sampled_from(SELECTORS))
    def submit(self, number: int, selector: dict[str, str]) -> object:
        """A dispatcher hands in a task, perhaps one that is there already."""
        run_id = f"r{number}"
        task = self.accepted.get(run_id) or make_task(run_id, selector)
        turn = self.core.submit(task, self.now)
        self.accepted[run_id] = task
        if turn.answer:
            self.submitted[run_id] += 1
        self.absorb(turn)
        return multiple(run_id)

    @rule(name=st.sampled_from(sorted(FLEET)))
    def poll(self, name: str) -> None:
        """A worker with free slots asks for work: one call for all, or one for each if it is old."""
        worker = self.workers[name]
        if worker.leaving or worker.free <= 0 or (worker.polls and name != OLD) or len(worker.polls) >= worker.free:
            return
        poll = make_poll(name, FLEET[name], worker.incarnation, worker.free)
        worker.polls.append(poll)
        self.absorb(self.core.poll(poll, self.now))

    @rule(name=st.sampled_from(sorted(FLEET)))
    def cut(self, name: str) -> None:
        """A waiting call breaks."""
        worker = self.workers[name]
        if worker.polls:
            self.absorb(self.core.withdraw(worker.polls.pop(), self.now))

    @rule(name=st.sampled_from(sorted(FLEET)), lost=st.booleans())
    def confirm(self, name: str, lost: bool) -> None:
        """A worker confirms its oldest offer, or the offer never reached it."""
        worker = self.workers[name]
        if not worker.unconfirmed:
            return
        offer = worker.unconfirmed.pop(0)
        if not lost:
            turn = self.core.ack(name, offer.token, self.now)
            if turn.answer.accepted:
                worker.running.append(offer)
            self.absorb(turn)

    @rule(name=st.sampled_from(sorted(FLEET)))
    def finish(self, name: str) -> None:
        """A worker ends its oldest run and says so if it can."""
        worker = self.workers[name]
        if worker.running:
            offer = worker.running.pop(0)
            if name != OLD:
                outcome = Outcome(RunState.SUCCEEDED, "succeeded", "{}")
                self.absorb(
                    self.core.report_end(name, offer.task.root, offer.task.run.id, offer.epoch, outcome, self.now)
                )

    @rule(number=st.integers(0, 20))
    def cancel(self, number: int) -> None:
        """Somebody cancels a run."""
        self.absorb(self.core.cancel(RunRef("job", f"r{number}"), f"r{number}", "asked", self.now))

    @rule(seconds=st.integers(1, 12), silent=st.sets(st.sampled_from(sorted(FLEET))))
    def pass_time(self, seconds: int, silent: set[str]) -> None:
        """Time passes; workers beat and renew each second but for the silent ones."""
        for _ in range(seconds):
            self.now += 1
            self.absorb(self.core.tick(self.now))
            for name, worker in self.workers.items():
                if name not in silent:
                    self.beat(worker)

    def beat(self, worker: SimulatedWorker) -> None:
        """Both kinds of heartbeat; the worker stops what it is told to stop."""
        listed = tuple(running(offer.task, offer.epoch if worker.name != OLD else 0, "k") for offer in worker.running)
        left = 9.0 if worker.leaving else None
        beat = Beat(
            worker.name, FLEET[worker.name], worker.incarnation, SLOTS, len(listed), listed, left, gone=worker.gone
        )
        self.absorb(self.core.heartbeat(beat, self.now))
        if worker.name != OLD:
            turn = self.core.run_heartbeat(worker.name, worker.incarnation, listed, self.now)
            recalled = {order.run for order in turn.answer if order.hand_back}
            stopped = {order.run for order in turn.answer if "asked" not in order.reason and not order.hand_back}
            for offer in [offer for offer in worker.running if offer.task.run in recalled]:
                self.hand_back(worker, offer)
            worker.running = [offer for offer in worker.running if offer.task.run not in stopped]
            self.absorb(turn)

    @rule(name=st.sampled_from(sorted(set(FLEET) - {OLD})))
    def restart(self, name: str) -> None:
        """A worker dies with everything it has and comes back under the same id."""
        worker = self.workers[name]
        worker.gone += (worker.incarnation,)
        worker.incarnation += "'"
        worker.polls, worker.unconfirmed, worker.running = [], [], []
        worker.leaving = False
        self.beat(worker)

    @rule(
        names=st.sets(st.sampled_from(sorted(FLEET)), min_size=1),
        action=st.sampled_from([Action.CORDON, Action.DRAIN, Action.RESUME, Action.RESUME]),
        patience=st.sampled_from([None, 0.0, 5.0]),
    )
    def order(self, names: set[str], action: Action, patience: float | None) -> None:
        """Somebody closes workers, or opens them; also such as are not there."""
        turn = self.core.order(WorkerOrder(action, tuple(sorted(names)), patience=patience), self.now)
        if action is Action.RESUME:
            self.closed -= names
        else:
            self.closed |= set(turn.answer.workers)
        self.absorb(turn)

    @rule(name=st.sampled_from(sorted(set(FLEET) - {OLD})))
    def leave(self, name: str) -> None:
        """A worker begins to shut down: it lets its calls and its offers go, and says so."""
        worker = self.workers[name]
        worker.leaving = True
        for poll in worker.polls:
            self.absorb(self.core.withdraw(poll, self.now))
        worker.polls, worker.unconfirmed = [], []
        self.beat(worker)

    @rule(name=st.sampled_from(sorted(set(FLEET) - {OLD})))
    def give_up(self, name: str) -> None:
        """A worker hands its oldest run back, asked or not."""
        worker = self.workers[name]
        if worker.running:
            self.hand_back(worker, worker.running[0])

    def hand_back(self, worker: SimulatedWorker, offer: Offer) -> None:
        """A worker has stopped a run, and says so."""
        worker.running.remove(offer)
        task = offer.task
        self.absorb(self.core.hand_back(worker.name, task.root, task.run.id, offer.epoch, "stopped", self.now))

    @rule()
    def reload(self) -> None:
        """The journal failed once: the core starts again from what was committed."""
        self.absorb(self.core.restore(ensured(self.journal.load()), self.now))
        for worker in self.workers.values():
            worker.polls.clear()

    @invariant()
    def ends_once(self) -> None:
        """Every accepted task has ended at most once for each time it was accepted, and otherwise is open."""
        for run_id, times in self.submitted.items():
            run = RunRef("job", run_id)
            is_open = self.core.timeline(run, run_id)[-1].state is not State.ENDED
            assert self.ends[run_id] == times - is_open, f"{run_id}: accepted {times}, ended {self.ends[run_id]}"

    @invariant()
    def slots_are_never_exceeded(self) -> None:
        """No worker has more offers and runs than slots, as it counts them itself."""
        for worker in self.workers.values():
            assert worker.free >= 0, f"{worker.name} has {worker.running} and {worker.unconfirmed}"

    @invariant()
    def nothing_runs_twice_among_confirming_workers(self) -> None:
        """Two workers that hold a valid confirmation for one run would need two valid epochs."""
        held = Counter(
            offer.task.run.id
            for worker in self.workers.values()
            if worker.name != OLD
            for offer in worker.running
            if self.holds(worker, offer)
        )
        assert not [run_id for run_id, count in held.items() if count > 1]

    def holds(self, worker: SimulatedWorker, offer: Offer) -> bool:
        """Whether the core believes what this worker believes."""
        last = self.core.timeline(offer.task.root, offer.task.run.id)[-1]
        return (last.state, last.worker_id, last.epoch) == (State.RUNNING, worker.name, offer.epoch)

    @invariant()
    def nobody_waits_for_nothing(self) -> None:
        """No task waits while a healthy, matching worker offers a slot for it."""
        for run_id in self.accepted:
            verdicts = self.core.explain(RunRef("job", run_id), run_id, self.now)
            assert "matches" not in {one.reason for one in verdicts}, f"{run_id} waits although {verdicts[0]}"


TestCluster = Cluster.TestCase
TestCluster.settings = settings(max_examples=60, stateful_step_count=60, deadline=None, derandomize=True)
