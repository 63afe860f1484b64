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


class SingleThread:
    """One thread, in which work is done in the order in which it came. It ends with the reactor at the latest."""

    def __init__(self, reactor: Any, name: str) -> None:
        self._reactor = reactor
        self._name = name
        self._pool: Any = None
        self._trigger: Any = None

    def start(self) -> InThread:
        """Start the thread; returns the way in."""
        from twisted.internet.threads import deferToThreadPool
        from twisted.python.threadpool import ThreadPool

        pool = self._pool = ThreadPool(minthreads=1, maxthreads=1, name=self._name)
        pool.start()
        self._trigger = self._reactor.addSystemEventTrigger("during", "shutdown", pool.stop)

        def in_thread(work: Callable[[], T], /) -> Deferred[T]:
            result: Deferred[T] = deferToThreadPool(self._reactor, pool, work)
            return result

        return in_thread

    def stop(self) -> None:
        """Wait for the work that was given, and end the thread."""
        if self._pool is not None:
            self._reactor.removeSystemEventTrigger(self._trigger)
            self._pool.stop()
            self._pool = None


class NoThread:
    """In place of a `SingleThread`, for tests on a clock: work is done where it is given, at once."""

    def start(self) -> InThread:
        """Nothing to start."""
        return execute

    def stop(self) -> None:
        """Nothing to end."""
