"""The three roles as real processes, by the `dagu` command and by twistd: ready, ended by a signal, refused on a busy port."""

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
DAGU = (sys.executable, "-m", "txdagu")
TWISTD = (sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile=")


def command(way: str, role: str, *options: str) -> list[str]:
    """The command line of a role."""
    return [*DAGU, role, *options] if way == "dagu" else [*TWISTD, f"dagu-{role}", *options]


class Roles(TestCase):
    """Each test runs both ways of starting. Ports are free ones; the worker's coordinator is one that answers nobody."""

    def setUp(self) -> None:
        """A home directory, a socket that plays the service manager, and one that is bound but does not listen."""
        self.home = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.home)
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.manager.close)
        self.manager.bind(str(self.home / "notify"))
        self.manager.settimeout(30)
        silent = socket.socket()
        self.addCleanup(silent.close)
        silent.bind(("127.0.0.1", 0))
        self.silent_port = silent.getsockname()[1]

    def start(self, words: list[str], log: Path) -> subprocess.Popen[bytes]:
        """Start a role; what it writes goes to a file, so that nothing waits for a reader."""
        with log.open("wb") as output:
            process = subprocess.Popen(
                words,
                cwd=self.home,
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": str(self.home),
                    "DAGU_HOME": str(self.home / "dagu"),
                    "DAGU_SCHEDULER_PORT": "0",
                    "PYTHONPATH": str(SOURCES),
                    "NOTIFY_SOCKET": str(self.home / "notify"),
                },
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self.addCleanup(process.wait, 30)
        self.addCleanup(process.kill)
        return process

    def told(self, log: Path) -> str:
        """The next word to the service manager; without one, what the role wrote."""
        try:
            return self.manager.recv(100).decode()
        except TimeoutError:
            raise AssertionError(f"the role did not get ready:\n{log.read_text()}") from None

    def check_role(self, role: str, *options: str) -> None:
        """Ready, then a signal, then exit code 0 with nothing left in the service registry."""
        for way in ("dagu", "twistd"):
            for number in (signal.SIGTERM, signal.SIGINT):
                log = self.home / f"{way}-{number.name}.log"
                process = self.start(command(way, role, *options), log)
                self.assertEqual(self.told(log), "READY=1", log.read_text())
                process.send_signal(number)
                self.assertEqual(process.wait(60), 0, log.read_text())
                self.assertEqual(self.told(log), "STOPPING=1")
                self.assertNotIn("Traceback", log.read_text())
                left = [str(path) for path in (self.home / "dagu").rglob("service-registry/*/*.json")]
                self.assertEqual(left, [], log.read_text())

    def check_busy(self, role: str, port_option: str, *options: str) -> None:
        """On a port that is taken: exit code 1, and one line that names the port."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            for way in ("dagu", "twistd"):
                log = self.home / f"{way}-busy.log"
                process = self.start(command(way, role, f"{port_option}={port}", *options), log)
                self.assertEqual(process.wait(60), 1, log.read_text())
                errors = [line for line in log.read_text().splitlines() if line.startswith("Error: ")]
                self.assertEqual(len(errors), 1, log.read_text())
                self.assertIn(str(port), errors[0])
                self.assertNotIn("Traceback", log.read_text())
                self.assertEqual(self.told(log), "STOPPING=1")

    def test_coordinator(self) -> None:
        """A coordinator starts and ends in order."""
        self.check_role("coordinator", "--coordinator.port=0")

    def test_coordinator_on_a_busy_port(self) -> None:
        """A coordinator whose port is taken says so and ends."""
        self.check_busy("coordinator", "--coordinator.port")

    def test_worker(self) -> None:
        """A worker is ready and ends in order also while no coordinator can be reached."""
        self.check_role(
            "worker", "--worker.labels=gpu=true", "--worker.coordinator-host=127.0.0.1",
            f"--worker.coordinator-port={self.silent_port}",
        )  # fmt: skip

    def test_start_all(self) -> None:
        """The main instance starts and ends in order."""
        self.check_role("start-all", "--host=127.0.0.1", "--port=0", "--coordinator.port=0")

    def test_start_all_on_a_busy_web_port(self) -> None:
        """A main instance whose web port is taken ends instead of living on without pages, and stops its coordinator."""
        self.check_busy("start-all", "--port", "--host=127.0.0.1", "--coordinator.port=0")
