"""Documentation that a program can check."""

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from txdagu.cli import COMMANDS
from txdagu.dagfile import load_dag
from txdagu.tap import coordinator, start_all, worker

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]


class DocumentationTests(SynchronousTestCase):
    def test_links_lead_somewhere(self) -> None:
        """Every relative link of every page names a file of the repository."""
        for page in PAGES:
            for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
                self.assertTrue((page.parent / target).exists(), f"{page.name}: {target}")

    def test_commands_exist(self) -> None:
        """Every `dagu` command that a page shows is one that the program has."""
        for page in PAGES:
            shown = set(re.findall(r"(?:^|`)dagu ([a-z][a-z-]+)", page.read_text(), re.MULTILINE))
            self.assertEqual(shown - set(COMMANDS), set(), page.name)

    def test_options_exist(self) -> None:
        """Every option of a role that the README shows is one that the roles have."""
        known = {row[0] for role in (coordinator, start_all, worker) for row in role.Options.optParameters}
        shown = set(re.findall(r"--([a-z][a-z.-]+)=", (ROOT / "README.md").read_text()))
        self.assertEqual(shown - known, set())

    def test_examples_about_workers(self) -> None:
        """The DAG files that the page about workers shows are valid as they stand."""
        for block in re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "workers.md").read_text(), re.DOTALL):
            load_dag(block if "steps:" in block else f"{block}steps: [a]\n", "workers.md")

    def test_every_package_has_its_place(self) -> None:
        """The architecture page names every package of ours."""
        packages = {path.parent.name for path in (ROOT / "src" / "txdagu").glob("*/__init__.py")}
        named = set(re.findall(r"`([a-z]+)`", (ROOT / "docs" / "architecture.md").read_text()))
        self.assertEqual(packages - named, set())
