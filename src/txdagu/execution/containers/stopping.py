"""Waiting for what runs in a container, and letting it know when its end is wanted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from txdagu.execution.stop import Stop
from txdagu.model.errors import DaguError

AFTER_KILL = 5.0  # seconds; what an engine has not ended by then, it will not end

T = TypeVar("T")


async def until_stopped(
    ending: Deferred[T], pass_on: Callable[[bool], Awaitable[None]], stop: Stop, clock: IReactorTime, what: str
) -> T:
    """
    The result of `ending`. Each wish for the end is given to `pass_on`, with its force; `what` names the thing in errors.

    After one with force the end is waited for `AFTER_KILL` seconds; then `DaguError` says what may run on, and why.
    """
    timers: list[IDelayedCall] = []
    troubles: list[str] = []
    tellings: list[Deferred[None]] = []

    async def tell(force: bool) -> None:
        try:
            await pass_on(force)
        except DaguError as error:
            troubles.append(str(error))
        except CancelledError:
            troubles.append("the container engine does not answer")

    def told(force: bool) -> None:
        tellings.append(Deferred.fromCoroutine(tell(force)))
        if force and not timers:
            timers.append(clock.callLater(AFTER_KILL, ending.cancel))

    stop.attach(told)
    try:
        return await ending
    except CancelledError:
        reason = troubles[-1] if troubles else "the container engine does not say why"
        raise DaguError(f"{what} could not be stopped and may still run: {reason}") from None
    finally:
        stop.detach()
        for timer in timers:
            if timer.active():
                timer.cancel()
        for telling in tellings:  # what was begun is brought to its end, so that nobody misses a signal
            await telling.addTimeout(AFTER_KILL, clock)
