"""Calls between processes over a network that loses, delays, repeats and reorders messages, and falls apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from txdagu.testing.simulation.world import Appointment, Process, World
from txdagu.wire.metadata import Metadata, ReceivedMetadata
from txdagu.wire.status import RpcError, StatusCode

# Seconds after which a peer that says nothing is found out: a server asks after 60 s of silence and waits for 20 s.
KEEPALIVE = 80.0


class Watcher(Protocol):
    """Who looks at all calls as they are answered."""

    def served(self, server: str, request: Any, answer: Any) -> None:
        """A server is about to send an answer."""

    def arrived(self, server: str, request: Any) -> None:
        """A request reached its server."""

    def broken(self, where: str, failure: Failure) -> None:
        """A handler failed in a way that no caller was meant to see."""


@dataclass(frozen=True)
class Reply:
    """An answer with the metadata before it."""

    message: Any
    initial_metadata: ReceivedMetadata


class Context:
    """What a handler sees of its call."""

    def __init__(self, peer: str) -> None:
        self.peer = peer
        self.metadata: dict[str, str] = {}

    def set_initial_metadata(self, metadata: Metadata) -> None:
        """Metadata to send ahead of the answer."""
        self.metadata.update(dict(metadata))  # type: ignore[arg-type]


@dataclass(eq=False)
class Server:
    """A process that answers calls, with the host it is on."""

    process: Process
    host: str
    handlers: Mapping[Any, Callable[[Any, Any], Any]]
    calls: dict[Call, None] = field(default_factory=dict)


@dataclass(eq=False)
class Call:
    """One call, from its client's side: open until it is answered, given up or cut."""

    client: Process
    host: str
    server_host: str
    done: Deferred[Reply]
    timer: Appointment | None = None
    open: bool = True
    serving: list[tuple[Server, Deferred[Any]]] = field(default_factory=list)


class Network:
    """
    Hosts by name, and what goes on between them.

    `loss` and `repetition` are probabilities of a message, `slow` the longest delay in seconds, `blocked` the directions in
    which nothing passes. TCP is not modelled: a lost message is one whose connection broke, so that a caller without a
    deadline learns of it later; that a caller hung up arrives when it can, or is found out by keepalive.
    """

    def __init__(self, world: World, random: Random, watcher: Watcher) -> None:
        self.loss = 0.0
        self.repetition = 0.0
        self.slow = 0.05
        self.blocked: set[tuple[str, str]] = set()
        self.seen: set[str] = set()
        self._world = world
        self._random = random
        self._watcher = watcher
        self._servers: dict[str, Server] = {}

    def heal(self) -> None:
        """Everything arrives, and soon."""
        self.loss = self.repetition = 0.0
        self.slow = 0.05
        self.blocked.clear()

    def listen(self, server: Server) -> None:
        """From now on that server is reached at its host."""
        self._servers[server.host] = server

    def died(self, server: Server) -> None:
        """A server's process is gone; its host refuses connections, and those that were open break."""
        if self._servers.get(server.host) is server:
            del self._servers[server.host]
        for call in list(server.calls):
            self._eventually(
                server.host, call.host, partial(self._fail, call, StatusCode.UNAVAILABLE, "connection lost")
            )

    def client_died(self, calls: list[Call], abruptly: bool) -> None:
        """A client is gone; servers hear of it at once, or by keepalive if its host went down with it."""
        for call in calls:
            call.open = False
            self._hang_up(call, abruptly)

    def call(
        self, client: Process, host: str, server_host: str, method: Any, request: Any, timeout: float | None
    ) -> Call:
        """Begin a call."""
        call = Call(client, host, server_host, Deferred(lambda _: self._given_up(call)))
        self._world.remains.append(call.done)
        if not client.alive:
            return call
        if timeout is not None:
            call.timer = self._world.after(timeout / client.rate, lambda: self._timed_out(call))
        if not self._send(host, server_host, lambda: self._arrive(call, method, request)) and timeout is None:
            self._break_later(call)
        return call

    def close(self, call: Call, reason: str) -> None:
        """The client drops the connection of a call."""
        if call.open:
            self._hang_up(call)
            self._fail(call, StatusCode.UNAVAILABLE, reason)

    # -- messages ------------------------------------------------------------------------------------------------------

    def _send(self, source: str, target: str, deliver: Callable[[], None]) -> bool:
        """Send one message; False if it is lost on the way."""
        random = self._random
        if (source, target) in self.blocked:
            self.seen.add("partition one-way" if (target, source) not in self.blocked else "partition two-way")
            return False
        if self.loss and random.random() < self.loss:
            self.seen.add("loss")
            return False
        copies = 1
        if self.repetition and random.random() < self.repetition:
            self.seen.add("duplication")
            copies = 2
        for _ in range(copies):
            # Each message has a delay of its own, so they overtake one another.
            delay = random.uniform(0.001, self.slow)
            if delay > 0.5:
                self.seen.add("delay and reorder")
            self._world.after(delay, deliver)
        return True

    def _eventually(self, source: str, target: str, deliver: Callable[[], None], waited: float = 0.0) -> None:
        """Deliver news of a broken connection when it can pass, at the latest when keepalive finds it out."""
        if (source, target) in self.blocked and waited < KEEPALIVE:
            self._world.after(1.0, lambda: self._eventually(source, target, deliver, waited + 1.0))
        else:
            self._world.after(self._random.uniform(0.001, 0.05), deliver)

    def _break_later(self, call: Call) -> None:
        seconds = self._random.uniform(0.5, 10.0)
        self._world.after(seconds, lambda: self.close(call, "connection lost"))

    # -- the server's side ---------------------------------------------------------------------------------------------

    def _arrive(self, call: Call, method: Any, request: Any) -> None:
        server = self._servers.get(call.server_host)
        if server is None:
            refusal = partial(self._fail, call, StatusCode.UNAVAILABLE, f"connection refused by {call.server_host}")
            if not self._send(call.server_host, call.host, refusal) and call.timer is None:
                self._break_later(call)
            return
        server.calls[call] = None
        server.process.do(lambda: self._serve(server, call, method, request))

    def _serve(self, server: Server, call: Call, method: Any, request: Any) -> None:
        self._watcher.arrived(server.host, request)
        context = Context(call.host)
        serving = Deferred.fromCoroutine(server.handlers[method](request, context))
        self._world.remains.append(serving)
        call.serving.append((server, serving))
        serving.addCallbacks(
            lambda answer: self._answer(server, call, request, answer, context),
            lambda failure: self._refuse(server, call, failure),
        )
        if not call.open:
            # A copy that was overtaken by the end of its call; nobody waits for it, as the connection will tell.
            self._hang_up(call)

    def _answer(self, server: Server, call: Call, request: Any, answer: Any, context: Context) -> None:
        if not server.process.alive:
            return
        server.calls.pop(call, None)
        self._watcher.served(server.host, request, answer)
        reply = Reply(answer, ReceivedMetadata(context.metadata))
        if not self._send(server.host, call.host, lambda: self._answered(call, reply)) and call.timer is None:
            self._break_later(call)

    def _refuse(self, server: Server, call: Call, failure: Failure) -> None:
        if not server.process.alive:
            return
        server.calls.pop(call, None)
        error = failure.value
        if isinstance(error, CancelledError):
            return
        if not isinstance(error, RpcError):
            self._watcher.broken(server.host, failure)
            return
        if not self._send(server.host, call.host, lambda: self._refused(call, error)) and call.timer is None:
            self._break_later(call)

    # -- the client's side ---------------------------------------------------------------------------------------------

    def _answered(self, call: Call, reply: Reply) -> None:
        call.client.do(lambda: self._end(call, reply))

    def _refused(self, call: Call, error: RpcError) -> None:
        call.client.do(lambda: self._end(call, error))

    def _fail(self, call: Call, code: StatusCode, reason: str) -> None:
        call.client.do(lambda: self._end(call, RpcError(code, reason)))

    def _timed_out(self, call: Call) -> None:
        if call.open:
            self._hang_up(call)
            self._fail(call, StatusCode.DEADLINE_EXCEEDED, "the deadline has passed")

    def _end(self, call: Call, result: Reply | RpcError) -> None:
        if not call.open or not call.client.alive:
            return
        call.open = False
        if call.timer is not None:
            call.timer.cancel()
        self._hang_up(call)
        if isinstance(result, Reply):
            call.done.callback(result)
        else:
            call.done.errback(result)

    def _given_up(self, call: Call) -> None:
        call.open = False
        if call.client.alive:
            self._hang_up(call)

    def _hang_up(self, call: Call, abruptly: bool = False) -> None:
        """Have the server stop what it still does for this call."""

        def tell() -> None:
            for server, serving in call.serving:
                if not serving.called:
                    server.process.do(serving.cancel)

        if abruptly:
            self._world.after(self._random.uniform(60.0, KEEPALIVE), tell)
        else:
            self._eventually(call.host, call.server_host, tell)
