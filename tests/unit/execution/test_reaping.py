"""The real reaper: told things by a process of ours, it stops, continues and kills real processes."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from shutil import rmtree
from signal import SIGKILL
from tempfile import mkdtemp
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from txdagu.execution.guarding import GuardedProcesses
from txdagu.execution.interfaces import ProcessSpec
from txdagu.execution.processes import PidfdProcessRunner
from txdagu.execution.reaping import Reaping, Watch, spawn
from txdagu.reaper.strays import members, processes
from txdagu.system.clock import boottime


def states(token: str) -> str:
    """The letters of all processes with that token, sorted."""
    return "".join(sorted(process.state for process in members(processes(), token, ())))


class ReapingTests(TestCase):
    timeout = 30

    def setUp(self) -> None:
        """A reaper that is told of a task, and a program of that task with a child that left its session."""
        from twisted.internet import reactor  # noqa: TID251 - the real one is what is tested here

        self.reactor: Any = reactor
        self.directory = mkdtemp()
        self.addCleanup(rmtree, self.directory)
        self.lines: list[str] = []
        self.over: list[str] = []
        self.lock = os.open(Path(self.directory, "lock"), os.O_RDWR | os.O_CREAT)
        self.addCleanup(os.close, self.lock)
        self.spawned: list[subprocess.Popen[bytes]] = []
        self.reaping = Reaping(reactor, lambda: self.lines, self.over.append, lambda: self.lock, self.spawn)
        self.reaping.start()
        self.addCleanup(self.end)

    def spawn(self, end: socket.socket, lock: int) -> subprocess.Popen[bytes]:
        """Start a reaper, and keep it to wait for its end."""
        self.spawned.append(spawn(end, lock))
        return self.spawned[-1]

    def end(self) -> None:
        """Leave all reapers alone; they end."""
        self.reaping.stop()
        for process in self.spawned:
            process.wait(10)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Look until it is so."""
        while not condition():
            await deferLater(self.reactor, 0.01)

    def program(self, token: str) -> subprocess.Popen[bytes]:
        """One program, and its child in a session of its own, both with that token."""
        argv = ("/bin/sh", "-c", "setsid sleep 100 & exec sleep 100")
        process = subprocess.Popen(
            argv, env={"PATH": os.environ["PATH"], "DAGU_REAPER_TOKEN": f"x:{token}"}, start_new_session=True
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    async def test_freeze(self) -> None:
        """All of a task is stopped by the clock, continues when it was renewed, and is killed when it was given away."""
        self.program("t.1")
        await self.until(lambda: len(states("t.1")) == 2)
        self.reaping.tell(f"hold t.1 redistribute 0.15 900 {boottime():.6f}")
        await self.until(lambda: states("t.1") == "TT")
        self.reaping.tell(f"renewed {boottime() + 1000:.6f} t.1")
        await self.until(lambda: states("t.1") == "SS")
        self.reaping.tell("lost t.1")
        await self.until(lambda: states("t.1") == "")

    async def test_over(self) -> None:
        """What it gives up by its own clock is killed, and we are told."""
        self.program("t.2")
        self.reaping.tell(f"hold t.2 fail 0.1 900 {boottime():.6f}")
        await self.until(lambda: self.over == ["t.2"] and states("t.2") == "")

    async def test_restart(self) -> None:
        """One that dies is replaced; the new one is told all, and continues what the old one had stopped."""
        self.program("t.3")
        await self.until(lambda: len(states("t.3")) == 2)
        self.reaping.tell(f"hold t.3 redistribute 0.1 900 {boottime():.6f}")
        await self.until(lambda: states("t.3") == "TT")
        self.lines.append(f"held t.3 redistribute 100 900 {boottime():.6f}")
        os.kill(self.reaping.pid, SIGKILL)
        await self.until(lambda: len(self.spawned) == 2)
        await self.until(lambda: states("t.3") == "SS")

    async def test_end_of_the_worker(self) -> None:
        """T21: when our end of the socket closes, what belongs to open tasks is killed, and then the lock's file says so."""
        self.program("t.4")
        self.program("t.5")
        await self.until(lambda: len(states("t.4") + states("t.5")) == 4)
        for token in ("t.4", "t.5"):
            self.reaping.tell(f"hold {token} wait 0 0 0")
        self.reaping.tell("done t.5")
        self.end()
        self.assertEqual((states("t.4"), states("t.5")), ("", "SS"))
        self.assertEqual(os.pread(self.lock, 100, 0), b"reaped\n")
        for process in members(processes(), "t.5", ()):
            os.kill(process.pid, SIGKILL)

    async def test_sweep(self) -> None:
        """What an earlier worker left is killed before we are told so."""
        self.program("life-1.8")
        await self.until(lambda: len(states("life-1.8")) == 2)
        await self.reaping.swept("life-1")
        self.assertEqual(states("life-1.8"), "")


class WatchTests(TestCase):
    timeout = 30

    async def test_guarded_program(self) -> None:
        """T62: a program of a run without a lease, and what it starts without an environment, end when we do."""
        from twisted.internet import reactor  # noqa: TID251 - the real one is what is tested here

        spawned: list[subprocess.Popen[bytes]] = []

        def keep(end: socket.socket, lock: int) -> subprocess.Popen[bytes]:
            spawned.append(spawn(end, lock))
            return spawned[-1]

        watch = Watch(reactor, keep)
        guard = watch.begin()
        runner = GuardedProcesses(PidfdProcessRunner(reactor), guard)
        argv = ("/bin/sh", "-c", "env -i /bin/sleep 100 & exec /bin/sleep 100")
        process = await runner.run(ProcessSpec(argv, "/", {"PATH": os.environ["PATH"]}))
        while len(members(processes(), guard.token, (process.pid,))) < 2:
            await deferLater(reactor, 0.01)
        watch.stop()
        ended: Deferred[Any] = process.ended
        self.assertEqual((await ended).signal, SIGKILL)
        spawned[0].wait(10)
        self.assertEqual(members(processes(), guard.token, (process.pid,)), [])
