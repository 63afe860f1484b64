"""Changes are seen at once where the system tells of them: on the real reactor, with real files and threads."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, execute
from twisted.trial.unittest import TestCase

from txdagu.model.dag import Dag, Step
from txdagu.model.run import RunRef, RunStatus
from txdagu.model.status import RunState
from txdagu.store import shared_disk
from txdagu.store.shared_disk import SharedDiskStore
from txdagu.store.watching import Watch
from txdagu.system.notices import Notices
from txdagu.system.places import Place, Places
from txdagu.system.rounds import Rounds
from txdagu.testing.store import paths_under

RUN = RunRef("d", "r")
CHILD = RunRef("sub", "c")
DAG = Dag("d", (Step("s"),))


class OnReactor(TestCase):
    """The real reactor, and a directory for each test. Each wait ends with an event, or the test's time is up."""

    timeout = 20

    def setUp(self) -> None:
        """A store; its sweeps are too rare to help."""
        from twisted.internet import reactor  # noqa: TID251 (this is what the test is about)

        self.reactor: Any = reactor
        self.home = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)
        self.patch(shared_disk, "LOOK_SECONDS", 3600.0)
        self.store = SharedDiskStore(paths_under(self.home), reactor, lambda: datetime.now().astimezone())


class Expectation:
    """Waits until what it looks at is true, and looks whenever it is called."""

    def __init__(self, test: OnReactor, look: Callable[[], Any]) -> None:
        self._look = look
        self._test = test
        self.met: Deferred[None] = Deferred()

    def __call__(self) -> None:
        """Look again."""
        looking: Deferred[bool] = Deferred.fromCoroutine(self._look())
        looking.addCallback(self._seen).addErrback(self.met.errback)

    def _seen(self, true: bool) -> None:
        if true and not self.met.called:
            self.met.callback(None)


class Calls:
    """Something to be called; `next` fires at the next time."""

    def __init__(self) -> None:
        self.next: Deferred[None] = Deferred()

    def __call__(self) -> None:
        """Here is a call."""
        called, self.next = self.next, Deferred()
        called.callback(None)


class WatchTests(OnReactor):
    """Runs, cancel flags and queues."""

    async def test_directory_between_two_looks(self) -> None:
        """A directory made after the places in it were found is watched as soon as one looks again, not at the next sweep."""
        parent, child = self.home / "parent", self.home / "parent" / "child"
        parent.mkdir()
        places = Places(frozenset([Place(str(parent), "child", structure=True), Place(str(child), "wanted")]), True)
        calls = Calls()
        notices, rounds = Notices(self.reactor), Rounds(self.reactor, 3600.0, execute)
        watch = Watch(self.reactor, execute, notices, rounds, lambda: places, calls)
        await calls.next
        child.mkdir()
        await calls.next
        (child / "wanted").touch()
        await calls.next
        watch.stop()

    async def test_run_from_its_first_day(self) -> None:
        """A watcher that was there before a called run sees each of its states without waiting for a sweep."""
        root = await self.store.open_attempt(DAG, RUN, RUN)
        for state in (RunState.RUNNING, RunState.SUCCEEDED):

            async def there(state: RunState = state) -> bool:
                status = await self.store.read_status(CHILD, RUN)
                return status is not None and status.state is state

            expectation = Expectation(self, there)
            stop = self.store.watch(CHILD, RUN, expectation)
            if state is RunState.RUNNING:
                sink = await self.store.open_attempt(Dag("sub"), CHILD, RUN)
                sink.write_status(RunStatus(CHILD, RUN, state))
            else:
                await sink.close(RunStatus(CHILD, RUN, state))
            await expectation.met
            stop()
        await root.close(RunStatus(RUN, RUN, RunState.SUCCEEDED))

    async def test_new_attempt(self) -> None:
        """A watcher sees the state of an attempt that began after it came."""
        first = await self.store.open_attempt(DAG, RUN, RUN)
        await first.close(RunStatus(RUN, RUN, RunState.FAILED))

        async def there() -> bool:
            status = await self.store.read_status(RUN, RUN)
            return status is not None and status.state is RunState.SUCCEEDED

        expectation = Expectation(self, there)
        stop = self.store.watch(RUN, RUN, expectation)
        second = await self.store.open_attempt(DAG, RUN, RUN)
        second.write_status(RunStatus(RUN, RUN, RunState.RUNNING))
        await second.close(RunStatus(RUN, RUN, RunState.SUCCEEDED))
        await expectation.met
        stop()

    async def test_cancel(self) -> None:
        """A cancel flag is seen when it is written."""
        sink = await self.store.open_attempt(DAG, RUN, RUN)
        asked: Deferred[None] = Deferred()
        sink.watch_cancel(lambda: asked.callback(None))
        self.assertTrue(await self.store.request_cancel(RUN, RUN))
        await asked
        await sink.close(RunStatus(RUN, RUN, RunState.ABORTED))

    async def test_queue(self) -> None:
        """An item in a queue that is new is seen when it is written, and when it leaves."""
        (self.home / "data" / "queue").mkdir(parents=True)
        for wanted in ([("q", RUN)], []):

            async def there(wanted: list[tuple[str, RunRef]] = wanted) -> bool:
                return await self.store.queue.items() == wanted

            expectation = Expectation(self, there)
            stop = self.store.queue.watch(expectation)
            if wanted:
                await self.store.enqueue(DAG, RunStatus(RUN, RUN), "q")
            else:
                await self.store.queue.remove("q", RUN)
            await expectation.met
            stop()
