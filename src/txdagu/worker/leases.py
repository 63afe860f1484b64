"""The worker's side of its leases: what is renewed, frozen, given up. Without I/O; the reaper keeps the same ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from txdagu.model.policies import LostWorkerPolicy
from txdagu.reaper.leases import FROZEN, OVER, Lease, Leases


class ILeased(Protocol):
    """
    A task whose lease is kept. `token` marks its processes, `policy` says what becomes of it when its worker is lost, `ours`
    whether its coordinator keeps leases at all.
    """

    @property
    def token(self) -> str:
        """The word that all of its processes carry, without spaces."""

    @property
    def policy(self) -> LostWorkerPolicy:
        """What becomes of the task without its worker."""

    @property
    def ours(self) -> bool:
        """Whether there is a lease."""

    @property
    def owner_name(self) -> str:
        """The coordinator, for people."""

    def freeze(self, reason: str) -> None:
        """Start nothing, let no time limit pass; the processes are stopped already, or are about to be."""

    def thaw(self) -> None:
        """Go on as if nothing had been."""

    def give_up(self, reason: str) -> None:
        """End the run at once, as failed; its processes are killed."""

    def take_away(self, reason: str) -> None:
        """The same, and write nothing more: the run is somebody else's."""


class WorkerLeases:
    """
    All leases of this worker. Every method takes `now`, seconds of the boot-time clock, and tells the tasks what follows.

    `tell` is given a line for the reaper for each change; `lines` has all that a new reaper must be told. `ttl` is how long a
    coordinator that does not tell lets a task go unrenewed, `freeze_limit` how long a task may be frozen, both in seconds.
    """

    def __init__(self, ttl: float, freeze_limit: float, tell: Callable[[str], None]) -> None:
        self.ttl = ttl
        self.freeze_limit = freeze_limit
        self._tell = tell
        self._leases = Leases()
        self._tasks: dict[str, ILeased] = {}

    def hold(self, task: ILeased, sent_at: float, now: float, ttl: float = 0.0) -> None:
        """
        Our confirmation, sent at that time, was accepted: from now on the task is ours. `ttl` is the time of the lease where
        the coordinator told it.
        """
        self._tasks[task.token] = task
        lease = Lease(task.token, self._policy(task), ttl or self.ttl, self.freeze_limit, sent_at)
        changes = self._leases.hold(lease, now)
        self._tell(self._line("hold", lease))
        self._changed(changes, now)

    def renewed(self, tasks: Iterable[ILeased], sent_at: float, now: float) -> None:
        """The coordinator granted a request, sent at that time, that named these tasks."""
        tokens = tuple(task.token for task in tasks if task.token in self._tasks and task.ours)
        if tokens:
            self._tell(f"renewed {sent_at:.6f} {' '.join(tokens)}")
            self._changed(self._leases.renewed(tokens, sent_at, now), now)

    def given_away(self, task: ILeased, reason: str) -> None:
        """The coordinator says that the task is not ours: it ends here at once and writes nothing more."""
        if task.token in self._tasks and self._leases.lost(task.token):
            self._tell(f"lost {task.token}")
            task.take_away(reason)

    def killed(self, token: str, now: float) -> None:
        """The reaper has given a task up by its clock, before we did."""
        self._changed(self._leases.lost(token), now)

    def release(self, task: ILeased) -> None:
        """The run of this task has ended. What is its end is reported without a lease."""
        if self._tasks.pop(task.token, None) is not None:
            self._leases.release(task.token)
            self._tell(f"done {task.token}")

    def tick(self, now: float) -> None:
        """Look at the clock."""
        self._changed(self._leases.tick(now), now)

    def next_deadline(self) -> float | None:
        """When `tick` has something to do, unless something is renewed; None if never."""
        return self._leases.next_deadline()

    def silence(self, task: ILeased, now: float) -> float:
        """How long ago the last granted request was sent; 0 for a task that is not held."""
        lease = self._leases.get(task.token)
        return now - lease.sent_at if lease is not None else 0.0

    def valid(self, task: ILeased, now: float) -> bool:
        """Whether something of the task may be started now: its lease stands and is not about to end."""
        lease = self._leases.get(task.token)
        return lease is not None and lease.stands(now) not in (FROZEN, OVER)

    def lines(self) -> list[str]:
        """What a new reaper must be told."""
        told = []
        for token in self._tasks:
            lease = self._leases.get(token)
            if lease is not None:
                told.append(self._line("held", lease))
                if lease.standing == OVER:
                    told.append(f"lost {token}")
        return told

    @staticmethod
    def _line(word: str, lease: Lease) -> str:
        return f"{word} {lease.token} {lease.policy} {lease.ttl:g} {lease.limit:g} {lease.sent_at:.6f}"

    @staticmethod
    def _policy(task: ILeased) -> str:
        """Without a lease nobody gives the task away, which is what ``wait`` means to the reaper."""
        return (task.policy if task.ours else LostWorkerPolicy.WAIT).value

    def _changed(self, changes: list[tuple[str, str]], now: float) -> None:
        for token, standing in changes:
            task = self._tasks[token]
            silence = f"coordinator {task.owner_name} has not renewed its lease for {self.silence(task, now):.0f} s"
            if standing == OVER and task.policy is LostWorkerPolicy.FAIL:
                task.give_up(f"{silence}, and onWorkerLost is fail")
            elif standing == OVER:
                task.give_up(f"{silence}, and it was frozen for {self.freeze_limit:g} s, the worker.freezeLimit")
            elif standing == FROZEN:
                task.freeze(f"{silence}, so that it may be given to another worker")
            else:
                task.thaw()
