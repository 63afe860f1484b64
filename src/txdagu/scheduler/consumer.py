"""Empties the queues: whenever they change, as many runs of each as it allows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from txdagu.model.errors import DaguError
from txdagu.model.run import RunRef
from txdagu.scheduler.carrier import Carried, Carrier, Means, reason_to_wait
from txdagu.system.waiting import end_of

HOLD_OFF = 30.0
# A run's liveness file goes shortly after its last state is there; looking again soon keeps a short queue moving.
SECOND_LOOKS = (0.02, 0.1, 0.3)
# How long cancelled runs of this process may take to end, with their own time to clean up.
ENDING_TIME = 20.0

Item = tuple[str, RunRef]


class QueueConsumer:
    """
    Looks at the queues while it is started and `leading` says that we lead.

    Queues do not wait for each other. In each, runs start in order as long as fewer are alive than its limit: that of
    `limits`, else the ``maxActiveRuns`` of its first run's DAG. A run that cannot start now is passed over for 30 s,
    so that it holds up nobody.
    """

    log = Logger()

    def __init__(self, means: Means, limits: Mapping[str, int], leading: Callable[[], bool]) -> None:
        self._store = means.store
        self._queue = means.queue
        self._clock = means.clock
        self._limits = limits
        self._leading = leading
        self._carrier = Carrier(means, self.look)
        self._carried: dict[Item, tuple[Carried, Deferred[None]]] = {}
        self._held_off: dict[Item, float] = {}
        self._known_limits: dict[str, tuple[RunRef, int]] = {}
        self._serving: dict[str, bool] = {}
        self._looking: Deferred[None] | None = None
        self._again = False
        self._unwatch: Callable[[], None] | None = None
        self._second_looks: list[IDelayedCall] = []
        self._trouble = ""

    def start(self) -> None:
        """Look now, and whenever something changes."""
        if self._unwatch is None:
            self._unwatch = self._queue.watch(self.look)
            self.look()

    def pause(self) -> None:
        """Start nothing more, and leave what workers have to whoever leads; runs of this process go on."""
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None
        for call in self._second_looks:
            if call.active():
                call.cancel()
        self._second_looks.clear()
        for carried, carrying in list(self._carried.values()):
            if carried.here is None:
                carrying.cancel()

    async def stop(self, patience: float) -> None:
        """Pause, give runs of this process `patience` seconds to end, then cancel them; returns when their ends are on disk."""
        self.pause()
        if self._looking is not None:
            self._looking.cancel()
        here = [carried.here for carried, _ in self._carried.values() if carried.here is not None]
        if not here:
            return
        self.log.info("{count} runs of this process get {seconds:g} s to end", count=len(here), seconds=patience)
        if not await self._all_ended(patience):
            for run in here:
                run.cancel("the scheduler is shutting down")
            if not await self._all_ended(ENDING_TIME):
                self.log.error("leaving although {count} runs did not end", count=len(self._carried))

    async def _all_ended(self, seconds: float) -> bool:
        ends = DeferredList([end_of(carrying) for _, carrying in self._carried.values()], consumeErrors=True)
        # When the time is up the list is over too, with what had ended until then.
        await ends.addTimeout(seconds, self._clock)
        return not self._carried

    def look(self) -> None:
        """Look at the queues soon; several wishes at once are one."""
        if self._unwatch is None:
            return
        if self._looking is not None:
            self._again = True
            return
        looking = self._looking = Deferred.fromCoroutine(self._look())
        looking.addErrback(self._look_failed)
        looking.addBoth(self._looked)

    def _looked(self, _: object) -> None:
        self._looking = None
        if self._again:
            self._again = False
            self.look()

    def _look_failed(self, failure: Any) -> None:
        if failure.check(CancelledError):
            return
        reason = reason_to_wait(failure.value)
        if not reason:
            self.log.failure("looking at the queues failed", failure)
        elif reason != self._trouble:
            self.log.warn("the queues cannot be read: {reason}", reason=reason)
        self._trouble = reason

    async def _look(self) -> None:
        if not self._leading():
            return
        waiting: dict[str, dict[RunRef, None]] = {}
        for queue, run in await self._queue.items():
            waiting.setdefault(queue, {})[run] = None
        self._trouble = ""
        now = self._clock.seconds()
        self._held_off = {item: until for item, until in self._held_off.items() if until > now}
        for queue, runs in waiting.items():
            if queue in self._serving:
                self._serving[queue] = True
                continue
            self._serving[queue] = False
            serving = Deferred.fromCoroutine(self._serve(queue, list(runs)))
            serving.addErrback(self._look_failed)
            serving.addCallback(self._served, queue)

    def _served(self, _: object, queue: str) -> None:
        changed_meanwhile = self._serving.pop(queue)
        if changed_meanwhile:
            self.look()

    async def _serve(self, queue: str, runs: list[RunRef]) -> None:
        """Start what the queue allows."""
        ready = [run for run in runs if (queue, run) not in self._carried and (queue, run) not in self._held_off]
        if not ready:
            return
        limit = await self._limit(queue, runs[0])
        alive = await self._queue.running(queue)
        if not self._leading() or self._unwatch is None:
            return
        starting = sum(carried.queue == queue and not carried.begun for carried, _ in self._carried.values())
        for run in ready[: max(0, limit - alive - starting)]:
            self._carry(queue, run)

    async def _limit(self, queue: str, first: RunRef) -> int:
        if queue in self._limits:
            return max(1, self._limits[queue])
        known = self._known_limits.get(queue)
        if known is not None and known[0] == first:
            return known[1]
        try:
            dag = await self._store.read_dag(first, first)
        except (DaguError, OSError):
            return 1  # what is wrong with it is told when it is its turn
        limit = max(1, dag.max_active_runs) if dag is not None else 1
        self._known_limits[queue] = (first, limit)
        return limit

    def _carry(self, queue: str, run: RunRef) -> None:
        carried = Carried(queue, run)
        carrying = Deferred.fromCoroutine(self._carrier.carry(carried))
        self._carried[queue, run] = (carried, carrying)
        carrying.addErrback(self._failed, carried)
        carrying.addBoth(self._done, carried)

    def _failed(self, failure: Any, carried: Carried) -> None:
        if failure.check(CancelledError):
            return
        reason = reason_to_wait(failure.value)
        self._held_off[carried.queue, carried.run] = self._clock.seconds() + HOLD_OFF
        if not reason:
            self.log.failure("run {run} of queue {queue} broke", failure, run=str(carried.run), queue=carried.queue)
            return
        self.log.warn(
            "run {run} of queue {queue} stays queued and is tried again in {seconds:g} s: {reason}",
            run=str(carried.run),
            queue=carried.queue,
            seconds=HOLD_OFF,
            reason=reason,
        )

    def _done(self, _: object, carried: Carried) -> None:
        del self._carried[carried.queue, carried.run]
        if self._unwatch is None:
            return
        self.look()
        self._second_looks = [call for call in self._second_looks if call.active()]
        if not self._second_looks:
            self._second_looks = [self._clock.callLater(pause, self.look) for pause in SECOND_LOOKS]
