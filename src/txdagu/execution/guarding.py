"""What stands between a task and its processes: they start only while it may run, and carry its token."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from twisted.internet.defer import Deferred
from zope.interface import implementer

from txdagu.execution.interfaces import IProcessRunner, IStartedProcess, NotPermittedError, ProcessSpec
from txdagu.execution.stop import StopRequested
from txdagu.reaper.strays import VARIABLE


class IWatcher(Protocol):
    """The reaper, as those see it who start processes."""

    def tell(self, line: str) -> None:
        """Tell it something; see `txdagu.reaper.core.Reaper`."""

    def watching(self) -> Deferred[None] | None:
        """None while it is there, else what fires when it is there again."""


class Nobody:
    """No reaper: tests, and engines of others."""

    def tell(self, line: str) -> None:
        """Nobody hears it."""

    def watching(self) -> Deferred[None] | None:
        """Nobody need be waited for."""
        return None


class Guard:
    """
    Watches over the runs of one task.

    `frozen` is why nothing of it may run now, empty if it may; `ended` why it was given up; if `fenced`, nothing of it may be
    written any more. `valid` asks the clock, from any thread, whether something may start now; where it may not, `look` makes
    `frozen` or `ended` say so. `outer` is the token that this process itself was given.
    """

    def __init__(
        self,
        token: str = "",
        watcher: IWatcher | None = None,
        outer: str = "",
        valid: Callable[[], bool] = lambda: True,
        look: Callable[[], None] = lambda: None,
    ) -> None:
        self.token = token
        self.frozen = ""
        self.ended = ""
        self.fenced = False
        self.valid = valid
        self.watcher = watcher or Nobody()
        self.mark = f"{outer}:{token}" if outer else token
        self._look = look
        self._waiting: list[Deferred[None]] = []
        self._listeners: dict[Callable[[str], None], None] = {}

    def subscribe(self, changed: Callable[[str], None]) -> Callable[[], None]:
        """Call `changed` with the reason when the task is frozen (now, if it is), with "" when it goes on; returns the end."""
        self._listeners[changed] = None
        if self.frozen:
            changed(self.frozen)
        return lambda: self._listeners.pop(changed, None)

    def freeze(self, reason: str) -> None:
        """Nothing starts, no time limit passes."""
        if not self.frozen and not self.ended:
            self.frozen = reason
            self._tell()

    def thaw(self) -> None:
        """It goes on."""
        if self.frozen:
            self.frozen = ""
            self._tell()
            self._wake()

    def end(self, reason: str, fenced: bool) -> None:
        """The task is given up: whoever waits to start something is told that it shall not."""
        self.ended = self.ended or reason
        self.fenced = self.fenced or fenced
        self._wake()

    async def passed(self) -> None:
        """Returns when something may be started. `StopRequested` if that will never be."""
        while True:
            if not self.ended and not self.valid():
                self._look()
            if self.ended:
                raise StopRequested
            absent = self.watcher.watching()
            if absent is not None:
                await absent
            elif self.frozen:
                waiting: Deferred[None] = Deferred()
                self._waiting.append(waiting)
                await waiting
            else:
                return

    @property
    def open(self) -> bool:
        """Whether something may be started without waiting."""
        return not self.frozen and not self.ended and self.watcher.watching() is None and self.valid()

    def _tell(self) -> None:
        for listener in list(self._listeners):
            listener(self.frozen)

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.called:
                one.callback(None)


@implementer(IProcessRunner)
class GuardedProcesses:
    """Starts programs that carry the token of a task, while it may run; the reaper learns of their groups."""

    def __init__(self, inner: IProcessRunner, guard: Guard) -> None:
        self._inner = inner
        self._guard = guard

    async def run(self, command: ProcessSpec) -> IStartedProcess:
        """See `IProcessRunner.run`. `StopRequested` if the task was given up."""
        guard = self._guard
        command = replace(command, env={**command.env, VARIABLE: guard.mark}, permitted=guard.valid)
        while True:
            await guard.passed()
            try:
                process: IStartedProcess = await self._inner.run(command)
            except NotPermittedError:
                continue
            break
        guard.watcher.tell(f"group {guard.token} {process.pid}")
        process.ended.addCallback(self._ended, process.pid)
        return process

    def _ended(self, status: object, pid: int) -> object:
        self._guard.watcher.tell(f"ended {self._guard.token} {pid}")
        return status
