"""How work that blocks leaves the reactor's thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred, execute
from twisted.internet.interfaces import IReactorThreads

T = TypeVar("T")


class InThread(Protocol):
    """Calls something that may block, elsewhere; tests pass `twisted.internet.defer.execute`, which calls it at once."""

    def __call__(self, work: Callable[[], T], /) -> Deferred[T]:
        """Fires with what `work` returns or raises."""


def threads_of(reactor: Any) -> InThread:
    """The threads of the reactor's own pool. A clock that has none, as in tests, calls at once."""
    if not IReactorThreads.providedBy(reactor):
        return execute

    from twisted.internet.threads import deferToThreadPool

    def in_thread(work: Callable[[], T], /) -> Deferred[T]:
        result: Deferred[T] = deferToThreadPool(reactor, reactor.getThreadPool(), work)
        return result

    return in_thread
