"""Following a run and everything it calls: whoever shows progress is told of each change of the whole family."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from txdagu.cli.asking import answers
from txdagu.execution.plan.approval import waits_of
from txdagu.execution.singlestep import run_name
from txdagu.model.run import NodeStatus, RunRef, RunStatus
from txdagu.model.status import RunState
from txdagu.store.interfaces import IRunStore

MOST_WATCHED = 50  # children of one step


@dataclass(frozen=True, slots=True)
class Family:
    """A run with all runs below it that are known so far, by run id."""

    top: RunStatus
    below: dict[str, RunStatus] = field(default_factory=dict)

    def children_of(self, node: NodeStatus) -> list[RunStatus]:
        """The runs that a step started, as far as they have begun."""
        return [self.below[child.run_id] for child in node.children if child.run_id in self.below]

    def workers(self) -> dict[str, str]:
        """Which worker executed each run below, by run id."""
        return {run_id: status.worker_id for run_id, status in self.below.items() if status.worker_id}

    def answers(self) -> str:
        """What its steps ask people, and how to answer; empty if none waits."""
        return answers(self.top.run, tuple(waits_of(self.top, self.below)))


@dataclass(slots=True)
class _Calls:
    """The children of one step: those that nobody looked at yet, in order, and those that are watched and have not ended."""

    most: int
    waiting: deque[RunRef] = field(default_factory=deque)
    open: set[RunRef] = field(default_factory=set)


class Follower:
    """
    Watches one run and the runs below it in the store, and tells `changed` of every new state of the family.

    `ended` fires with the last family once the run is no longer active. Whoever has the run's states at hand (because it
    executes the run itself) gives them to `saw`; else call `watch_top`. States of the attempt `earlier` than the one that is
    followed are read over.

    Of the children of one step no more are watched at a time than may run at a time: they begin in order, and each watch that
    waits for a directory to appear is woken by all that appear beside it.
    """

    log = Logger()

    def __init__(
        self,
        store: IRunStore,
        run: RunRef,
        changed: Callable[[Family], None],
        root: RunRef | None = None,
        earlier: str = "",
    ) -> None:
        self._store = store
        self._run = run
        self._root = root or run
        self._changed = changed
        self._earlier = earlier
        self._top: RunStatus | None = None
        self._below: dict[str, RunStatus] = {}
        self._stops: dict[RunRef, Callable[[], None]] = {}
        self._calls: dict[tuple[str, str], _Calls] = defaultdict(lambda: _Calls(MOST_WATCHED))
        self._called: dict[RunRef, _Calls] = {}
        self._reading: set[RunRef] = set()
        self._again: set[RunRef] = set()
        self._ends = True
        self.ended: Deferred[Family] = Deferred()

    def watch_top(self, ends: bool = True) -> None:
        """
        Read the run's own states from the store.

        Without `ends` only `saw` says that it has ended: an end in its files may be that of an attempt which was lost.
        """
        self._ends = ends
        self._watch(self._run)

    def saw(self, status: RunStatus) -> None:
        """
        Take a state of the run itself. The first that is an end stands.

        What a coordinator says of a run whose worker was lost is such an end; the run's files never tell it.
        """
        if self._over or self._top == status:
            return
        self._top = status
        self._watch_children(status)
        self._tell()

    def stop(self) -> None:
        """Watch nothing any more."""
        for stop in self._stops.values():
            stop()
        self._stops.clear()

    async def finish(self) -> Family:
        """Read the last states of all runs below, then stop; the family as it ended."""
        read: set[RunRef] = set()
        while unread := [ref for ref in (*self._stops, *self._called) if ref not in read]:
            for ref in dict.fromkeys(unread):
                read.add(ref)
                if not self._succeeded(ref):
                    await self._read(ref)
        self.stop()
        assert self._top is not None, "a run that ended has a state"
        return Family(self._top, dict(self._below))

    @property
    def _over(self) -> bool:
        """Whether the run itself has ended."""
        return self._top is not None and self._top.state.ended

    def _tell(self) -> None:
        if self._top is not None:
            self._changed(Family(self._top, dict(self._below)))

    def _watch(self, ref: RunRef) -> None:
        if ref not in self._stops and not self.ended.called:
            self._stops[ref] = self._store.watch(ref, self._root, lambda: self._look(ref))
            self._look(ref)

    def _watch_children(self, status: RunStatus) -> None:
        for node in (*status.nodes, *status.handlers_begun):
            # A step that calls nothing and has a child runs on a worker of its own.
            name = node.step.child.name if node.step.child is not None else run_name(node.step.name)
            calls = self._calls[status.run.id, node.step.name]
            if node.step.parallel is not None:
                calls.most = min(node.step.parallel.max_concurrent, MOST_WATCHED)
            for child in (*node.children_repeated, *node.children):
                ref = RunRef(name, child.run_id)
                if ref not in self._called:
                    self._called[ref] = calls
                    calls.waiting.append(ref)
            self._watch_more(calls)

    def _watch_more(self, calls: _Calls) -> None:
        while calls.waiting and len(calls.open) < calls.most:
            ref = calls.waiting.popleft()
            calls.open.add(ref)
            self._watch(ref)

    def _child_ended(self, ref: RunRef) -> None:
        """Look at the next one instead. One that did not succeed may be taken up again, so it stays watched."""
        calls = self._called.get(ref)
        if calls is None:
            return
        if self._succeeded(ref) and ref in self._stops:
            self._stops.pop(ref)()
        calls.open.discard(ref)
        self._watch_more(calls)

    def _succeeded(self, ref: RunRef) -> bool:
        status = self._below.get(ref.id)
        return status is not None and status.state is RunState.SUCCEEDED

    def _look(self, ref: RunRef) -> None:
        if ref in self._reading:
            self._again.add(ref)
            return
        self._reading.add(ref)
        Deferred.fromCoroutine(self._look_until_quiet(ref)).addErrback(
            lambda failure: self.log.failure("while reading run {run}", failure, run=str(ref))
        )

    async def _look_until_quiet(self, ref: RunRef) -> None:
        try:
            while True:
                self._again.discard(ref)
                await self._read(ref)
                if ref not in self._again:
                    return
        finally:
            self._reading.discard(ref)

    async def _read(self, ref: RunRef) -> None:
        status = await self._store.read_status(ref, self._root)
        if status is None or self.ended.called:
            return
        if ref == self._run:
            mine = not self._earlier or status.attempt_id != self._earlier
            if mine and (self._ends or not status.state.ended):
                self._take_top(status)
        elif self._below.get(ref.id) != status:
            self._below[ref.id] = status
            self._watch_children(status)
            if status.state.ended:
                self._child_ended(ref)
            self._tell()

    def _take_top(self, status: RunStatus) -> None:
        over = self._over
        self.saw(status)
        if self._over and not over:
            Deferred.fromCoroutine(self.finish()).chainDeferred(self.ended)
