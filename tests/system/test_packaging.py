"""What an installed package offers, from a wheel and as an editable install, each in a fresh environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zipfile
from pathlib import Path
from unittest import TestCase

ROOT = Path(__file__).parents[2]
COMMANDS = ("dagu-coordinator", "dagu-worker", "dagu-start-all")
SHIPPED = (
    "txdagu/py.typed",
    "txdagu/protocol/coordinator.proto",
    "txdagu/protocol/health.proto",
    "txdagu/protocol/coordinator_pb2.pyi",
    "txdagu/cli/examples/distributed-pipeline.yaml",
    "twisted/plugins/dagu_plugins.py",
    "twisted/plugins/dagu_step_types.py",
)
BUILD = "import sys; from setuptools import build_meta as b; print(getattr(b, sys.argv[1])(sys.argv[2]))"


class Package(TestCase):
    """Built once from a copy of the sources, so that nothing is left in the tree."""

    directory: Path
    sources: Path

    @classmethod
    def setUpClass(cls) -> None:
        """Copy what is needed for a build, links kept as links."""
        cls.directory = Path(tempfile.mkdtemp())
        cls.addClassCleanup(shutil.rmtree, cls.directory)
        cls.sources = cls.directory / "sources"
        shutil.copytree(
            ROOT,
            cls.sources,
            symlinks=True,
            ignore=shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "tests", "node_modules"),
        )

    def run_in(self, where: Path, *command: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command; the environment holds nothing that would lead it back to our sources."""
        result = subprocess.run(
            [str(word) for word in command],
            cwd=where,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.directory),
                "PIP_DISABLE_PIP_VERSION_CHECK": "1",
                "PYTHONWARNINGS": "ignore",
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if check:
            self.assertEqual(result.returncode, 0, f"{command}\n{result.stdout}\n{result.stderr}")
        return result

    def build(self, kind: str) -> Path:
        """Build a wheel or a source archive from a copy of the sources."""
        copy = self.directory / f"for-{kind}"
        shutil.copytree(self.sources, copy, symlinks=True)
        lines = self.run_in(copy, sys.executable, "-c", BUILD, kind, self.directory).stdout.splitlines()
        return self.directory / lines[-1]

    def environment(self, name: str) -> Path:
        """
        A fresh environment that sees the running one's packages as plain directories: what is installed there in editable
        form, ourselves above all, is not seen, because nothing reads its path files.
        """
        venv = self.directory / name
        self.run_in(self.directory, sys.executable, "-m", "venv", "--without-pip", venv)
        paths = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
        site = next((venv / "lib").glob("python3.*/site-packages"))
        (site / "dependencies.pth").write_text("\n".join(sorted(paths)) + "\n")
        return venv

    def install(self, venv: Path, *what: str | Path) -> None:
        """Install with the running pip into the environment, without looking anything up."""
        options = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--force-reinstall")
        self.run_in(
            self.directory, sys.executable, "-m", "pip", "--python", venv / "bin/python", "install", *options, *what
        )

    def check_commands(self, venv: Path) -> None:
        """What must work in an environment in which the package is installed."""
        twistd = (venv / "bin/python", "-c", "from twisted.scripts.twistd import run; run()")
        where = self.directory / f"{venv.name}-cwd"
        where.mkdir()
        text = self.run_in(where, *twistd, "--help").stdout
        for command in COMMANDS:
            self.assertIn(command, text)
            options = self.run_in(where, *twistd, "-n", command, "--help").stdout
            self.assertIn("--peer.insecure=", options)
        self.assertIn("--coordinator.port=", self.run_in(where, *twistd, "-n", "dagu-coordinator", "--help").stdout)
        self.assertIn("--worker.labels=", self.run_in(where, *twistd, "-n", "dagu-worker", "--help").stdout)
        self.assertIn("--host=", self.run_in(where, *twistd, "-n", "dagu-start-all", "--help").stdout)
        self.assertIn("compatible with Dagu", self.run_in(where, venv / "bin/dagu", "version").stdout)
        self.assertIn("coordinator", self.run_in(where, venv / "bin/dagu").stdout)
        refused = self.run_in(
            where, *twistd, "-n", "--pidfile=", "dagu-worker", "--worker.max-active-runs=x", check=False
        )
        self.assertEqual(refused.returncode, 1)
        self.assertEqual(
            refused.stderr.strip(),
            'Error: worker.maxActiveRuns from --worker.max-active-runs: "x" is not a whole number',
        )

    def check_origin(self, venv: Path, expected: Path) -> None:
        """The package is used from where we put it, not from the sources of this test run."""
        code = "import txdagu, pathlib; print(pathlib.Path(txdagu.__file__).resolve())"
        found = self.run_in(self.directory, venv / "bin/python", "-c", code).stdout.strip()
        self.assertTrue(found.startswith(str(expected.resolve())), found)

    def test_wheel(self) -> None:
        """The wheel holds plugins, messages, types and examples, and what it installs works and goes away again."""
        wheel = self.build("build_wheel")
        names = set(zipfile.ZipFile(wheel).namelist())
        self.assertEqual([name for name in SHIPPED if name not in names], [])
        self.assertEqual([name for name in names if name.startswith("twisted/") and name not in SHIPPED], [])
        self.assertEqual([name for name in names if "wait_for_port" in name], [])  # an example, for others to copy
        venv = self.environment("from-wheel")
        self.install(venv, wheel)
        self.check_origin(venv, venv)
        self.check_commands(venv)
        self.assertIn("Result: Succeeded", self.run_in(self.directory, venv / "bin/dagu", "demo").stdout)
        self.run_in(
            self.directory, sys.executable, "-m", "pip", "--python", venv / "bin/python", "uninstall", "--yes", "txdagu"
        )
        left = [path for path in venv.rglob("*") if "txdagu" in path.name or path.name.startswith("dagu_")]
        self.assertEqual(left, [])

    def test_editable(self) -> None:
        """An editable install offers the same, and a changed source file counts at once."""
        copy = self.directory / "editable"
        shutil.copytree(self.sources, copy, symlinks=True)
        venv = self.environment("from-editable")
        self.install(venv, "--editable", copy)
        self.check_origin(venv, copy)
        self.check_commands(venv)
        version = copy / "src" / "txdagu" / "__init__.py"
        version.write_text(version.read_text() + '\n__version__ = "9.9.9"\n')
        self.assertIn("txdagu 9.9.9", self.run_in(self.directory, venv / "bin/dagu", "version").stdout)

    def test_sdist(self) -> None:
        """The source archive holds the same, with real files in place of links."""
        with tarfile.open(self.build("build_sdist")) as archive:
            members = {member.name.partition("/")[2]: member for member in archive.getmembers()}
        self.assertEqual([name for name in SHIPPED if f"src/{name}" not in members], [])
        self.assertEqual([name for name, member in members.items() if member.issym() or member.islnk()], [])
        for name in ("setup.cfg", "pyproject.toml"):
            self.assertIn(name, members)
