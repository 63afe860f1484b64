"""Removal of the files that the dead left behind. A coordinator does it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from txdagu.registry.entries import Kind
from txdagu.registry.files import remove_if_unchanged
from txdagu.registry.views import MembershipView
from txdagu.system.repeating import Repeating
from txdagu.system.threads import threads_of

CLEANING_INTERVAL = 5.0


class StaleFileCleaner(Service):
    """
    Removes the files of one `kind` that are stale, or whose process on this very machine is gone.

    A file that changed since it was looked at stays; an owner that lives after all writes its file anew at its next beat.
    `now` is a monotonic clock in seconds.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        directory: str,
        kind: Kind,
        now: Callable[[], float],
        interval: float = CLEANING_INTERVAL,
    ) -> None:
        self.view = MembershipView(reactor, directory, kind, now)
        self._in_thread = threads_of(reactor)
        self._troubled: set[str] = set()
        self._loop = Repeating(reactor, interval, self._clean, f"cleaning {self.view.directory}")

    def startService(self) -> None:
        """Look now and every five seconds."""
        Service.startService(self)
        self.view.startService()
        self._loop.start()

    def stopService(self) -> Deferred[None] | None:
        """Stop looking; waits for a reading under way."""
        Service.stopService(self)
        self._loop.stop()
        return self.view.stopService()

    def _clean(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._remove_stale())

    async def _remove_stale(self) -> None:
        for stale in self.view.stale():
            try:
                removed = await self._in_thread(partial(remove_if_unchanged, self.view.directory, stale.file))
            except OSError as error:
                if stale.file.name not in self._troubled:
                    self._troubled.add(stale.file.name)
                    self.log.warn(
                        "stale {path} cannot be removed: {error}",
                        path=str(Path(self.view.directory, stale.file.name)),
                        error=error.strerror or error,
                    )
                continue
            self._troubled.discard(stale.file.name)
            if removed:
                self.log.info(
                    "{kind} {id} left {name} behind ({reason}): removed",
                    kind=self.view.kind.value,
                    id=stale.entry.id,
                    name=stale.file.name,
                    reason=stale.reason,
                )
