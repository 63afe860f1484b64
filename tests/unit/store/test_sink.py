"""The writer of an attempt: order, coalescing, full disks, cancellation of callers."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

from twisted.internet.defer import CancelledError, Deferred, execute
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import provider

from txdagu.model.chat import Answered, ChatMessage
from txdagu.model.dag import Dag, Step
from txdagu.model.errors import UnavailableError
from txdagu.model.run import NodeStatus, RunRef, RunStatus
from txdagu.model.status import NodeState, RunState
from txdagu.store.shared_disk import SharedDiskStore
from txdagu.store.sink import SharedDiskSink
from txdagu.testing.store import paths_under

T = TypeVar("T")

AT = datetime(2026, 11, 23, 17, 54, 1, tzinfo=UTC)
RUN = RunRef("d", "r")
DAG = Dag("d", (Step("s"),))


class Threads:
    """Threads of the test's making: work is done when the test says so."""

    def __init__(self) -> None:
        self.held = False
        self.waiting: list[Callable[[], object]] = []

    def __call__(self, work: Callable[[], T], /) -> Deferred[T]:
        """At once, or later if threads are held up."""
        if not self.held:
            return execute(work)
        result: Deferred[T] = Deferred()
        self.waiting.append(lambda: execute(work).chainDeferred(result))
        return result

    def do_one(self) -> None:
        """Let the oldest piece of work be done."""
        self.waiting.pop(0)()


class SinkTests(SynchronousTestCase):
    """`SharedDiskSink` with threads under control."""

    def setUp(self) -> None:
        """A store with a clock."""
        self.clock = Clock()
        self.threads = Threads()
        self.home = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)
        self.store = SharedDiskStore(
            paths_under(self.home),
            self.clock,
            lambda: AT + timedelta(seconds=self.clock.seconds()),
            in_thread=self.threads,
        )
        self.logged: list[str] = []

        @provider(ILogObserver)
        def observe(event: Any) -> None:
            if event.get("log_namespace", "").startswith("txdagu."):
                self.logged.append(event["log_level"].name)

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)

    def open(self) -> SharedDiskSink:
        """A sink of a new attempt."""
        return self.successResultOf(Deferred.fromCoroutine(self.store.open_attempt(DAG, RUN, RUN)))

    def status(self, number: int, steps: int = 1) -> RunStatus:
        """A state that can be told from others by its pid."""
        nodes = tuple(NodeStatus(Step(f"s{step}")) for step in range(steps))
        return RunStatus(RUN, RUN, RunState.RUNNING, pid=number, nodes=nodes)

    def pids(self, sink: SharedDiskSink) -> list[str]:
        """The states in the file, oldest first."""
        (path,) = self.home.glob(f"data/dag-runs/d/dag-runs/*/*/*/*/{sink.attempt_name}/status.jsonl")
        return [line.split('"pid":')[1].split(",")[0] for line in path.read_text().splitlines()]

    def test_conversations(self) -> None:
        """A conversation lies with the run, for all attempts, readable by its owner alone; what cannot be read is none."""
        talk = (ChatMessage("user", "hi"), ChatMessage("assistant", "yo", Answered("local", "m", 1, 2, 3)))
        first = self.open()
        self.successResultOf(Deferred.fromCoroutine(first.write_messages("a/b", talk)))
        self.successResultOf(Deferred.fromCoroutine(first.close(self.status(1))))
        second = self.open()
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(second.read_messages("a/b"))), talk)
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(second.read_messages("other"))), ())
        (path,) = self.home.glob("data/dag-runs/d/dag-runs/*/*/*/*/messages/*")
        self.assertEqual((path.name, path.stat().st_mode & 0o777), ("a_b.json", 0o600))
        path.write_text("{")
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(second.read_messages("a/b"))), ())
        shutil.rmtree(path.parent)
        path.parent.write_text("in the way")
        failure = self.failureResultOf(Deferred.fromCoroutine(second.write_messages("a", talk)), UnavailableError)
        self.assertRegex(str(failure.value), "/messages.*; make room or bring the disk back")

    def test_latest_wins(self) -> None:
        """States that come while one is written are written as one, the latest; log lines are all kept in order."""
        sink = self.open()
        self.threads.held = True
        for number in range(1, 6):
            sink.write_status(self.status(number))
            sink.write_log(f"line {number}")
        self.assertEqual(len(self.threads.waiting), 1)
        self.threads.do_one()
        self.threads.do_one()
        self.assertEqual(self.threads.waiting, [])
        self.assertEqual(self.pids(sink), ["1", "5"])
        self.threads.held = False
        self.successResultOf(Deferred.fromCoroutine(sink.close(self.status(6))))
        self.assertEqual(self.pids(sink), ["1", "5", "6"])
        self.assertEqual(Path(sink.log).read_text(), "".join(f"line {number}\n" for number in range(1, 6)))

    def test_close_waits_for_the_writer(self) -> None:
        """The final state comes after the one that is just being written, and overtakes those that wait."""
        sink = self.open()
        self.threads.held = True
        sink.write_status(self.status(1))
        sink.write_status(self.status(2))
        sink.write_log("line")
        closed = Deferred.fromCoroutine(sink.close(self.status(3)))
        self.assertNoResult(closed)
        while self.threads.waiting:
            self.threads.do_one()
        self.successResultOf(closed)
        self.assertEqual(self.pids(sink), ["1", "3"])
        self.assertEqual(Path(sink.log).read_text(), "line\n")

    def written_for(self, steps: int) -> tuple[int, int]:
        """Bytes written and nodes encoded for a run of so many steps in a row, each of which takes three milliseconds."""
        sink = self.open()
        nodes = [NodeStatus(Step(f"step {index}")) for index in range(steps)]
        for index in range(steps):
            for state in (NodeState.RUNNING, NodeState.SUCCEEDED):
                nodes[index] = replace(nodes[index], state=state)
                sink.write_status(replace(self.status(1), nodes=tuple(nodes)))
                self.clock.advance(0.0015)
        attempt = sink._attempt
        size = (attempt.place.directory / "status.jsonl").stat().st_size
        self.successResultOf(Deferred.fromCoroutine(sink.close(replace(self.status(1), nodes=tuple(nodes)))))
        return size, attempt._encoder.encoded

    def test_long_runs(self) -> None:
        """Twice as many steps write twice as much, not four times; a node is encoded when it has changed, not with each line."""
        half, whole = self.written_for(300), self.written_for(600)
        self.assertLess(whole[0], 2.5 * half[0])
        for steps, (_, encoded) in ((300, half), (600, whole)):
            self.assertLessEqual(encoded, 3 * steps)  # as it was first, running, and ended

    def test_big_states_are_spaced(self) -> None:
        """A run of thousands of steps does not write its whole state for each of them; the last one is always written."""
        sink = self.open()
        steps = tuple(NodeStatus(Step("s" * 40)) for _ in range(3000))
        for number in range(1, 301):
            changed = (*steps[:7], replace(steps[7], retry_count=number), *steps[8:])
            sink.write_status(replace(self.status(number), nodes=changed))
            self.clock.advance(0.001)
        self.assertLess(len(self.pids(sink)), 20)
        self.clock.advance(1)
        self.assertEqual(self.pids(sink)[-1], "300")
        sink.write_status(replace(self.status(1), nodes=steps))
        sink.write_status(replace(self.status(2), nodes=steps))
        self.successResultOf(Deferred.fromCoroutine(sink.close(self.status(3))))
        self.assertEqual(self.pids(sink), ["3"])

    def test_full_disk(self) -> None:
        """A state that cannot be written is tried again each second, with one error logged; a newer one takes its place."""
        sink = self.open()
        with patch("txdagu.store.statusfile.write_all", side_effect=OSError(28, "No space left on device")):
            sink.write_status(self.status(1))
            self.clock.advance(1)
            sink.write_status(self.status(2))
            self.clock.advance(1)
        self.assertEqual(self.logged, ["error"])
        self.clock.advance(1)
        self.assertEqual(self.pids(sink), ["2"])
        self.successResultOf(Deferred.fromCoroutine(sink.close(self.status(3))))

    def test_full_disk_at_the_end(self) -> None:
        """A final state that cannot be written is an error that says where, and closing can be tried again."""
        sink = self.open()
        with patch("txdagu.store.statusfile.write_all", side_effect=OSError(28, "No space left on device")):
            failure = self.failureResultOf(Deferred.fromCoroutine(sink.close(self.status(1))), UnavailableError)
        self.assertIn("No space left", str(failure.value))
        self.assertIn(sink.attempt_name, str(failure.value))
        self.successResultOf(Deferred.fromCoroutine(sink.close(self.status(2))))
        self.assertEqual(self.pids(sink), ["2"])

    def test_after_the_end(self) -> None:
        """What comes after the end changes nothing, and is not passed over in silence."""
        sink = self.open()
        self.successResultOf(Deferred.fromCoroutine(sink.close(self.status(1))))
        sink.write_status(self.status(2))
        sink.write_log("late")
        self.assertEqual(self.pids(sink), ["1"])
        self.assertEqual(self.logged, ["warn", "warn"])

    def test_beats(self) -> None:
        """The liveness file is renewed every 15 s while the attempt is open, made again if it is gone, and then gone."""
        sink = self.open()
        (path,) = self.home.glob("data/proc/d/d/*.proc")
        for _ in range(3):
            self.clock.advance(15)
            self.assertEqual(int.from_bytes(path.read_bytes(), "big"), int(AT.timestamp() + self.clock.seconds()))
            path.unlink()
        self.successResultOf(Deferred.fromCoroutine(sink.close(self.status(1))))
        self.clock.advance(60)
        self.assertEqual(list(self.home.glob("data/proc/d/*/*")), [])

    def test_caller_gone_while_opening(self) -> None:
        """An attempt whose caller was cancelled does not seem alive, whether its thread was done already or not."""
        for order in ((0, 0), (1, 0)):
            self.threads.held = True
            opening = Deferred.fromCoroutine(self.store.open_attempt(DAG, RUN, RUN))
            opening.cancel()
            self.failureResultOf(opening, CancelledError)
            for position in order:
                self.threads.waiting.pop(position)()
            self.threads.held = False
            running = self.successResultOf(Deferred.fromCoroutine(self.store.queue.running("d")))
            self.assertEqual(running, 0)

    def test_one_bad_watcher(self) -> None:
        """A callback that raises is logged, and neither it nor others are called less often for it."""
        calls: list[str] = []

        def bad() -> None:
            calls.append("bad")
            raise ValueError("bad watcher")

        ends = [self.store.watch(RUN, RUN, bad), self.store.watch(RUN, RUN, lambda: calls.append("good"))]
        self.clock.advance(0)
        del calls[:]
        self.clock.pump([1, 1])
        self.assertEqual(calls.count("bad"), 2)
        self.assertEqual(calls.count("good"), 2)
        for end in ends:
            end()
        self.assertTrue(self.flushLoggedErrors(ValueError))

    def test_states_of_steps(self) -> None:
        """A record read back is the one that was written, through all that happens to it on the way."""
        sink = self.open()
        node = NodeStatus(Step("s"), NodeState.FAILED, error="exit status 3", outputs={"A": "1"})
        self.successResultOf(
            Deferred.fromCoroutine(sink.close(replace(self.status(1), state=RunState.FAILED, nodes=(node,))))
        )
        status = self.successResultOf(Deferred.fromCoroutine(self.store.read_status(RUN, RUN)))
        assert status
        self.assertEqual((status.state, status.nodes), (RunState.FAILED, (node,)))
