"""A reactor for tests: its time stands until told to advance, and its threads run at once, in the caller."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure


class ImmediatePool:
    """A thread pool without threads: work is done before the call returns."""

    def callInThread(self, function: Callable[..., object], *args: Any, **kwargs: Any) -> None:  # noqa: N802
        """Call the function."""
        self.callInThreadWithCallback(None, function, *args, **kwargs)

    def callInThreadWithCallback(  # noqa: N802
        self, done: Callable[[bool, Any], object] | None, function: Callable[..., object], *args: Any, **kwargs: Any
    ) -> None:
        """Call the function and tell `done` whether it succeeded, and its result or `Failure`."""
        try:
            result: object = function(*args, **kwargs)
            succeeded = True
        except Exception:  # noqa: BLE001 - as a real pool does
            result, succeeded = Failure(), False
        if done is not None:
            done(succeeded, result)


class ThreadlessReactor(MemoryReactorClock):
    """`MemoryReactorClock` with what `deferToThreadPool` needs; descriptors may be added, but nothing reads them."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._pool = ImmediatePool()

    def getThreadPool(self) -> ImmediatePool:  # noqa: N802
        """The pool that works at once."""
        return self._pool

    def callFromThread(self, function: Callable[..., object], *args: Any, **kwargs: Any) -> None:  # noqa: N802
        """Call at once: there is only one thread."""
        function(*args, **kwargs)
