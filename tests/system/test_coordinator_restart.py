"""A coordinator that is killed again and again under load, as a real process: nothing is lost and nothing runs twice."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path
from signal import SIGKILL

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from txdagu.grpc.channel import Backoff, Channel, ChannelOptions, tcp_channel
from txdagu.model.run import RunRef
from txdagu.model.task import Operation, Task
from txdagu.protocol import coordinator_pb2 as pb
from txdagu.protocol import services
from txdagu.protocol.conversion import task_to_message
from txdagu.testing.programs import DAGU, Program
from txdagu.wire.status import RpcError

SOURCES = Path(__file__).parents[2] / "src"
TASKS = 20
KILLS = 3
DEFINITION = """\
name: job
params: nobody
steps:
  - script: |
      echo "$1" >>"$HOME/ran"
      sleep 0.3
      echo "$1" >>"$HOME/finished"
"""


def task(number: int) -> Task:
    """One that writes its number when it begins and when it has ended."""
    run = RunRef("job", f"run-{number}")
    return Task(run=run, root=run, operation=Operation.START, target="job", params=str(number), definition=DEFINITION)


class RestartTests(TestCase):
    """One coordinator after the other on one port, one worker, twenty tasks."""

    timeout = 120

    def setUp(self) -> None:
        """A home, and the first coordinator and the worker."""
        from twisted.internet import reactor  # noqa: TID251 - real processes need the real one

        self.reactor = reactor
        self.home = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)
        self.environment = {
            "DAGU_HOME": str(self.home),
            "HOME": str(self.home),
            "PYTHONPATH": str(SOURCES),
            "DAGU_COORDINATOR_OFFER_TIMEOUT": "1s",
            "DAGU_COORDINATOR_LEASE_TTL": "6s",
        }
        self.programs: list[Program] = []
        self.port = 0
        self.start_coordinator()
        worker = self.start("worker", "--worker.id=w1", "--worker.max-active-runs=6")
        worker.wait_for("coordinator .* answers")

    def start(self, *arguments: str) -> Program:
        """A program that ends with the test."""
        program = Program((*DAGU, *arguments), self.environment, cwd=str(self.home))
        self.addCleanup(program.__exit__, None, None, None)
        return program

    def start_coordinator(self) -> None:
        """On the same port as its forerunners."""
        self.coordinator = self.start("coordinator", f"--coordinator.port={self.port}")
        self.port = int(self.coordinator.wait_for(r"listens on 127\.0\.0\.1:(\d+)")[1])

    def lines(self, name: str) -> Counter[str]:
        """What the steps wrote into a file, with how often."""
        path = self.home / name
        return Counter(path.read_text().split()) if path.exists() else Counter()

    async def asked(self, channel: Channel, method: object, request: object) -> object:
        """The answer to a call that is repeated until there is one, as dispatchers do."""
        while True:
            try:
                return await channel.unary(method, request, timeout=5)  # type: ignore[arg-type]
            except RpcError:
                await deferLater(self.reactor, 0.05)

    async def dispatch_all(self, channel: Channel) -> None:
        """Hand in all tasks, one after the other."""
        for number in range(TASKS):
            await self.asked(channel, services.DISPATCH, pb.DispatchRequest(task=task_to_message(task(number))))

    async def test_killed_again_and_again(self) -> None:
        """Each of twenty tasks runs exactly once to its end, although the coordinator is killed while they come and go."""
        options = ChannelOptions(backoff=Backoff(initial=0.1, maximum=0.2))
        channel = tcp_channel(self.reactor, "127.0.0.1", self.port, options=options)
        dispatching = Deferred.fromCoroutine(self.dispatch_all(channel))
        for kill in range(1, KILLS + 1):
            await self.until(lambda so_many=kill * TASKS // (KILLS + 2): sum(self.lines("ran").values()) >= so_many)
            self.coordinator.stop(SIGKILL)
            self.start_coordinator()
        await dispatching
        for number in range(TASKS):
            await self.ended(channel, f"run-{number}")
        everyone = Counter(str(number) for number in range(TASKS))
        self.assertEqual(everyone, self.lines("ran"))
        self.assertEqual(everyone, self.lines("finished"))
        await channel.close()

    async def ended(self, channel: Channel, run_id: str) -> None:
        """Wait for the coordinator's word that a run has succeeded."""
        request = pb.GetDAGRunStatusRequest(dag_name="job", dag_run_id=run_id)
        for _ in range(600):
            answer = await self.asked(channel, services.GET_DAG_RUN_STATUS, request)
            if '"status":4' in answer.status.json_data:  # type: ignore[attr-defined]
                return
            await deferLater(self.reactor, 0.05)
        self.fail(f"{run_id}: {answer}")

    async def until(self, condition: object) -> None:
        """Wait until something is so, for at most half a minute."""
        give_up = time.monotonic() + 30
        while not condition():  # type: ignore[operator]
            self.assertLess(time.monotonic(), give_up, "nothing moves any more")
            await deferLater(self.reactor, 0.02)
