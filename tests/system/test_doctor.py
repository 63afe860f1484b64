"""`dagu doctor peer`, as a user runs it, against a real coordinator."""

import json
import re
import shutil
import socket
import tempfile
from pathlib import Path
from signal import SIGINT, SIGKILL

from twisted.trial.unittest import SynchronousTestCase

from txdagu.testing.programs import DAGU, Program, run

ROOT = Path(__file__).parents[2]
DOCTOR = (*DAGU, "doctor", "peer")


def masked(output: str) -> list[str]:
    """The lines without what differs from run to run: directories, hosts, ports, addresses, versions and times."""
    varying = r"\S*/service-registry/\S*|127\.0\.0\.1:\d+|\S+@\d+|[\d.]+ ms|txdagu [\d.]+"
    text = re.sub(varying, "…", output)
    return [line.rstrip() for line in text.strip().splitlines()]


class DoctorTests(SynchronousTestCase):
    """One coordinator, examined in several states."""

    def setUp(self) -> None:
        """A home of its own."""
        home = tempfile.mkdtemp(prefix="txdagu-doctor-")
        self.addCleanup(shutil.rmtree, home, ignore_errors=True)
        self.env = {"DAGU_HOME": home, "HOME": home}

    def test_examinations(self) -> None:
        """A coordinator that works: exit 0, as the README shows it. Killed: exit 1, with the reason and the next step."""
        coordinator = [*DAGU, "coordinator", "--coordinator.port=0"]
        with Program(coordinator, {**self.env, "DAGU_COORDINATOR_ADVERTISE": "127.0.0.1"}) as running:
            port = running.wait_for(r"workers dial \S+:(\d+)")[1]
            done = run(DOCTOR, self.env)
            self.assertEqual(done.process.returncode, 0, done.output)
            self.assertNotIn("\x1b", done.output, "no colours where nobody sees them")
            shown = re.search(r"```\n(Our own settings\n.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
            assert shown is not None, "the README has an example"
            self.assertEqual(masked(done.output), masked(shown[1]), "the README shows what dagu doctor peer prints")

            document = json.loads(run([*DOCTOR, f"127.0.0.1:{port}", "--output=json"], self.env).output)
            self.assertIs(document["failed"], False)
            own, peer = document["examinations"]
            self.assertEqual((own["subject"], own["failed"]), ("our own settings", False))
            self.assertEqual(peer["subject"], f"coordinator at 127.0.0.1:{port}")
            clock = next(one for one in peer["findings"] if one["check"] == "clock")
            self.assertEqual(clock["mark"], "ok", clock)
            self.assertLess(abs(clock["figures"]["ahead"]), 10, "both processes have the same clock")

            running.stop(SIGKILL)
        done = run(DOCTOR, self.env)
        self.assertEqual(done.process.returncode, 1, done.output)
        self.assertRegex(
            done.output, r"! registry +coordinator \S+ at 127\.0\.0\.1:\d+ is registered, but its process \d+ is gone"
        )
        self.assertRegex(done.output, r"✘ registry +there is nobody to dial")
        self.assertRegex(done.output, r"→ start one with dagu coordinator")
        self.assertEqual(done.lines[-1], "1 ok, 1 warning, 1 failure")

    def test_interrupted(self) -> None:
        """Ctrl-C ends an examination that waits, with nothing but what was found so far."""
        with socket.create_server(("127.0.0.1", 0)) as silent:
            address = f"127.0.0.1:{silent.getsockname()[1]}"
            with Program([*DOCTOR, address, "--timeout=10m"], self.env) as waiting:
                waiting.wait_for("takes connections")
                self.assertEqual(waiting.stop(SIGINT), 130, waiting.output)
        self.assertIn("takes connections", waiting.lines[-1])

    def test_nobody_listens(self) -> None:
        """An address where nobody listens: exit 1 and one sentence; a wrong call: exit 2."""
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            done = run([*DOCTOR, f"127.0.0.1:{bound.getsockname()[1]}"], self.env)
        self.assertEqual(done.process.returncode, 1, done.output)
        self.assertRegex(done.output, r"✘ tcp +127\.0\.0\.1:\d+: connection refused")
        done = run([*DOCTOR, "127.0.0.1:http"], self.env)
        self.assertEqual(done.process.returncode, 2, done.output)
        self.assertEqual(
            done.lines,
            ['Error: "http" in "127.0.0.1:http" is not a port (dagu doctor peer --help tells the options)'],
        )
