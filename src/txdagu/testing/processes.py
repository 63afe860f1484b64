"""Processes that exist only in memory: what they print and how they end is written down beforehand."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from twisted.internet.defer import Deferred
from zope.interface import implementer

from txdagu.execution.interfaces import ExitStatus, IProcessRunner, IStartedProcess, ProcessSpec
from txdagu.execution.processes import ProcessStartError
from txdagu.execution.streams import Streams


@dataclass(frozen=True)
class Script:
    """
    How a program behaves.

    It prints `stdout` and `stderr` when it starts and ends at once with `code`; with ``code=None`` it runs until a signal ends it
    or the test calls `MemoryProcess.end`. With `stubborn`, SIGTERM does nothing. With `missing`, it cannot be started.
    """

    code: int | None = 0
    stdout: str = ""
    stderr: str = ""
    stubborn: bool = False
    missing: bool = False


Behaviour = Callable[[ProcessSpec], Script]


@implementer(IStartedProcess)
class MemoryProcess:
    """A process of a `MemoryProcessRunner`; `signals` are those it was sent."""

    def __init__(self, pid: int, spec: ProcessSpec, script: Script, captured: bytes = b"") -> None:
        self.pid = pid
        self.spec = spec
        self.script = script
        self.signals: list[int] = []
        self.captured = captured
        self.ended: Deferred[ExitStatus] = Deferred()
        self._alive = True

    def signal(self, signum: int) -> None:
        """Ends the process, unless it is stubborn and may be."""
        if not self._alive:
            return
        self.signals.append(signum)
        if signum == signal.SIGKILL or not self.script.stubborn:
            self.end(ExitStatus(-1, signum))

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._alive

    async def group_alive(self) -> bool:
        """Whether it has not ended: it has no children."""
        return self._alive

    def end(self, status: ExitStatus) -> None:
        """The process ends like this."""
        self._alive = False
        self.ended.callback(replace(status, captured=self.captured))


def _print(command: ProcessSpec, script: Script) -> bytes:
    """Print; what a tap keeps of it."""
    if command.tap is not None:
        try:
            streams = Streams(command.stdout, command.stderr, command.tap, append=command.append)
        except OSError as error:
            raise ProcessStartError(f"failed to setup outputs: {error.filename}: {error.strerror}") from error
        streams.stdout.feed(script.stdout.encode())
        streams.stderr.feed(script.stderr.encode())
        streams.flush()
        streams.close()
        return bytes(streams.stdout.captured)
    for name, text in ((command.stdout, script.stdout), (command.stderr, script.stderr)):
        if name and text:
            with Path(name).open("a" if command.append else "w", encoding="utf-8") as file:
                file.write(text)
    return b""


@implementer(IProcessRunner)
class MemoryProcessRunner:
    """
    Starts nothing, but lets every program do what `behaviour` says for it. All are kept in `started`, in order.

    What programs print is written to the files that the real ones would write to.
    """

    def __init__(self, behaviour: Behaviour | None = None) -> None:
        self._behaviour = behaviour or (lambda _: Script())
        self.started: list[MemoryProcess] = []

    async def run(self, command: ProcessSpec) -> MemoryProcess:
        """Start it, in memory."""
        script = self._behaviour(command)
        if script.missing:
            raise ProcessStartError(f"cannot start {command.argv[0]}: there is no such program")
        captured = _print(command, script)
        process = MemoryProcess(1000 + len(self.started), command, script, captured)
        self.started.append(process)
        if script.code is not None:
            process.end(ExitStatus(script.code))
        return process

    @property
    def running(self) -> list[MemoryProcess]:
        """Those that have not ended."""
        return [process for process in self.started if process.alive]


def by_command(scripts: Iterable[tuple[str, Script]], otherwise: Script = Script()) -> Behaviour:
    """The behaviour of the first entry whose text occurs in the command line."""
    entries = tuple(scripts)

    def behave(spec: ProcessSpec) -> Script:
        line = " ".join(spec.argv)
        return next((script for text, script in entries if text in line), otherwise)

    return behave
