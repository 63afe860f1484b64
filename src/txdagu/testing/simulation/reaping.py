"""The reaper beside a worker, around its real core: it hangs with the host, not with the worker."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred

from txdagu.reaper.core import CONTINUE, KILL, Order, Reaper
from txdagu.testing.simulation.runs import Host, StepProcess
from txdagu.testing.simulation.world import Process, Timer

PAUSE = 1.0


class SimulatedReaper:
    """
    One reaper's process, and the worker's end of the talk with it (`txdagu.execution.guarding.IWatcher`).

    `told_again` gives the lines for a new reaper, `over` is called with tokens that it has given up on its own.
    """

    def __init__(
        self,
        host: Host,
        new_process: Callable[[], Process],
        told_again: Callable[[], list[str]],
        over: Callable[[str], None],
    ) -> None:
        self._host = host
        self._new_process = new_process
        self._told_again = told_again
        self._over = over
        self._absent: list[Deferred[None]] = []
        self._timer: Timer | None = None
        self._closed = False
        self._start()

    @property
    def finished(self) -> bool:
        """Whether nothing of the worker is left, so that its lock is free."""
        return not self._process.alive or self._core.finished

    @property
    def process(self) -> Process:
        """The reaper's process."""
        return self._process

    def _start(self) -> None:
        self._core = Reaper()
        self._process = self._new_process()
        if self._host.suspended:
            self._process.pause()

    # -- the worker's end ----------------------------------------------------------------------------------------------

    def tell(self, line: str) -> None:
        """A line for the reaper. What was written is read, even if the worker dies in the next instant."""
        process, core = self._process, self._core
        if self._host.process.alive and not self._closed:
            process.world.after(0.0, lambda: process.do(lambda: self._line(core, line)))

    def watching(self) -> Deferred[None] | None:
        """None while it is there."""
        if self._process.alive:
            return None
        waiting: Deferred[None] = Deferred()
        self._absent.append(waiting)
        return waiting

    def worker_gone(self) -> None:
        """The socket has ended."""
        self._closed = True
        process, core = self._process, self._core

        def closed() -> None:
            core.closed(process.seconds())
            self._look()

        process.world.after(0.0, lambda: process.do(closed))

    def kill(self) -> None:
        """It dies; the worker starts another one, and tells it all again."""
        self._process.kill()
        if self._closed:
            return
        self._host.process.callLater(PAUSE, self._again)

    def _again(self) -> None:
        if self._closed or self._process.alive:
            return
        self._start()
        for line in self._told_again():
            self.tell(line)
        absent, self._absent = self._absent, []
        for waiting in absent:
            waiting.callback(None)

    # -- the reaper ----------------------------------------------------------------------------------------------------

    def _line(self, core: Reaper, line: str) -> None:
        core.line(line, self._process.seconds())
        self._look()

    def _look(self) -> None:
        core, process = self._core, self._process
        now = process.seconds()
        core.tick(now)
        for order in core.orders(now):
            core.looked(order, self._carry_out(order), now)
        words, core.words = core.words, []
        for word in words:
            verb, _, token = word.partition(" ")
            if verb == "over":
                self._host.process.do(lambda token=token: self._over(token))  # type: ignore[misc]
        if self._timer is not None:
            self._timer.cancel()
        deadline = core.next_deadline()
        self._timer = None if deadline is None else process.callLater(min(max(deadline - now, 0.001), 1.0), self._look)

    def _carry_out(self, order: Order) -> int:
        touched = 0
        for step in list(self._host.steps):
            if self._belongs(step, order.target):
                touched += self._signal(step, order.signal)
        return touched

    @staticmethod
    def _belongs(step: StepProcess, target: str) -> bool:
        return step.token.startswith(target) if target.endswith(".") else step.token == target

    @staticmethod
    def _signal(step: StepProcess, signal: str) -> bool:
        if signal == KILL:
            step.finish(False)
            return True
        if step.stopped == (signal != CONTINUE):
            return False
        if signal == CONTINUE:
            step.stopped = False
            step.go_on()
        else:
            step.stop()
            step.stopped = True
        return True
