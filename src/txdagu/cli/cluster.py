"""A small cluster of real processes on this host, started for a while and ended again."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from txdagu.cli.report import read_tail
from txdagu.execution.processes import ExitStatus, IProcessRunner, IStartedProcess, ProcessSpec

STOP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Member:
    """One process of the cluster: a short name for people and log files, and the arguments of the `dagu` command."""

    name: str
    arguments: tuple[str, ...]


class Cluster:
    """
    Members that share one home directory. Each writes its log to ``<home>/<name>.log``; temporary files go there too.

    `failed` is called with a sentence when a member ends that nobody asked to end.
    """

    def __init__(
        self,
        runner: IProcessRunner,
        clock: IReactorTime,
        home: str,
        environ: Mapping[str, str],
        failed: Callable[[str], None],
    ) -> None:
        self._runner = runner
        self._clock = clock
        self._home = home
        self._environ = {name: value for name, value in environ.items() if not name.startswith("DAGU_")}
        self._running: dict[str, IStartedProcess] = {}
        self._gone: dict[str, Deferred[None]] = {}
        self._starting: Deferred[None] = succeed(None)
        self._failed = failed
        self._stopping = False

    async def start(self, members: Sequence[Member]) -> None:
        """
        Start them in this order; they find each other.

        May be cancelled: a member that was just being started is then known to `stop` all the same.
        """
        for member in members:
            self._starting = Deferred.fromCoroutine(self._start(member))
            started: Deferred[None] = Deferred()
            self._starting.chainDeferred(started)
            await started

    async def _start(self, member: Member) -> None:
        log = str(Path(self._home) / f"{member.name}.log")
        process = await self._runner.run(
            ProcessSpec(
                argv=(sys.executable, "-m", "txdagu", *member.arguments),
                cwd=self._home,
                env={**self._environ, "DAGU_HOME": self._home, "TMPDIR": self._home},
                stdout=log,
                stderr=log,
            )
        )
        self._running[member.name] = process
        self._gone[member.name] = Deferred()
        process.ended.addCallback(self._ended, member.name, log)

    def _ended(self, status: ExitStatus, name: str, log: str) -> None:
        del self._running[name]
        self._gone[name].callback(None)
        if not self._stopping:
            last = "".join(f"\n  {line}" for line in read_tail(log)[-5:])
            self._failed(f"{name} ended unexpectedly ({status}); its last words:{last}")

    async def stop(self) -> None:
        """End all members in reverse order of their start, at last by force, and wait until they are gone."""
        self._stopping = True
        await self._starting
        for name, process in reversed(list(self._running.items())):
            process.signal(signal.SIGTERM)
            force = self._clock.callLater(STOP_SECONDS, process.signal, signal.SIGKILL)
            await self._gone[name]
            if force.active():
                force.cancel()

    def kill(self) -> None:
        """End all members at once, by force."""
        for process in self._running.values():
            process.signal(signal.SIGKILL)
