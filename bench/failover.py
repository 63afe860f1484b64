"""
From the death of a worker to its task's step elsewhere: ``python bench/failover.py --help``.

A coordinator and two workers, real processes. When the step runs, its worker is killed with SIGKILL, alone; then the time is
taken until the step's next process has begun. ``--restart`` starts the same worker id again at once and has no second worker.
See README.md beside this file.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react
from twisted.internet.threads import deferToThread

from txdagu.grpc.channel import tcp_channel
from txdagu.model.run import RunRef
from txdagu.model.task import Operation, Task
from txdagu.protocol import coordinator_pb2 as messages
from txdagu.protocol.conversion import task_to_message
from txdagu.protocol.services import DISPATCH
from txdagu.testing.faults.checker import BEGIN, Line
from txdagu.testing.faults.cluster import Cluster
from txdagu.testing.faults.network import Proxies
from txdagu.testing.faults.schedule import Kind

DEFINITION = """\
name: job
steps:
  - name: work
    script: |
      echo "begin $DAG_RUN_ID work $DAGU_ATTEMPT_EPOCH $$" >>"$HOME/trace"
      exec sleep 60
"""
GIVE_UP = 60.0


async def once(reactor: Any, lease_ttl: float, restart: bool) -> float:
    """Seconds from the kill to the second beginning."""
    home = Path(tempfile.mkdtemp(prefix="failover-"))
    workers = ("w1",) if restart else ("w1", "w2")
    network = Proxies(reactor, workers)
    cluster = Cluster(home, network, workers, slots=1, lease_ttl=lease_ttl)
    try:
        await deferToThread(cluster.start)
        run = RunRef("job", "run-1")
        task = Task(run=run, root=run, operation=Operation.START, target="job", definition=DEFINITION)
        channel = tcp_channel(reactor, network.host, cluster.port)
        await channel.unary(DISPATCH, messages.DispatchRequest(task=task_to_message(task)), timeout=10)
        await begun(reactor, home, 1)
        # The worker has said in a heartbeat that it runs the task before it is killed.
        await deferLater(reactor, 1.5)
        victim = cluster.worker_of(run)
        await cluster.begin(Kind.KILL, victim)
        killed_at = perf_counter()
        ending = cluster.end(Kind.KILL, victim) if restart else None
        restarting = Deferred.fromCoroutine(ending) if ending is not None else None
        await begun(reactor, home, 2)
        took = perf_counter() - killed_at
        if restarting is not None:
            await restarting
        await channel.close()
        return took
    finally:
        await deferToThread(cluster.stop)
        network.close()
        shutil.rmtree(home, ignore_errors=True)


async def begun(reactor: Any, home: Path, times: int) -> None:
    """Wait until the step has begun so many times."""
    trace = home / "trace"
    give_up = perf_counter() + GIVE_UP
    while perf_counter() < give_up:
        lines = [Line.parse(text) for text in trace.read_text().splitlines()] if trace.exists() else []
        if sum(line.event == BEGIN for line in lines) >= times:
            return
        await deferLater(reactor, 0.005)
    raise SystemExit(f"the step has not begun for the {times}. time within {GIVE_UP:g} s")


async def main(reactor: Any) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lease-ttl", type=float, default=5.0, help="coordinator.leaseTtl in seconds")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument(
        "--restart", action="store_true", help="start the killed worker again instead of having a second one"
    )
    options = parser.parse_args()
    took = [await once(reactor, options.lease_ttl, options.restart) for _ in range(options.repetitions)]
    how = "started again at once" if options.restart else "not started again, another one free"
    print(f"lease TTL {options.lease_ttl:g} s, worker killed and {how}")
    print(f"seconds to the step's next begin: {statistics.median(took):.2f} [{min(took):.2f}..{max(took):.2f}]")


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
