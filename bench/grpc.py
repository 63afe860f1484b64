"""
What a gRPC call costs the server, here and elsewhere: ``python bench/grpc.py --help``.

Every server is a process of its own and gets the very same bytes from the very same load client (`load`). CPU is what the
kernel counted for the server's process, user and system, in all its threads. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter, sleep

from load import BadAnswerError, Call, Connection, keep_in_flight

from txdagu.protocol import coordinator_pb2 as messages

SERVERS = ["txdagu", "grpclib", "grpcio-aio", "grpcio-threads"]
NO_POLLS = {"grpcio-threads": "a parked poll holds a thread"}
TICK = os.sysconf("SC_CLK_TCK")

WORKER = "worker-01@bench-host-17"
HEARTBEAT = Call(
    "/coordinator.v1.CoordinatorService/Heartbeat",
    messages.HeartbeatRequest(
        worker_id=WORKER,
        labels={"region": "eu-central", "pool": "bench"},
        stats=messages.WorkerStats(total_pollers=100, busy_pollers=3),
    ).SerializeToString(),
    messages.HeartbeatResponse().SerializeToString(),
)
POLL = Call(
    "/coordinator.v1.CoordinatorService/Poll",
    messages.PollRequest(
        worker_id=WORKER,
        poller_id="6f1c2a52-6b1e-4b0e-9d5f-0a4f5a9f0c3e",
        labels={"region": "eu-central", "pool": "bench"},
    ).SerializeToString(),
    b"",
)


class MissingServerError(Exception):
    """A server whose package is not installed."""


class Server:
    """A running server and what the kernel knows of it."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.port = port
        self._proc = Path("/proc") / str(process.pid)

    def cpu(self) -> float:
        """Seconds of CPU used so far."""
        fields = (self._proc / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def resident(self) -> float:
        """MiB of resident memory now."""
        (line,) = [line for line in (self._proc / "status").read_text().splitlines() if line.startswith("VmRSS:")]
        return int(line.split()[1]) / 1024


@contextmanager
def serving(kind: str) -> Iterator[Server]:
    """Run a server. Raises `MissingServerError`."""
    program = Path(__file__).parent / "servers" / "serve.py"
    process = subprocess.Popen(
        [sys.executable, str(program), kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        word, _, name = process.stdout.readline().strip().partition(" ")
        if word == "missing:":
            raise MissingServerError(f"{name} is not installed")
        if not word:
            raise MissingServerError("the server did not start")
        yield Server(process, int(word))
    finally:
        process.stdin.close()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def calls(server: Server, concurrency: int, seconds: float) -> tuple[float, float]:
    """Calls per second and server microseconds per call on one connection."""
    connection = Connection(server.port)
    try:
        keep_in_flight([connection], HEARTBEAT, concurrency, seconds / 5)  # warm: caches, allocators, header tables
        before = server.cpu()
        answered, elapsed = keep_in_flight([connection], HEARTBEAT, concurrency, seconds)
        return answered / elapsed, (server.cpu() - before) / answered * 1e6
    finally:
        connection.close()


def polls(server: Server, count: int, connections: int) -> tuple[float, float]:
    """
    MiB of resident memory with that many parked polls, and the seconds of CPU that opening them cost.

    The polls of a connection leave in one piece with its first bytes, as those of a starting worker do, as far as the
    connection's window allows. Raises `BadAnswerError`.
    """
    before = server.cpu()
    each = [Connection(server.port) for _ in range(connections)]
    try:
        for number, connection in enumerate(each):
            for _ in range(count // connections + (number < count % connections)):
                if connection.window < 4096:
                    connection.flush()
                while connection.window < 4096:
                    connection.read()
                connection.open(POLL)
            connection.flush()
        for connection in each:
            # A server takes a connection's frames in order: once this is answered, it has seen the polls.
            connection.open(HEARTBEAT)
            connection.flush()
            answered = connection.answered
            while connection.answered == answered:
                connection.read()
            if connection.in_flight > connection.stream_limit:
                raise BadAnswerError(f"takes only {connection.stream_limit} calls on a connection")
        return server.resident(), settled(server) - before
    finally:
        for connection in each:
            connection.close()


def settled(server: Server) -> float:
    """The server's CPU once it does nothing more."""
    used = server.cpu()
    until = perf_counter() + 20
    while perf_counter() < until:
        sleep(0.2)
        now = server.cpu()
        if now - used <= 1 / TICK:
            return now
        used = now
    return used


def spread(values: list[float], digits: int = 0) -> str:
    """The median and what lies around it."""
    middle, low, high = median(values), min(values), max(values)
    return f"{middle:,.{digits}f} [{low:,.{digits}f}..{high:,.{digits}f}]"


def row(*cells: str) -> None:
    """One line of a Markdown table."""
    print("| " + " | ".join(cells) + " |", flush=True)


def table_of_calls(kinds: list[str], levels: list[int], repetitions: int, seconds: float) -> None:
    """Unary calls. The servers take turns, so a busy moment of the machine hits all of them."""
    rates: dict[tuple[str, int], list[float]] = {}
    costs: dict[tuple[str, int], list[float]] = {}
    troubles: dict[str, str] = {}
    for _ in range(repetitions):
        for kind in kinds:
            if kind in troubles:
                continue
            try:
                with serving(kind) as server:
                    for level in levels:
                        rate, cost = calls(server, level, seconds)
                        rates.setdefault((kind, level), []).append(rate)
                        costs.setdefault((kind, level), []).append(cost)
            except (MissingServerError, BadAnswerError, OSError) as error:
                troubles[kind] = str(error)
    print(
        f"\nHeartbeat ({len(HEARTBEAT.request)} B), one connection, {repetitions} x {seconds:g} s, median [min..max]\n"
    )
    row("server", "in flight", "calls/s", "server us/call", f"us/call : {kinds[0]}")
    row(*["---"] * 5)
    for kind in kinds:
        if kind in troubles:
            row(kind, "", troubles[kind], "", "")
            continue
        for level in levels:
            ours, theirs = costs.get((kinds[0], level)), costs[kind, level]
            ratio = f"{median(theirs) / median(ours):.2f}" if ours else ""
            row(kind, str(level), spread(rates[kind, level]), spread(theirs, 1), ratio)


def table_of_polls(kinds: list[str], sizes: list[int], repetitions: int) -> None:
    """Parked polls, each measurement in a fresh process."""
    print(f"\nParked polls ({len(POLL.request)} B), {repetitions} fresh processes each, median [min..max]\n")
    row("server", "polls", "connections", "RSS MiB", "KiB a poll", "opening, CPU s")
    row(*["---"] * 6)
    for kind in kinds:
        if kind in NO_POLLS:
            row(kind, "", "", NO_POLLS[kind], "", "")
            continue
        for count in sizes:
            for connections in (1, 100):
                memory, each, cpu = [], [], []
                try:
                    for _ in range(repetitions):
                        with serving(kind) as server:
                            empty = server.resident()
                            used, seconds = polls(server, count, connections)
                        memory.append(used)
                        each.append((used - empty) * 1024 / count)
                        cpu.append(seconds)
                except (MissingServerError, BadAnswerError, OSError) as error:
                    row(kind, f"{count:,}", str(connections), str(error), "", "")
                    continue
                row(kind, f"{count:,}", str(connections), spread(memory, 1), spread(each, 1), spread(cpu, 2))


def main() -> None:
    """Measure what was asked for and print Markdown."""
    parser = argparse.ArgumentParser(description="Cost of gRPC calls at the server, compared.")
    parser.add_argument(
        "--servers", default=",".join(SERVERS), help="which, separated by commas; the first is the measure"
    )
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one measurement of calls")
    parser.add_argument("--in-flight", default="1,16,64", help="levels of concurrency")
    parser.add_argument("--polls", default="100,1000,10000", help="numbers of parked polls; empty for none")
    parser.add_argument("--quick", action="store_true", help="one short measurement of everything")
    options = parser.parse_args()
    if options.quick:
        options.repetitions, options.seconds = 1, 0.5
    kinds = options.servers.split(",")
    unknown = sorted(set(kinds) - set(SERVERS))
    if unknown:
        parser.error(f"--servers: no such server: {', '.join(unknown)}; there are {', '.join(SERVERS)}")
    levels = [int(level) for level in options.in_flight.split(",") if level]
    if levels:
        table_of_calls(kinds, levels, options.repetitions, options.seconds)
    sizes = [int(size) for size in options.polls.split(",") if size]
    if sizes:
        table_of_polls(kinds, sizes, options.repetitions)


if __name__ == "__main__":
    main()
