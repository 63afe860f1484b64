"""
What durability costs: ``python bench/journal.py --help``.

First the journal alone: 64 clients in one process commit the transitions of whole tasks, each waiting for its commit. Then a
real coordinator, a process of its own, to which 64 connections hand in tasks over gRPC, one after the other on each; every
answer means that the task is on disk. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import os
import re
import selectors
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, perf_counter, time

from load import BadAnswerError, Call, Connection
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults

from txdagu.dispatch.core import DispatchCore
from txdagu.dispatch.turn import Turn
from txdagu.journal.durable import DurableJournal, Place
from txdagu.model.labels import Labels
from txdagu.protocol import coordinator_pb2 as messages
from txdagu.protocol.conversion import task_to_message
from txdagu.system.threads import SingleThread
from txdagu.testing.dispatch import DONE, CountedNames, make_poll, make_task, offers

DISPATCH = "/coordinator.v1.CoordinatorService/Dispatch"


def percentile(values: list[float], share: float) -> float:
    """The value below which that share of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


# -- the journal alone -------------------------------------------------------------------------------------------------


async def alone(directory: Path, clients: int, seconds: float) -> tuple[int, float]:
    """Transitions that were kept, and the time it took."""
    journal = DurableJournal(Place(directory, "bench"), SingleThread(reactor, "journal"), monotonic, time)
    await journal.open()
    await journal.load()
    core = DispatchCore(CountedNames())
    kept = 0
    begin = perf_counter()

    async def keep(turn: Turn[object]) -> None:
        nonlocal kept
        await journal.commit(turn.entries)
        kept += len(turn.entries)

    async def client(number: int) -> None:
        labels: Labels = {"client": str(number)}
        runs = 0
        while perf_counter() - begin < seconds:
            runs += 1
            task = make_task(f"run-{number}-{runs}", labels)
            await keep(core.submit(task, monotonic()))
            polled = core.poll(make_poll(f"worker-{number}", labels), monotonic())
            await keep(polled)
            for offer in offers(polled):
                await keep(core.ack(offer.poll.worker_id, offer.token, monotonic()))
                worker = offer.poll.worker_id
                await keep(core.report_end(worker, task.root, task.run.id, offer.epoch, DONE, monotonic()))

    await gatherResults([Deferred.fromCoroutine(client(number)) for number in range(clients)])
    took = perf_counter() - begin
    await journal.close()
    return kept, took


def in_reactor(directory: Path, clients: int, seconds: float) -> tuple[int, float]:
    """The same, with a reactor around it."""
    results: list[tuple[int, float]] = []

    def begin() -> None:
        done = Deferred.fromCoroutine(alone(directory, clients, seconds)).addCallback(results.append)
        done.addErrback(lambda failure: failure.printTraceback()).addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(begin)
    reactor.run()
    return results[0]


# -- Dispatch over gRPC ------------------------------------------------------------------------------------------------


@contextmanager
def coordinator(home: Path) -> Iterator[tuple[int, int]]:
    """A coordinator in a process of its own; its port and its process id."""
    environment = {**os.environ, "DAGU_HOME": str(home)}
    command = [sys.executable, "-m", "txdagu", "coordinator", "--coordinator.port=0"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        said = []
        try:
            for line in process.stdout:
                said.append(line)
                if found := re.search(r"listens on 127\.0\.0\.1:(\d+)", line):
                    break
            else:
                raise BadAnswerError("".join(said))
            yield int(found[1]), process.pid
        finally:
            process.terminate()


def cpu(pid: int) -> float:
    """User and system time of a process in all its threads so far, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def dispatching(port: int, clients: int, seconds: float) -> list[float]:
    """Seconds that each call took."""
    waiting = selectors.DefaultSelector()
    begun: dict[Connection, float] = {}
    took: list[float] = []
    count = 0

    def call(connection: Connection) -> None:
        nonlocal count
        count += 1
        request = messages.DispatchRequest(task=task_to_message(make_task(f"run-{count}", {"nobody": "has"})))
        connection.open(Call(DISPATCH, request.SerializeToString(), b""))
        begun[connection] = perf_counter()
        connection.flush()

    for _ in range(clients):
        connection = Connection(port)
        waiting.register(connection.socket, selectors.EVENT_READ, connection)
        call(connection)
    until = perf_counter() + seconds
    while begun:
        for key, _ in waiting.select():
            connection = key.data
            connection.read()
            if connection in begun and not connection.in_flight:
                took.append(perf_counter() - begun.pop(connection))
                if perf_counter() < until:
                    call(connection)
            connection.flush()
    return took


def main() -> None:
    """Measure and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=64, help="how many at once [64]")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each round takes [5]")
    parser.add_argument("--repetitions", type=int, default=3, help="rounds of calls over gRPC [3]")
    parser.add_argument("--directory", help="where the journal is put: a directory on the disk to be measured")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        kept, seconds = in_reactor(Path(directory, "alone"), options.clients, options.seconds)
        print("| journal alone | clients | durable transitions/s |\n| --- | --- | --- |")
        print(f"| submit, offer, ack, end | {options.clients} | {kept / seconds:,.0f} |\n")
        print("| Dispatch over gRPC | clients | calls/s | p50 ms | p99 ms | longest ms | server us/call |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
        for repetition in range(options.repetitions):
            with coordinator(Path(directory, f"home-{repetition}")) as (port, pid):
                before = cpu(pid)
                took = dispatching(port, options.clients, options.seconds)
                used = cpu(pid) - before
            p50, p99 = (percentile(took, share) * 1000 for share in (0.5, 0.99))
            print(
                f"| round {repetition + 1} | {options.clients} | {len(took) / options.seconds:,.0f} "
                f"| {p50:.1f} | {p99:.1f} | {max(took) * 1000:.1f} | {used / len(took) * 1e6:.0f} |"
            )


if __name__ == "__main__":
    main()
