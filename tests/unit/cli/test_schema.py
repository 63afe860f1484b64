"""``dagu schema``."""

from __future__ import annotations

import io
import json
import shutil
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from txdagu import cli
from txdagu.dagfile.schema import json_schema


class SchemaTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A directory, and caught output."""
        self.directory = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.directory)
        self.out, self.err = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "stderr", self.err)

    def test_printed(self) -> None:
        """The schema is printed as JSON."""
        self.assertEqual(cli.main(["schema"]), 0)
        self.assertEqual(json.loads(self.out.getvalue()), json_schema())

    def test_written(self) -> None:
        """With --output it is written to that file, and nothing is printed."""
        path = self.directory / "dag.schema.json"
        self.assertEqual(cli.main(["schema", "--output", str(path)]), 0)
        self.assertEqual(json.loads(path.read_text("utf-8")), json_schema())
        self.assertEqual(self.out.getvalue(), "")

    def test_cannot_be_written(self) -> None:
        """A file that cannot be written is named, with the reason."""
        path = self.directory / "none" / "x.json"
        self.assertEqual(cli.main(["schema", "-o", str(path)]), 1)
        self.assertIn(f"{path}: cannot be written: No such file or directory", self.err.getvalue())

    def test_surplus(self) -> None:
        """Arguments are refused."""
        self.assertEqual(cli.main(["schema", "dag"]), 1)
        self.assertIn('"dag" is not expected here', self.err.getvalue())
