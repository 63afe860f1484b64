"""Beats and leases."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from txdagu.config.settings import PathSettings, Settings, WorkerSettings
from txdagu.execution.guarding import Guard
from txdagu.model.policies import LostWorkerPolicy, OnWorkerLost
from txdagu.model.run import RunRef
from txdagu.model.task import Operation, Task
from txdagu.peers.discovery import CoordinatorDirectory
from txdagu.protocol import coordinator_pb2 as pb
from txdagu.protocol.services import LEASES, LEASES_STAND
from txdagu.system.clock import local_now
from txdagu.testing.scripted import ScriptedChannel
from txdagu.wire.status import RpcError, StatusCode
from txdagu.worker.heartbeat import Heartbeat
from txdagu.worker.identity import Identity
from txdagu.worker.leases import WorkerLeases
from txdagu.worker.running import TaskInHand, TasksInHand
from txdagu.worker.slots import Slots
from txdagu.worker.surroundings import Surroundings

RUN = RunRef("etl", "r1")


class NotedRun:
    """A run that only notes what it is told."""

    def __init__(self, stopped: list[str], killed: list[tuple[str, bool]]) -> None:
        self._stopped = stopped
        self._killed = killed

    def cancel(self, reason: str) -> None:
        """Noted."""
        self._stopped.append(reason)

    def hand_back(self, reason: str) -> None:
        """Noted, told from a cancellation."""
        self._stopped.append(f"back: {reason}")

    def kill(self) -> None:
        """Noted."""
        self._stopped.append("killed")

    def give_up(self, reason: str, fenced: bool = False) -> None:
        """Noted."""
        self._killed.append((reason, fenced))


class HeartbeatTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A coordinator that announces our additions and answers everything."""
        self.reactor = MemoryReactorClock()
        self.channels: list[ScriptedChannel] = []
        self.hanging = False
        settings = Settings(PathSettings(*["/x"] * 10), worker=WorkerSettings(coordinator_host="c"))
        self.directory = CoordinatorDirectory(settings, self.reactor, self.reactor.seconds, self._connect)
        self.member = self.directory.known()[0]
        self.tasks = TasksInHand()
        self.slots = Slots(4)
        self.answered: list[bool] = []
        self.stopped: list[str] = []
        self.killed: list[tuple[str, bool]] = []
        self.told: list[str] = []
        self.leases = WorkerLeases(30.0, 900.0, self.told.append)
        looking = LoopingCall(lambda: self.leases.tick(self.reactor.seconds()))
        looking.clock = self.reactor
        looking.start(0.5)
        around = Surroundings(
            self.reactor,
            self.directory,
            Identity("w", {"gpu": "true"}, "life-1"),
            self.slots,
            Random(3),
            self.reactor.seconds,
            local_now,
            self.leases,
        )
        self.heartbeat = Heartbeat(around, self.member, self.tasks, self.answered.append)

    def _connect(self, host: str, port: int) -> ScriptedChannel:
        channel = ScriptedChannel(self.reactor, {"txdagu-protocol": "1"})
        channel.answers["Heartbeat"] = pb.HeartbeatResponse()
        channel.answers["RunHeartbeat"] = pb.RunHeartbeatResponse()
        channel.hanging = self.hanging
        self.channels.append(channel)
        return channel

    @property
    def _channel(self) -> ScriptedChannel:
        return self.channels[-1]

    def _task(self, lost: OnWorkerLost = OnWorkerLost()) -> TaskInHand:
        task = TaskInHand(
            Task(RUN, RUN, Operation.START, "etl", on_worker_lost=lost),
            self.member,
            True,
            "key-1",
            epoch=2,
            guard=Guard("life-1.1"),
        )
        task.started(NotedRun(self.stopped, self.killed))
        self.tasks.add(task)
        self.leases.hold(task, self.reactor.seconds(), self.reactor.seconds())
        return task

    def _beat(self, seconds: int) -> None:
        self.reactor.pump([1.0] * seconds)

    def test_content(self) -> None:
        """A beat tells slots, busy slots, labels, incarnation and running tasks, every second."""
        self._task()
        self.slots.ask(lambda: None)
        self.heartbeat.start()
        self._beat(3)
        requests = self._channel.requests("Heartbeat")
        self.assertEqual(len(requests), 4)
        stats = requests[-1].stats
        self.assertEqual((stats.total_pollers, stats.busy_pollers), (4, 1))
        self.assertEqual([task.dag_run_id for task in stats.running_tasks], ["r1"])
        self.assertEqual((requests[-1].incarnation, dict(requests[-1].labels)), ("life-1", {"gpu": "true"}))
        self.assertEqual(self.answered, [True] * 4)

    def test_ended_and_not_reported(self) -> None:
        """Its owner finds a task in each beat until its end is reported, so that it does not take it for one never begun."""
        task = self._task()
        task.ended = True
        elsewhere = self._task()
        elsewhere.ended, elsewhere.ours = True, False
        self.heartbeat.start()
        self._beat(2)
        self.tasks.discard(task)
        self._beat(1)
        named = [len(request.stats.running_tasks) for request in self._channel.requests("Heartbeat")]
        self.assertEqual([1, 1, 1, 0], named)

    def test_renewal(self) -> None:
        """Tasks of a coordinator of ours are renewed every second, with epoch and key."""
        task = self._task()
        self.heartbeat.start()
        self._beat(60)
        self.assertEqual(len(self._channel.requests("RunHeartbeat")), 61)
        listed = self._channel.requests("RunHeartbeat")[0].running_tasks[0]
        self.assertEqual((listed.attempt_key, listed.epoch), ("key-1", 2))
        self.assertEqual(self.leases.silence(task, self.reactor.seconds()), 0.0)
        self.assertEqual(self.stopped, [])

    def test_old_coordinator(self) -> None:
        """One that announces nothing gets no renewals, and no lease ends anything."""
        self._connect_old()
        task = self._task()
        task.ours = False
        self.heartbeat.start()
        self._beat(60)
        self.assertEqual(self._channel.requests("RunHeartbeat"), [])
        self.assertEqual((self.answered[0], self.stopped), (False, []))

    def _connect_old(self) -> None:
        self.directory.channel(self.member)
        self._channel.metadata = {}

    def test_hand_back(self) -> None:
        """A run that the coordinator wants back is stopped for that, once; what is cancelled afterwards ends anyhow."""
        task = self._task()
        self.heartbeat.start()
        for name, answer in (("Heartbeat", pb.HeartbeatResponse), ("RunHeartbeat", pb.RunHeartbeatResponse)):
            recalled = pb.CancelledRun(attempt_key="key-1", reason="disk swap", hand_back=True)
            self._channel.answers[name] = answer(cancelled_runs=[recalled])
        self._beat(3)
        self.assertEqual((["back: disk swap"], "disk swap", ""), (self.stopped, task.recalled, task.cancel_reason))

    def test_drain_is_told_at_once(self) -> None:
        """A worker that begins to end says so without waiting for its next beat, with the time that is left."""
        self.heartbeat.start()
        self._beat(1)
        before = len(self._channel.requests("Heartbeat"))
        self.heartbeat.drain(self.reactor.seconds() + 9)
        self.assertEqual(len(self._channel.requests("Heartbeat")), before + 1)
        self._beat(2)
        beats = self._channel.requests("Heartbeat")[before:]
        self.assertEqual(
            [(True, 9000), (True, 8000), (True, 7000)], [(one.draining, one.drain_left_ms) for one in beats]
        )

    def test_cancelled_runs(self) -> None:
        """Runs named in either answer are ended for the reason given there, once."""
        self._task()
        cancelled = [pb.CancelledRun(attempt_key="key-1", reason="somebody asked")]
        self.directory.channel(self.member)
        self._channel.answers["RunHeartbeat"] = pb.RunHeartbeatResponse(cancelled_runs=cancelled)
        self._channel.answers["Heartbeat"] = pb.HeartbeatResponse(cancelled_runs=cancelled)
        self.heartbeat.start()
        self._beat(5)
        self.assertEqual(self.stopped, ["somebody asked"])

    def test_frozen_before_its_lease_ends(self) -> None:
        """A run whose lease cannot be renewed is frozen 3 s before it ends, goes on when it is, and is the same run."""
        task = self._task()
        self.heartbeat.start()
        self.hanging = self._channel.hanging = True
        self._beat(26)
        self.assertEqual(task.guard.frozen, "")
        self._beat(2)
        self.assertIn("has not renewed its lease for 27 s", task.guard.frozen)
        self._beat(60)
        self.hanging = False
        for channel in self.channels:
            channel.hanging = False
        self._beat(30)
        self.assertEqual((task.guard.frozen, self.stopped, self.killed), ("", [], []))

    def test_policy_fail(self) -> None:
        """T10: a run that must not run twice is killed when its lease ends, and not fenced: its end is written."""
        self._task(OnWorkerLost(LostWorkerPolicy.FAIL))
        self.heartbeat.start()
        self.hanging = self._channel.hanging = True
        self._beat(29)
        self.assertEqual(self.killed, [])
        self._beat(3)
        ((reason, fenced),) = self.killed
        self.assertIn("onWorkerLost is fail", reason)
        self.assertFalse(fenced)

    def test_freeze_limit(self) -> None:
        """A run that stays frozen is killed after worker.freezeLimit, not earlier."""
        self._task()
        self.heartbeat.start()
        self.hanging = self._channel.hanging = True
        self._beat(27 + 899)
        self.assertEqual(self.killed, [])
        self._beat(3)
        self.assertIn("frozen for 900 s, the worker.freezeLimit", self.killed[0][0])

    def test_given_away(self) -> None:
        """T23: a run that the coordinator gave to somebody else is killed at once and writes nothing more."""
        task = self._task()
        self.directory.channel(self.member)
        lost = [pb.CancelledRun(attempt_key="key-1", reason="it was given away", lost=True)]
        self._channel.answers["RunHeartbeat"] = pb.RunHeartbeatResponse(cancelled_runs=lost)
        self.heartbeat.start()
        self._beat(3)
        self.assertEqual([fenced for _, fenced in self.killed], [True])
        self.assertTrue(task.guard.fenced and task.taken_away)
        self.assertIn("lost life-1.1", self.told)

    def test_task_that_is_waited_for(self) -> None:
        """A run that is never given away goes on, however long nobody renews its lease."""
        task = self._task(OnWorkerLost(LostWorkerPolicy.WAIT))
        self.heartbeat.start()
        self.hanging = self._channel.hanging = True
        self._beat(100)
        self.assertEqual((task.guard.frozen, self.stopped, self.killed), ("", [], []))

    def test_coordinator_down(self) -> None:
        """T30: a coordinator that is down for ten minutes costs a frozen time, and no work."""
        task = self._task()
        self.heartbeat.start()
        down = RpcError(StatusCode.UNAVAILABLE, "c:50055: Connection was refused by other side: 111")
        self._channel.answers["Heartbeat"] = down
        self._beat(600)
        self.assertTrue(task.guard.frozen)
        self._channel.answers["Heartbeat"] = pb.HeartbeatResponse()
        self._beat(30)
        self.assertEqual((task.guard.frozen, self.stopped, self.killed), ("", [], []))

    def test_coordinator_without_journal(self) -> None:
        """One that refuses us because it cannot write its journal says that leases stand: the run goes on."""
        task = self._task()
        self.heartbeat.start()
        stand: dict[str, str | bytes] = {LEASES: LEASES_STAND}
        full = RpcError(StatusCode.UNAVAILABLE, "disk is full", trailing_metadata=stand)
        for method in ("Heartbeat", "RunHeartbeat"):
            self._channel.answers[method] = full
            self._beat(120)
            self._channel.answers[method] = pb.HeartbeatResponse()
            self.assertEqual(task.guard.frozen, "", method)
        self._channel.answers["Heartbeat"] = RpcError(StatusCode.UNAVAILABLE, "disk is full")
        self._beat(30)
        self.assertTrue(task.guard.frozen)

    def test_silent_connection_is_made_anew(self) -> None:
        """After three beats without an answer the connection is taken for dead, with the calls parked on it."""
        self.heartbeat.start()
        self._channel.hanging = True
        self._beat(14)
        self.assertEqual(len(self.channels), 2)
        self.assertTrue(self.channels[0].closed)
        self._beat(5)
        self.assertTrue(self.heartbeat.reachable)

    def test_leaving(self) -> None:
        """The last beat says that we leave, and no other follows."""
        self.heartbeat.start()
        self.successResultOf(Deferred.fromCoroutine(self.heartbeat.stop(leaving=True)))
        self._beat(5)
        flags = [request.leaving for request in self._channel.requests("Heartbeat")]
        self.assertEqual(flags, [False, True])

    def test_complaints_are_few(self) -> None:
        """An hour of trouble is some sixty lines in the log, not thousands."""
        lines: list[Any] = []
        self.heartbeat.log = _Recording(lines)  # type: ignore[assignment]
        self.heartbeat.start()
        self._channel.answers["Heartbeat"] = RpcError(StatusCode.UNAVAILABLE, "down")
        self._beat(3600)
        self.assertTrue(50 <= len(lines) <= 70, len(lines))


class _Recording:
    def __init__(self, lines: list[Any]) -> None:
        self._lines = lines

    def warn(self, text: str, **fields: Any) -> None:
        self._lines.append(text)

    def info(self, text: str, **fields: Any) -> None:
        self._lines.append(text)
