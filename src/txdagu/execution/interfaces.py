"""What the engine needs from outside: a way to start programs, and a worker's slot."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from zope.interface import Attribute, Interface

from txdagu.execution.evaluation.masking import Masker


@dataclass(frozen=True, slots=True)
class Tap:
    """
    What happens to a program's output on its way through this process.

    `masker` hides secrets in all files. `stdout_copy` and `stderr_copy` are further files that are appended to. Of standard
    output the first `capture` bytes are kept as they were printed, and told with the program's end.
    """

    masker: Masker | None = None
    stdout_copy: str = ""
    stderr_copy: str = ""
    capture: int = 0

    @property
    def separates(self) -> bool:
        """Whether the two streams have to be told apart, also where one file takes both."""
        return bool(self.stdout_copy or self.stderr_copy or self.capture)


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """
    A program to start: `argv` with the program first (looked up in the PATH of `env`), working directory, whole environment.

    `stdout` and `stderr` are files, appended to if `append`, else emptied; an empty name is ``/dev/null``; the same name
    twice makes one stream of both. An empty `cwd` is the caller's own. The program writes its files itself; with a `tap` its
    output passes through this process. `permitted` is asked in a thread, right before the start, where that is not certain.
    """

    argv: tuple[str, ...]
    cwd: str
    env: Mapping[str, str]
    stdout: str = ""
    stderr: str = ""
    append: bool = True
    tap: Tap | None = None
    permitted: Callable[[], bool] | None = None


class NotPermittedError(Exception):
    """`ProcessSpec.permitted` said no."""


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """
    How a process ended: its exit status, or -1 and the number of the `signal` that ended it.

    With a `Tap`, `captured` is what was kept of its standard output, and `trouble` says why a part of its output could not be
    written.
    """

    code: int
    signal: int = 0
    captured: bytes = b""
    trouble: str = ""

    @property
    def ok(self) -> bool:
        """Whether it ended with 0."""
        return self.code == 0

    def __str__(self) -> str:
        """As error texts say it: ``exit status 3``, ``signal: terminated``."""
        if not self.signal:
            return f"exit status {self.code}"
        return f"signal: {(signal.strsignal(self.signal) or str(self.signal)).lower()}"


class IStartedProcess(Interface):
    """A program that runs, or has run."""

    pid = Attribute("Process id, and id of its process group.")
    ended = Attribute("Deferred that fires once, with an ExitStatus, when the program itself has ended.")

    def signal(signum: int) -> None:
        """Send a signal to the whole group; nothing happens if nobody is left in it."""

    def group_alive() -> Awaitable[bool]:
        """Whether anybody in the group still works, the program or what it has started; zombies do not count."""


class IProcessRunner(Interface):
    """Starts programs."""

    def run(command: ProcessSpec) -> Awaitable[IStartedProcess]:
        """Start it. Raises `ProcessStartError` with a sentence that says what is missing, `NotPermittedError`."""


class ISlot(Interface):
    """
    One of a worker's places for runs, held when the run starts.

    The provider knows from these calls whether the place is held at the run's end.
    """

    def release() -> None:
        """Give the place back until `acquire`: the run only waits."""

    def acquire() -> Awaitable[None]:
        """Take a place again; waits until one is free. Cancelling the wait is fine."""
