"""The frame of the `dagu` command."""

from __future__ import annotations

import io
import subprocess
import sys
from importlib import import_module
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from txdagu import __version__, cli
from txdagu.cli.version import COMPATIBLE_WITH
from txdagu.model.errors import ConflictError, InvalidInputError, Problem

SOURCES = Path(__file__).parents[3] / "src"


class Main(SynchronousTestCase):
    """Choosing a command, and showing errors."""

    def setUp(self) -> None:
        """Catch what is written."""
        self.out, self.err = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "stderr", self.err)

    def raising(self, error: BaseException) -> int | None:
        """What main makes of a command that raises."""

        def command(arguments: list[str]) -> int:
            raise error

        self.patch(cli, "COMMANDS", {"broken": ("txdagu.cli.version:version", "")})
        self.patch(import_module("txdagu.cli.version"), "version", command)
        return cli.main(["broken"])

    def test_help(self) -> None:
        """No arguments, help and its flags list every command and end well."""
        for argv in ([], ["help"], ["--help"], ["-h"]):
            self.out.truncate(0)
            self.assertEqual(cli.main(argv), 0)
            for name, (_, summary) in cli.COMMANDS.items():
                self.assertIn(name, self.out.getvalue())
                self.assertIn(summary, self.out.getvalue())

    def test_help_of_a_command(self) -> None:
        """`dagu help worker` is `dagu worker --help`."""
        with self.assertRaises(SystemExit) as caught:
            cli.main(["help", "worker"])
        self.assertEqual(caught.exception.code, 0)
        self.assertTrue(self.out.getvalue().startswith("Usage: dagu worker [options]"), self.out.getvalue())

    def test_usage_names_the_operands(self) -> None:
        """What a command takes besides options stands in its usage, and in the error when it is missing."""
        for command, operands in (
            ("start", "FILE [-- PARAMS]"),
            ("enqueue", "FILE [-- PARAMS]"),
            ("status", "DAG"),
            ("validate", "FILE…"),
        ):
            self.out.truncate(0)
            with self.assertRaises(SystemExit):
                cli.main([command, "--help"])
            self.assertIn(f"Usage: dagu {command} [options] {operands}\n", self.out.getvalue())
        self.assertEqual(cli.main(["enqueue"]), 1)
        self.assertIn("(dagu enqueue [options] FILE [-- PARAMS])", self.err.getvalue())

    def test_every_command_exists(self) -> None:
        """Each line of the table leads to a function."""
        for name, (where, _) in cli.COMMANDS.items():
            module, _, function = where.partition(":")
            self.assertTrue(callable(getattr(import_module(module), function)), name)

    def test_unknown_command(self) -> None:
        """One line with the nearest command, exit code 1."""
        self.assertEqual(cli.main(["corodinator"]), 1)
        self.assertEqual(self.err.getvalue(), 'Error: unknown command "corodinator" (did you mean coordinator?)\n')
        self.assertEqual(cli.main(["xyzzy"]), 1)
        self.assertIn("dagu help lists the commands", self.err.getvalue())

    def test_version(self) -> None:
        """On standard output, with the version of Dagu that we match."""
        for argv in (["version"], ["--version"]):
            self.assertEqual(cli.main(argv), 0)
        line = f"txdagu {__version__} (compatible with Dagu {COMPATIBLE_WITH})\n"
        self.assertEqual(self.out.getvalue(), line * 2)
        self.assertEqual(cli.main(["version", "now"]), 1)

    def test_errors(self) -> None:
        """An error for people is one line; bad input one line a problem; the exit code is 1."""
        self.assertEqual(self.raising(ConflictError("run a:1 exists already")), 1)
        self.assertEqual(self.err.getvalue(), "Error: run a:1 exists already\n")

    def test_problems(self) -> None:
        """Bad input is one line a problem."""
        self.assertEqual(self.raising(InvalidInputError([Problem("bad", "here"), Problem("worse", advice="stop")])), 1)
        self.assertEqual(self.err.getvalue(), "Error: here: bad\nError: worse (stop)\n")

    def test_interrupt(self) -> None:
        """Ctrl-C ends with the shell's code for it, and says nothing."""
        self.assertEqual(self.raising(KeyboardInterrupt()), 130)
        self.assertEqual(self.err.getvalue(), "")

    def test_bad_usage(self) -> None:
        """Options that a command does not know are told with the command's help."""
        self.assertEqual(cli.main(["worker", "--worker.ids=x"]), 1)
        self.assertIn("did you mean --worker.id?", self.err.getvalue())
        self.assertIn("dagu worker --help", self.err.getvalue())

    def test_bad_settings(self) -> None:
        """A role with bad settings ends before it starts, with one line a mistake."""
        self.assertEqual(cli.main(["coordinator", "--coordinator.port=x", "--peer.insecure=perhaps"]), 1)
        self.assertEqual(len(self.err.getvalue().splitlines()), 2, self.err.getvalue())

    def test_tls_is_refused(self) -> None:
        """TLS is refused in one sentence as long as there is none."""
        self.assertEqual(cli.main(["coordinator", "--peer.insecure=false"]), 1)
        (line,) = self.err.getvalue().splitlines()
        self.assertIn("peer.insecure from --peer.insecure: TLS", line)


class ColdStart(SynchronousTestCase):
    """Commands start fast because they import little."""

    def test_version_without_twisted(self) -> None:
        """`dagu version` and `dagu help` load neither Twisted nor YAML."""
        for command in ("version", "help"):
            code = (
                "import sys; from txdagu.cli import main; main(sys.argv[1:]); "
                "sys.exit(str([m for m in ('twisted', 'yaml', 'zope', 'google') if m in sys.modules] or ''))"
            )
            result = subprocess.run(
                [sys.executable, "-c", code, command],
                env={"PYTHONPATH": str(SOURCES)},
                capture_output=True,
                text=True,
                check=False,
            )
            self.assertEqual(result.stderr.strip(), "")
