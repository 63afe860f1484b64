"""The table of tasks in hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from txdagu.model.policies import LostWorkerPolicy
from txdagu.model.run import RunRef
from txdagu.model.task import RunningTask, Task
from txdagu.peers.discovery import Member


class Stoppable(Protocol):
    """A run, as far as its end is concerned: `txdagu.execution.run.Run`."""

    def cancel(self, reason: str) -> None:
        """Ask for its end."""

    def hand_back(self, reason: str) -> None:
        """Ask it to stop, so that another worker can go on."""

    def kill(self) -> None:
        """Make it end."""


@dataclass(slots=True, eq=False)
class TaskInHand:
    """
    A task that was accepted and has not been reported as ended. Told apart by identity.

    `owner` is the coordinator that gave it, `owner_id` what it calls itself (a configured address tells no id),
    `ours` whether that one keeps a lease which we must renew. `renewed_at` is when the last renewal that was granted
    had been sent, on the worker's monotonic clock; `started_at` is Unix seconds, for display. Until the run
    exists, the reasons for its end are only kept. `recalled` is why the run is stopped so that another worker can
    go on with it.
    """

    task: Task
    owner: Member
    ours: bool
    attempt_key: str = ""
    attempt_name: str = ""
    epoch: int = 0
    owner_id: str = ""
    started_at: int = 0
    renewed_at: float = 0.0
    ended: bool = False
    cancel_reason: str = ""
    recalled: str = ""
    clean_up_seconds: float = 5.0
    _run: Stoppable | None = field(default=None, repr=False)

    @property
    def run(self) -> RunRef:
        """The run this task asks for."""
        return self.task.run

    @property
    def waited_for(self) -> bool:
        """Whether no other worker will be given the task, however long its owner does not hear of us."""
        return self.task.on_worker_lost.policy is LostWorkerPolicy.WAIT

    def cancel(self, reason: str) -> bool:
        """End the run, now or as soon as it exists; False if that was asked before or it has ended."""
        if self.cancel_reason or self.ended:
            return False
        self.cancel_reason = reason
        if self._run is not None:
            self._run.cancel(reason)
        return True

    def hand_back(self, reason: str) -> bool:
        """
        Stop the run so that another worker can go on with it, now or as soon as it exists; end it, if no other worker may.

        False if its end was asked for before, or it has ended.
        """
        if not self.ours or self.task.on_worker_lost.policy is LostWorkerPolicy.FAIL:
            return self.cancel(reason)
        if self.cancel_reason or self.recalled or self.ended:
            return False
        self.recalled = reason
        if self._run is not None:
            self._run.hand_back(reason)
        return True

    def kill(self) -> None:
        """Make what is left of a run that was asked to end do so at once."""
        if self._run is not None:
            self._run.kill()

    def started(self, run: Stoppable) -> None:
        """The run exists and can be ended."""
        self._run = run
        if self.cancel_reason:
            run.cancel(self.cancel_reason)
        elif self.recalled:
            run.hand_back(self.recalled)

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

    def owned_by(self, member: Member) -> list[TaskInHand]:
        """Those whose lease that coordinator keeps: running, or ended and not yet reported."""
        return [task for task in self._tasks if task.ours and task.owner.id == member.id]

    def subscribe(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Call `changed` when a task ended or was reported; returns how to end that."""
        self._listeners.append(changed)
        return lambda: self._listeners.remove(changed)
