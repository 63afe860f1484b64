"""A channel whose other end is a script: for tests of those who call coordinators."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from txdagu.wire.method import RpcMethod
from txdagu.wire.status import RpcError, StatusCode


@dataclass(frozen=True, slots=True)
class ScriptedReply:
    """An answer with its metadata."""

    message: Any
    initial_metadata: dict[str, str | bytes]


class ScriptedChannel:
    """
    Answers calls as told, and records them.

    `answers` maps a method's name to what it answers: a message, an `RpcError`, or a function of the request that
    returns one of these. A method without an answer is parked: its Deferred waits in ``parked[name]`` until the test fires
    it, the caller cancels it, or its deadline passes by `clock`. With `hanging` every call is parked.
    """

    def __init__(self, clock: IReactorTime, metadata: dict[str, str | bytes] | None = None) -> None:
        self.answers: dict[str, Any] = {}
        self.calls: list[tuple[str, Any]] = []
        self.parked: defaultdict[str, list[Deferred[Any]]] = defaultdict(list)
        self.metadata = metadata or {}
        self.hanging = False
        self.closed = False
        self._clock = clock

    def requests(self, name: str) -> list[Any]:
        """The requests of all calls of that method so far."""
        return [request for method, request in self.calls if method == name]

    def unary(self, method: RpcMethod[Any, Any], request: Any, *, timeout: float | None = None) -> Deferred[Any]:
        """Answer a call."""
        self.calls.append((method.name, request))
        waiting: Deferred[Any] = Deferred()
        answer = None if self.hanging else self.answers.get(method.name)
        if callable(answer):
            answer = answer(request)
        if isinstance(answer, RpcError):
            waiting.errback(answer)
        elif answer is not None:
            waiting.callback(answer)
        else:
            self._park(method.name, waiting, timeout)
        return waiting

    def unary_call(self, method: RpcMethod[Any, Any], request: Any, *, timeout: float | None = None) -> Deferred[Any]:
        """Answer a call, with metadata."""
        return self.unary(method, request, timeout=timeout).addCallback(
            lambda message: ScriptedReply(message, self.metadata)
        )

    async def close(self) -> None:
        """Fail all parked calls."""
        self.closed = True
        for calls in list(self.parked.values()):
            for waiting in list(calls):
                waiting.errback(RpcError(StatusCode.UNAVAILABLE, "the channel was closed"))

    def _park(self, name: str, waiting: Deferred[Any], timeout: float | None) -> None:
        self.parked[name].append(waiting)
        limit = None
        if timeout is not None:
            late = RpcError(StatusCode.DEADLINE_EXCEEDED, f"no answer within {timeout:g} s")
            limit = self._clock.callLater(timeout, waiting.errback, late)

        def over(result: Any) -> Any:
            self.parked[name].remove(waiting)
            if limit is not None and limit.active():
                limit.cancel()
            return result

        waiting.addBoth(over)
