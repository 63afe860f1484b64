"""Who is there, asked once for everybody who wants to know at about the same time."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from functools import cached_property

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from txdagu.model.standing import Ordered, WorkerOrder
from txdagu.peers.interfaces import ICoordinators, WorkersView
from txdagu.web.documents import workers_document

KEPT_FOR = 0.5
_PLAIN_IN_HTML = str.maketrans({character: f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"})


class Snapshot:
    """The workers at one moment: `at` is in Unix seconds. Encoded at most once in each form, however many ask for it."""

    def __init__(self, view: WorkersView, at: float) -> None:
        self.view = view
        self.at = at

    @cached_property
    def body(self) -> bytes:
        """JSON, keys sorted as Dagu 1.30.2 sorts them."""
        return msgspec.json.encode(workers_document(self.view, self.at), order="sorted")

    @cached_property
    def compressed(self) -> bytes:
        """The same for those who take gzip."""
        return gzip.compress(self.body, compresslevel=1, mtime=0)

    @cached_property
    def in_html(self) -> str:
        """The same JSON, without any character that could end or begin an element."""
        return self.body.decode().translate(_PLAIN_IN_HTML)


class Census:
    """
    Asks `coordinators` for the workers and lets everybody share the answer for half a second, errors too.

    `wall` gives Unix seconds. Who no longer wants an answer may cancel; the question goes on for the others.
    """

    def __init__(self, coordinators: ICoordinators, clock: IReactorTime, wall: Callable[[], float]) -> None:
        self._coordinators = coordinators
        self._clock = clock
        self._wall = wall
        self._known: Snapshot | Failure | None = None
        self._known_at = 0.0
        self._asking: Deferred[None] | None = None
        self._waiting: list[Deferred[Snapshot]] = []

    def take(self) -> Deferred[Snapshot]:
        """The workers as they are now, or were at most half a second ago."""
        answer: Deferred[Snapshot] = Deferred(self._forget)
        if self._known is not None and self._clock.seconds() - self._known_at < KEPT_FOR:
            _give(answer, self._known)
            return answer
        self._waiting.append(answer)
        if self._asking is None:
            self._asking = asking = Deferred.fromCoroutine(self._ask())
            asking.addErrback(self._tell)
            if asking.called:
                self._asking = None
        return answer

    async def order(self, order: WorkerOrder) -> Ordered:
        """Give the coordinators an order for workers. Whoever asks afterwards sees what it led to."""
        done: Ordered = await self._coordinators.order(order)
        self._known = None
        return done

    def stop(self) -> None:
        """Ask no longer; whoever still waits is told `CancelledError`."""
        if self._asking is not None:
            self._asking.cancel()
        for answer in tuple(self._waiting):
            answer.cancel()

    async def _ask(self) -> None:
        view = await self._coordinators.workers()
        self._tell(Snapshot(view, self._wall()))

    def _tell(self, known: Snapshot | Failure) -> None:
        self._known, self._known_at = known, self._clock.seconds()
        self._asking = None
        waiting, self._waiting = self._waiting, []
        for answer in waiting:
            _give(answer, known)

    def _forget(self, answer: Deferred[Snapshot]) -> None:
        if answer in self._waiting:
            self._waiting.remove(answer)


def _give(answer: Deferred[Snapshot], known: Snapshot | Failure) -> None:
    if isinstance(known, Failure):
        answer.errback(known)
    else:
        answer.callback(known)
