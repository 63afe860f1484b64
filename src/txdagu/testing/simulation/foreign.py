"""A worker of Dagu 1.30.2: it confirms nothing, knows no leases, and is seen by its heartbeats and files."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred

from txdagu.execution.request import RunRequest
from txdagu.model.labels import Labels
from txdagu.peers.discovery import Member
from txdagu.peers.statuses import status_to_message
from txdagu.protocol import coordinator_pb2 as pb
from txdagu.protocol.conversion import task_from_message
from txdagu.protocol.services import HEARTBEAT, POLL, REPORT_STATUS
from txdagu.testing.simulation.files import Files, Store
from txdagu.testing.simulation.network import Network
from txdagu.testing.simulation.runs import CoreRun, Engine, Host, Observer
from txdagu.testing.simulation.workers import Directory
from txdagu.testing.simulation.world import Process
from txdagu.wire.status import RpcError
from txdagu.worker.requests import load_definition

PAUSE = 1.0
# A poll waits at one of several coordinators; after so many seconds it is another one's turn.
POLL_DEADLINE = 10.0


class ForeignWorker:
    """One life of such a worker. It begins whatever a call for work brings, at once; some say how it ended, once, as 2.x does."""

    confirms = False

    def __init__(
        self,
        process: Process,
        network: Network,
        files: Files,
        observer: Observer,
        members: tuple[Member, ...],
        worker_id: str,
        labels: Labels,
        slots: int,
        longest: float,
    ) -> None:
        self.id = worker_id
        self.process = process
        self.labels = labels
        self.gone = False
        self.host = Host(process, worker_id, worker_id, slots, observer)
        self.directory = Directory(network, process, worker_id, members)
        store = Store(files, process, worker_id)
        self._engine = Engine(self.host, store, longest)
        self._members = members
        self._reports = process.random.random() < 0.5
        self._slots = slots
        self._running: dict[str, tuple[pb.RunningTask, CoreRun]] = {}

    def start(self) -> None:
        """Beat, and ask for work, a call for each slot."""
        for member in self._members:
            self._forever(self._beating(member))
        for number in range(self._slots):
            self._forever(self._polling(f"{self.id}-{number}"))

    def _forever(self, work: Any) -> None:
        going = Deferred.fromCoroutine(work)
        going.addErrback(lambda failure: self.host.observer.broken(self.id, failure))
        self.process.world.remains.append(going)

    async def _pause(self, seconds: float) -> None:
        tick: Deferred[None] = Deferred()
        self.process.callLater(seconds, tick.callback, None)
        await tick

    async def _beating(self, member: Member) -> None:
        while True:
            stats = pb.WorkerStats(
                total_pollers=self._slots,
                busy_pollers=len(self._running),
                running_tasks=[task for task, _ in self._running.values()],
            )
            request = pb.HeartbeatRequest(worker_id=self.id, labels=dict(self.labels), stats=stats)
            try:
                answer = await self.directory.channel(member).unary(HEARTBEAT, request, timeout=3.0)
            except RpcError:
                await self._pause(PAUSE)
                continue
            asked = {cancelled.attempt_key: cancelled.reason for cancelled in answer.cancelled_runs}
            for task, run in list(self._running.values()):
                if task.attempt_key in asked:
                    run.cancel(asked[task.attempt_key] or "asked for")
            await self._pause(PAUSE)

    async def _polling(self, poller: str) -> None:
        while True:
            member = self.process.random.choice(self._members)
            request = pb.PollRequest(worker_id=self.id, poller_id=poller, labels=dict(self.labels))
            try:
                answer = await self.directory.channel(member).unary(POLL, request, timeout=POLL_DEADLINE)
            except RpcError:
                await self._pause(PAUSE)
                continue
            if answer.HasField("task"):
                await self._run(member, answer.task)

    async def _run(self, member: Member, message: pb.Task) -> None:
        task = task_from_message(message)
        if task.run.id in self._running:
            return
        store = self._engine.store
        previous = await store.read_status(task.run, task.root)
        request = RunRequest(
            load_definition(task), task.run, task.root, task.parent, worker_id=self.id, previous=previous
        )
        run = self._engine.start(request)
        listed = pb.RunningTask(
            dag_run_id=task.run.id,
            dag_name=task.target,
            started_at=int(self.process.unix_now()),
            root_dag_run_name=message.root_dag_run_name,
            root_dag_run_id=message.root_dag_run_id,
            parent_dag_run_name=message.parent_dag_run_name,
            parent_dag_run_id=message.parent_dag_run_id,
            attempt_key=f"{self.id}:{task.run.id}:{self.process.world.events}",
        )
        self._running[task.run.id] = (listed, run)
        status = await run.wait()
        del self._running[task.run.id]
        if self._reports:
            report = pb.ReportStatusRequest(worker_id=self.id, status=status_to_message(status))
            with suppress(RpcError):
                await self.directory.channel(member).unary(REPORT_STATUS, report, timeout=3.0)

    @property
    def finished(self) -> bool:
        """Whether nothing of it lives."""
        return self.gone

    def power_off(self) -> None:
        """The host is gone without a word."""
        self.gone = True
        self.host.power_off()
        self.directory.died(abruptly=True)
