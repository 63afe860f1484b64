"""What every store promises, whichever way it keeps runs."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Coroutine
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txdagu.model.chat import Answered, ChatMessage
from txdagu.model.dag import Command, Dag, Output, Step
from txdagu.model.errors import ConflictError, InvalidInputError, NotFoundError, Problem
from txdagu.model.run import NodeStatus, RunRef, RunStatus
from txdagu.model.status import NodeState, RunState
from txdagu.store.shared_disk import SharedDiskStore
from txdagu.testing.store import MemoryStore, paths_under

T = TypeVar("T")

START = datetime(2026, 11, 24, 2, 54, 1, 961000, tzinfo=timezone(timedelta(hours=9)))
STEP = Step("one", commands=(Command("echo hi", "echo", ("hi",)),), output=Output("ONE_OUT"))
DAG = Dag("basic", steps=(STEP,), queue="shared-q", base_dir="/srv/dags", params="FOO=bar", yaml_text="name: basic\n")
RUN = RunRef("basic", "run-A_1")
CHILD_DAG = Dag("sub", steps=(STEP,), base_dir="/srv/dags")
CHILD = RunRef("sub", "9rav9V5V779vCYqfRg6HFQmUviPzu9GdewDNeJx2vx9G")


def running(run: RunRef = RUN, root: RunRef = RUN, **changes: Any) -> RunStatus:
    """A run in the middle of its one step."""
    status = RunStatus(
        run=run,
        root=root,
        state=RunState.RUNNING,
        nodes=(NodeStatus(STEP, NodeState.RUNNING, started_at=START.replace(microsecond=0)),),
        started_at=START.replace(microsecond=0),
        params=("FOO=bar",),
    )
    return replace(status, **changes)


def ended(run: RunRef = RUN, root: RunRef = RUN) -> RunStatus:
    """The same run after it went well."""
    at = START.replace(microsecond=0) + timedelta(seconds=2)
    node = replace(running().nodes[0], state=NodeState.SUCCEEDED, finished_at=at, outputs={"ONE_OUT": "hi"})
    return replace(running(run, root), state=RunState.SUCCEEDED, finished_at=at, nodes=(node,))


if TYPE_CHECKING:
    Suite = SynchronousTestCase
else:
    Suite = object  # so that it is run for the providers only


class Contract(Suite):
    """The suite; providers say how their store is made."""

    clock: Clock
    store: Any

    def make(self) -> Any:
        """A store without runs."""
        raise AssertionError("providers make their store")

    def now(self) -> datetime:
        """The time as the clock has it, local zone UTC+9."""
        return START + timedelta(seconds=self.clock.seconds())

    def setUp(self) -> None:
        """What each test needs."""
        super().setUp()
        self.clock = Clock()
        self.store = self.make()

    def die(self, run: RunRef) -> None:
        """Let the process that executes the run be gone, without a word, for long enough."""
        raise AssertionError("providers know how")

    def wait(self, call: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine that needs no waiting."""
        return self.successResultOf(Deferred.fromCoroutine(call))

    def fails(self, call: Coroutine[Any, Any, object], kind: type[Exception]) -> str:
        """The message of the error that a coroutine raises."""
        return str(self.failureResultOf(Deferred.fromCoroutine(call), kind).value)

    def test_nothing(self) -> None:
        """An empty store answers every question with nothing, and raises no error."""
        self.assertIsNone(self.wait(self.store.read_status(RUN, RUN)))
        self.assertIsNone(self.wait(self.store.read_dag(RUN, RUN)))
        self.assertIsNone(self.wait(self.store.latest_run("basic")))
        self.assertIsNone(self.wait(self.store.read_status(CHILD, RUN)))
        self.assertFalse(self.wait(self.store.request_cancel(RUN, RUN)))
        self.assertEqual(self.wait(self.store.queue.items()), [])
        self.assertEqual(self.wait(self.store.queue.running("shared-q")), 0)

    def test_life_of_a_run(self) -> None:
        """What a sink takes is what readers get, from the first state to the last."""
        sink = self.wait(self.store.open_attempt(DAG, RUN, RUN, new=True))
        self.assertIsNone(self.wait(self.store.read_status(RUN, RUN)))
        sink.write_status(running())
        status = self.wait(self.store.read_status(RUN, RUN))
        self.assertEqual(status.state, RunState.RUNNING)
        self.assertEqual(status.attempt_id, sink.attempt_id)
        self.assertEqual(status.log, sink.log)
        self.assertEqual(status.worker_id, "local")
        self.assertGreater(status.pid, 0)
        self.assertEqual(status.created_at_ms, int(self.now().timestamp() * 1000))
        self.assertEqual(self.wait(self.store.queue.running("shared-q")), 1)
        self.wait(sink.close(ended()))
        status = self.wait(self.store.read_status(RUN, RUN))
        self.assertEqual(status.state, RunState.SUCCEEDED)
        self.assertEqual(status.nodes, ended().nodes)
        self.assertEqual(status.outputs, {"ONE_OUT": "hi"})
        self.assertEqual(self.wait(self.store.queue.running("shared-q")), 0)
        self.assertEqual(self.wait(self.store.read_dag(RUN, RUN)), DAG)
        self.assertEqual(self.wait(self.store.latest_run("basic")), RUN)

    def test_given_values_are_kept(self) -> None:
        """A writer that speaks for a process elsewhere keeps that one's pid, worker and time."""
        sink = self.wait(self.store.open_attempt(DAG, RUN, RUN))
        sink.write_status(running(worker_id="wk-1", pid=4711, created_at_ms=1795456441978))
        status = self.wait(self.store.read_status(RUN, RUN))
        self.assertEqual((status.worker_id, status.pid, status.created_at_ms), ("wk-1", 4711, 1795456441978))
        self.wait(sink.close(ended()))

    def test_twice_new(self) -> None:
        """A run that exists cannot begin as new again."""
        sink = self.wait(self.store.open_attempt(DAG, RUN, RUN, new=True))
        self.wait(sink.close(ended()))
        self.assertIn("basic:run-A_1", self.fails(self.store.open_attempt(DAG, RUN, RUN, new=True), ConflictError))
        self.assertEqual(self.wait(self.store.queue.running("shared-q")), 0)

    def test_alive_elsewhere(self) -> None:
        """A run that somebody executes cannot be executed by another."""
        sink = self.wait(self.store.open_attempt(DAG, RUN, RUN))
        self.clock.advance(1)
        self.fails(self.store.open_attempt(DAG, RUN, RUN), ConflictError)
        self.wait(sink.close(ended()))
        self.wait(self.wait(self.store.open_attempt(DAG, RUN, RUN)).close(ended()))

    def test_taken_over(self) -> None:
        """A coordinator that names the attempt has decided who executes the run, whatever signs of life there are."""
        self.wait(self.store.open_attempt(DAG, RUN, RUN)).write_status(running())
        name = "attempt_20261123_180000_000Z_e00002"
        sink = self.wait(self.store.open_attempt(DAG, RUN, RUN, attempt_name=name))
        self.assertEqual((sink.attempt_name, sink.attempt_id), (name, "e00002"))
        self.wait(sink.close(ended()))
        self.assertEqual(self.wait(self.store.read_status(RUN, RUN)).attempt_id, "e00002")

    def test_stale_attempt_name(self) -> None:
        """A name that readers would take for an older attempt is refused: its writer's fence is old."""
        sink = self.wait(self.store.open_attempt(DAG, RUN, RUN))
        name = "attempt_20250101_000000_000Z_e00001"
        message = self.fails(self.store.open_attempt(DAG, RUN, RUN, attempt_name=name), ConflictError)
        self.assertIn(name, message)
        self.wait(sink.close(ended()))

    def test_next_attempt_is_the_one_that_counts(self) -> None:
        """A second attempt of the same millisecond, and one after the clock went back, sort last and keep the run's log."""
        first = self.wait(self.store.open_attempt(DAG, RUN, RUN))
        self.wait(first.close(replace(ended(), state=RunState.FAILED)))
        second = self.wait(self.store.open_attempt(DAG, RUN, RUN))
        self.assertGreater(second.attempt_name, first.attempt_name)
        self.assertEqual(second.log, first.log)
        self.assertEqual(self.wait(self.store.read_status(RUN, RUN)).state, RunState.FAILED)
        self.wait(second.close(ended()))
        self.assertEqual(self.wait(self.store.read_status(RUN, RUN)).state, RunState.SUCCEEDED)

    def test_closed_twice(self) -> None:
        """An attempt ends once."""
        sink = self.wait(self.store.open_attempt(DAG, RUN, RUN))
        self.wait(sink.close(ended()))
        self.fails(sink.close(ended()), RuntimeError)

    def test_dead_run_is_told_as_failed(self) -> None:
        """A running root run whose process is gone is told as failed, with the reason; its attempt can be followed by one."""
        self.wait(self.store.open_attempt(DAG, RUN, RUN)).write_status(running())
        self.die(RUN)
        status = self.wait(self.store.read_status(RUN, RUN))
        self.assertEqual(status.state, RunState.FAILED)
        self.assertIn("process that executed this run is gone", status.error)
        self.wait(self.wait(self.store.open_attempt(DAG, RUN, RUN)).close(ended()))

    def test_child(self) -> None:
        """A called run lies with its root, is never shown as not started, and needs no sign of life of its own."""
        root = self.wait(self.store.open_attempt(DAG, RUN, RUN))
        sink = self.wait(self.store.open_attempt(CHILD_DAG, CHILD, RUN, new=True))
        sink.write_status(running(CHILD, RUN, state=RunState.NOT_STARTED, parent=RUN))
        status = self.wait(self.store.read_status(CHILD, RUN))
        self.assertEqual((status.state, status.parent, status.root), (RunState.RUNNING, RUN, RUN))
        self.assertEqual(self.wait(self.store.queue.running("sub")), 0)
        self.clock.advance(100)
        self.assertEqual(self.wait(self.store.read_status(CHILD, RUN)).state, RunState.RUNNING)
        self.wait(sink.close(ended(CHILD, RUN)))
        self.assertEqual(self.wait(self.store.read_dag(CHILD, RUN)), CHILD_DAG)
        self.assertIsNone(self.wait(self.store.latest_run("sub")))
        self.fails(self.store.open_attempt(CHILD_DAG, CHILD, RUN, new=True), ConflictError)
        self.wait(root.close(ended()))

    def test_conversations(self) -> None:
        """What a step of any run has said can be read by its run and name, while it runs and afterwards."""
        root = self.wait(self.store.open_attempt(DAG, RUN, RUN))
        sink = self.wait(self.store.open_attempt(CHILD_DAG, CHILD, RUN, new=True))
        self.assertEqual(self.wait(self.store.read_messages(CHILD, RUN, "a/b")), ())
        said = (ChatMessage("user", "hi"), ChatMessage("assistant", "ho", Answered("local", "m", 1, 2, 3)))
        self.wait(sink.write_messages("a/b", said))
        self.assertEqual(self.wait(self.store.read_messages(CHILD, RUN, "a/b")), said)
        self.assertEqual(self.wait(self.store.read_messages(RUN, RUN, "a/b")), ())
        self.wait(sink.close(ended(CHILD, RUN)))
        self.wait(root.close(ended()))
        self.assertEqual(self.wait(self.store.read_messages(CHILD, RUN, "a/b")), said)

    def test_child_without_root(self) -> None:
        """A called run whose root the store does not know is refused, with both names."""
        message = self.fails(self.store.open_attempt(CHILD_DAG, CHILD, RUN), NotFoundError)
        self.assertIn(str(CHILD), message)
        self.assertIn(str(RUN), message)

    def test_cancel(self) -> None:
        """Asking for a run's end reaches its writer once, within a second."""
        sink = self.wait(self.store.open_attempt(DAG, RUN, RUN))
        asked: list[str] = []
        sink.watch_cancel(lambda: asked.append("end"))
        self.clock.advance(1)
        self.assertEqual(asked, [])
        self.assertTrue(self.wait(self.store.request_cancel(RUN, RUN)))
        self.assertTrue(self.wait(self.store.request_cancel(RUN, RUN)))
        self.clock.pump([1, 1, 1])
        self.assertEqual(asked, ["end"])
        self.wait(sink.close(ended()))

    def test_cancelled_before_anybody_listens(self) -> None:
        """A request that came before the writer listened is not lost."""
        sink = self.wait(self.store.open_attempt(DAG, RUN, RUN))
        self.wait(self.store.request_cancel(RUN, RUN))
        asked: list[str] = []
        sink.watch_cancel(lambda: asked.append("end"))
        self.clock.advance(0)
        self.assertEqual(asked, ["end"])
        self.wait(sink.close(ended()))

    def test_closed_sink_is_asked_no_more(self) -> None:
        """An attempt that has ended is not asked to end."""
        sink = self.wait(self.store.open_attempt(DAG, RUN, RUN))
        asked: list[str] = []
        sink.watch_cancel(lambda: asked.append("end"))
        self.wait(sink.close(ended()))
        self.wait(self.store.request_cancel(RUN, RUN))
        self.clock.pump([1, 1])
        self.assertEqual(asked, [])

    def test_watch(self) -> None:
        """A watcher is called at least once a second, before the run exists and after, until it stops."""
        calls: list[float] = []
        stop = self.store.watch(RUN, RUN, lambda: calls.append(self.clock.seconds()))
        self.clock.pump([1, 1, 1])
        self.assertGreaterEqual(len(calls), 3)
        sink = self.wait(self.store.open_attempt(DAG, RUN, RUN))
        sink.write_status(running())
        del calls[:]
        self.clock.advance(1)
        self.assertTrue(calls)
        stop()
        stop()
        del calls[:]
        self.clock.pump([1, 1])
        self.assertEqual(calls, [])
        self.wait(sink.close(ended()))

    def test_nothing_left_ticking(self) -> None:
        """Without open attempts and watchers the store uses no timer."""
        stop = self.store.watch(RUN, RUN, lambda: None)
        sink = self.wait(self.store.open_attempt(DAG, RUN, RUN))
        sink.watch_cancel(lambda: None)
        sink.write_status(running())
        self.clock.advance(1)
        self.wait(sink.close(ended()))
        stop()
        self.clock.advance(0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_step_logs(self) -> None:
        """Each step gets its own two empty files, readable by their owner only, even for names that look alike."""
        sink = self.wait(self.store.open_attempt(DAG, RUN, RUN))
        paths: set[str] = set()
        for name in ("a b", "a/b", "a b"):
            logs = self.wait(sink.step_logs(name, self.now()))
            for path in (logs.stdout, logs.stderr):
                self.assertTrue(Path(path).is_absolute())
                self.assertEqual(Path(path).stat().st_size, 0)
                self.assertEqual(Path(path).stat().st_mode & 0o777, 0o600)
                paths.add(path)
        self.assertEqual(len(paths), 6)
        self.wait(sink.close(ended()))

    def test_enqueue(self) -> None:
        """A queued run has a state, a snapshot without a file's name, and an item; items leave when they are told to."""
        dag = replace(DAG, location="/srv/dags/basic.yaml")
        calls: list[str] = []
        stop = self.store.queue.watch(lambda: calls.append("changed"))
        for number in (2, 1):
            self.wait(self.store.enqueue(dag, running(RunRef("basic", f"q{number}")), "shared-q"))
            self.clock.advance(1)
        self.assertTrue(calls)
        stop()
        run = RunRef("basic", "q2")
        status = self.wait(self.store.read_status(run, run))
        self.assertEqual((status.state, status.pid, status.worker_id, status.root), (RunState.QUEUED, 0, "", run))
        self.assertEqual(status.queued_at, START.replace(microsecond=status.queued_at.microsecond))
        self.assertEqual(self.wait(self.store.read_dag(run, run)).location, "")
        items = self.wait(self.store.queue.items())
        self.assertEqual(items, [("shared-q", run), ("shared-q", RunRef("basic", "q1"))])
        self.fails(self.store.enqueue(dag, running(run), "shared-q"), ConflictError)
        self.assertEqual(self.wait(self.store.queue.items()), items)
        self.wait(self.store.queue.remove("shared-q", run))
        self.wait(self.store.queue.remove("shared-q", run))
        self.assertEqual(self.wait(self.store.queue.items()), items[1:])

    def test_queue_of_another_name(self) -> None:
        """A run put into a queue that its file does not name counts there once it runs."""
        self.wait(self.store.enqueue(DAG, running(), "night"))
        dag = self.wait(self.store.read_dag(RUN, RUN))
        self.assertEqual(dag.queue_name, "night")
        sink = self.wait(self.store.open_attempt(dag, RUN, RUN))
        self.assertEqual(self.wait(self.store.queue.running("night")), 1)
        self.wait(sink.close(ended()))

    def test_queued_without_a_queue(self) -> None:
        """A run that is dispatched at once has a queued state and no item."""
        self.wait(self.store.enqueue(DAG, running(), ""))
        self.assertEqual(self.wait(self.store.read_status(RUN, RUN)).state, RunState.QUEUED)
        self.assertEqual(self.wait(self.store.read_dag(RUN, RUN)).queue_name, "shared-q")
        self.assertEqual(self.wait(self.store.queue.items()), [])

    def test_withdraw(self) -> None:
        """A queued run can be taken away as if it had never been; one that somebody has begun stays."""
        self.assertFalse(self.wait(self.store.withdraw(RUN)))
        for _ in range(2):
            self.wait(self.store.enqueue(DAG, running(), ""))
            self.assertTrue(self.wait(self.store.withdraw(RUN)))
            self.assertIsNone(self.wait(self.store.read_status(RUN, RUN)))
        self.wait(self.store.enqueue(DAG, running(), ""))
        sink = self.wait(self.store.open_attempt(DAG, RUN, RUN))
        self.assertFalse(self.wait(self.store.withdraw(RUN)))
        self.wait(sink.close(ended()))

    def leave_waiting(self, run: RunRef = RUN) -> None:
        """A run, new or one that went on, comes to rest and waits for a person."""
        sink = self.wait(self.store.open_attempt(DAG, run, run))
        self.wait(sink.close(replace(ended(run, run), state=RunState.WAITING)))

    def test_amend(self) -> None:
        """What is made of the latest state stands in its place; what raises leaves it as it was."""
        self.leave_waiting()
        attempt_id = self.wait(self.store.read_status(RUN, RUN)).attempt_id
        changed = self.wait(self.store.amend(RUN, RUN, lambda status: replace(status, state=RunState.REJECTED)))
        self.assertEqual(self.wait(self.store.read_status(RUN, RUN)), changed)
        self.assertEqual((changed.state, changed.attempt_id), (RunState.REJECTED, attempt_id))

        def refuse(status: RunStatus) -> RunStatus:
            raise InvalidInputError([Problem("no")])

        self.fails(self.store.amend(RUN, RUN, refuse), InvalidInputError)
        self.assertEqual(self.wait(self.store.read_status(RUN, RUN)), changed)

    def test_amend_of_a_child(self) -> None:
        """A called run is changed while nobody executes the one that called it."""
        root = self.wait(self.store.open_attempt(DAG, RUN, RUN))
        child = self.wait(self.store.open_attempt(CHILD_DAG, CHILD, RUN))
        self.wait(child.close(replace(ended(CHILD, RUN), state=RunState.WAITING)))
        self.fails(self.store.amend(CHILD, RUN, lambda status: status), ConflictError)
        self.wait(root.close(replace(ended(), state=RunState.WAITING)))
        self.wait(self.store.amend(CHILD, RUN, lambda status: replace(status, state=RunState.REJECTED)))
        self.assertIs(self.wait(self.store.read_status(CHILD, RUN)).state, RunState.REJECTED)
        self.fails(self.store.amend(replace(CHILD, id="other"), RUN, lambda status: status), NotFoundError)

    def test_amend_while_it_runs(self) -> None:
        """Nobody changes what somebody executes; what is not there cannot be changed."""
        self.fails(self.store.amend(RUN, RUN, lambda status: status), NotFoundError)
        sink = self.wait(self.store.open_attempt(DAG, RUN, RUN))
        sink.write_status(running())
        self.clock.advance(1)
        self.fails(self.store.amend(RUN, RUN, lambda status: status), ConflictError)
        self.wait(sink.close(ended()))

    def test_requeue(self) -> None:
        """A run that waits is queued once, with its nodes, snapshot and log, and is then executed like any queued run."""
        self.fails(self.store.requeue(RUN), NotFoundError)
        self.leave_waiting()
        before = self.wait(self.store.read_status(RUN, RUN))
        self.clock.advance(1)
        queued = self.wait(self.store.requeue(RUN))
        told = self.wait(self.store.read_status(RUN, RUN))
        self.assertEqual(replace(told, queued_at=queued.queued_at), queued)
        self.assertLess(abs(queued.queued_at - told.queued_at), timedelta(seconds=1))
        self.assertEqual((queued.state, queued.nodes, queued.log), (RunState.QUEUED, before.nodes, before.log))
        self.assertEqual((queued.started_at, queued.finished_at, queued.pid, queued.worker_id), (None, None, 0, ""))
        self.assertNotEqual(queued.attempt_id, before.attempt_id)
        self.assertEqual(self.wait(self.store.queue.items()), [("shared-q", RUN)])
        self.assertEqual(self.wait(self.store.read_dag(RUN, RUN)).steps, DAG.steps)
        self.fails(self.store.requeue(RUN), ConflictError)
        self.assertFalse(self.wait(self.store.withdraw(RUN)))
        self.leave_waiting()
        self.wait(self.store.queue.remove("shared-q", RUN))
        self.wait(self.store.requeue(RUN, queued=False))
        self.assertEqual(self.wait(self.store.queue.items()), [])

    def test_queued_run_that_was_cancelled(self) -> None:
        """Asking for the end of a queued run asks whoever executes it; a later attempt is not asked again."""
        self.wait(self.store.enqueue(DAG, running(), "shared-q"))
        self.wait(self.store.request_cancel(RUN, RUN))
        for expected in (["end"], []):
            sink = self.wait(self.store.open_attempt(DAG, RUN, RUN))
            asked: list[str] = []
            sink.watch_cancel(lambda asked=asked: asked.append("end"))
            self.clock.advance(1)
            self.assertEqual(asked, expected)
            self.wait(sink.close(ended()))


class Directory(Suite):
    """A directory of its own for each test."""

    def directory(self) -> Path:
        """Removed after the test."""
        path = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, path)
        return path


class SharedDiskStoreTests(Contract, Directory, SynchronousTestCase):
    """`SharedDiskStore`, with its file work done at once."""

    def make(self) -> SharedDiskStore:
        """A store in a directory of its own."""
        home = self.directory()
        self.data = home / "data"
        count = iter(range(1, 1000))
        return SharedDiskStore(
            paths_under(home), self.clock, self.now, lambda n: next(count).to_bytes(n, "big"), in_thread=execute
        )

    def die(self, run: RunRef) -> None:
        """Take the liveness file away, as another program's reader does when nobody renews it."""
        for path in (self.data / "proc").rglob(f"*_{run.id}.proc"):
            path.unlink()


class MemoryStoreTests(Contract, Directory, SynchronousTestCase):
    """`MemoryStore`."""

    def make(self) -> MemoryStore:
        """A store in memory; only step logs are files."""
        return MemoryStore(self.clock, self.now, str(self.directory()))

    def die(self, run: RunRef) -> None:
        """As the store offers."""
        self.store.lose(run, run)
