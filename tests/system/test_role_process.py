"""A role as a real process, under twistd and under the command's own main loop: start, signals, exit codes, last words."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import TestCase

SOURCES = Path(__file__).parents[2] / "src"

# A role whose children are told by the environment what to do; as a twistd application and as a program of its own.
ROLE = """
import os, sys
from twisted.application.service import Application, Service
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory
from txdagu.tap.options import SettingsOptions
from txdagu.tap.role import role_service

def say(text):
    os.write(2, (text + "\\n").encode())

class Child(Service):
    def __init__(self, name, reactor):
        self.name, self.reactor = name, reactor

    async def startService(self):
        say("start " + self.name)
        if self.name == "second" and "BUSY" in os.environ:
            await TCP4ServerEndpoint(self.reactor, int(os.environ["BUSY"]), interface="127.0.0.1").listen(Factory())

    def stopService(self):
        say("stop " + self.name)
        if self.name == "second" and "STUCK" in os.environ:
            return Deferred()
        return deferLater(self.reactor, 0.01, say, "stopped " + self.name)

def build(settings, reactor):
    return [(name, Child(name, reactor)) for name in ("first", "second")]

options = SettingsOptions()
options.parseOptions([])
if __name__ == "__main__":
    from twisted.internet import reactor
    service = role_service("role", options, build, reactor)
    service.startService()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    reactor.run()
    sys.exit(service.exit_code)
application = Application("role")
role_service("role", options, build).setServiceParent(application)
"""


class Processes(TestCase):
    """Each test runs both ways of starting."""

    def setUp(self) -> None:
        """A directory with the role's program and a socket that plays the service manager."""
        self.directory = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.directory)
        (self.directory / "role.py").write_text(ROLE)
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.manager.close)
        self.manager.bind(str(self.directory / "notify"))
        self.manager.settimeout(30)
        twistd = [
            sys.executable,
            "-c",
            "from twisted.scripts.twistd import run; run()",
            "-n",
            "--pidfile=",
            "-oy",
            "role.py",
        ]
        self.ways = (twistd, [sys.executable, "role.py"])

    def run_role(self, command: list[str], **environment: str) -> subprocess.Popen[str]:
        """Start it."""
        process = subprocess.Popen(
            command,
            cwd=self.directory,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.directory),
                "PYTHONPATH": str(SOURCES),
                "NOTIFY_SOCKET": str(self.directory / "notify"),
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(process.wait, 30)
        self.addCleanup(process.kill)
        return process

    def told(self) -> str:
        """The next word to the service manager."""
        return self.manager.recv(100).decode()

    def test_signals(self) -> None:
        """Each signal that asks for an end leads to an orderly one, in reverse order, with exit code 0."""
        for command in self.ways:
            for number in (signal.SIGTERM, signal.SIGINT):
                process = self.run_role(command)
                self.assertEqual(self.told(), "READY=1")
                process.send_signal(number)
                _, errors = process.communicate(timeout=30)
                self.assertEqual(self.told(), "STOPPING=1")
                self.assertEqual(
                    errors.splitlines(),
                    ["start first", "start second", "stop second", "stopped second", "stop first", "stopped first"],
                )
                self.assertEqual(process.returncode, 0)

    def test_reload(self) -> None:
        """SIGHUP ends nothing: the role reloads, and the service manager is told when that began and ended."""
        for command in self.ways:
            process = self.run_role(command)
            self.assertEqual(self.told(), "READY=1")
            process.send_signal(signal.SIGHUP)
            self.assertRegex(self.told(), r"^RELOADING=1\nMONOTONIC_USEC=[0-9]+$")
            self.assertEqual(self.told(), "READY=1")
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=30)
            self.assertEqual(self.told(), "STOPPING=1")
            self.assertEqual(process.returncode, 0)

    def test_second_signal(self) -> None:
        """A second signal ends a process that waits for something stuck, with the code that shells give to that signal."""
        for command in self.ways:
            process = self.run_role(command, STUCK="1")
            self.assertEqual(self.told(), "READY=1")
            process.send_signal(signal.SIGTERM)
            self.assertEqual(self.told(), "STOPPING=1")
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=30)
            self.assertEqual(errors.splitlines()[-1], "SIGINT again: ending at once, without waiting for anything")
            self.assertEqual(process.returncode, 128 + signal.SIGINT)

    def test_busy_port(self) -> None:
        """A port in use: what was started is stopped, one line tells the reason, exit code 1."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            for command in self.ways:
                process = self.run_role(command, BUSY=str(port))
                _, errors = process.communicate(timeout=30)
                reason = (
                    f"Error: the second cannot listen on 127.0.0.1 port {port}: Address already in use "
                    "(end the process that uses it, or choose another with its port)"
                )
                self.assertEqual(
                    errors.splitlines(), ["start first", "start second", reason, "stop first", "stopped first"]
                )
                self.assertEqual(process.returncode, 1)
                self.assertEqual(self.told(), "STOPPING=1")

    def test_bad_settings(self) -> None:
        """Settings that are wrong: one line each, exit code 1, no traceback, nothing started."""
        process = self.run_role(self.ways[0], DAGU_PORT="x", DAGU_DEBUG="maybe")
        _, errors = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 1)
        self.assertEqual(
            [line for line in errors.splitlines() if line],
            [
                'Error: debug from DAGU_DEBUG: "maybe" is neither true nor false (write true or false)',
                'Error: port from DAGU_PORT: "x" is not a port (give a number from 0 to 65535)',
            ],
        )
