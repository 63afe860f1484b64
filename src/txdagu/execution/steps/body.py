"""The body of an HTTP answer on its way into a file, piece by piece."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss


class _Pump(Protocol):
    """Hands on what arrives, one piece at a time; nothing more is read from the network while a piece is being written."""

    def __init__(self, write: Callable[[bytes], Awaitable[None]], done: Deferred[None]) -> None:
        self._write = write
        self._done = done
        self._waiting = bytearray()
        self._writing = False
        self._end: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        """A piece of the body."""
        self._waiting += data
        if not self._writing:
            self._pause(True)
            self._go_on()

    def connectionLost(self, reason: Failure | None = None) -> None:
        """The body's end, good or bad."""
        self._end = reason or Failure(ResponseDone())
        if not self._writing:
            self._finish()

    def _go_on(self) -> None:
        self._writing = True
        data, self._waiting = bytes(self._waiting), bytearray()
        writing: Deferred[None] = Deferred.fromCoroutine(self._written(data))
        writing.addCallbacks(lambda _: self._after(), self._broke)

    async def _written(self, data: bytes) -> None:
        await self._write(data)

    def _after(self) -> None:
        if self._waiting:
            self._go_on()
            return
        self._writing = False
        if self._end is not None:
            self._finish()
        else:
            self._pause(False)

    def _broke(self, failure: Failure) -> None:
        self._writing = False
        self._end = failure
        transport: Any = self.transport
        if hasattr(transport, "loseConnection"):
            transport.loseConnection()
        self._finish()

    def _pause(self, pause: bool) -> None:
        producer = self.transport
        if IPushProducer.providedBy(producer):
            (producer.pauseProducing if pause else producer.resumeProducing)()

    def _finish(self) -> None:
        if self._done.called:
            return  # cancelled, or broken while it was being written; the connection's end comes after that
        if self._end is None or self._end.check(ResponseDone, PotentialDataLoss):
            self._done.callback(None)
        else:
            self._done.errback(self._end)


def read_body(response: Any, write: Callable[[bytes], Awaitable[None]]) -> Deferred[None]:
    """
    Pass the body of a response to `write`, whose end is waited for before more is read.

    Fires when all is written. Cancelling it, or an error of `write`, ends the connection.
    """

    def stop(_: Deferred[None]) -> None:
        transport = getattr(pump, "transport", None)
        if hasattr(transport, "abortConnection"):
            transport.abortConnection()  # type: ignore[union-attr]
        elif hasattr(transport, "loseConnection"):
            transport.loseConnection()  # type: ignore[union-attr]

    done: Deferred[None] = Deferred(stop)
    pump = _Pump(write, done)
    response.deliverBody(pump)
    return done
