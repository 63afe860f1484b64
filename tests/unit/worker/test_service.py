"""The worker as a whole: found coordinators, orderly leave."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from txdagu.config.settings import PathSettings, Settings, WorkerSettings
from txdagu.execution.engine import Engine
from txdagu.model.run import RunRef, RunStatus
from txdagu.model.status import RunState
from txdagu.peers.coordinators import Coordinators
from txdagu.protocol import coordinator_pb2 as pb
from txdagu.registry.entries import ServiceEntry, entry_from_json, entry_to_json
from txdagu.registry.files import write_entry
from txdagu.store.interfaces import IRunStore
from txdagu.testing.scripted import ScriptedChannel
from txdagu.wire.status import RpcError, StatusCode
from txdagu.worker.identity import Identity
from txdagu.worker.service import WorkerService


class OneRun:
    """A run that ends when told, or when cancelled if it is obedient."""

    def __init__(self, obedient: bool) -> None:
        self.end: Deferred[RunStatus] = Deferred()
        self.obedient = obedient
        self.cancelled = ""
        self.handed_back = ""
        self.killed = False

    def wait(self) -> Deferred[RunStatus]:
        """Fires at the end."""
        return self.end

    def cancel(self, reason: str) -> None:
        """End as aborted, if obedient."""
        self.cancelled = reason
        if self.obedient:
            self.finish(RunState.ABORTED)

    def hand_back(self, reason: str) -> None:
        """Be queued again, if obedient."""
        self.handed_back = reason
        if self.obedient:
            self.finish(RunState.QUEUED)

    def kill(self) -> None:
        """End as what was asked for."""
        self.killed = True
        if not self.end.called:
            self.finish(RunState.QUEUED if self.handed_back else RunState.ABORTED)

    def give_up(self, reason: str, fenced: bool = False) -> None:
        """What ignores everything ignores this too."""
        self.cancelled = reason

    def finish(self, state: RunState) -> None:
        """End."""
        ref = RunRef("etl", "r1")
        self.end.callback(RunStatus(ref, ref, state))


class Runs:
    """An engine of such runs, and a store without any."""

    def __init__(self) -> None:
        self.runs: list[OneRun] = []
        self.obedient = True

    def start(self, request: Any, on_status: Any = None, slot: Any = None, guard: Any = None) -> OneRun:
        """Begin one."""
        self.runs.append(OneRun(self.obedient))
        return self.runs[-1]

    def read_status(self, run: RunRef, root: RunRef) -> Deferred[None]:
        """Nothing is known."""
        return succeed(None)


class WorkerServiceTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A worker, and coordinators that announce our additions and answer everything but calls for work."""
        self.reactor = MemoryReactorClock()
        temporary = self.mktemp()
        Path(temporary).mkdir()
        self.patch(tempfile, "tempdir", temporary)
        self.registry = self.mktemp()
        self.channels: dict[str, ScriptedChannel] = {}
        self.runs = Runs()
        paths = replace(PathSettings(*["/x"] * 10), service_registry_dir=self.registry)
        settings = Settings(paths, worker=WorkerSettings(max_active_runs=2, drain_timeout=30.0))
        coordinators = Coordinators(settings, self.reactor, Random(2), self.reactor.seconds, self._connect)
        self.worker = WorkerService(
            settings,
            self.reactor,
            Identity("w1", {}, "life-1"),
            cast("IRunStore", self.runs),
            cast("Engine", self.runs),
            coordinators,
            Random(2),
            self.reactor.seconds,
        )

    def _connect(self, host: str, port: int) -> ScriptedChannel:
        channel = ScriptedChannel(self.reactor, {"txdagu-protocol": "1"})
        channel.answers["Heartbeat"] = pb.HeartbeatResponse()
        channel.answers["RunHeartbeat"] = pb.RunHeartbeatResponse()
        channel.answers["AckTaskClaim"] = pb.AckTaskClaimResponse(accepted=True)
        channel.answers["ReportStatus"] = pb.ReportStatusResponse(accepted=True)
        self.channels[host] = channel
        return channel

    def _register(self, name: str) -> None:
        entry = entry_to_json(ServiceEntry(f"{name}@1", name, 1, 1))
        write_entry(Path(self.registry, "coordinator", f"{name}.json"), entry)

    def _start(self, *names: str) -> None:
        for name in names:
            self._register(name)
        self.worker.startService()

    def _offer(self, name: str = "one", **fields: str) -> None:
        task = pb.Task(
            dag_run_id="r1",
            target="etl",
            operation=pb.OPERATION_START,
            definition="steps:\n  - command: echo\n",
            claim_token="t",
            attempt_key="k",
            epoch=1,
            **fields,  # type: ignore[arg-type]
        )
        self.channels[name].parked["Poll"][0].callback(pb.PollResponse(task=task))

    def _files(self) -> list[Path]:
        return sorted(Path(self.registry, "worker").iterdir())

    def _leavings(self, name: str = "one") -> list[bool]:
        return [request.leaving for request in self.channels[name].requests("Heartbeat")]

    def _tick(self, seconds: int) -> None:
        self.reactor.pump([1.0] * seconds)

    # -- start

    def test_each_coordinator_is_served(self) -> None:
        """The worker beats and asks at every coordinator, those that come later too, and stops where one goes."""
        self._start("one")
        self._register("two")
        self._tick(3)
        for channel in self.channels.values():
            self.assertGreaterEqual(len(channel.requests("Heartbeat")), 1)
            self.assertEqual(len(channel.parked["Poll"]), 1)
        Path(self.registry, "coordinator", "two.json").unlink()
        self._tick(3)
        self.assertTrue(self.channels["two"].closed)
        beats = len(self.channels["two"].requests("Heartbeat"))
        self._tick(5)
        self.assertEqual(len(self.channels["two"].requests("Heartbeat")), beats)
        self.successResultOf(self.worker.stopService())

    def test_nobody_there(self) -> None:
        """Without a coordinator the worker goes on looking, says so in its registry file, and finds one that comes."""
        self._start()
        self._tick(60)
        (file,) = self._files()
        beat = entry_from_json(file.read_bytes()).beat
        assert beat is not None
        self.assertEqual(beat.health, "no coordinator answers")
        self._register("one")
        self._tick(2)
        self.assertEqual(len(self.channels["one"].parked["Poll"]), 1)
        self._tick(10)
        beat = entry_from_json(file.read_bytes()).beat
        assert beat is not None
        self.assertEqual(beat.health, "healthy")
        self.successResultOf(self.worker.stopService())

    # -- stop

    def test_leave_idle(self) -> None:
        """An idle worker leaves at once: calls taken back, good-bye said, file removed, channels closed, nothing left."""
        self._start("one")
        self.successResultOf(self.worker.stopService())
        self.assertEqual(self.channels["one"].parked["Poll"], [])
        self.assertEqual(self._leavings()[-1], True)
        self.assertEqual(self._files(), [])
        self.assertTrue(self.channels["one"].closed)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_drain(self) -> None:
        """A running task gets its time: beats and renewals go on, no work is asked for, then the end is reported."""
        self._start("one")
        self._offer()
        left = self.worker.stopService()
        self._tick(10)
        self.assertNoResult(left)
        channel = self.channels["one"]
        self.assertEqual(channel.parked["Poll"], [])
        self.assertGreaterEqual(len(channel.requests("RunHeartbeat")), 10)
        self.assertNotIn(True, self._leavings())
        self.runs.runs[0].finish(RunState.SUCCEEDED)
        self.successResultOf(left)
        names = [name for name, _ in channel.calls]
        self.assertLess(names.index("ReportStatus"), len(names) - 1)
        self.assertEqual((names[-1], self._leavings()[-1]), ("Heartbeat", True))
        self.assertEqual(self.runs.runs[0].cancelled, "")

    def test_drain_timeout(self) -> None:
        """After worker.drainTimeout the run is handed back with the reason, and that is reported before we say good-bye."""
        self._start("one")
        self._offer()
        left = self.worker.stopService()
        self._tick(31)
        self.successResultOf(left)
        self.assertEqual(self.runs.runs[0].handed_back, "worker w1 is shutting down")
        (report,) = self.channels["one"].requests("ReportStatus")
        self.assertTrue(report.handed_back)
        self.assertTrue(self._leavings()[-1])
        drains = [beat.draining for beat in self.channels["one"].requests("Heartbeat")]
        self.assertEqual(sorted(drains), drains, "once it drains it says so in every beat")
        self.assertGreater(sum(drains), 30)

    def test_run_that_does_not_end(self) -> None:
        """A run that ignores everything keeps us for a bounded time only."""
        self.runs.obedient = False
        self._start("one")
        self._offer()
        left = self.worker.stopService()
        self._tick(120)
        self.successResultOf(left)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_unreportable_end(self) -> None:
        """A coordinator that is down does not keep us longer than some seconds."""
        self._start("one")
        self._offer()
        self.channels["one"].answers.clear()
        for name in ("Heartbeat", "ReportStatus", "RunHeartbeat"):
            self.channels["one"].answers[name] = RpcError(StatusCode.UNAVAILABLE, "refused")
        left = self.worker.stopService()
        self.runs.runs[0].finish(RunState.SUCCEEDED)
        self._tick(10)
        self.successResultOf(left)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_second_signal(self) -> None:
        """In a hurry, what runs is killed and handed back, and we are gone at once; nothing is left."""
        self.runs.obedient = False
        self._start("one")
        self._offer()
        left = self.worker.stopService()
        self._tick(2)
        self.assertNoResult(left)
        self.worker.hurry()
        self.successResultOf(left)
        run = self.runs.runs[0]
        self.assertEqual((run.handed_back, run.killed), ("worker w1 is shutting down", True))
        self.assertTrue(self.channels["one"].requests("ReportStatus")[-1].handed_back)
        self.assertEqual((self._leavings()[-1], self.reactor.getDelayedCalls()), (True, []))

    def test_second_signal_without_coordinator(self) -> None:
        """A coordinator that does not answer keeps us no longer than a second or two then."""
        self._start("one")
        self._offer()
        for name in ("Heartbeat", "ReportStatus", "RunHeartbeat"):
            del self.channels["one"].answers[name]
        left = self.worker.stopService()
        self._tick(2)
        self.worker.hurry()
        self._tick(3)
        self.successResultOf(left)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_no_good_bye_with_living_runs(self) -> None:
        """Who cannot end a run does not say that nothing of it is alive: its lease has to end first."""
        self.runs.obedient = False
        self._start("one")
        self._offer()
        left = self.worker.stopService()
        self._tick(120)
        self.successResultOf(left)
        self.assertNotIn(True, self._leavings())

    def test_not_for_others(self) -> None:
        """A task with onWorkerLost: fail is cancelled when its time is over: it may not be begun twice."""
        self._start("one")
        self._offer(on_worker_lost="fail")
        left = self.worker.stopService()
        self._tick(31)
        self.successResultOf(left)
        self.assertEqual(
            (self.runs.runs[0].cancelled, self.runs.runs[0].handed_back), ("worker w1 is shutting down", "")
        )
        (report,) = self.channels["one"].requests("ReportStatus")
        self.assertFalse(report.handed_back)

    def test_what_is_said(self) -> None:
        """One line says what the signal does and what a second one will."""
        self._start("one")
        self._offer()
        with capturedLogs() as logged:
            left = self.worker.stopService()
        told = [line for event in logged if (line := formatEvent(event)).startswith("worker w1 takes no more tasks")]
        what = "1 running get 30 s to end, and are handed back to be gone on with elsewhere then"
        second = "a second signal kills them and hands them back at once: etl:r1"
        self.assertEqual(told, [f"worker w1 takes no more tasks; {what}; {second}"])
        self.runs.runs[0].finish(RunState.SUCCEEDED)
        self.successResultOf(left)
