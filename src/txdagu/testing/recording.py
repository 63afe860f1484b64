"""A store that writes down what it is asked, for tests of the run engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import count
from pathlib import Path

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from txdagu.model.chat import ChatMessage
from txdagu.model.dag import Dag
from txdagu.model.errors import ConflictError
from txdagu.model.run import RunRef, RunStatus
from txdagu.model.status import RunState
from txdagu.store.interfaces import IRunSink, IRunStore, StepLogs


@implementer(IRunSink)
class RecordingSink:
    """
    One attempt: all states in `statuses`, lines of its log in `lines`, the state it was closed with in `final`, whether it was
    `abandoned`. With `refuse` it cannot be closed.
    """

    def __init__(
        self,
        directory: Path,
        dag: Dag,
        run: RunRef,
        number: int,
        changed: Callable[[], None],
        messages: dict[tuple[str, str], tuple[ChatMessage, ...]],
    ) -> None:
        self.messages = messages
        self.dag = dag
        self.run = run
        self.attempt_id = f"{number:06x}"
        self.attempt_name = f"attempt_{number}"
        self.log = str(directory / f"{run.id}.{number}.log")
        self.statuses: list[RunStatus] = []
        self.lines: list[str] = []
        self.final: RunStatus | None = None
        self.abandoned = False
        self.refuse: Exception | None = None
        self.step_names: list[str] = []
        self.cancel: Callable[[], None] | None = None
        self._directory = directory
        self._changed = changed

    def step_logs(self, step_name: str, at: datetime, merged: bool = False) -> Deferred[StepLogs]:
        """Two empty files, or one."""
        self.step_names.append(step_name)
        base = self._directory / f"{self.run.id[:8]}.{self.attempt_id}.{len(self.step_names)}"
        logs = StepLogs(f"{base}.log", f"{base}.log") if merged else StepLogs(f"{base}.out", f"{base}.err")
        Path(logs.stdout).touch()
        Path(logs.stderr).touch()
        return succeed(logs)

    def write_messages(self, step_name: str, messages: Sequence[ChatMessage]) -> Deferred[None]:
        """Kept in the dictionary of the store."""
        self.messages[(self.run.id, step_name)] = tuple(messages)
        return succeed(None)

    def read_messages(self, step_name: str) -> Deferred[tuple[ChatMessage, ...]]:
        """What was kept, by this attempt or an earlier one."""
        return succeed(self.messages.get((self.run.id, step_name), ()))

    def write_log(self, line: str) -> None:
        """Kept."""
        self.lines.append(line)

    def write_status(self, status: RunStatus) -> None:
        """Kept."""
        if self.final is not None:
            raise AssertionError("a state was written after the attempt was closed")
        self.statuses.append(status)
        self._changed()

    def close(self, status: RunStatus) -> Deferred[None]:
        """Kept; closing twice is an error."""
        if self.final is not None:
            raise AssertionError("the attempt was closed twice")
        if self.refuse is not None:
            return fail(self.refuse)
        self.statuses.append(status)
        self.final = status
        self._changed()
        return succeed(None)

    def abandon(self) -> Deferred[None]:
        """Kept as `abandoned`."""
        self.abandoned = True
        return succeed(None)

    def watch_cancel(self, requested: Callable[[], None]) -> None:
        """Kept as `cancel`."""
        self.cancel = requested


@implementer(IRunStore)
class RecordingStore:
    """
        Runs in memory, logs in `directory`. All attempts are kept in `sinks`, in order.

    `messages` has conversations by run id and step. `put` lets a state appear that somebody else wrote; `refuse` lets the next
    attempt fail.
    """

    def __init__(self, directory: str) -> None:
        self.directory = Path(directory)
        self.sinks: list[RecordingSink] = []
        self.cancelled: list[RunRef] = []
        self.refuse: Exception | None = None
        self._foreign: dict[str, RunStatus] = {}
        self._watchers: dict[int, tuple[RunRef, Callable[[], None]]] = {}
        self._numbers = count(1)
        self.messages: dict[tuple[str, str], tuple[ChatMessage, ...]] = {}

    @property
    def watchers(self) -> int:
        """How many watch now."""
        return len(self._watchers)

    def sink(self, run_id: str) -> RecordingSink:
        """The latest attempt of a run."""
        return next(sink for sink in reversed(self.sinks) if sink.run.id == run_id)

    def put(self, status: RunStatus) -> None:
        """Somebody else has written this state of a run."""
        self._foreign[status.run.id] = status
        self._notify(status.run)

    def _notify(self, run: RunRef) -> None:
        for watched, changed in list(self._watchers.values()):
            if watched == run:
                changed()

    def open_attempt(
        self, dag: Dag, run: RunRef, root: RunRef, attempt_name: str = "", new: bool = False
    ) -> Deferred[IRunSink]:
        """A `RecordingSink`; `ConflictError` if `new` and the run is known."""
        if self.refuse is not None:
            refusal, self.refuse = self.refuse, None
            return fail(refusal)
        if new and any(sink.run == run for sink in self.sinks):
            return fail(ConflictError(f"the run {run} already exists"))
        sink = RecordingSink(self.directory, dag, run, next(self._numbers), lambda: self._notify(run), self.messages)
        self.sinks.append(sink)
        self._foreign.pop(run.id, None)
        return succeed(sink)

    def read_status(self, run: RunRef, root: RunRef) -> Deferred[RunStatus | None]:
        """The latest state, whoever wrote it."""
        if run.id in self._foreign:
            return succeed(self._foreign[run.id])
        attempts = [sink for sink in self.sinks if sink.run == run and sink.statuses]
        return succeed(attempts[-1].statuses[-1] if attempts else None)

    def read_dag(self, run: RunRef, root: RunRef) -> Deferred[Dag | None]:
        """What the latest attempt was opened with."""
        return succeed(next((sink.dag for sink in reversed(self.sinks) if sink.run == run), None))

    async def read_messages(self, run: RunRef, root: RunRef, step_name: str) -> tuple[ChatMessage, ...]:
        """What was kept for a step of that run."""
        return self.messages.get((run.id, step_name), ())

    async def amend(self, run: RunRef, root: RunRef, change: Callable[[RunStatus], RunStatus]) -> RunStatus:
        """Somebody changes what the run's latest state says."""
        status = await self.read_status(run, root)
        assert status is not None, f"there is no run {run}"
        self.put(change(status))
        return self._foreign[run.id]

    async def requeue(self, run: RunRef, queued: bool = True) -> RunStatus:
        """The same run, queued once more."""
        return await self.amend(run, run, lambda status: replace(status, state=RunState.QUEUED))

    def latest_run(self, dag_name: str) -> Deferred[RunRef | None]:
        """The run opened last."""
        return succeed(next((sink.run for sink in reversed(self.sinks) if sink.run.name == dag_name), None))

    def watch(self, run: RunRef, root: RunRef, changed: Callable[[], None]) -> Callable[[], None]:
        """Calls back at once, in the caller's stack."""
        number = next(self._numbers)
        self._watchers[number] = (run, changed)
        return lambda: self._watchers.pop(number, None) and None

    def withdraw(self, run: RunRef) -> Deferred[bool]:
        """Forget what `put` or `enqueue` made known."""
        return succeed(self._foreign.pop(run.id, None) is not None)

    def request_cancel(self, run: RunRef, root: RunRef) -> Deferred[bool]:
        """Kept in `cancelled`, and told to the attempt if it is one of ours."""
        self.cancelled.append(run)
        for sink in reversed(self.sinks):
            if sink.run == run and sink.cancel is not None and sink.final is None:
                sink.cancel()
                return succeed(True)
        return succeed(run.id in self._foreign)

    def enqueue(self, dag: Dag, status: RunStatus, queue: str) -> Deferred[None]:
        """Kept as a state of the run."""
        self.put(status)
        return succeed(None)
