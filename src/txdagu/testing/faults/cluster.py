"""The processes: a coordinator and workers in one home, to which faults can be done."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP

from twisted.internet.threads import deferToThread

from txdagu.dispatch.records import Transition
from txdagu.journal import dialect
from txdagu.journal.database import JournalDatabase
from txdagu.model.run import RunRef
from txdagu.testing.faults.network import Network
from txdagu.testing.faults.schedule import COORDINATOR, Kind
from txdagu.testing.programs import DAGU, Program

STARTING_TIME = 30.0


class Cluster:
    """
    A coordinator and workers, each a real process. What they and their steps write lies in `home`.

    Methods that start programs block until those are ready, so they are called in threads by `begin` and `end`.
    """

    def __init__(self, home: Path, network: Network, workers: Sequence[str], slots: int, lease_ttl: float) -> None:
        self.home = home
        self.port = 0
        self.said: list[str] = []
        self._network = network
        self._workers = tuple(workers)
        self._slots = slots
        self._programs: dict[str, Program] = {}
        self._environment = {
            "DAGU_HOME": str(home),
            "HOME": str(home),
            "DAGU_COORDINATOR_OFFER_TIMEOUT": "1s",
            "DAGU_COORDINATOR_LEASE_TTL": f"{lease_ttl:g}s",
        }

    def start(self) -> None:
        """Start everybody, and wait until all workers have found the coordinator."""
        for name in (COORDINATOR, *self._workers):
            self._start(name)
        for worker in self._workers:
            self._programs[worker].wait_for("coordinator .* answers", STARTING_TIME)

    def _start(self, name: str) -> None:
        if name == COORDINATOR:
            argv: tuple[str, ...] = (
                *DAGU,
                "coordinator",
                f"--coordinator.host={self._network.host}",
                f"--coordinator.port={self.port}",
            )
        else:
            host, _, port = self._network.address(name).rpartition(":")
            worker = (
                *DAGU,
                "worker",
                f"--worker.id={name}",
                f"--worker.max-active-runs={self._slots}",
                f"--worker.coordinator-host={host}",
                f"--worker.coordinator-port={port}",
            )
            argv = self._network.command(name, worker)
        before = self._programs.pop(name, None)
        if before is not None:
            self._close(name, before)
        program = self._programs[name] = Program(argv, self._environment, cwd=str(self.home))
        if name == COORDINATOR:
            self.port = int(program.wait_for(r"listens on [\d.]+:(\d+)", STARTING_TIME)[1])
            self._network.coordinator_listens(self.port)

    def _close(self, name: str, program: Program) -> None:
        program.__exit__(None, None, None)
        program.wait()
        self.said += (f"{name}: {line}" for line in program.lines)

    async def begin(self, kind: Kind, target: str) -> None:
        """Do that to the process."""
        if kind is Kind.KILL:
            self._programs[target].signal(SIGKILL)
            await deferToThread(self._programs[target].process.wait)
        elif kind is Kind.STOP:
            self._programs[target].signal(SIGSTOP)
        elif kind is Kind.UNGUARD:
            for pid in _reapers(self._programs[target].process.pid):
                os.kill(pid, SIGKILL)
        else:
            self._network.cut(target)

    async def end(self, kind: Kind, target: str) -> None:
        """Make an end of it: start the process again, let it go on, or let the network work."""
        if kind is Kind.KILL:
            await deferToThread(self._start, target)
        elif kind is Kind.STOP:
            self._programs[target].signal(SIGCONT)
        elif kind is Kind.CUT:
            self._network.mend(target)

    def dead(self) -> Iterator[str]:
        """One sentence for each process that has ended by itself."""
        for name, program in self._programs.items():
            code = program.process.poll()
            if code is not None:
                yield f"{name} has ended by itself with {code}"

    def stop(self) -> None:
        """End everybody at once, and keep what they said."""
        for name, program in self._programs.items():
            with contextlib.suppress(ProcessLookupError):
                program.signal(SIGKILL)
            self._close(name, program)
        self._programs.clear()

    def worker_of(self, run: RunRef) -> str:
        """The worker that had the run's task last, as the journal says; empty if none had it."""
        return next((line.worker_id for line in reversed(self.timeline(run)) if line.worker_id), "")

    def timeline(self, run: RunRef) -> Sequence[Transition]:
        """What the coordinator's journal has of a run."""
        path = self.home / "data" / "coordinator" / "journal.sqlite"
        with contextlib.suppress(sqlite3.Error), closing(dialect.open_to_read(path)) as connection:
            return JournalDatabase(connection).timeline(run, run.id, 0.0)
        return ()

    def steps_alive(self) -> list[str]:
        """The processes of steps that are still there, also those that left their group and session."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                environ = dict(_pairs((entry / "environ").read_bytes()))
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue  # it has just ended
            ours = environ.get(b"HOME") == os.fsencode(self.home) and b"DAG_RUN_ID" in environ
            if ours and state not in ("Z", "X"):
                found.append(f"process {entry.name} of run {environ[b'DAG_RUN_ID'].decode()} ({words})")
        return found


def _reapers(worker: int) -> Iterator[int]:
    """The processes that a worker has started to end others."""
    for word in Path(f"/proc/{worker}/task/{worker}/children").read_text().split():
        with contextlib.suppress(OSError):
            if b"reaper" in Path(f"/proc/{word}/cmdline").read_bytes():
                yield int(word)


def _pairs(environ: bytes) -> Iterator[tuple[bytes, bytes]]:
    for pair in environ.split(b"\0"):
        name, _, value = pair.partition(b"=")
        yield name, value
