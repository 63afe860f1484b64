"""``dagu validate``."""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from txdagu import cli

GOOD = "steps:\n  - name: one\n    command: echo 1\n---\nname: child\nsteps:\n  - name: two\n    command: echo 2\n"
BAD = "steps:\n  - name: one\n    command: echo 1\n    depends: nobody\n"


class Validate(SynchronousTestCase):
    """Good, bad and missing files."""

    def setUp(self) -> None:
        """A home directory with a DAGs directory, and caught output."""
        self.home = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.home)
        (self.home / "dags").mkdir(parents=True)
        self.patch(os, "environ", {**os.environ, "DAGU_HOME": str(self.home)})
        self.out, self.err = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "stderr", self.err)

    def test_good(self) -> None:
        """One line on standard output, exit code 0."""
        (self.home / "dags" / "etl.yaml").write_text(GOOD)
        self.assertEqual(cli.main(["validate", "etl"]), 0)
        self.assertEqual(self.out.getvalue(), "etl is valid: DAG etl with 1 step, and 1 more in the file\n")
        self.assertEqual(self.err.getvalue(), "")

    def test_bad(self) -> None:
        """The heading and a bullet a problem on standard error, exit code 1; good files beside it are told all the same."""
        (self.home / "dags" / "bad.yaml").write_text(BAD)
        (self.home / "dags" / "etl.yaml").write_text(GOOD)
        self.assertEqual(cli.main(["validate", "bad", "etl"]), 1)
        heading, bullet = self.err.getvalue().splitlines()
        self.assertEqual(heading, "Validation failed for bad")
        self.assertTrue(bullet.startswith("- bad.yaml:4:"), bullet)
        self.assertIn("etl is valid", self.out.getvalue())

    def test_schema_of_params(self) -> None:
        """Params as written are checked against their schema, if it is on this host; else that is a warning."""
        text = "params:\n  schema: %s\n  values:\n    n: 5\nsteps:\n  - command: echo ${n}\n"
        (self.home / "dags" / "s.json").write_text('{"properties": {"n": {"maximum": 3}}, "required": ["given"]}')
        (self.home / "dags" / "bad.yaml").write_text(text % "s.json")
        (self.home / "dags" / "good.yaml").write_text(text % "elsewhere.json")
        self.assertEqual(cli.main(["validate", "bad"]), 1)
        self.assertIn("- params.n: parameter validation failed: 5 is greater", self.err.getvalue())
        self.assertEqual(cli.main(["validate", "good"]), 0)
        self.assertIn('Warning: params.schema: schema file not found for "elsewhere.json"', self.err.getvalue())

    def test_base_configuration(self) -> None:
        """What DAGs inherit is checked along, and told by the file that it stands in."""
        (self.home / "dags" / "etl.yaml").write_text(GOOD)
        (self.home / "base.yaml").write_text("queue: 5\n")
        self.assertEqual(cli.main(["validate", "etl"]), 1)
        self.assertIn(f"{self.home}/base.yaml:1:8: field 'queue': expected type 'string'", self.err.getvalue())

    def test_warnings(self) -> None:
        """What has no effect is told on standard error, and the file is valid all the same."""
        (self.home / "dags" / "etl.yaml").write_text("steps: [{command: a, params: b}]")
        self.assertEqual(cli.main(["validate", "etl"]), 0)
        self.assertIn("Warning: etl.yaml:1:30: only a step that calls a DAG has params", self.err.getvalue())

    def test_missing(self) -> None:
        """A file that is not there: where it was looked for."""
        self.assertEqual(cli.main(["validate", "nope"]), 1)
        self.assertIn(str(self.home / "dags" / "nope.yaml"), self.err.getvalue())

    def test_no_file(self) -> None:
        """Without a file there is nothing to check, which is a mistake."""
        self.assertEqual(cli.main(["validate"]), 1)
        self.assertIn("no DAG file is given", self.err.getvalue())

    def test_dags_flag(self) -> None:
        """--dags names the directory, before or after the file."""
        (self.home / "other").mkdir()
        (self.home / "other" / "x.yaml").write_text(GOOD)
        self.assertEqual(cli.main(["validate", "x", f"--dags={self.home / 'other'}"]), 0)
        self.assertEqual(cli.main(["validate", "-d", str(self.home / "other"), "x"]), 0)
