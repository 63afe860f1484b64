"""A store in memory: the same promises as the shared-disk one, without files, threads or waiting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from txdagu.config.settings import PathSettings
from txdagu.model.chat import ChatMessage
from txdagu.model.dag import Dag
from txdagu.model.errors import ConflictError, NotFoundError
from txdagu.model.run import NodeStatus, RunRef, RunStatus
from txdagu.model.status import RunState
from txdagu.store.interfaces import IRunQueue, IRunSink, IRunStore, StepLogs
from txdagu.store.layout import attempt_dir_name, parse_attempt_dir, run_log_name, safe_name, step_log_stem


def paths_under(home: Path) -> PathSettings:
    """Settings with every directory below `home`, laid out as Dagu lays out its home."""
    data = home / "data"
    return PathSettings(
        dags_dir=str(home / "dags"),
        data_dir=str(data),
        log_dir=str(home / "logs"),
        admin_logs_dir=str(home / "logs" / "admin"),
        suspend_flags_dir=str(home / "suspend"),
        base_config=str(home / "base.yaml"),
        dag_runs_dir=str(data / "dag-runs"),
        queue_dir=str(data / "queue"),
        proc_dir=str(data / "proc"),
        service_registry_dir=str(data / "service-registry"),
    )


@dataclass
class MemoryAttempt:
    """What one attempt has written, for tests to look at."""

    name: str
    dag: Dag
    log: str
    status: RunStatus | None = None
    history: list[RunStatus] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    cancel: bool = False
    alive: bool = False


@implementer(IRunSink)
class MemorySink:
    """The writer of one attempt in a `MemoryStore`."""

    def __init__(self, store: MemoryStore, attempt: MemoryAttempt, run: RunRef, attempt_id: str) -> None:
        self.attempt = attempt
        self.attempt_id = attempt_id
        self.attempt_name = attempt.name
        self.log = attempt.log
        self._store = store
        self._run = run
        self._requested: Callable[[], None] | None = None
        self._closed = False

    async def step_logs(self, step_name: str, at: datetime, merged: bool = False) -> StepLogs:
        """Paths for the step's logs; the files are made if the store has a directory for them."""
        while True:
            stem = str(Path(self.log).parent / self.attempt_id / step_log_stem(step_name, at, self._run.id))
            if stem not in self._store.stems:
                break
            at += timedelta(milliseconds=1)
        self._store.stems.add(stem)
        logs = StepLogs(f"{stem}.log", f"{stem}.log") if merged else StepLogs(f"{stem}.out", f"{stem}.err")
        if self._store.log_dir:
            for path in (Path(logs.stdout), Path(logs.stderr)):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch(0o600)
        return logs

    async def write_messages(self, step_name: str, messages: Sequence[ChatMessage]) -> None:
        """Keep the conversation, for all attempts of the run."""
        self._store.messages[(self._run, step_name)] = tuple(messages)

    async def read_messages(self, step_name: str) -> tuple[ChatMessage, ...]:
        """The conversation, empty if there is none."""
        return self._store.messages.get((self._run, step_name), ())

    def write_log(self, line: str) -> None:
        """Keep the line."""
        if not self._closed:
            self.attempt.lines.append(line)

    def write_status(self, status: RunStatus) -> None:
        """Keep the state; states after the end are dropped."""
        if not self._closed:
            self._keep(status)

    async def close(self, status: RunStatus) -> None:
        """Keep the final state; the run is no longer alive."""
        if self._closed:
            raise RuntimeError(f"the attempt of run {self._run} is closed already")
        self._closed = True
        self.attempt.alive = False
        self._keep(status)

    async def abandon(self) -> None:
        """The run is no longer alive; its last state stays as it was."""
        self._closed = True
        self.attempt.alive = False

    def watch_cancel(self, requested: Callable[[], None]) -> None:
        """Call once when the end is asked for, at once if it was before."""
        self._requested = requested
        self.ask()

    def ask(self) -> None:
        """Pass on a request, if there is one and somebody listens."""
        if self.attempt.cancel and self._requested and not self._closed:
            requested, self._requested = self._requested, None
            self._store.soon(requested)

    def _keep(self, status: RunStatus) -> None:
        status = replace(
            status,
            state=status.state or RunState.RUNNING,
            attempt_id=self.attempt_id,
            log=self.log,
            worker_id=status.worker_id or "local",
            pid=status.pid or 1,
            created_at_ms=status.created_at_ms or int(self._store.now().timestamp() * 1000),
        )
        self.attempt.status = status
        self.attempt.history.append(status)
        self._store.changed(self._run)


@implementer(IRunStore)
class MemoryStore:
    """
    Runs in memory. `queue` is its `IRunQueue`.

    `clock` carries the callbacks of watchers, `now` tells the time. With `log_dir`, log files of steps are made there, for
    processes that write them. `attempts` shows what was written.
    """

    def __init__(self, clock: IReactorTime, now: Callable[[], datetime], log_dir: str = "") -> None:
        self.now = now
        self.log_dir = log_dir
        self.stems: set[str] = set()
        self.messages: dict[tuple[RunRef, str], tuple[ChatMessage, ...]] = {}
        self._clock = clock
        self._attempts: dict[tuple[str, str], list[MemoryAttempt]] = {}
        self._sinks: dict[int, MemorySink] = {}
        self._watchers: dict[object, tuple[str, MemoryWatch]] = {}
        self._count = 0
        self.queue = MemoryQueue(self)

    def attempts(self, run: RunRef, root: RunRef) -> list[MemoryAttempt]:
        """All attempts of a run, oldest first."""
        return self._attempts.setdefault((root.id, run.id), [])

    def lose(self, run: RunRef, root: RunRef) -> None:
        """Let the process that executes the run die without a word."""
        for attempt in self.attempts(run, root):
            attempt.alive = False

    async def open_attempt(
        self, dag: Dag, run: RunRef, root: RunRef, attempt_name: str = "", new: bool = False
    ) -> MemorySink:
        """See `IRunStore`."""
        if run.id != root.id and not self.attempts(root, root):
            raise NotFoundError(f"run {run} cannot begin because there is no root run {root}")
        attempts = self.attempts(run, root)
        if new and attempts:
            raise ConflictError(f"run {run} exists already")
        if not attempt_name and run.id == root.id and any(attempt.alive for attempt in attempts):
            raise ConflictError(f"run {run} is being executed by another process")
        self.lose(run, root)
        earlier = attempts[-1] if attempts else None
        attempt = self._add(dag, run, attempts, attempt_name)
        attempt.alive = True
        if earlier and earlier.status:
            attempt.log = earlier.log
            attempt.cancel = earlier.cancel and earlier.status.state is RunState.QUEUED
        parsed = parse_attempt_dir(attempt.name)
        assert parsed
        sink = self._sinks[id(attempt)] = MemorySink(self, attempt, run, parsed.id)
        return sink

    async def read_status(self, run: RunRef, root: RunRef) -> RunStatus | None:
        """See `IRunStore`."""
        for attempt in reversed(self.attempts(run, root)):
            status = attempt.status
            if status and status.state is RunState.RUNNING and run.id == root.id and not attempt.alive:
                return replace(status, state=RunState.FAILED, error="the process that executed this run is gone")
            if status:
                return status
        return None

    async def read_dag(self, run: RunRef, root: RunRef) -> Dag | None:
        """See `IRunStore`."""
        attempts = self.attempts(run, root)
        return attempts[-1].dag if attempts else None

    async def read_messages(self, run: RunRef, root: RunRef, step_name: str) -> tuple[ChatMessage, ...]:
        """See `IRunStore`."""
        return self.messages.get((run, step_name), ())

    async def latest_run(self, dag_name: str) -> RunRef | None:
        """See `IRunStore`."""
        for (root_id, run_id), attempts in reversed(self._attempts.items()):
            if root_id == run_id and attempts and attempts[0].dag.name == dag_name:
                return RunRef(dag_name, run_id)
        return None

    def watch(self, run: RunRef, root: RunRef, changed: Callable[[], None]) -> Callable[[], None]:
        """See `IRunStore`."""
        return self.add_watcher(run.id, changed)

    async def request_cancel(self, run: RunRef, root: RunRef) -> bool:
        """See `IRunStore`."""
        attempts = self.attempts(run, root)
        if not attempts:
            return False
        attempts[-1].cancel = True
        sink = self._sinks.get(id(attempts[-1]))
        if sink:
            sink.ask()
        return True

    async def enqueue(self, dag: Dag, status: RunStatus, queue: str) -> None:
        """See `IRunStore`."""
        run = status.run
        attempts = self.attempts(run, run)
        if attempts:
            raise ConflictError(f"run {run} exists already")
        dag = replace(dag, location="", queue=dag.queue if queue in ("", dag.queue_name) else queue)
        attempt = self._add(dag, run, attempts, "")
        parsed = parse_attempt_dir(attempt.name)
        attempt.status = replace(
            status,
            root=run,
            state=RunState.QUEUED,
            attempt_id=parsed.id if parsed else "",
            nodes=status.nodes or tuple(NodeStatus(step) for step in dag.steps),
            handlers=status.handlers or {handler: NodeStatus(step) for handler, step in dag.handlers.items()},
            queued_at=status.queued_at or self.now(),
            created_at_ms=status.created_at_ms or int(self.now().timestamp() * 1000),
            log=attempt.log,
            worker_id="",
            pid=0,
        )
        self.changed(run)
        if queue:
            self.queue.add(queue, run)

    async def amend(self, run: RunRef, root: RunRef, change: Callable[[RunStatus], RunStatus]) -> RunStatus:
        """See `IRunStore`."""
        attempt = self._at_rest(run, root)
        assert attempt.status
        status = attempt.status = change(attempt.status)
        attempt.history.append(status)
        self.changed(run)
        return status

    async def requeue(self, run: RunRef, queued: bool = True) -> RunStatus:
        """See `IRunStore`."""
        earlier = self._at_rest(run, run)
        assert earlier.status
        if earlier.status.state is not RunState.WAITING:
            raise ConflictError(f"run {run} waits for nobody any more")
        attempt = self._add(earlier.dag, run, self.attempts(run, run), "")
        parsed = parse_attempt_dir(attempt.name)
        attempt.log = earlier.log
        attempt.status = replace(
            earlier.status,
            state=RunState.QUEUED,
            attempt_id=parsed.id if parsed else "",
            queued_at=self.now(),
            started_at=None,
            finished_at=None,
            worker_id="",
            pid=0,
        )
        self.changed(run)
        if queued:
            self.queue.add(earlier.dag.queue_name, run)
        return attempt.status

    def _at_rest(self, run: RunRef, root: RunRef) -> MemoryAttempt:
        """The attempt that tells the latest state of a run, while nobody executes it."""
        attempt = next((one for one in reversed(self.attempts(run, root)) if one.status), None)
        if attempt is None:
            raise NotFoundError(f"there is no run {run}")
        if any(one.alive for one in self.attempts(root, root)):
            raise ConflictError(f"run {root} is being executed")
        return attempt

    async def withdraw(self, run: RunRef) -> bool:
        """See `IRunStore`."""
        attempts = self.attempts(run, run)
        if len(attempts) != 1 or attempts[0].status is None or attempts[0].status.state is not RunState.QUEUED:
            return False
        del self._attempts[(run.id, run.id)]
        self.changed(run)
        return True

    def running(self, queue: str) -> int:
        """How many root runs of the queue are alive."""
        return sum(
            root_id == run_id and any(attempt.alive and attempt.dag.queue_name == queue for attempt in attempts)
            for (root_id, run_id), attempts in self._attempts.items()
        )

    def add_watcher(self, of: str, changed: Callable[[], None]) -> Callable[[], None]:
        """Call soon after each change of what `of` names, and each second."""
        key = object()
        watcher = MemoryWatch(self._clock, changed)
        self._watchers[key] = (of, watcher)

        def stop() -> None:
            if self._watchers.pop(key, None):
                watcher.stop()

        return stop

    def changed(self, run: RunRef | None) -> None:
        """Tell the watchers of a run; of the queue for None."""
        for of, watcher in list(self._watchers.values()):
            if of == (run.id if run else ""):
                watcher.soon()

    def soon(self, call: Callable[[], None]) -> None:
        """Call in the next turn of the clock."""
        self._clock.callLater(0, call)

    def _add(self, dag: Dag, run: RunRef, attempts: list[MemoryAttempt], name: str) -> MemoryAttempt:
        at = self.now()
        last = attempts[-1].name if attempts else ""
        self._count += 1
        name = name or attempt_dir_name(at, f"{self._count:06x}", last)
        if name <= last:
            raise ConflictError(f"attempt {name} of run {run} cannot begin because {last} came after it")
        base = Path(self.log_dir or "/memory") / safe_name(run.name) / run.id
        attempt = MemoryAttempt(name, dag, str(base / run_log_name(at, run.id)))
        attempts.append(attempt)
        return attempt


@implementer(IRunQueue)
class MemoryQueue:
    """The queues of a `MemoryStore`."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._items: list[tuple[str, RunRef]] = []

    def add(self, queue: str, run: RunRef) -> None:
        """Put a run at the end of a queue."""
        self._items.append((queue, run))
        self._store.changed(None)

    async def items(self) -> list[tuple[str, RunRef]]:
        """See `IRunQueue`."""
        return sorted(self._items, key=lambda item: item[0])

    async def remove(self, queue: str, run: RunRef) -> None:
        """See `IRunQueue`."""
        self._items = [item for item in self._items if item != (queue, run)]
        self._store.changed(None)

    async def running(self, queue: str) -> int:
        """See `IRunQueue`."""
        return self._store.running(queue)

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:
        """See `IRunQueue`."""
        return self._store.add_watcher("", changed)


class MemoryWatch:
    """Calls soon after changes, several at once only once, and each second."""

    log = Logger()

    def __init__(self, clock: IReactorTime, changed: Callable[[], None]) -> None:
        self._clock = clock
        self._changed = changed
        self._pending: IDelayedCall | None = None
        self._loop = LoopingCall(changed)
        self._loop.clock = clock
        self._loop.start(1.0, now=False).addErrback(lambda failure: self.log.failure("while watching", failure))

    def soon(self) -> None:
        """Something changed."""
        if self._pending is None:
            self._pending = self._clock.callLater(0, self._tell)

    def stop(self) -> None:
        """Call no more."""
        self._loop.stop()
        if self._pending:
            self._pending.cancel()

    def _tell(self) -> None:
        self._pending = None
        self._changed()
