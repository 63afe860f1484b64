"""Which file a DAG argument means."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from txdagu.model.errors import InvalidInputError, NotFoundError
from txdagu.store.dagfiles import candidates, find_dag


class Finding(SynchronousTestCase):
    """Names and paths."""

    def setUp(self) -> None:
        """A current directory and a directory of DAGs."""
        root = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, root)
        self.cwd, self.dags = root / "cwd", root / "dags"
        for directory in (self.cwd, self.dags):
            directory.mkdir(parents=True)

    def find(self, argument: str) -> str:
        """Where it is found, relative to the test's root."""
        return find_dag(argument, str(self.cwd), str(self.dags)).path.removeprefix(f"{self.cwd.parent}/")

    def test_places(self) -> None:
        """A name is looked for here and in the DAGs directory, as it is and with each suffix."""
        self.assertEqual(
            candidates("etl", "/c", "/d"),
            ["/c/etl", "/c/etl.yaml", "/c/etl.yml", "/d/etl", "/d/etl.yaml", "/d/etl.yml"],
        )
        self.assertEqual(candidates("/x/etl.yaml", "/c", "/d"), ["/x/etl.yaml"])
        self.assertEqual(candidates("v1.2", "/c", "/d")[1], "/c/v1.2.yaml")

    def test_found(self) -> None:
        """The current directory is nearer than the DAGs directory; directories of that name are passed over."""
        (self.dags / "etl.yml").write_text("steps: []")
        (self.cwd / "etl").mkdir()
        self.assertEqual(self.find("etl"), "dags/etl.yml")
        (self.cwd / "etl.yaml").write_text("x")
        self.assertEqual(self.find("etl"), "cwd/etl.yaml")
        self.assertEqual(self.find("./etl.yaml"), "cwd/etl.yaml")
        self.assertEqual(self.find(str(self.dags / "etl.yml")), "dags/etl.yml")

    def test_text(self) -> None:
        """The text comes with it."""
        (self.cwd / "a.yaml").write_text("name: ä", "utf-8")
        self.assertEqual(find_dag("a", str(self.cwd), str(self.dags)).text, "name: ä")

    def test_not_utf8(self) -> None:
        """A file in another encoding is refused with the place of the first byte that tells."""
        (self.cwd / "l.yaml").write_bytes("steps:\n- echo é ".encode() + b"\xfc\n")
        with self.assertRaises(InvalidInputError) as caught:
            self.find("l")
        self.assertEqual(
            str(caught.exception),
            f"{self.cwd}/l.yaml:2:10: is not UTF-8 text: here is a byte 0xfc (save the file as UTF-8)",
        )

    def test_missing(self) -> None:
        """Every place that was tried is named."""
        with self.assertRaises(NotFoundError) as caught:
            self.find("nope")
        for place in candidates("nope", str(self.cwd), str(self.dags)):
            self.assertIn(place, str(caught.exception))
        with self.assertRaisesRegex(NotFoundError, r"\(looked for .*; the first is a directory\)"):
            self.find(str(self.dags))

    def test_unreadable(self) -> None:
        """A file that is no text is refused by name."""
        (self.cwd / "a.yaml").write_bytes(b"\xff\xfe\x00")
        self.assertRaises(InvalidInputError, self.find, "a")
        for nothing in ("", " ", "/", "."):
            self.assertRaises(InvalidInputError, self.find, nothing)
