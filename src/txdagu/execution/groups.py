"""Waiting for a process and, when it was stopped, for everybody in its group."""

from __future__ import annotations

import signal

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from txdagu.execution.interfaces import ExitStatus, IProcessRunner, IStartedProcess, ProcessSpec
from txdagu.execution.stop import Stop

LOOK_SOON, LOOK_LATE = 0.01, 0.25  # seconds between looks at a group that has lost its leader, growing
AFTER_KILL = 2.0  # seconds; who survives SIGKILL longer hangs in the kernel, and cannot be waited for


async def run_group(runner: IProcessRunner, command: ProcessSpec, stop: Stop, clock: IReactorTime) -> ExitStatus:
    """
    Run a program to its end.

    A request to stop becomes the signal of `stop` to its group, by force SIGKILL; then the end of the whole group is awaited,
    so that nothing of a stopped step works on unseen. An ordinary end is that of the program alone: what it left in the
    background stays. Raises `StopRequested` when the end was wanted before the start.
    """
    stop.check()
    process: IStartedProcess = await runner.run(command)  # never given up half-way: nobody would know the process

    def pass_on(force: bool) -> None:
        process.signal(signal.SIGKILL if force else stop.signal)

    stop.attach(pass_on)
    try:
        status: ExitStatus = await process.ended
        if stop.requested:
            await _wait_for_group(process, stop, clock)
    finally:
        stop.detach()
    return status


async def _wait_for_group(process: IStartedProcess, stop: Stop, clock: IReactorTime) -> None:
    killed_at: float | None = None
    pause = LOOK_SOON
    while await process.group_alive():
        if stop.forced:
            killed_at = clock.seconds() if killed_at is None else killed_at
            if clock.seconds() - killed_at > AFTER_KILL:
                return
        await deferLater(clock, pause)
        pause = min(pause * 1.5, LOOK_LATE)
