"""Finds the task for a worker and the worker for a task without looking at the others."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Iterator
from typing import TypeVar

from txdagu.dispatch.machine import State
from txdagu.dispatch.records import TaskRecord, WorkerRecord
from txdagu.model.labels import Labels
from txdagu.model.task import Task

Label = tuple[str, str]
LabelSet = frozenset[Label]
Member = TypeVar("Member")

IDLE_DEMANDS = 64
"""How many selectors without a waiting task are remembered, so that the next task of that kind is placed at once."""

OURS: Label = ("", "txdagu")
"""A label that no worker can have by its settings: those that confirm have it, and tasks that Dagu's cannot run ask for it."""

Candidate = tuple[int, float, float, str, int, int, WorkerRecord]


def wanted(task: Task) -> LabelSet:
    """The labels that a worker must have for that task."""
    labels = frozenset(task.selector.items())
    return labels | {OURS} if task.needs else labels


class Supply:
    """All workers with one set of labels. `offering` are those that could take a task now."""

    __slots__ = ("demands", "labels", "members", "offering")

    def __init__(self, labels: LabelSet) -> None:
        self.labels = labels
        self.members = 0
        self.offering: dict[WorkerRecord, None] = {}
        self.demands: dict[Demand, None] = {}


class Line:
    """
    The waiting tasks of one DAG in one demand, oldest first. `turn` is the count of turns when it last began or was served.

    The queue is a heap whose outdated items are dropped when they come up.
    """

    __slots__ = ("queue", "turn", "waiting")

    def __init__(self, turn: int) -> None:
        self.turn = turn
        self.queue: list[tuple[int, TaskRecord]] = []
        self.waiting = 0

    def add(self, record: TaskRecord) -> None:
        """Let a task wait at the place that its number gives it."""
        self.waiting += 1
        heapq.heappush(self.queue, (record.number, record))

    def remove(self, record: TaskRecord) -> None:
        """A task waits no longer."""
        self.waiting -= 1
        if self.queue[0][1] is record:
            heapq.heappop(self.queue)

    def oldest(self) -> TaskRecord:
        """The task that waits longest; there must be one."""
        while self.queue[0][1].state is not State.QUEUED:
            heapq.heappop(self.queue)
        return self.queue[0][1]

    def before(self, record: TaskRecord) -> int:
        """How many of these tasks were accepted before that one."""
        return sum(number < record.number and one.state is State.QUEUED for number, one in self.queue)


class Demand:
    """
    All waiting tasks with one selector, and the workers that could take them, best first.

    `lines` has those of each DAG by its name; the first has its turn, and goes to the end with it. `candidates` is a heap whose
    outdated items are dropped when they come up.
    """

    __slots__ = ("candidates", "limit", "lines", "selector", "supplies", "waiting")

    def __init__(self, selector: LabelSet) -> None:
        self.selector = selector
        self.lines: OrderedDict[str, Line] = OrderedDict()
        self.waiting = 0
        self.candidates: list[Candidate] = []
        self.limit = 64
        self.supplies: dict[Supply, None] = {}

    def add_candidate(self, candidate: Candidate) -> None:
        """Note a worker; once most notes are outdated, start a fresh list."""
        heapq.heappush(self.candidates, candidate)
        if len(self.candidates) > self.limit:
            self.candidates = [one for one in self.candidates if one[-1].stamp == one[-2]]
            heapq.heapify(self.candidates)
            self.limit = 2 * len(self.candidates) + 64


class Placement:
    """
    Waiting tasks by selector, workers with free slots by label set, and which of both fit each other.

    Among the workers that match, those that left no offer unconfirmed come first, then the least loaded, then who has
    waited longest, then the first by id: the same workers are always taken in the same order.

    Free slots go to the DAGs in turn (round-robin): the tasks of one selector and one root DAG stand in one line, in the order
    of acceptance. A worker takes from that line, of all that it may take from, which was served or began longest ago. So a DAG
    with few tasks waits for one round, however many another one has.
    """

    def __init__(self) -> None:
        self._supplies: dict[LabelSet, Supply] = {}
        self._demands: dict[LabelSet, Demand] = {}
        self._idle: OrderedDict[LabelSet, Demand] = OrderedDict()
        # A demand stands under one of its labels, a supply under all of its own: so only near misses are compared.
        self._demands_by_label: dict[Label | None, dict[Demand, None]] = {}
        self._supplies_by_label: dict[Label | None, dict[Supply, None]] = {}
        self._ties = 0
        self._turns = 0

    @property
    def waiting(self) -> int:
        """How many tasks wait."""
        return sum(demand.waiting for demand in self._demands.values())

    def add_task(self, record: TaskRecord) -> None:
        """Let a task wait; in its line it keeps the place that its number gives it, and a new line is the last."""
        demand = self._demand(wanted(record.task))
        demand.waiting += 1
        self._idle.pop(demand.selector, None)
        line = demand.lines.get(record.task.root.name)
        if line is None:
            self._turns += 1
            line = demand.lines[record.task.root.name] = Line(self._turns)
        line.add(record)

    def remove_task(self, record: TaskRecord, served: bool) -> None:
        """A task waits no longer; if it was `served`, that was the turn of its line."""
        demand = self._demands[wanted(record.task)]
        demand.waiting -= 1
        name = record.task.root.name
        line = demand.lines[name]
        line.remove(record)
        if line.waiting == 0:
            del demand.lines[name]
        elif served:
            self._turns += 1
            line.turn = self._turns
            demand.lines.move_to_end(name)
        if demand.waiting == 0:
            self._retire(demand)

    def update_worker(self, worker: WorkerRecord) -> None:
        """Look at a worker again after its labels, load or waiting calls changed."""
        worker.stamp += 1
        supply = self._supply_of(worker)
        if worker.free <= 0:
            supply.offering.pop(worker, None)
            return
        supply.offering[worker] = None
        candidate = self._candidate(worker)
        for demand in supply.demands:
            demand.add_candidate(candidate)

    def shelve(self, worker: WorkerRecord) -> None:
        """Give a worker nothing until `update_worker` is called for it."""
        worker.stamp += 1
        if worker.supply is not None:
            worker.supply.offering.pop(worker, None)

    def forget_worker(self, worker: WorkerRecord) -> None:
        """The worker is gone."""
        self.shelve(worker)
        self._leave_supply(worker)

    def offering(self, worker: WorkerRecord) -> bool:
        """Whether the worker is considered for tasks now."""
        return worker.supply is not None and worker in worker.supply.offering

    def worker_for(self, task: Task, seen_after: float) -> WorkerRecord | None:
        """The best worker for a task; those not seen since that time are shelved."""
        candidates = self._demand(wanted(task)).candidates
        while candidates:
            *_, stamp, worker = candidates[0]
            if worker.stamp == stamp:
                if worker.seen_at > seen_after:
                    return worker
                self.shelve(worker)
            heapq.heappop(candidates)
        return None

    def task_for(self, worker: WorkerRecord) -> TaskRecord | None:
        """The task whose turn it is, of those that this worker may take."""
        best: Line | None = None
        for demand in self._supply_of(worker).demands:
            if demand.waiting:
                line = next(iter(demand.lines.values()))
                if best is None or line.turn < best.turn:
                    best = line
        return None if best is None else best.oldest()

    def ahead(self, record: TaskRecord) -> int:
        """
        How many of the waiting tasks that could take one of the same workers have their turn before this waiting one.

        That is how many such a worker, if it may take all of them, takes before it. Another line is served once in each round,
        in the round of this task only if it stands before its line.
        """
        demand = self._demands[wanted(record.task)]
        rivals = {rival for supply in demand.supplies for rival in supply.demands} | {demand}
        own = demand.lines[record.task.root.name]
        rounds = own.before(record)
        others = (line for rival in rivals for line in rival.lines.values() if line is not own)
        return rounds + sum(min(line.waiting, rounds + (line.turn < own.turn)) for line in others)

    def clear_tasks(self) -> None:
        """Nothing waits any more."""
        for demand in list(self._demands.values()):
            demand.waiting = 0
            demand.lines.clear()
            self._retire(demand)

    def _candidate(self, worker: WorkerRecord) -> Candidate:
        self._ties += 1
        return (worker.strikes, worker.load, worker.last_offer, worker.id, self._ties, worker.stamp, worker)

    def _demand(self, key: LabelSet) -> Demand:
        demand = self._demands.get(key)
        if demand is not None:
            return demand
        demand = self._demands[key] = Demand(key)
        self._demands_by_label.setdefault(min(key, default=None), {})[demand] = None
        for supply in self._matching_supplies(key):
            supply.demands[demand] = None
            demand.supplies[supply] = None
            demand.candidates.extend(self._candidate(worker) for worker in supply.offering)
        heapq.heapify(demand.candidates)
        demand.limit = 2 * len(demand.candidates) + 64
        self._retire(demand)
        return demand

    def _retire(self, demand: Demand) -> None:
        """Keep an empty demand for a while, and drop the one that has been empty longest."""
        self._idle[demand.selector] = demand
        self._idle.move_to_end(demand.selector)
        if len(self._idle) > IDLE_DEMANDS:
            _, dropped = self._idle.popitem(last=False)
            del self._demands[dropped.selector]
            _discard(self._demands_by_label, min(dropped.selector, default=None), dropped)
            for supply in dropped.supplies:
                del supply.demands[dropped]

    def _supply_of(self, worker: WorkerRecord) -> Supply:
        if worker.supply is not None:
            return worker.supply
        key = frozenset(worker.labels.items())
        if worker.confirms:
            key |= {OURS}
        supply = self._supplies.get(key)
        if supply is None:
            supply = self._supplies[key] = Supply(key)
            for label in (None, *key):
                self._supplies_by_label.setdefault(label, {})[supply] = None
                for demand in self._demands_by_label.get(label, ()):
                    if demand.selector <= key:
                        supply.demands[demand] = None
                        demand.supplies[supply] = None
        supply.members += 1
        worker.supply = supply
        return supply

    def relabel(self, worker: WorkerRecord, labels: Labels) -> None:
        """The worker now says something else of itself, or is another program."""
        self.shelve(worker)
        self._leave_supply(worker)
        worker.labels = labels
        self.update_worker(worker)

    def _leave_supply(self, worker: WorkerRecord) -> None:
        supply, worker.supply = worker.supply, None
        if supply is None:
            return
        supply.members -= 1
        if supply.members == 0:
            del self._supplies[supply.labels]
            for label in (None, *supply.labels):
                _discard(self._supplies_by_label, label, supply)
            for demand in supply.demands:
                del demand.supplies[supply]

    def _matching_supplies(self, selector: LabelSet) -> Iterator[Supply]:
        label = min(selector, key=lambda one: len(self._supplies_by_label.get(one, ())), default=None)
        return (supply for supply in self._supplies_by_label.get(label, ()) if selector <= supply.labels)


def _discard(index: dict[Label | None, dict[Member, None]], label: Label | None, member: Member) -> None:
    members = index[label]
    members.pop(member, None)
    if not members:
        del index[label]
