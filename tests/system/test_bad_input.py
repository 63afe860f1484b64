"""Bad input ends with one sentence that names the place and the cure, and leaves nothing half-written."""

import shutil
import socket
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from txdagu.testing.programs import DAGU, run


class BadInputTests(SynchronousTestCase):
    """The command line, as a user meets it."""

    def setUp(self) -> None:
        """An empty home."""
        self.home = Path(tempfile.mkdtemp(prefix="txdagu-bad-"))
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)

    def refused(self, *arguments: str, **env: str) -> str:
        """What the command says when it refuses; it must exit 1, without a traceback."""
        done = run([*DAGU, *arguments], {"DAGU_HOME": str(self.home), "HOME": str(self.home), **env}, str(self.home))
        self.assertEqual(done.process.returncode, 1, done.output)
        self.assertNotIn("Traceback", done.output)
        self.assertTrue(done.lines, "it must say why")
        return done.output

    def dag(self, text: str) -> str:
        """A DAG file in the home; its path."""
        path = self.home / "bad.yaml"
        path.write_text(text)
        return str(path)

    def assert_nothing_written(self) -> None:
        """No run, log, queue item or liveness file is left behind."""
        left = [path for path in self.home.rglob("*") if path.is_file() and path.name != "bad.yaml"]
        self.assertEqual(left, [])

    def test_broken_yaml(self) -> None:
        """The line and column of the syntax error are named."""
        text = self.refused("start", self.dag("steps:\n  - name: a\n   command: b\n"))
        self.assertRegex(text, r"bad\.yaml:3:\d+: ")
        self.assert_nothing_written()

    def test_every_error_of_a_file_at_once(self) -> None:
        """A file with three errors shows three, each with its line."""
        text = self.refused(
            "start", self.dag("steps:\n  - name: a\n    comand: x\n  - name: a\n    command: y\n    depends: nobody\n")
        )
        for expected in (r"bad\.yaml:3:\d+: .*comand.*command", r"bad\.yaml:\d+:\d+: .*unique", r"non-existent step"):
            self.assertRegex(text, expected)
        self.assert_nothing_written()

    def test_unknown_child_dag(self) -> None:
        """A call of a DAG that is neither in the file nor in the directory is refused before anything runs."""
        text = self.refused(
            "start", self.dag("steps:\n  - name: a\n    command: echo x\n  - name: b\n    call: nowhere\n")
        )
        self.assertRegex(text, r"bad\.yaml:5:\d+: .*nowhere")
        self.assert_nothing_written()

    def test_unknown_dag(self) -> None:
        """A DAG that cannot be found is told with the places that were searched."""
        text = self.refused("start", "nothing-here")
        self.assertIn("nothing-here", text)
        self.assertIn(str(self.home / "dags"), text)

    def test_label_syntax(self) -> None:
        """A label without a value is refused with the option it came from; the reference drops it in silence."""
        self.assertRegex(self.refused("worker", "--worker.labels=gpu"), r"--worker\.labels.*'gpu'.*key=value")
        self.assertRegex(self.refused("worker", DAGU_WORKER_LABELS="gpu"), r"DAGU_WORKER_LABELS.*'gpu'")
        self.assert_nothing_written()

    def test_bad_port(self) -> None:
        """What Kubernetes puts into the environment is named as what it is, not as a number."""
        text = self.refused("coordinator", DAGU_COORDINATOR_PORT="tcp://10.0.0.7:50055")
        self.assertRegex(text, r"coordinator\.port from DAGU_COORDINATOR_PORT.*tcp://10\.0\.0\.7:50055.*not a port")
        self.assert_nothing_written()

    def test_broken_config_file(self) -> None:
        """A configuration file is held to the same: its line is named."""
        (self.home / "config.yaml").write_text("coordinator:\n  port: many\n")
        self.assertRegex(self.refused("coordinator"), r"config\.yaml:2.*many")

    def test_home_that_cannot_be_used(self) -> None:
        """A home that is a file, or where nothing can be made, is one sentence for every role and command."""
        blocked = self.home / "blocked"
        blocked.write_text("")
        dag = self.dag("steps:\n  - command: echo x\n")
        for home in (str(blocked), "/proc/nothing-can-be-made-here"):
            for arguments in (
                ("coordinator", "--coordinator.port=0"),
                ("worker",),
                ("start", dag),
                ("start-all", "--port=0", "--coordinator.port=0"),
            ):
                text = self.refused(*arguments, DAGU_HOME=home)
                self.assertIn(home, text)
                errors = [line for line in text.splitlines() if line.startswith("Error: ")]
                self.assertIn(len(errors), (1, 2), text)

    def test_port_in_use(self) -> None:
        """A busy port ends the process with the address and the option that changes it."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            coordinator = self.refused("coordinator", f"--coordinator.port={port}")
            web = self.refused("start-all", f"--port={port}", "--coordinator.port=0")
        self.assertRegex(coordinator, rf"127\.0\.0\.1:{port}.*--coordinator\.port")
        self.assertRegex(web, rf"127\.0\.0\.1:{port}.*--port")

    def test_unreachable_coordinator(self) -> None:
        """A run that only a worker may execute says which coordinator it tried, and what went wrong there."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        text = self.refused(
            "start",
            self.dag("workerSelector:\n  gpu: 'true'\nsteps:\n  - command: echo x\n"),
            DAGU_WORKER_COORDINATOR_HOST="127.0.0.1",
            DAGU_WORKER_COORDINATOR_PORT=str(port),
        )
        self.assertRegex(text, rf"127\.0\.0\.1:{port}.*refused")

    def test_no_coordinator_at_all(self) -> None:
        """Without any coordinator the directory that was searched is named."""
        text = self.refused("start", self.dag("workerSelector:\n  gpu: 'true'\nsteps:\n  - command: echo x\n"))
        self.assertIn(str(self.home / "data" / "service-registry"), text)

    def test_run_id_that_exists(self) -> None:
        """A run id that was used before is refused, and the earlier run stays as it was."""
        dag = self.dag("steps:\n  - command: echo once\n")
        env = {"DAGU_HOME": str(self.home), "HOME": str(self.home)}
        self.assertEqual(run([*DAGU, "start", "--run-id=r1", dag], env).process.returncode, 0)
        text = self.refused("start", "--run-id=r1", dag)
        self.assertRegex(text, r"Error: run bad:r1 exists already; choose another --run-id")
        self.assertNotIn("Failed", text)
        self.assertIn("Succeeded", run([*DAGU, "status", dag], env).output)

    def test_status_of_a_file_that_is_not_valid_any_more(self) -> None:
        """What became of a run is told whatever has happened to its file since, and whatever we refuse in it."""
        env = {"DAGU_HOME": str(self.home), "HOME": str(self.home)}
        dag = self.dag("name: mine\nsteps:\n  - command: echo once\n")
        self.assertEqual(run([*DAGU, "start", dag], env).process.returncode, 0)
        self.dag("name: mine\nsteps:\n  - command: echo once\n    retryPolicy: {limit: 1, intervalSec: 1}\n")
        self.assertIn("Succeeded", run([*DAGU, "status", dag], env).output)

    def test_unknown_command_and_option(self) -> None:
        """A typing error names the nearest command or option."""
        self.assertIn("start", self.refused("strat", "x"))
        self.assertIn("--worker.lables", self.refused("worker", "--worker.lables=gpu=true"))
