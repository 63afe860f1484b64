"""The example package with a step type of its own: installed as a user would, and run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import TestCase

ROOT = Path(__file__).parents[2]


class ExampleTests(TestCase):
    def setUp(self) -> None:
        """A copy of the package, so that building leaves nothing in the tree."""
        self.directory = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.directory)
        self.package = self.directory / "package"
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "build", "dropin.cache")
        shutil.copytree(ROOT / "examples" / "step-type", self.package, ignore=ignored)

    def run_python(self, path: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Run our interpreter with one more place to import from."""
        return subprocess.run(
            [sys.executable, *map(str, words)],
            cwd=self.directory,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join((str(path), str(ROOT / "src"))),
                "DAGU_HOME": str(self.directory),
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def check_type(self, path: Path) -> None:
        """`dagu start` knows the type."""
        dag = self.directory / "d.yaml"
        dag.write_text("steps:\n  - type: wait-for-port\n    command: nonsense\n")
        started = self.run_python(path, "-m", "txdagu", "start", dag)
        self.assertIn("the command of a wait-for-port step is host:port", started.stdout + started.stderr)

    def test_installed(self) -> None:
        """As a wheel that pip installs, the type is found and works."""
        target = self.directory / "site"
        options = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", target)
        install = self.run_python(target, "-m", "pip", "install", *options, self.package)
        self.assertEqual(install.returncode, 0, install.stderr)
        self.assertEqual(
            sorted(path.name for path in (target / "twisted" / "plugins").glob("*.py")), ["wait_for_port_plugin.py"]
        )
        self.check_type(target)
        tests = self.run_python(target, "-m", "pytest", "-q", "-p", "no:cacheprovider", self.package / "tests")
        self.assertIn("4 passed", tests.stdout, tests.stdout + tests.stderr)

    def test_in_place(self) -> None:
        """As its sources on the path, which is what an editable install does, it is found and works."""
        self.check_type(self.package / "src")
