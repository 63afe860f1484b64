"""One run of the suite: tasks are handed in, faults come and go, and what came of it is checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock, gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from txdagu.dispatch.machine import State
from txdagu.grpc.channel import Backoff, Channel, ChannelOptions, tcp_channel
from txdagu.model.policies import LostWorkerPolicy, OnWorkerLost
from txdagu.model.run import RunRef
from txdagu.model.status import RunState
from txdagu.model.task import Operation, Task
from txdagu.peers.statuses import status_from_message
from txdagu.protocol import coordinator_pb2 as pb
from txdagu.protocol import services
from txdagu.protocol.conversion import task_to_message
from txdagu.store.shared_disk import SharedDiskStore
from txdagu.system.clock import local_now, monotonic
from txdagu.testing.faults.checker import BEGIN, Judged, Line, check
from txdagu.testing.faults.cluster import Cluster
from txdagu.testing.faults.network import Network
from txdagu.testing.faults.schedule import COORDINATOR, Bounds, Fault, schedule
from txdagu.testing.store import paths_under
from txdagu.wire.status import RpcError

LAST_STEP = "work"
DAG_NAME = "job"
# How long a task takes, in tenths of a second: most are short, some outlast a lease, so that they can be lost on their way.
SHORT, LONG = 8, 60
# Each process says when it begins, that it goes on, and when it ends: event, run, step, epoch, process. One of them leaves its
# step's process group and session.
DEFINITION = f"""\
name: {DAG_NAME}
params: ROUNDS={SHORT}
steps:
  - name: prepare
    script: |
      say() {{ echo "$1 $DAG_RUN_ID prepare $DAGU_ATTEMPT_EPOCH $$" >>"$HOME/trace"; }}
      say begin
      say end
  - name: {LAST_STEP}
    script: |
      say() {{ echo "$1 $DAG_RUN_ID {LAST_STEP} $DAGU_ATTEMPT_EPOCH $$" >>"$HOME/trace"; }}
      say begin
      setsid sh -c 'for round in $(seq $ROUNDS); do
        sleep 0.1
        echo "going $DAG_RUN_ID {LAST_STEP} $DAGU_ATTEMPT_EPOCH $$" >>"$HOME/trace"
      done' &
      for round in $(seq $ROUNDS); do
        sleep 0.1
        say going
      done
      wait
      say end
"""
# So many losses no task of this suite can have.
LIMIT = 100
ASKING_PAUSE = 0.25


@dataclass(frozen=True, slots=True)
class Size:
    """How much is done: tasks, handed in over so many seconds; after the last fault they may take `patience` seconds to end."""

    tasks: int = 40
    seconds: float = 7.0
    workers: int = 3
    slots: int = 4
    patience: float = 40.0


def policy_of(number: int) -> LostWorkerPolicy:
    """Of ten tasks one may not be run again, and one waits for its worker; the others go on elsewhere."""
    return {3: LostWorkerPolicy.FAIL, 7: LostWorkerPolicy.WAIT}.get(number % 10, LostWorkerPolicy.REDISTRIBUTE)


class Suite:
    """
    One seed on one cluster. `say` is told what happens, one line at a time; `home` is an empty directory.

    `run` returns what was found, one sentence each; the cluster is stopped by then.
    """

    def __init__(
        self, reactor: Any, home: Path, network: Network, size: Size, bounds: Bounds, say: Callable[[str], None]
    ) -> None:
        self._reactor = reactor
        self._network = network
        self._size = size
        self._bounds = bounds
        self._say = say
        self._began = 0.0
        self.workers = worker_names(size)
        self.cluster = Cluster(home, network, self.workers, size.slots, bounds.lease_ttl)
        self._store = SharedDiskStore(paths_under(home), reactor, local_now)
        self._tasks = {run.id: task for run, task in map(_task, range(size.tasks))}
        self._told: dict[str, RunState] = {}
        self._hit = {target: DeferredLock() for target in (*self.workers, COORDINATOR)}

    async def run(self, seed: int) -> list[str]:
        """Do it all, and judge it."""
        try:
            await deferToThread(self.cluster.start)
            self._began = monotonic()
            channel = tcp_channel(
                self._reactor,
                self._network.host,
                self.cluster.port,
                options=ChannelOptions(backoff=Backoff(initial=0.1, maximum=0.3)),
            )
            faults = schedule(seed, self.workers, self._bounds)
            submitting = Deferred.fromCoroutine(self._submit_all(channel))
            await gatherResults([Deferred.fromCoroutine(self._suffer(fault)) for fault in faults], consumeErrors=True)
            await submitting
            self._say(f"{self._now:5.1f} s: nothing is broken any more")
            with suppress(RpcError):
                await self._ends(channel)
            self._say(f"{self._now:5.1f} s: {len(self._told)} of {len(self._tasks)} runs have ended")
            await channel.close()
            left = await self._left_running()
            judged, lines = await self._judged(), self._lines()
            losses = sum(state is State.LOST for run in judged.values() for state, _ in run.transitions)
            starts = sum(line.event == BEGIN for line in lines)
            self._say(f"{self._now:5.1f} s: {losses} times a worker was lost with a task; {starts} steps were started")
            return [*self.cluster.dead(), *check(judged, lines, LAST_STEP, left)]
        finally:
            await deferToThread(self.cluster.stop)

    @property
    def _now(self) -> float:
        return monotonic() - self._began

    async def _submit_all(self, channel: Channel) -> None:
        pause = self._size.seconds / len(self._tasks)
        for number, task in enumerate(self._tasks.values()):
            await deferLater(self._reactor, max(0.0, number * pause - self._now))
            await self._asked(channel, services.DISPATCH, pb.DispatchRequest(task=task_to_message(task)))

    async def _asked(self, channel: Channel, method: Any, request: Any) -> Any:
        """The answer to a call that is repeated until there is one, as dispatchers do. `RpcError` when patience is over."""
        give_up = self._now + self._size.patience
        while True:
            try:
                return await channel.unary(method, request, timeout=2)
            except RpcError:
                if self._now > give_up:
                    raise
                await deferLater(self._reactor, 0.05)

    async def _suffer(self, fault: Fault) -> None:
        await deferLater(self._reactor, max(0.0, fault.at - self._now))
        # On a slow machine the one before may still be starting again.
        async with self._hit[fault.target]:
            self._say(f"{self._now:5.1f} s: {fault.said}")
            await self.cluster.begin(fault.kind, fault.target)
            await deferLater(self._reactor, fault.duration)
            await self.cluster.end(fault.kind, fault.target)

    async def _ends(self, channel: Channel) -> None:
        """Ask for all ends until they are there or patience is over."""
        give_up = self._now + self._size.patience
        while self._now < give_up:
            for run_id in [run_id for run_id in self._tasks if run_id not in self._told]:
                request = pb.GetDAGRunStatusRequest(dag_name=DAG_NAME, dag_run_id=run_id)
                answer = await self._asked(channel, services.GET_DAG_RUN_STATUS, request)
                if answer.found and (state := status_from_message(answer.status).state).ended:
                    self._told[run_id] = state
            if len(self._told) == len(self._tasks):
                return
            await deferLater(self._reactor, ASKING_PAUSE)

    async def _left_running(self) -> list[str]:
        """Processes of steps that are there after the end; those that are being ended get two seconds."""
        give_up = self._now + 2.0
        while True:
            alive: list[str] = await deferToThread(self.cluster.steps_alive)
            if not alive or self._now > give_up:
                return alive
            await deferLater(self._reactor, 0.1)

    async def _judged(self) -> dict[str, Judged]:
        judged = {}
        for run_id, task in self._tasks.items():
            stored = await self._store.read_status(task.run, task.root)
            timeline = await deferToThread(partial(self.cluster.timeline, task.run))
            judged[run_id] = Judged(
                run_id,
                task.on_worker_lost.policy,
                self._told.get(run_id),
                stored.state if stored is not None else None,
                [(line.state, line.epoch) for line in timeline],
            )
        return judged

    def _lines(self) -> list[Line]:
        trace = self.cluster.home / "trace"
        return [Line.parse(text) for text in trace.read_text().splitlines()] if trace.exists() else []

    def story(self, run_id: str) -> Iterator[str]:
        """What happened to a run: its transitions, and what its processes wrote."""
        for one in self.cluster.timeline(self._tasks[run_id].run):
            yield f"{run_id}: {one.state.value} (epoch {one.epoch}): {one.reason}"
        for line in self._lines():
            if line.run_id == run_id:
                yield f"{run_id}: process {line.pid} of {line.step} (epoch {line.epoch}) wrote {line.event!r}"


def worker_names(size: Size) -> tuple[str, ...]:
    """What the workers are called."""
    return tuple(f"w{number}" for number in range(1, size.workers + 1))


def _task(number: int) -> tuple[RunRef, Task]:
    run = RunRef(DAG_NAME, f"run-{number:03d}")
    task = Task(
        run=run,
        root=run,
        operation=Operation.START,
        target=DAG_NAME,
        definition=DEFINITION,
        params=f"ROUNDS={SHORT if number % 4 else LONG}",
        on_worker_lost=OnWorkerLost(policy_of(number), LIMIT),
    )
    return run, task
