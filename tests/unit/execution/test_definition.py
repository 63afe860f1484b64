"""The text that a worker is sent for a DAG with a file of its own."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txdagu.dagfile import load_dag
from txdagu.execution.steps.definition import named_definition
from txdagu.model.dag import Dag
from txdagu.model.errors import DaguError


class DefinitionTests(SynchronousTestCase):
    def test_name_is_added(self) -> None:
        """A text without a name of its own gets that of the DAG, in its main document; one with a name stays."""
        for text, sent in (
            ("steps:\n  - x\n", "name: etl\nsteps:\n  - x\n"),
            ("name: mine\nsteps: []\n", "name: mine\nsteps: []\n"),
            ("Name: mine\nsteps: []\n", "Name: mine\nsteps: []\n"),
            ("# why\n---\n# what\nsteps: []\n", "# why\n---\nname: etl\n# what\nsteps: []\n"),
            ("steps: []\n---\nname: other\n", "name: etl\nsteps: []\n---\nname: other\n"),
            ("steps:\n  - name: a\n    command: x\n", "name: etl\nsteps:\n  - name: a\n    command: x\n"),
        ):
            self.assertEqual(named_definition(Dag("etl", yaml_text=text)), sent)

    def test_round_trip(self) -> None:
        """What is sent loads under the name that the file gave."""
        text = "# comment\nsteps:\n  - command: x\n---\nname: other\nsteps:\n  - command: y\n"
        self.assertEqual(load_dag(named_definition(Dag("etl", yaml_text=text)), "sent").name, "etl")

    def test_refused(self) -> None:
        """A text that is not known, or cannot take a name, is refused with what to do."""
        for text, phrase in (("", "not known"), ("{steps: []}\n", "add a name")):
            error = self.assertRaises(DaguError, named_definition, Dag("etl", yaml_text=text))
            self.assertIn(phrase, str(error))
