"""Who leads among the schedulers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from txdagu.scheduler.lockdir import LockDirectory, Look
from txdagu.system.threads import threads_of

BEAT_INTERVAL = 7.0
# A lock that looks stale by its time must also be seen unchanged for longer than its holder's beat: clocks of hosts differ.
LEAST_OBSERVATION = BEAT_INTERVAL + 1.0
# With a short threshold we beat more often than Dagu 1.30.2 does.
BEATS_PER_THRESHOLD = 4


class Leadership(Service):
    """
    Takes the lock when it is free or stale, keeps it, and gives it back at the end.

    A lock is stale if it was not touched for `stale_after` seconds by our own watch, or if its time says so and it
    was not touched while we watched for longer than a beat. `gained` and `lost` are called as it goes. A process that
    was stopped for long knows from `now`, a monotonic clock in seconds, that it may have been replaced, before it
    asks the disk.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        lock: LockDirectory,
        stale_after: float,
        retry_interval: float,
        now: Callable[[], float],
        wall: Callable[[], float],
        gained: Callable[[], None],
        lost: Callable[[], None],
    ) -> None:
        self._reactor = reactor
        self._in_thread = threads_of(reactor)
        self._lock = lock
        self._stale_after = stale_after
        self._beat_interval = min(BEAT_INTERVAL, stale_after / BEATS_PER_THRESHOLD)
        self._retry_interval = retry_interval
        self._now = now
        self._wall = wall
        self._gained = gained
        self._lost = lost
        self._ours: Look | None = None
        self._kept_at = 0.0
        self._observed: Look | None = None
        self._observed_at = 0.0
        self._timer: IDelayedCall | None = None
        self._round: Deferred[None] | None = None
        self._trouble = ""

    @property
    def leading(self) -> bool:
        """Whether the lock is ours for sure: it was kept recently enough that nobody may have taken it over."""
        return self._ours is not None and self._now() - self._kept_at < self._stale_after - self._beat_interval

    def startService(self) -> None:
        """Try at once, and then again and again."""
        super().startService()  # type: ignore[no-untyped-call]
        self._next()

    def stopService(self) -> Deferred[None]:
        """Give the lock back; fires when it is."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._round is not None:
            await self._round
        ours, self._ours = self._ours, None
        if ours is not None:
            try:
                await self._in_thread(partial(self._lock.release, ours))
            except OSError as error:
                self.log.warn(
                    "the lock {path} cannot be given back: {error}", path=str(self._lock.path), error=str(error)
                )

    def _next(self) -> None:
        self._timer = None
        self._round = Deferred.fromCoroutine(self._go_round())
        self._round.addErrback(lambda failure: self.log.failure("holding the scheduler lock failed", failure))

    async def _go_round(self) -> None:
        try:
            await (self._keep() if self._ours is not None else self._try())
            self._trouble = ""
        except OSError as error:
            trouble = f"the scheduler lock {self._lock.path} cannot be used: {error.strerror or error}"
            if trouble != self._trouble:
                self.log.warn("{trouble}; no queued run starts here until it can", trouble=trouble)
            self._trouble = trouble
            if self._ours is not None and not self.leading:
                self._lose(trouble)
        finally:
            self._round = None
            if self.running:
                pause = self._beat_interval if self._ours is not None and not self._trouble else self._retry_interval
                self._timer = self._reactor.callLater(pause, self._next)

    async def _keep(self) -> None:
        assert self._ours is not None
        asked_at = self._now()
        kept = await self._in_thread(partial(self._lock.keep, self._ours))
        if kept is None:
            self._lose("another scheduler has taken the lock over")
        else:
            self._ours, self._kept_at = kept, asked_at

    def _lose(self, reason: str) -> None:
        self._ours = None
        self.log.warn("this scheduler no longer leads: {reason}", reason=reason)
        self._lost()

    async def _try(self) -> None:
        asked_at = self._now()
        taken = await self._in_thread(self._lock.take)
        if taken is None and await self._cleared():
            asked_at = self._now()
            taken = await self._in_thread(self._lock.take)
        if taken is not None:
            self._ours, self._kept_at, self._observed = taken, asked_at, None
            self.log.info("this scheduler leads")
            if self.running:
                self._gained()

    async def _cleared(self) -> bool:
        """Whether the lock that is in our way was stale and is gone."""
        look = await self._in_thread(self._lock.look)
        if look is None:
            return True
        if look != self._observed:
            if self._observed is None:
                self.log.info("another scheduler leads; this one stands by")
            self._observed, self._observed_at = look, self._now()
            return False
        watched = self._now() - self._observed_at
        old = self._lock.age(look, self._wall()) > self._stale_after and watched > LEAST_OBSERVATION
        if not old and watched <= self._stale_after:
            return False
        self.log.warn(
            "the lock of the leading scheduler was not touched for {seconds:.0f} s: taking over", seconds=watched
        )
        return await self._in_thread(partial(self._lock.clear, look))
