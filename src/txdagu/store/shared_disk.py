"""Runs and queue on a directory that all hosts see: the store's interfaces over `Runs`, with all file work in threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from zope.interface import implementer

from txdagu.config.settings import PathSettings
from txdagu.model.chat import ChatMessage
from txdagu.model.dag import Dag
from txdagu.model.run import RunRef, RunStatus
from txdagu.store.attempt import Attempt
from txdagu.store.errors import CorruptRecordError, writing
from txdagu.store.interfaces import IRunQueue, IRunStore
from txdagu.store.liveness import BEAT_SECONDS
from txdagu.store.runs import Runs
from txdagu.store.sink import SharedDiskSink
from txdagu.store.watching import Watch
from txdagu.system.notices import Notices
from txdagu.system.rounds import Rounds
from txdagu.system.threads import InThread, threads_of

LOOK_SECONDS = 1.0


@implementer(IRunStore)
class SharedDiskStore:
    """
    The shared-disk provider.

    `now` tells the time in the local zone and `randomness` gives so many random bytes; both are called in threads. `in_thread`
    replaces the reactor's threads in tests. Timers run only while an attempt is open or something is watched. `queue` is the
    `IRunQueue` of the same directory.
    """

    log = Logger()

    def __init__(
        self,
        paths: PathSettings,
        reactor: Any,
        now: Callable[[], datetime],
        randomness: Callable[[int], bytes] = os.urandom,
        in_thread: InThread | None = None,
    ) -> None:
        self._reactor = reactor
        self._in_thread = in_thread or threads_of(reactor)
        self._runs = Runs(paths, now, randomness, warn=self._corrupt)
        self._notices = Notices(reactor)
        self._looks = Rounds(reactor, LOOK_SECONDS, self._in_thread)
        self._beats = Rounds(reactor, BEAT_SECONDS, self._in_thread)
        self.queue = SharedDiskQueue(self._runs, self._in_thread, self._watch)

    async def open_attempt(
        self, dag: Dag, run: RunRef, root: RunRef, attempt_name: str = "", new: bool = False
    ) -> SharedDiskSink:
        """See `IRunStore`. With an `attempt_name`, liveness files that earlier owners of the run left are taken away."""
        handover = _Handover()
        try:
            with writing():
                attempt = await self._in_thread(
                    lambda: handover.give(self._runs.begin(dag, run, root, attempt_name, new))
                )
        except CancelledError:
            self._in_thread(handover.give_up).addErrback(
                lambda failure: self.log.failure("run {run}: giving up its attempt", failure, run=run)
            )
            raise
        return SharedDiskSink(attempt, self._reactor, self._in_thread, self._notices, self._beats, self._looks)

    async def read_status(self, run: RunRef, root: RunRef) -> RunStatus | None:
        """See `IRunStore`. `CorruptRecordError` names a status file that holds no record."""
        return await self._in_thread(lambda: self._runs.read_status(run, root))

    async def read_dag(self, run: RunRef, root: RunRef) -> Dag | None:
        """See `IRunStore`. `CorruptRecordError` if the snapshot cannot be read."""
        return await self._in_thread(lambda: self._runs.read_dag(run, root))

    async def read_messages(self, run: RunRef, root: RunRef, step_name: str) -> tuple[ChatMessage, ...]:
        """See `IRunStore`."""
        return await self._in_thread(lambda: self._runs.read_messages(run, root, step_name))

    async def latest_run(self, dag_name: str) -> RunRef | None:
        """See `IRunStore`."""
        return await self._in_thread(lambda: self._runs.latest_run(dag_name))

    def watch(self, run: RunRef, root: RunRef, changed: Callable[[], None]) -> Callable[[], None]:
        """See `IRunStore`."""
        return self._watch(lambda: self._runs.places(run, root), changed)

    async def request_cancel(self, run: RunRef, root: RunRef) -> bool:
        """See `IRunStore`."""
        return await self._in_thread(lambda: self._runs.request_cancel(run, root))

    async def enqueue(self, dag: Dag, status: RunStatus, queue: str) -> None:
        """See `IRunStore`."""
        with writing():
            await self._in_thread(lambda: self._runs.enqueue(dag, status, queue))

    async def amend(self, run: RunRef, root: RunRef, change: Callable[[RunStatus], RunStatus]) -> RunStatus:
        """See `IRunStore`. `change` is called in a thread."""
        with writing():
            return await self._in_thread(lambda: self._runs.amend(run, root, change))

    async def requeue(self, run: RunRef, queued: bool = True) -> RunStatus:
        """See `IRunStore`."""
        with writing():
            return await self._in_thread(lambda: self._runs.requeue(run, queued))

    async def withdraw(self, run: RunRef) -> bool:
        """See `IRunStore`."""
        return await self._in_thread(lambda: self._runs.withdraw(run))

    def _watch(self, find: Callable[[], Any], changed: Callable[[], None]) -> Callable[[], None]:
        return Watch(self._reactor, self._in_thread, self._notices, self._looks, find, changed).stop

    def _corrupt(self, error: CorruptRecordError) -> None:
        self.log.warn("{error}", error=error)


@implementer(IRunQueue)
class SharedDiskQueue:
    """The queue directories beside the runs. `watch` arranges for a callback as places tell that `Runs` finds."""

    def __init__(
        self,
        runs: Runs,
        in_thread: InThread,
        watch: Callable[[Callable[[], Any], Callable[[], None]], Callable[[], None]],
    ) -> None:
        self._runs = runs
        self._in_thread = in_thread
        self._watch = watch

    async def items(self) -> list[tuple[str, RunRef]]:
        """See `IRunQueue`."""
        return await self._in_thread(self._runs.queue.items)

    async def remove(self, queue: str, run: RunRef) -> None:
        """See `IRunQueue`."""
        await self._in_thread(lambda: self._runs.queue.remove(queue, run))

    async def running(self, queue: str) -> int:
        """See `IRunQueue`."""
        return await self._in_thread(lambda: self._runs.liveness.running(queue))

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:
        """See `IRunQueue`. Also calls once a second, because other hosts' items may come without notice."""
        return self._watch(self._runs.queue_places, changed)


class _Handover:
    """Sees to it that an attempt which nobody waits for any more does not seem alive."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._given: Attempt | None = None
        self._given_up = False

    def give(self, attempt: Attempt) -> Attempt:
        with self._lock:
            self._given = attempt
            if self._given_up:
                attempt.release()
        return attempt

    def give_up(self) -> None:
        with self._lock:
            self._given_up = True
            if self._given:
                self._given.release()
