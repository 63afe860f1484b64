"""
Starting programs: each a process group of its own, output straight into files, its end learnt through a pidfd.

No byte of a step's output passes through this process, and no signal handler is needed: the reactor watches one file
descriptor per process.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFDSet, IReactorThreads, IReadDescriptor
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from txdagu.execution.interfaces import ExitStatus, IProcessRunner, IStartedProcess, ProcessSpec
from txdagu.model.errors import DaguError

__all__ = ["ExitStatus", "IProcessRunner", "IStartedProcess", "PidfdProcessRunner", "ProcessSpec", "ProcessStartError"]


class ProcessStartError(DaguError):
    """A program could not be started: it is missing, may not be executed, or its directory or log file cannot be used."""


def exit_status(returncode: int) -> ExitStatus:
    """From the return code of `subprocess`, which is negative for signals."""
    return ExitStatus(returncode) if returncode >= 0 else ExitStatus(-1, -returncode)


def spawn(command: ProcessSpec) -> tuple[subprocess.Popen[bytes], int]:
    """Start the program and open a pidfd for it. Blocks for about a millisecond, so it is called in a thread."""
    if command.cwd and not Path(command.cwd).is_dir():
        raise ProcessStartError(f"cannot start {command.argv[0]}: the working directory {command.cwd} does not exist")
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_APPEND if command.append else os.O_TRUNC)
    opened: list[int] = []
    try:
        opened.extend(
            os.open(name or os.devnull, flags if name else os.O_WRONLY, 0o600)
            for name in dict.fromkeys((command.stdout, command.stderr))
        )
        process = subprocess.Popen(
            command.argv,
            cwd=command.cwd or None,
            env=dict(command.env),
            stdin=subprocess.DEVNULL,
            stdout=opened[0],
            stderr=opened[-1],
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise ProcessStartError(_start_problem(command, error)) from error
    finally:
        for descriptor in opened:
            os.close(descriptor)
    try:
        return process, os.pidfd_open(process.pid)
    except OSError as error:
        process.kill()
        process.wait()
        raise ProcessStartError(f"cannot watch {command.argv[0]}: {error.strerror}") from error


def _start_problem(command: ProcessSpec, error: OSError | ValueError) -> str:
    program = command.argv[0]
    if isinstance(error, ValueError):
        return f"cannot start {program}: {error}"
    if error.filename == program and isinstance(error, FileNotFoundError):
        where = "" if "/" in program else f" in PATH ({command.env.get('PATH', 'which is not set')})"
        return f"cannot start {program}: there is no such program{where}"
    if error.filename in (command.stdout, command.stderr):
        return f"cannot write the log file {error.filename}: {error.strerror}"
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

    def __init__(self, process: subprocess.Popen[bytes], pidfd: int, reactor: IReactorFDSet) -> None:
        self.pid = process.pid
        self.ended: Deferred[ExitStatus] = Deferred()
        self._process = process
        self._pidfd = pidfd
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
        self.ended.callback(exit_status(self._process.wait()))

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

    async def run(self, command: ProcessSpec) -> PidfdProcess:
        """Start it; see `IProcessRunner.run`."""
        threads = IReactorThreads(self._reactor)
        process, pidfd = await deferToThreadPool(threads, threads.getThreadPool(), spawn, command)
        started = PidfdProcess(process, pidfd, self._reactor)
        self._reactor.addReader(started)
        return started
