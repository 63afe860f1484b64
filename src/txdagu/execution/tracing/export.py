"""Traces on their way to a collector. What sends them is imported only then."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from txdagu.execution.tracing.settings import TraceSettings
from txdagu.execution.tracing.tracing import Tracing
from txdagu.model.errors import DaguError
from txdagu.model.run import RunStatus
from txdagu.system.threads import InThread

_Send = Callable[[Any, TraceSettings, Tracing, RunStatus, Mapping[str, int]], Awaitable[None]]


class Exports:
    """
    Sends the traces of an engine's runs. Nothing that goes wrong with that concerns a run; it is logged.

    `clock` is the reactor.
    """

    log = Logger()

    def __init__(self, clock: Any, in_thread: InThread) -> None:
        self._clock = clock
        self._in_thread = in_thread
        self._waiting: set[Deferred[None]] = set()

    def send(self, tracing: Tracing, status: RunStatus, exit_codes: Mapping[str, int]) -> None:
        """Begin to send the trace of a run that has ended, if it has one. Returns at once."""
        if tracing.settings is None:
            return
        sending: Deferred[None] = Deferred.fromCoroutine(self._send(tracing, tracing.settings, status, exit_codes))
        self._waiting.add(sending)
        sending.addBoth(lambda _: self._waiting.discard(sending))

    async def sent(self) -> None:
        """Wait until all that was begun has been sent or given up, which each does in its own time."""
        while self._waiting:
            done: Deferred[None] = Deferred()
            next(iter(self._waiting)).addBoth(done.callback)
            await done

    async def _send(
        self, tracing: Tracing, settings: TraceSettings, status: RunStatus, exit_codes: Mapping[str, int]
    ) -> None:
        try:
            send = await self._in_thread(_load)
            await send(self._clock, settings, tracing, status, exit_codes)
        except Exception as error:  # noqa: BLE001 - whatever it is, the run has ended well without it
            self.log.warn(
                "the trace of run {run} was not sent to {endpoint}: {reason}",
                run=str(status.run),
                endpoint=settings.endpoint,
                reason=str(error) or type(error).__name__,
            )


def _load() -> _Send:
    """What sends traces. Raises `DaguError` if a package is missing."""
    try:
        from txdagu.execution.tracing.sending import send_trace
    except ImportError as error:
        raise DaguError(f"{error}: install it with pip install 'txdagu[otel]'") from error
    return send_trace
