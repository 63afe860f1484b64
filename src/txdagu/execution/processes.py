"""
Starting programs: each a process group of its own, output straight into files, its end learnt through a pidfd.

No byte of a step's output passes through this process unless a `Tap` asks for it, and no signal handler is needed: the reactor
watches one file descriptor per process.
"""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFDSet, IReactorThreads, IReadDescriptor
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from txdagu.execution.interfaces import ExitStatus, IProcessRunner, IStartedProcess, NotPermittedError, ProcessSpec
from txdagu.execution.streams import Pump, Streams
from txdagu.model.errors import DaguError
from txdagu.system.descriptors import raise_open_files, usual_open_files

__all__ = ["ExitStatus", "IProcessRunner", "IStartedProcess", "PidfdProcessRunner", "ProcessSpec", "ProcessStartError"]


class ProcessStartError(DaguError):
    """A program could not be started: it is missing, may not be executed, or its directory or log file cannot be used."""


def exit_status(returncode: int) -> ExitStatus:
    """From the return code of `subprocess`, which is negative for signals."""
    return ExitStatus(returncode) if returncode >= 0 else ExitStatus(-1, -returncode)


LONGEST_STRING = 32 * os.sysconf("SC_PAGE_SIZE") - 1  # of one argument or variable, on Linux


@dataclass(frozen=True)
class Started:
    """A program that was just started, its pidfd, and the pump of its output, if there is one."""

    process: subprocess.Popen[bytes]
    pidfd: int
    pump: Pump | None


def spawn(command: ProcessSpec, drained: Callable[[bytes, str], None], open_files: int) -> Started:
    """
    Start the program and open a pidfd for it. Blocks for about a millisecond, so it is called in a thread. `open_files` is the
    program's soft limit of them.

    `drained` is called in a thread when the output of a program with a tap has been moved; see `Pump`.
    """
    if command.cwd and not Path(command.cwd).is_dir():
        raise ProcessStartError(f"cannot start {command.argv[0]}: the working directory {command.cwd} does not exist")
    with ExitStack() as opened:
        pump = None
        try:
            if command.tap is not None:
                pump = Pump(Streams(command.stdout, command.stderr, command.tap, append=command.append), drained)
                opened.callback(pump.close_writing)
                streams = (pump.stdout, pump.stderr)
            else:
                streams = _log_files(command, opened)
            if command.permitted is not None and not command.permitted():
                raise NotPermittedError
            process = subprocess.Popen(
                command.argv,
                cwd=command.cwd or None,
                env=dict(command.env),
                stdin=subprocess.DEVNULL,
                stdout=streams[0],
                stderr=streams[1],
                start_new_session=True,
            )
        except NotPermittedError:
            if pump is not None:
                pump.abandon()
            raise
        except (OSError, ValueError) as error:
            if pump is not None:
                pump.abandon()
            raise ProcessStartError(_start_problem(command, error)) from error
    usual_open_files(process.pid, open_files)
    if pump is not None:
        pump.start()
    try:
        return Started(process, os.pidfd_open(process.pid), pump)
    except OSError as error:
        process.kill()
        process.wait()
        if pump is not None:
            pump.program_ended()
        raise ProcessStartError(f"cannot watch {command.argv[0]}: {error.strerror}") from error


def _log_files(command: ProcessSpec, opened: ExitStack) -> tuple[int, int]:
    """Descriptors of the files that the program writes itself."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_APPEND if command.append else os.O_TRUNC)
    descriptors: dict[str, int] = {}
    for name in (command.stdout, command.stderr):
        if name not in descriptors:
            descriptors[name] = os.open(name or os.devnull, flags if name else os.O_WRONLY, 0o600)
            opened.callback(os.close, descriptors[name])
    return descriptors[command.stdout], descriptors[command.stderr]


def _too_long(command: ProcessSpec) -> str:
    """What of arguments and environment is longer than the system takes, in bytes: see execve(2), "Limits"."""
    sizes = {
        f"the variable {name}": len(f"{name}={value}".encode(errors="replace")) for name, value in command.env.items()
    }
    sizes |= {f"argument {place}": len(word.encode(errors="replace")) for place, word in enumerate(command.argv)}
    longest = max(sizes, key=lambda name: sizes[name])
    return (
        f"its variables and arguments are longer than the system takes ({longest} has {sizes[longest]} of"
        f" {sum(sizes.values())} bytes, one may have {LONGEST_STRING}): write it into a file, and pass the file's path"
    )


def _start_problem(command: ProcessSpec, error: OSError | ValueError) -> str:
    program = command.argv[0]
    if isinstance(error, ValueError):
        names = ", ".join(name for name, value in command.env.items() if "\0" in value)
        having = f"the variable {names} has" if names else "an argument has"
        return f"cannot start {program}: {having} a NUL byte, which no program can be given"
    if error.errno == errno.E2BIG:
        return f"cannot start {program}: {_too_long(command)}"
    if error.filename == program and isinstance(error, FileNotFoundError):
        where = "" if "/" in program else f" in PATH ({command.env.get('PATH', 'which is not set')})"
        return f"cannot start {program}: there is no such program{where}"
    if error.filename in (command.stdout, command.stderr):
        return f"cannot write the log file {error.filename}: {error.strerror}"
    if command.tap is not None and error.filename in (command.tap.stdout_copy, command.tap.stderr_copy):
        return f"failed to setup outputs: cannot write {error.filename}: {error.strerror}"
    if error.filename in (program, command.cwd):
        return f"cannot start {program}: {error.filename}: {error.strerror}"
    return f"cannot start {program}: {error.strerror}"


def has_living_member(group: int, proc: Path = Path("/proc")) -> bool:
    """
    Whether a process group has a member that is no zombie.

    Orphans become zombies until init reaps them, and in containers there may be none that does. Without a ``/proc`` to look
    at, everybody is believed to live.
    """
    if not (proc / "self").exists():
        return True
    for entry in proc.iterdir():
        if entry.name.isdigit():
            try:
                state, _, member_of = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
            except (OSError, ValueError):
                continue  # it has just ended
            if int(member_of) == group and state not in ("Z", "X"):
                return True
    return False


@implementer(IReadDescriptor, IStartedProcess)
class PidfdProcess:
    """A started program, and the descriptor by which the reactor learns of its end."""

    log = Logger()

    def __init__(self, started: Started, drained: Deferred[tuple[bytes, str]], reactor: IReactorFDSet) -> None:
        self.pid = started.process.pid
        self.ended: Deferred[ExitStatus] = Deferred()
        self._process = started.process
        self._pump = started.pump
        self._drained = drained
        self._pidfd = started.pidfd
        self._reactor = reactor
        self._group_gone = False

    def fileno(self) -> int:
        """The pidfd."""
        return self._pidfd

    def logPrefix(self) -> str:
        """How the reactor names us in its log."""
        return f"process {self.pid}"

    def doRead(self) -> None:
        """The pidfd is readable: the program has ended and waits to be reaped."""
        self._reactor.removeReader(self)
        os.close(self._pidfd)
        self._pidfd = -1
        status = exit_status(self._process.wait())
        if self._pump is None:
            self.ended.callback(status)
            return
        self._pump.program_ended()
        self._drained.addCallback(
            lambda moved: self.ended.callback(replace(status, captured=moved[0], trouble=moved[1]))
        )

    def connectionLost(self, reason: Failure) -> None:
        """The reactor is going down; nobody will learn of the end any more."""
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1

    def signal(self, signum: int) -> None:
        """
        Send a signal to the whole group.

        A group's number is not given to anybody else while it has members; once it was seen empty we never use it again.
        """
        if not self._group_gone:
            try:
                os.killpg(self.pid, signum)
            except ProcessLookupError:
                self._group_gone = True
            except PermissionError:
                self.log.warn("may not signal process group {pid}", pid=self.pid)

    async def group_alive(self) -> bool:
        """Whether anybody in the group still works."""
        self.signal(0)
        if self._group_gone:
            return False
        threads = IReactorThreads(self._reactor)
        return await deferToThreadPool(threads, threads.getThreadPool(), has_living_member, self.pid)


@implementer(IProcessRunner)
class PidfdProcessRunner:
    """
    Starts programs in threads of the reactor's pool.

    The reactor has to watch arbitrary file descriptors and to have threads; all of Twisted's Unix reactors do.
    """

    def __init__(self, reactor: IReactorFDSet) -> None:
        self._reactor = reactor
        self._open_files = raise_open_files()  # each program that runs is one

    async def run(self, command: ProcessSpec) -> PidfdProcess:
        """Start it; see `IProcessRunner.run`."""
        threads = IReactorThreads(self._reactor)
        moved: Deferred[tuple[bytes, str]] = Deferred()

        def drained(captured: bytes, trouble: str) -> None:
            threads.callFromThread(moved.callback, (captured, trouble))

        process = PidfdProcess(
            await deferToThreadPool(threads, threads.getThreadPool(), spawn, command, drained, self._open_files),
            moved,
            self._reactor,
        )
        self._reactor.addReader(process)
        return process
