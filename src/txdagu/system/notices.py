"""
Changes in directories, told by the system where it can (inotify).

This only makes things fast: events of other hosts do not come over network file systems, and surplus ones are lost. Whoever
uses it looks again from time to time.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IReactorFDSet
from twisted.logger import Logger

from txdagu.system.places import Place

if TYPE_CHECKING:
    from twisted.internet.inotify import INotify

Told = Callable[[Place], None]


class Notices:
    """
    Tells of changes at places.

    All places share one inotify instance, of which a user has only 128: hundreds of runs can be watched at once. Twisted ends
    an instance when one of its directories is deleted; then all are armed anew, and everybody is told once, because changes in
    between went unseen. A reactor without file descriptors (a test's clock) gives no notices.
    """

    log = Logger()

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._able = IReactorFDSet.providedBy(reactor)
        self._told: dict[str, dict[str, dict[Place, list[Told]]]] = {}
        self._armed: set[str] = set()
        self._notifier: INotify | None = None
        self._complained = False

    def add(self, place: Place, told: Told) -> None:
        """Call `told` with the place when something changes there. A directory that is missing is armed later."""
        self._told.setdefault(place.directory, {}).setdefault(place.name, {}).setdefault(place, []).append(told)
        self._arm(place.directory)

    def remove(self, place: Place, told: Told) -> None:
        """Take back what `add` asked for."""
        names = self._told[place.directory]
        names[place.name][place].remove(told)
        if not names[place.name][place]:
            del names[place.name][place]
        if not names[place.name]:
            del names[place.name]
        if not names:
            del self._told[place.directory]
            self._disarm(place.directory)

    def arm(self) -> None:
        """Try again what could not be armed so far; what can be now is told, because changes until now went unseen."""
        for directory in self._told.keys() - self._armed:
            self._arm(directory)
            if directory in self._armed:
                self._tell_all(directory)

    def _arm(self, directory: str) -> None:
        if not self._able or directory in self._armed:
            return
        try:
            from twisted.internet import inotify
            from twisted.python.filepath import FilePath
        except ImportError:
            self._able = False
            return
        changes = (
            inotify.IN_CREATE
            | inotify.IN_MODIFY
            | inotify.IN_CLOSE_WRITE
            | inotify.IN_MOVED_TO
            | inotify.IN_MOVED_FROM
            | inotify.IN_DELETE
        )
        try:
            if self._notifier is None:
                self._notifier = inotify.INotify(self._reactor)
                self._notifier.startReading()
            self._notifier.watch(
                FilePath(directory), mask=changes | inotify.IN_ONLYDIR, callbacks=[partial(self._event, directory)]
            )
        except inotify.INotifyError as error:
            if self._notifier is None and not self._complained:
                self._complained = True
                self.log.warn(
                    "no inotify instance is to be had, so changes are seen once a second only: {error} "
                    "(raise fs.inotify.max_user_instances)",
                    error=error,
                )
            return
        self._armed.add(directory)

    def _disarm(self, directory: str) -> None:
        if self._notifier is None:
            return
        if not self._told:
            self._drop()
        elif directory in self._armed:
            from twisted.python.filepath import FilePath

            self._armed.discard(directory)
            self._notifier.ignore(FilePath(directory))

    def _drop(self) -> None:
        notifier, self._notifier = self._notifier, None
        self._armed.clear()
        if notifier is not None and notifier.connected:
            notifier.loseConnection()

    def _event(self, directory: str, _watch: object, path: Any, mask: int) -> None:
        from twisted.internet.inotify import IN_DELETE_SELF, IN_IGNORED, IN_UNMOUNT

        if directory not in self._armed:
            return  # an event that was on its way when the directory was given up
        if mask & (IN_DELETE_SELF | IN_IGNORED | IN_UNMOUNT):
            self._drop()
            self._reactor.callLater(0, self._recover)
            return
        name = os.fsdecode(path.basename())
        names = self._told.get(directory, {})
        for place, told in [*names.get(name, {}).items(), *names.get("", {}).items()]:
            if name.endswith(place.suffix):
                self._tell(place, told)

    def _recover(self) -> None:
        for directory in list(self._told):
            self._arm(directory)
            self._tell_all(directory)

    def _tell_all(self, directory: str) -> None:
        for places in list(self._told.get(directory, {}).values()):
            for place, told in list(places.items()):
                self._tell(place, told)

    def _tell(self, place: Place, told: list[Told]) -> None:
        for one in list(told):
            try:
                one(place)
            except Exception:  # noqa: BLE001 (an exception would end the notifier for everybody)
                self.log.failure("while telling of a change in {directory}", directory=place.directory)
