"""What must hold at every instant, whatever fails."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from twisted.python.failure import Failure

from txdagu.dispatch.machine import TABLE, Input, State
from txdagu.dispatch.matching import matches
from txdagu.dispatch.records import Entry, StandingEntry
from txdagu.model.labels import Labels
from txdagu.model.policies import LostWorkerPolicy
from txdagu.model.run import RunRef
from txdagu.model.standing import Standing
from txdagu.model.status import RunState
from txdagu.peers.statuses import status_from_message
from txdagu.protocol import coordinator_pb2 as pb
from txdagu.testing.simulation.files import Attempt
from txdagu.testing.simulation.runs import StepProcess
from txdagu.testing.simulation.world import World

Edge = tuple[State, Input]
RunKey = tuple[RunRef, str]

# Seconds for a reaper whose host stood still to notice that a lease has ended: it looks at its clock once a second.
NOTICING = 1.2


class ViolationError(Exception):
    """An invariant does not hold: its number, and what was seen."""


def _pattern(reason: str) -> re.Pattern[str]:
    parts = re.split(r"(\{[^}]*\})", reason)
    return re.compile("".join(".*" if part.startswith("{") else re.escape(part) for part in parts), re.DOTALL)


# The most telling sentence first, because some rows have nothing but the words of others.
_ROWS = sorted(
    ((before, row.target, _pattern(row.reason), (before, happened)) for (before, happened), row in TABLE.items()),
    key=lambda row: -len(row[2].pattern.replace(".*", "")),
)


def edge_of(entry: Entry) -> Edge:
    """The row of the table that led to this entry."""
    line = entry.transition
    for before, target, pattern, edge in _ROWS:
        if before is entry.before and target is line.state and pattern.fullmatch(line.reason):
            return edge
    raise ViolationError(f"1: no row of the table leads from {entry.before} to {line.state}: {line.reason}")


@dataclass
class Life:
    """One task as its coordinator's journal has it."""

    entry: Entry
    tokens: set[str] = field(default_factory=set)
    confirmed: set[str] = field(default_factory=set)
    started: set[str] = field(default_factory=set)


@dataclass
class Book:
    """All that one coordinator has on its present disk."""

    tasks: dict[int, Life] = field(default_factory=dict)
    of_run: dict[RunKey, Life] = field(default_factory=dict)
    epochs: dict[RunKey, int] = field(default_factory=dict)
    of_token: dict[str, Life] = field(default_factory=dict)
    standings: dict[str, Standing | None] = field(default_factory=dict)


class Invariants:
    """
    Sees what disks keep, what servers answer, what is written and what really runs; raises `ViolationError`.

    `edges` are the rows of the table that were taken.
    """

    def __init__(self, world: World) -> None:
        self.edges: set[Edge] = set()
        self.labels: dict[str, Labels] = {}
        self.loaded: dict[str, list[float]] = {}
        self.violation: ViolationError | None = None
        self._world = world
        self._books: dict[str, Book] = {}
        self._attempts: dict[str, tuple[Life, int]] = {}
        self._running: dict[RunKey, dict[StepProcess, None]] = {}
        self._excused: set[RunKey] = set()
        self._arrived: dict[tuple[str, str], float] = {}
        self._logs: dict[str, list[str]] = {}

    def fail(self, sentence: str) -> None:
        """Something is wrong. Kept, because whoever calls may swallow what is raised."""
        if self.violation is None:
            self.violation = ViolationError(sentence)
            self._world.tell("VIOLATION", sentence)

    def check(self) -> None:
        """Raise what was found."""
        if self.violation is not None:
            raise self.violation

    def book(self, coordinator: str) -> Book:
        """What a coordinator's disk has."""
        return self._books.setdefault(coordinator, Book())

    def disk_lost(self, coordinator: str) -> None:
        """A disk is gone for good. What ran may be started again by whoever waits for it: no journal could prevent that."""
        self._excused.update(self.book(coordinator).of_run)
        self._books[coordinator] = Book()

    # -- 1, 2, 3, 6: the journal ---------------------------------------------------------------------------------------

    def kept(self, coordinator: str, entries: Sequence[Entry], standings: Sequence[StandingEntry] = ()) -> None:
        """These entries, written at once, are on a coordinator's disk for good."""
        book = self.book(coordinator)
        for noted in standings:
            book.standings[noted.worker_id] = noted.standing
            self._world.tell(coordinator, f"{noted.worker_id}: {noted.standing or 'takes tasks again'}")
        for entry in entries:
            self._world.tell(coordinator, _line(entry))
            try:
                self.edges.add(edge_of(entry))
            except ViolationError as violation:
                self.fail(str(violation))
            life = self._next(book, entry)
            if entry.transition.state is State.OFFERED and entry.before is State.QUEUED:
                self._offered(book, life, entry)
            elif entry.transition.state is State.RUNNING and entry.token:
                life.confirmed.add(entry.token)
            elif entry.transition.state is State.ENDED:
                self._ended(entry)

    def _next(self, book: Book, entry: Entry) -> Life:
        run = (entry.task.root, entry.task.run.id)
        life = book.tasks.get(entry.number)
        if not entry.transition.reason:
            self.fail(f"1: task {entry.number} is {entry.transition.state.value} without a reason")
        if life is None:
            before = book.of_run.get(run)
            if before is not None and before.entry.transition.state is not State.ENDED:
                self.fail(f"2: run {run[1]} has two open tasks")
            if entry.before is not State.NEW:
                self.fail(f"1: task {entry.number} begins as {entry.before.value}")
            life = book.tasks[entry.number] = book.of_run[run] = Life(entry)
            book.epochs[run] = max(book.epochs.get(run, 0), entry.transition.epoch)
            return life
        last = life.entry
        if last.transition.state is State.ENDED:
            self.fail(f"1: task {entry.number} of run {run[1]} ended, and then {entry.transition.reason!r}")
        if (entry.before, entry.before_epoch, entry.sequence) != (
            last.transition.state,
            last.transition.epoch,
            last.sequence + 1,
        ):
            self.fail(f"1: task {entry.number} of run {run[1]} does not go on where its journal stands")
        life.entry = entry
        return life

    def _offered(self, book: Book, life: Life, entry: Entry) -> None:
        run, epoch = (entry.task.root, entry.task.run.id), entry.transition.epoch
        if epoch <= book.epochs.get(run, 0):
            self.fail(f"2: run {run[1]} is offered in epoch {epoch}, after epoch {book.epochs[run]}")
        book.epochs[run] = epoch
        book.of_token[entry.token] = life
        life.tokens.add(entry.token)
        self._attempts[entry.attempt_id] = (life, epoch)
        worker = entry.transition.worker_id
        if book.standings.get(worker) is not None:
            self.fail(f"6: run {run[1]} is offered to {worker}, which is {book.standings[worker]}")
        if not matches(entry.task.selector, self.labels[worker]):
            self.fail(f"6: run {run[1]} wants {entry.task.selector} and is offered to {worker}, {self.labels[worker]}")

    def _ended(self, entry: Entry) -> None:
        run = (entry.task.root, entry.task.run.id)
        if entry.outcome is None:
            self.fail(f"1: task {entry.number} ended without an outcome")
        elif entry.outcome.state is RunState.SUCCEEDED and run not in self._running:
            self.fail(f"3: run {run[1]} has succeeded, and nothing of it was ever started")
        elif entry.outcome.report and entry.confirms and not entry.adopted:
            attempt = msgspec.json.decode(entry.outcome.report).get("attemptId")
            if attempt and attempt != entry.attempt_id:
                self.fail(
                    f"2: run {entry.task.run.id} ends with the report of attempt {attempt}, not {entry.attempt_id}"
                )

    # -- 2, 5: what readers of the shared disk see ---------------------------------------------------------------------

    def shown(self, root: RunRef, run_id: str, attempt: Attempt) -> None:
        """Readers of a run see this attempt now."""
        known = self._attempts.get(attempt.attempt_id)
        if known is not None and (root, run_id) not in self._excused:
            life, epoch = known
            newest = life.entry.transition.epoch
            started = [self._attempts[one][1] for one in life.started]
            if started and epoch < max(started):
                self.fail(f"2: run {run_id} shows epoch {epoch}, though epoch {max(started)} of {newest} has begun")
        seen = self._logs.get(attempt.name, [])
        if attempt.log[: len(seen)] != seen:
            self.fail(f"5: the log of {attempt.name} is not what it was")
        self._logs[attempt.name] = list(attempt.log)

    # -- 2, 3, 4, 6: what really runs ----------------------------------------------------------------------------------

    def step_begins(self, step: StepProcess) -> None:
        """A process was started on a host."""
        self._world.tell(step.host.name, f"{step.run.id}: step {step.name} begins, attempt {step.attempt_id}")
        run = (step.root, step.run.id)
        self._running.setdefault(run, {})[step] = None
        runs = {other.run for other in step.host.steps}
        if len(runs) > step.host.slots:
            self.fail(f"4: {len(runs)} runs on worker {step.host.name}, which has {step.host.slots} slots")
        known = self._attempts.get(step.attempt_id)
        if known is not None:
            life, _ = known
            life.started.add(step.attempt_id)
            policy = life.entry.task.on_worker_lost.policy
            if policy is LostWorkerPolicy.FAIL and len(life.started) > 1:
                self.fail(f"3: run {step.run.id} is started again, though onWorkerLost is fail")
        self._alone(run)

    def step_ends(self, step: StepProcess) -> None:
        """It is gone."""
        self._world.tell(step.host.name, f"{step.run.id}: step {step.name} ends, attempt {step.attempt_id}")
        self._running[step.root, step.run.id].pop(step, None)

    def _alone(self, run: RunKey) -> None:
        if run in self._excused:
            return
        since = self._world.now - NOTICING
        here = {step.attempt_id: step for step in self._running[run] if step.runs and step.host.resumed_at < since}
        if len(here) > 1:
            places = ", ".join(f"attempt {attempt} on {step.host.name}" for attempt, step in here.items())
            self.fail(f"2: run {run[1]} is executed twice at once: {places}")

    def look(self) -> None:
        """Look at everything that runs."""
        for run, steps in self._running.items():
            if len(steps) > 1:
                self._alone(run)

    # -- 1, 8: what is told --------------------------------------------------------------------------------------------

    def offer_told(self, coordinator: str, worker: str, labels: Labels, message: pb.Task) -> None:
        """A worker has received an offer."""
        if message.claim_token not in self.book(coordinator).of_token and not self._lost_since(message):
            self.fail(f"1: worker {worker} heard of an offer of {message.dag_run_id} that is not kept")
        if not matches(dict(message.worker_selector), labels):
            self.fail(f"6: worker {worker} with {labels} was offered {message.dag_run_id}")

    def _lost_since(self, message: pb.Task) -> bool:
        root = RunRef(message.root_dag_run_name, message.root_dag_run_id)
        return (root, message.dag_run_id) in self._excused

    def arrived(self, server: str, request: Any) -> None:
        """A request has reached its server."""
        worker = getattr(request, "worker_id", "")
        if worker:
            self._arrived[server, worker] = self._world.now

    def served(self, server: str, request: Any, answer: Any) -> None:
        """A server answers."""
        book = self.book(server)
        match request:
            case pb.DispatchRequest():
                task = request.task
                if (RunRef(task.root_dag_run_name, task.root_dag_run_id), task.dag_run_id) not in book.of_run:
                    self.fail(f"1: run {task.dag_run_id} was accepted and is not kept")
            case pb.AckTaskClaimRequest() if answer.accepted:
                life = book.of_token.get(request.claim_token)
                if life is None or request.claim_token not in life.confirmed:
                    self.fail("1: a confirmation was accepted that is not kept")
            case pb.GetDAGRunStatusRequest() if answer.found:
                found = book.of_run.get(
                    (RunRef(request.root_dag_run_name, request.root_dag_run_id), request.dag_run_id)
                )
                ended = not answer.status.json_data or status_from_message(answer.status).state.at_rest
                if ended and (found is None or found.entry.transition.state is not State.ENDED):
                    self.fail(f"8: run {request.dag_run_id} is told to have ended, and has not")
            case pb.GetWorkersRequest():
                self._workers_told(server, answer)

    def _workers_told(self, server: str, answer: pb.GetWorkersResponse) -> None:
        for worker in answer.workers:
            if not worker.last_heartbeat_at and worker.health_status != pb.WORKER_HEALTH_STATUS_HEALTHY:
                continue  # it is not there, and listed only because of an order
            heard = self._arrived.get((server, worker.worker_id), float("-inf"))
            since = self._world.now - max(heard, *self.loaded.get(server, [0.0]))
            if worker.heartbeat_age_ms / 1000 < since * 0.97 - 0.1:
                self.fail(
                    f"8: worker {worker.worker_id} is told to have been heard of {worker.heartbeat_age_ms / 1000:.1f} s ago, "
                    f"it was {since:.1f} s"
                )

    def broken(self, where: str, failure: Failure) -> None:
        """Code failed in a way that nobody was meant to see."""
        self.fail(f"{where} broke: {failure.getTraceback()}")

    # -- 1, 4, 7: at the end -------------------------------------------------------------------------------------------

    def open_tasks(self) -> list[Entry]:
        """Every task that has not ended."""
        return [
            life.entry
            for book in self._books.values()
            for life in book.tasks.values()
            if life.entry.transition.state is not State.ENDED
        ]


def _line(entry: Entry) -> str:
    line = entry.transition
    return f"{entry.task.run.id}: {line.state.value} (epoch {line.epoch}): {line.reason}"
