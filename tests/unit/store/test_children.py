"""Files of child DAGs."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from txdagu.model.errors import DaguError, InvalidInputError, NotFoundError
from txdagu.store.dagfiles import load_child

TEXT = "steps:\n  - command: echo\n"


class LoadChildTests(SynchronousTestCase):
    def setUp(self) -> None:
        """The caller's directory and that of all DAGs."""
        self.near, self.far = Path(self.mktemp()), Path(self.mktemp())
        self.near.mkdir()
        self.far.mkdir()

    def _find(self, name: str) -> str:
        return load_child(name, str(self.near), str(self.far)).location

    def test_nearest_first(self) -> None:
        """The caller's directory goes before that of all DAGs; both endings are known."""
        (self.far / "kid.yaml").write_text(TEXT)
        self.assertEqual(self._find("kid"), str(self.far / "kid.yaml"))
        (self.near / "kid.yml").write_text(TEXT)
        self.assertEqual(self._find("kid"), str(self.near / "kid.yml"))
        self.assertEqual(self._find("kid.yaml"), str(self.far / "kid.yaml"))

    def test_missing(self) -> None:
        """A child that is nowhere is told with every place that was looked into."""
        with self.assertRaises(NotFoundError) as caught:
            load_child("kid", "", str(self.far))
        self.assertIn(str(self.far / "kid.yaml"), str(caught.exception))

    def test_unreadable(self) -> None:
        """A file that is no DAG, or no text, is told with its path."""
        (self.near / "kid.yaml").write_text("steps: 7")
        self.assertRaises(InvalidInputError, self._find, "kid")
        (self.near / "kid.yaml").write_bytes(b"\xff\xfe\x00")
        self.assertRaises(DaguError, self._find, "kid")

    def test_base_configuration(self) -> None:
        """A called file inherits from the base, but for its handlers; a base that is not there is none."""
        (self.near / "kid.yaml").write_text(TEXT)
        base = self.far / "base.yaml"
        self.assertEqual(load_child("kid", str(self.near), "", str(base)).queue, "")
        base.write_text("queue: q\nhandlerOn: {}\n")
        self.assertEqual(load_child("kid", str(self.near), "", str(base)).queue, "q")
        base.write_text("queue: 5")
        with self.assertRaisesRegex(InvalidInputError, f"{base}:1:8"):
            load_child("kid", str(self.near), "", str(base))
