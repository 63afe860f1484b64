"""Coroutines run without a Deferred of their own behave as those of `Deferred.fromCoroutine`."""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from contextvars import ContextVar
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from txdagu.grpc.coroutine import CoroutineRunner

VARIABLE: ContextVar[str] = ContextVar("VARIABLE", default="outside")


class Recorder(CoroutineRunner):
    """Notes how its coroutine ended."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any] | None = None) -> None:
        super().__init__()
        self.ends: list[object] = []
        if coroutine is not None:
            self.run(coroutine)

    def returned(self, result: Any) -> None:
        self.ends.append(result)

    def raised(self, error: BaseException) -> None:
        self.ends.append((type(error), str(error)))


class Running(SynchronousTestCase):
    """What the coroutine sees, and what is told of it."""

    def test_at_once(self) -> None:
        """One that never waits has ended when `run` returns, also behind Deferreds that have their result."""

        async def work() -> int:
            return await succeed(3) + 4

        self.assertEqual(Recorder(work()).ends, [7])

    def test_waits(self) -> None:
        """Results and failures arrive where it waits; its own error is told."""
        first: Deferred[int] = Deferred()
        second: Deferred[int] = Deferred()
        seen: list[object] = []

        async def work() -> None:
            seen.append(await first)
            try:
                await second
            except ValueError as error:
                seen.append(str(error))
            raise KeyError("mine")

        recorder = Recorder(work())
        self.assertEqual(recorder.ends, [])
        first.callback(1)
        second.errback(ValueError("theirs"))
        self.assertEqual((seen, recorder.ends), ([1, "theirs"], [(KeyError, "'mine'")]))

    def test_cancelled(self) -> None:
        """A cancelled one gets `CancelledError` where it waits, may wait again for its clean-up, and is cancelled only once."""
        cleaned: Deferred[None] = Deferred()

        async def work() -> None:
            try:
                await Deferred()
            finally:
                await cleaned

        recorder = Recorder(work())
        recorder.cancel()
        self.assertEqual(recorder.ends, [])
        cleaned.callback(None)
        self.assertEqual(recorder.ends, [(CancelledError, "")])
        recorder.cancel()

    def test_cancelled_while_it_runs(self) -> None:
        """What is cancelled by its own doing notices at its next wait."""
        recorder = Recorder()

        async def work() -> None:
            recorder.cancel()
            await Deferred()

        recorder.run(work())
        self.assertEqual(recorder.ends, [(CancelledError, "")])

    def test_context(self) -> None:
        """Context variables set in it stay in it, and survive its waits."""
        wait: Deferred[None] = Deferred()

        async def work() -> str:
            VARIABLE.set("inside")
            await wait
            return VARIABLE.get()

        recorder = Recorder(work())
        self.assertEqual(VARIABLE.get(), "outside")
        wait.callback(None)
        self.assertEqual((recorder.ends, VARIABLE.get()), (["inside"], "outside"))

    def test_long_chain(self) -> None:
        """Thousands of waits one after the other do not nest."""
        queue: list[Deferred[None]] = []

        async def work() -> str:
            for _ in range(5000):
                queue.append(Deferred())
                await queue[-1]
            return "done"

        recorder = Recorder(work())
        while queue:
            queue.pop().callback(None)
        self.assertEqual(recorder.ends, ["done"])

    def test_no_deferred(self) -> None:
        """Waiting for something of another event loop is an error at that place."""

        class Foreign:
            def __await__(self) -> Generator[object, None, None]:
                yield "future"

        async def work() -> None:
            await Foreign()

        recorder = Recorder(work())
        self.assertEqual(recorder.ends, [(TypeError, "cannot wait for 'future': it is no Deferred")])

    def test_no_deferred_again(self) -> None:
        """Who passes that error over and does it again gets it again, and may still end well."""

        class Foreign:
            def __await__(self) -> Generator[object, None, None]:
                yield "future"

        async def work() -> int:
            caught = 0
            for _ in range(3):
                try:
                    await Foreign()
                except TypeError:
                    caught += 1
            return caught

        self.assertEqual(Recorder(work()).ends, [3])
