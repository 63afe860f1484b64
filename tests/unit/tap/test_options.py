"""Options of the roles, and how command lines become flags."""

from __future__ import annotations

from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from txdagu.config.definitions import BY_FLAG
from txdagu.tap import coordinator, start_all, worker
from txdagu.tap.options import SettingsOptions

COMMON = {"config", "dagu-home"}
PEER = {"peer.insecure", "peer.cert-file", "peer.key-file", "peer.client-ca-file", "peer.skip-tls-verify"}
COORDINATOR = {"coordinator.host", "coordinator.port", "coordinator.advertise", "coordinator.state-dir"}
WORKER = {
    "worker.id",
    "worker.labels",
    "worker.max-active-runs",
    "worker.coordinator-host",
    "worker.coordinator-port",
}


def flags(options: SettingsOptions, line: str) -> dict[str, str]:
    """The flags that a command line gives."""
    options.parseOptions(line.split())
    return options.flags()


class Collecting(SettingsOptions):
    """Options that take arguments."""

    optParameters = [["params", "p", None, "Parameters."]]
    optFlags = [["dry", "n", "Do nothing."]]

    def parseArgs(self, *arguments: str) -> None:
        """Keep them."""
        self.arguments = arguments


class Roles(SynchronousTestCase):
    """Which options each role has."""

    def test_tables(self) -> None:
        """Exactly the options of the reference page, no more."""
        for module, expected in (
            (coordinator, COMMON | PEER | COORDINATOR),
            (worker, COMMON | PEER | WORKER),
            (start_all, COMMON | PEER | COORDINATOR | {"host", "port", "dags"}),
        ):
            found = {name.removesuffix("=") for name in module.Options().longOpt} - {"help", "version", "h"}
            self.assertEqual(found, expected)

    def test_letters(self) -> None:
        """The short options of the reference page."""
        self.assertEqual(
            flags(start_all.Options(), "-s a -p 1 -d /d -H b -P 2 -A c -c f"),
            {
                "host": "a",
                "port": "1",
                "dags": "/d",
                "coordinator.host": "b",
                "coordinator.port": "2",
                "coordinator.advertise": "c",
                "config": "f",
            },
        )
        self.assertEqual(
            flags(worker.Options(), "-w me -m 3 -l gpu=true"),
            {"worker.id": "me", "worker.max-active-runs": "3", "worker.labels": "gpu=true"},
        )

    def test_command_lines_of_the_guide(self) -> None:
        """The lines of the user guide, in both ways to write a value."""
        for options, line, expected in (
            (start_all.Options(), "--host=0.0.0.0 --port=8080", {"host": "0.0.0.0", "port": "8080"}),
            (
                coordinator.Options(),
                "--coordinator.host=0.0.0.0 --coordinator.port=50055",
                {"coordinator.host": "0.0.0.0", "coordinator.port": "50055"},
            ),
            (
                worker.Options(),
                "--worker.labels gpu=true,cuda=11.8,memory=64G",
                {"worker.labels": "gpu=true,cuda=11.8,memory=64G"},
            ),
            (
                worker.Options(),
                (
                    "--worker.labels=gpu=true,node-type=gpu-node --worker.coordinator-host=dagu-coordinator "
                    "--worker.coordinator-port=50055"
                ),
                {
                    "worker.labels": "gpu=true,node-type=gpu-node",
                    "worker.coordinator-host": "dagu-coordinator",
                    "worker.coordinator-port": "50055",
                },
            ),
            (
                coordinator.Options(),
                "--peer.insecure=false --peer.cert-file=server.pem --peer.key-file=server-key.pem --peer.client-ca-file=ca.pem",
                {
                    "peer.insecure": "false",
                    "peer.cert-file": "server.pem",
                    "peer.key-file": "server-key.pem",
                    "peer.client-ca-file": "ca.pem",
                },
            ),
        ):
            self.assertEqual(flags(options, line), expected)

    def test_not_given(self) -> None:
        """What is not given is no flag, not an empty or default one."""
        self.assertEqual(flags(start_all.Options(), ""), {})

    def test_every_flag_has_a_role(self) -> None:
        """No flag of the table is left without a command that takes it."""
        offered = {
            name.removesuffix("=") for module in (coordinator, worker, start_all) for name in module.Options().longOpt
        }
        self.assertEqual(set(BY_FLAG) - offered, set())


class Parsing(SynchronousTestCase):
    """Mixed arguments, booleans, and mistakes."""

    def test_bare_boolean(self) -> None:
        """A boolean stands alone for true, does not swallow the next word, and takes a value after =."""
        given = worker.Options()
        given.parseOptions(["--peer.skip-tls-verify", "--worker.id", "x", "--peer.insecure=false"])
        self.assertEqual(given.flags(), {"peer.skip-tls-verify": "true", "worker.id": "x", "peer.insecure": "false"})

    def test_mixed(self) -> None:
        """Options may follow arguments; after -- everything is an argument."""
        options = Collecting()
        options.parseOptions(["etl.yaml", "-n", "--config", "c", "--", "-p", "--config=x", "--peer.insecure"])
        self.assertEqual(options.arguments, ("etl.yaml", "-p", "--config=x", "--peer.insecure"))
        self.assertEqual(options.after_dashes, ("-p", "--config=x", "--peer.insecure"))
        self.assertEqual((options["config"], options["dry"], options["params"]), ("c", 1, None))

    def test_dashes_as_a_value(self) -> None:
        """A -- that an option takes as its value does not end the options."""
        options = Collecting()
        options.parseOptions(["--params", "--", "-n", "x", "--", "y"])
        self.assertEqual((options["params"], options["dry"]), ("--", 1))
        self.assertEqual((options.arguments, options.after_dashes), (("x", "y"), ("y",)))

    def test_single_dash(self) -> None:
        """A lone dash is an argument; an empty value is a value."""
        options = Collecting()
        options.parseOptions(["-", "--config="])
        self.assertEqual((options.arguments, options["config"]), (("-",), ""))

    def test_unknown(self) -> None:
        """An unknown option names the nearest; a missing value, an unknown letter and stray arguments are refused."""
        with self.assertRaises(UsageError) as caught:
            worker.Options().parseOptions(["--worker.lables=a=b"])
        self.assertIn("did you mean --worker.labels?", str(caught.exception))
        for line in (["--worker.labels"], ["-Z"], ["stray"]):
            self.assertRaises(UsageError, worker.Options().parseOptions, line)

    def test_help(self) -> None:
        """The help text names each option with its variable and default, and asking for it is a good end."""
        text = str(coordinator.Options())
        self.assertIn("DAGU_COORDINATOR_PORT", text)
        self.assertIn("50055", text)
        for word in ("--help", "-h"):
            stdout = self.patch_stdout()
            with self.assertRaises(SystemExit) as caught:
                coordinator.Options().parseOptions([word])
            self.assertEqual(caught.exception.code, 0)
            self.assertIn("--coordinator.port", "".join(stdout))

    def patch_stdout(self) -> list[str]:
        """What is written on standard output from here on."""
        written: list[str] = []

        class Output:
            write = staticmethod(written.append)

        self.patch(__import__("sys"), "stdout", Output())
        return written
