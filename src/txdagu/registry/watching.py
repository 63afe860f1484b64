"""Be told soon after a directory changed, and at least at every sweep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.inotify import (
    IN_CLOSE_WRITE,
    IN_DELETE,
    IN_MOVED_FROM,
    IN_MOVED_TO,
    IN_ONLYDIR,
    INotify,
    INotifyError,
)
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.filepath import FilePath

from txdagu.registry.entries import SUFFIX

CHANGES = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ONLYDIR
SWEEP_INTERVAL = 2.0
GATHERING = 0.05


class DirectoryWatch(Service):
    """
    Calls `on_change` soon after an entry file in `directory` came, changed or went, and at every sweep.

    The kernel's notices make it fast. The sweep makes it right: network file systems send no notice of other hosts' writes,
    a queue that overflows says nothing, and a directory may come into being later. Many changes within 50 ms are told once.
    Each directory has its own `INotify`, because one that loses any of its directories drops all of them.
    """

    log = Logger()

    def __init__(
        self, reactor: Any, directory: str, on_change: Callable[[], None], interval: float = SWEEP_INTERVAL
    ) -> None:
        self._reactor = reactor
        self._directory = FilePath(directory)
        self._on_change = on_change
        self._interval = interval
        self._notifier: INotify | None = None
        self._pending: IDelayedCall | None = None
        self._loop = LoopingCall(self._sweep)
        self._loop.clock = reactor
        self._armed_before = False

    def startService(self) -> None:
        """Sweep now and from then on."""
        Service.startService(self)
        self._loop.start(self._interval).addErrback(
            lambda failure: self.log.failure("watching {path} ended", failure, path=self._directory.path)
        )

    def stopService(self) -> None:
        """Forget the directory and close the descriptor."""
        Service.stopService(self)
        if self._loop.running:
            self._loop.stop()
        if self._pending is not None:
            self._pending.cancel()
            self._pending = None
        if self._notifier is not None and self._notifier.connected:
            self._notifier.loseConnection()
        self._notifier = None

    def _sweep(self) -> None:
        self._arm()
        if self._pending is not None:
            self._pending.cancel()
        self._tell()

    def _tell(self) -> None:
        self._pending = None
        try:
            self._on_change()
        except Exception:  # noqa: BLE001 - one failed reading must not end the sweeps
            self.log.failure("while reading {path}", path=self._directory.path)

    def _arm(self) -> None:
        if self._notifier is not None and self._notifier.connected:
            return
        self._notifier = None
        try:
            notifier = INotify(self._reactor)
        except INotifyError as error:
            # Too many instances for this user. The sweep does the work; said once, not at every sweep.
            if not self._armed_before:
                self._armed_before = True
                self.log.warn(
                    "changes in {path} are seen {interval} s late: the kernel gives no inotify instance ({error})",
                    path=self._directory.path,
                    interval=self._interval,
                    error=error,
                )
            return
        try:
            notifier.watch(self._directory, mask=CHANGES, callbacks=[self._changed])
        except INotifyError:
            notifier.loseConnection()  # the directory is not there yet
            return
        notifier.startReading()
        self._notifier = notifier

    def _changed(self, _watch: object, path: FilePath[Any], _mask: int) -> None:
        if self._pending is None and self.running and path.basename().endswith(SUFFIX.encode()):
            self._pending = self._reactor.callLater(GATHERING, self._tell)
