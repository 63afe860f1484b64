"""Changes are seen at once where the system tells of them: on the real reactor, with real files and threads."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, execute
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from txdagu.model.dag import Dag, Step
from txdagu.model.run import RunRef, RunStatus
from txdagu.model.status import RunState
from txdagu.store import shared_disk
from txdagu.store.notices import Notices
from txdagu.store.places import Place, Places
from txdagu.store.rounds import Rounds
from txdagu.store.shared_disk import SharedDiskStore
from txdagu.store.watching import Watch
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


class NoticesTests(OnReactor):
    """The one inotify instance behind it all."""

    def setUp(self) -> None:
        """Three directories."""
        super().setUp()
        self.notices = Notices(self.reactor)
        for name in "abc":
            (self.home / name).mkdir()

    def expect(self, place: Place) -> Deferred[None]:
        """Fires when the place is told of, once."""
        told: Deferred[None] = Deferred()

        def once(_place: Place) -> None:
            self.notices.remove(place, once)
            told.callback(None)

        self.notices.add(place, once)
        return told

    async def test_names(self) -> None:
        """Only what was asked for is told: a name, or an ending."""
        other: list[Place] = []
        quiet = Place(str(self.home / "a"), "other")
        self.notices.add(quiet, other.append)
        name = self.expect(Place(str(self.home / "a"), "wanted"))
        ending = self.expect(Place(str(self.home / "a"), suffix="_r"))
        (self.home / "a" / "wanted").touch()
        await name
        (self.home / "a" / "x_r").touch()
        await ending
        self.assertEqual(other, [])
        self.notices.remove(quiet, other.append)

    async def test_deleted_directory(self) -> None:
        """When one directory is deleted, which ends Twisted's notifier, the others are told and watched on."""
        gone = Place(str(self.home / "a"))
        self.notices.add(gone, print)
        told = self.expect(Place(str(self.home / "b")))
        (self.home / "a").rmdir()
        await told
        later = self.expect(Place(str(self.home / "b")))
        (self.home / "b" / "new").touch()
        await later
        (self.home / "a").mkdir()
        self.notices.remove(gone, print)

    async def test_missing_directory(self) -> None:
        """A directory that comes later is watched after the next sweep, which tells of what may have happened before."""
        place = Place(str(self.home / "later"))
        missed = self.expect(place)
        (self.home / "later").mkdir()
        (self.home / "later" / "old").touch()
        self.notices.arm()
        await missed
        told = self.expect(place)
        (self.home / "later" / "new").touch()
        await told

    async def test_a_callback_that_raises(self) -> None:
        """An error in one callback is logged and does not end the others' notices."""

        def bad(_place: Place) -> None:
            raise ValueError("bad")

        place = Place(str(self.home / "a"))
        self.notices.add(place, bad)
        for name in ("one", "two"):
            told = self.expect(place)
            (self.home / "a" / name).touch()
            await told
        self.notices.remove(place, bad)
        self.assertTrue(self.flushLoggedErrors(ValueError))

    async def test_hundreds_of_directories(self) -> None:
        """One instance serves all directories, and is given back with the last of them."""
        before = self.instances()
        places = [Place(str(self.home / "a"), str(number)) for number in range(3)]
        places += [Place(str(self.home / name)) for name in "bc"]
        for place in places:
            self.notices.add(place, print)
        self.assertEqual(self.instances(), before + 1)
        for place in places:
            self.notices.remove(place, print)
        await deferLater(self.reactor, 0.0)
        self.assertEqual(self.instances(), before)

    def instances(self) -> int:
        """How many inotify instances this process has."""
        found = 0
        for path in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                found += "inotify" in str(path.readlink())
        return found
