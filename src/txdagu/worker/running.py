"""The table of tasks in hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from twisted.logger import Logger

from txdagu.execution.guarding import Guard
from txdagu.model.policies import LostWorkerPolicy
from txdagu.model.run import RunRef
from txdagu.model.task import RunningTask, Task
from txdagu.peers.discovery import Member


class IRunHandle(Protocol):
    """A run, as its task ends it: `txdagu.execution.run.Run`."""

    def cancel(self, reason: str) -> None:
        """Ask for its end."""

    def hand_back(self, reason: str) -> None:
        """Ask it to stop, so that another worker can go on."""

    def kill(self) -> None:
        """Make it end."""

    def give_up(self, reason: str, fenced: bool = False) -> None:
        """Kill it; if `fenced`, it writes nothing more."""


@dataclass(slots=True, eq=False)
class TaskInHand:
    """
    A task that was accepted and has not been reported as ended. Told apart by identity.

    `owner` is the coordinator that gave it, `owner_id` what it calls itself (a configured address tells no id),
    `ours` whether that one keeps a lease which we must renew. `started_at` is Unix seconds, for display. `guard` stands between
    the run and its processes. What is wished for before the run exists is kept until it does. `recalled` is why the run is
    stopped so that another worker can go on with it. `taken_away` says that somebody else may run it: nothing is reported then.
    """

    task: Task
    owner: Member
    ours: bool
    attempt_key: str = ""
    attempt_name: str = ""
    epoch: int = 0
    owner_id: str = ""
    started_at: int = 0
    ended: bool = False
    cancel_reason: str = ""
    recalled: str = ""
    clean_up_seconds: float = 5.0
    guard: Guard = field(default_factory=Guard)
    taken_away: bool = False
    _run: IRunHandle | None = field(default=None, repr=False)
    _let_go: Callable[[], None] | None = field(default=None, repr=False)

    log: ClassVar[Logger] = Logger()

    @property
    def run(self) -> RunRef:
        """The run this task asks for."""
        return self.task.run

    @property
    def token(self) -> str:
        """See `ILeased`."""
        return self.guard.token

    @property
    def policy(self) -> LostWorkerPolicy:
        """See `ILeased`."""
        return self.task.on_worker_lost.policy

    @property
    def owner_name(self) -> str:
        """See `ILeased`."""
        return str(self.owner)

    def cancel(self, reason: str) -> bool:
        """End the run, now or as soon as it exists; False if that was asked before or it has ended."""
        if self.cancel_reason or self.ended:
            return False
        self.cancel_reason = reason
        if self._run is not None:
            self._run.cancel(reason)
        self._let_wait_go()
        return True

    def hand_back(self, reason: str) -> bool:
        """
        Stop the run so that another worker can go on with it, now or as soon as it exists; end it, if no other worker may.

        False if its end was asked for before, or it has ended.
        """
        if not self.ours or self.policy is LostWorkerPolicy.FAIL:
            return self.cancel(reason)
        if self.cancel_reason or self.recalled or self.ended:
            return False
        self.recalled = reason
        if self._run is not None:
            self._run.hand_back(reason)
        self._let_wait_go()
        return True

    def kill(self) -> None:
        """Make what is left of a run that was asked to end do so at once."""
        if self._run is not None:
            self._run.kill()

    def freeze(self, reason: str) -> None:
        """See `ILeased`."""
        self.log.warn("run {run} is frozen: {reason}", run=str(self.run), reason=reason)
        self.guard.freeze(reason)

    def thaw(self) -> None:
        """See `ILeased`."""
        self.log.info("run {run} goes on: its lease is renewed", run=str(self.run))
        self.guard.thaw()

    def give_up(self, reason: str) -> None:
        """See `ILeased`."""
        self._end(reason, fenced=False)

    def take_away(self, reason: str) -> None:
        """See `ILeased`."""
        self.taken_away = True
        self._end(reason, fenced=True)

    def _end(self, reason: str, fenced: bool) -> None:
        if self.ended:
            return
        self.log.warn("run {run} is killed: {reason}", run=str(self.run), reason=reason)
        self.cancel_reason = self.cancel_reason or reason
        self.guard.end(reason, fenced)
        if self._run is not None:
            self._run.give_up(reason, fenced)
        self._let_wait_go()

    def waits(self, let_go: Callable[[], None]) -> None:
        """The run does not exist yet, because something is waited for; `let_go` ends that when the run shall not be."""
        self._let_go = let_go
        if self.cancel_reason or self.recalled:
            self._let_wait_go()

    def started(self, run: IRunHandle) -> None:
        """The run exists."""
        self._run, self._let_go = run, None
        if self.guard.ended:
            run.give_up(self.guard.ended, self.guard.fenced)
        elif self.cancel_reason:
            run.cancel(self.cancel_reason)
        elif self.recalled:
            run.hand_back(self.recalled)

    def _let_wait_go(self) -> None:
        let_go, self._let_go = self._let_go, None
        if let_go is not None:
            let_go()

    def as_running(self) -> RunningTask:
        """As heartbeats name it."""
        return RunningTask(
            run=self.task.run,
            root=self.task.root,
            parent=self.task.parent,
            started_at=self.started_at,
            attempt_key=self.attempt_key,
            epoch=self.epoch,
        )


class TasksInHand:
    """All of them, and a word to those who wait until none is left."""

    def __init__(self) -> None:
        self._tasks: dict[TaskInHand, None] = {}
        self._listeners: list[Callable[[], None]] = []

    def __len__(self) -> int:
        return len(self._tasks)

    def __iter__(self) -> Iterator[TaskInHand]:
        return iter(list(self._tasks))

    def add(self, task: TaskInHand) -> None:
        """Take it in hand."""
        self._tasks[task] = None

    def discard(self, task: TaskInHand) -> None:
        """It is over and reported."""
        self._tasks.pop(task, None)
        self.tell()

    def tell(self) -> None:
        """Something about a task changed that those who wait may care for."""
        for listener in list(self._listeners):
            listener()

    def running(self) -> list[TaskInHand]:
        """Those whose run has not ended."""
        return [task for task in self._tasks if not task.ended]

    def named_to(self, member: Member) -> list[TaskInHand]:
        """
        Those that a heartbeat at that coordinator names: all that run, and of its own also what has ended and is not yet
        reported. What is missing there for long it takes for something that we do not have.
        """
        return [task for task in self._tasks if not task.ended or (task.ours and task.owner.id == member.id)]

    def owned_by(self, member: Member) -> list[TaskInHand]:
        """Those whose lease that coordinator keeps: running, or ended and not yet reported."""
        return [task for task in self._tasks if task.ours and task.owner.id == member.id]

    def subscribe(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Call `changed` when a task ended or was reported; returns how to end that."""
        self._listeners.append(changed)
        return lambda: self._listeners.remove(changed)
