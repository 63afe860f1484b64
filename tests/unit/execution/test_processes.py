"""Real processes: how they start, end, and are ended."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from txdagu.execution.groups import run_group
from txdagu.execution.interfaces import ExitStatus, IProcessRunner, IStartedProcess, ProcessSpec
from txdagu.execution.processes import PidfdProcessRunner, ProcessStartError
from txdagu.execution.stop import Stop, StopRequested


class ProcessCase(TestCase):
    timeout = 30

    def setUp(self) -> None:
        from twisted.internet import reactor  # noqa: TID251 - the real one is what is tested here

        self.reactor: Any = reactor
        self.runner = PidfdProcessRunner(self.reactor)
        self.directory = mkdtemp()
        self.addCleanup(rmtree, self.directory)

    def file(self, name: str) -> Path:
        return Path(self.directory, name)

    def spec(self, *argv: str, **more: Any) -> ProcessSpec:
        given = {
            "cwd": self.directory,
            "env": {"PATH": os.environ["PATH"]},
            "stdout": str(self.file("out")),
            "stderr": str(self.file("err")),
        }
        return ProcessSpec(argv, **{**given, **more})

    async def output_has(self, text: str) -> None:
        """Returns when the program has written that."""
        while not (self.file("out").exists() and text in self.file("out").read_text()):
            await deferLater(self.reactor, 0.005)


class StartTests(ProcessCase):
    async def test_exit_codes(self) -> None:
        """The exit status is told as it is, and a signal's death by its number and name."""
        for script, status, text in (
            ("exit 0", ExitStatus(0), "exit status 0"),
            ("exit 3", ExitStatus(3), "exit status 3"),
            ("kill -TERM $$", ExitStatus(-1, signal.SIGTERM), "signal: terminated"),
            ("kill -KILL $$", ExitStatus(-1, signal.SIGKILL), "signal: killed"),
        ):
            process = await self.runner.run(self.spec("sh", "-c", script))
            ended = await process.ended
            self.assertEqual((ended, str(ended)), (status, text))

    async def test_interfaces(self) -> None:
        """Runner and process provide what they promise."""
        verifyObject(IProcessRunner, self.runner)
        process = await self.runner.run(self.spec("true"))
        verifyObject(IStartedProcess, process)
        verifyObject(IReadDescriptor, process)
        await process.ended

    async def test_surroundings(self) -> None:
        """Directory, environment and nothing else; output in the files, which only their owner reads; no input."""
        await (
            await self.runner.run(
                self.spec("sh", "-c", "pwd; env; cat; echo e >&2", env={"PATH": os.environ["PATH"], "A": "1"})
            )
        ).ended
        lines = self.file("out").read_text().splitlines()
        self.assertEqual(lines[0], self.directory)
        self.assertIn("A=1", lines)
        self.assertNotIn("HOME", {line.partition("=")[0] for line in lines})
        self.assertEqual(self.file("err").read_text(), "e\n")
        self.assertEqual(self.file("out").stat().st_mode & 0o777, 0o600)

    async def test_append(self) -> None:
        """Output is appended where that is asked for, else it replaces what was there."""
        for append, expected in ((True, "x\n"), (True, "x\nx\n"), (False, "x\n")):
            await (await self.runner.run(self.spec("echo", "x", append=append))).ended
            self.assertEqual(self.file("out").read_text(), expected)

    async def test_one_stream(self) -> None:
        """The same file for both streams keeps the order of what was written."""
        both = str(self.file("both"))
        await (
            await self.runner.run(self.spec("sh", "-c", "echo 1; echo 2 >&2; echo 3", stdout=both, stderr=both))
        ).ended
        self.assertEqual(self.file("both").read_text(), "1\n2\n3\n")

    async def test_refusals(self) -> None:
        """What cannot be started is one sentence with the thing that is wrong."""
        self.file("plain").touch()
        path = {"PATH": os.environ["PATH"]}
        for spec, phrase in (
            (self.spec("no-such-program"), "cannot start no-such-program: there is no such program in PATH ("),
            (self.spec("/no/such/program"), "cannot start /no/such/program: there is no such program"),
            (self.spec("true", cwd="/no/such/dir"), "the working directory /no/such/dir does not exist"),
            (self.spec(str(self.file("plain"))), "Permission denied"),
            (self.spec("true", stdout="/no/such/dir/log"), "cannot write the log file /no/such/dir/log: No such file"),
            (self.spec("echo", "a\0b"), "cannot start echo: an argument has a NUL byte, which no program can be given"),
            (self.spec("true", env={**path, "N": "\0"}), "cannot start true: the variable N has a NUL byte"),
            (
                self.spec("true", env={**path, "BIG": "é" * 100_000}),
                "longer than the system takes (the variable BIG has 200004 of ",
            ),
            (self.spec("true", "x", "a" * 200_000), "longer than the system takes (argument 2 has 200000 of "),
        ):
            try:
                await self.runner.run(spec)
            except ProcessStartError as error:
                self.assertIn(phrase, str(error))
            else:
                self.fail(f"{spec.argv} was started")

    async def test_many(self) -> None:
        """Many at once all end, each with its own status."""
        started = [await self.runner.run(self.spec("sh", "-c", f"exit {code}")) for code in range(20)]
        self.assertEqual([(await process.ended).code for process in started], list(range(20)))


class StopTests(ProcessCase):
    async def test_group(self) -> None:
        """A stop reaches grandchildren: when the step has ended, nobody of its group is left."""
        stop = Stop()
        spec = self.spec("sh", "-c", "sleep 600 & echo $! ; wait")
        running = run_group_deferred(self, spec, stop)
        await self.output_has("\n")
        grandchild = int(self.file("out").read_text())
        stop.request()
        self.assertEqual(await running, ExitStatus(-1, signal.SIGTERM))
        self.assertFalse(alive(grandchild))

    async def test_grandchild_may_clean_up(self) -> None:
        """The end of the shell is not yet the end: its child that cleans up after SIGTERM is waited for."""
        stop = Stop()
        child = "trap 'sleep 0.1; echo cleaned; exit' TERM; echo ready; while :; do sleep 0.01; done"
        running = run_group_deferred(self, self.spec("sh", "-c", f'sh -c "{child}" & wait'), stop)
        await self.output_has("ready")
        stop.request()
        await running
        self.assertIn("cleaned", self.file("out").read_text())

    async def test_force(self) -> None:
        """Who ignores SIGTERM gets SIGKILL, with all of the group."""
        stop = Stop()
        running = run_group_deferred(
            self, self.spec("sh", "-c", "trap '' TERM; sleep 600 & echo $!; while :; do sleep 0.01; done"), stop
        )
        await self.output_has("\n")
        stop.request()
        stop.request(force=True)
        self.assertEqual(await running, ExitStatus(-1, signal.SIGKILL))
        self.assertFalse(alive(int(self.file("out").read_text())))

    async def test_ordinary_end(self) -> None:
        """What a program leaves in the background does not delay its end, and can still be signalled as a group."""
        process = await self.runner.run(self.spec("sh", "-c", "sleep 600 & true"))
        self.assertTrue((await process.ended).ok)
        self.assertTrue(await process.group_alive())
        process.signal(signal.SIGKILL)
        while await process.group_alive():
            await deferLater(self.reactor, 0.005)
        process.signal(signal.SIGKILL)  # nobody is there, nothing happens

    async def test_before_start(self) -> None:
        """After a request to stop nothing is started at all."""
        stop = Stop()
        stop.request()
        await self.assertFailure(run_group_deferred(self, self.spec("sh", "-c", "echo x"), stop), StopRequested)
        self.assertFalse(self.file("out").exists())


def run_group_deferred(case: ProcessCase, spec: ProcessSpec, stop: Stop) -> Any:
    from twisted.internet.defer import Deferred

    return Deferred.fromCoroutine(run_group(case.runner, spec, stop, case.reactor))


def alive(pid: int) -> bool:
    """Whether a process is there that is not just a zombie waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
