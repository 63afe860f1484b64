"""Reading a step's options."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txdagu.execution.steps.config import Config
from txdagu.model.errors import InvalidInputError


class ConfigTests(SynchronousTestCase):
    def test_forms(self) -> None:
        """Keys match in any case and with underscores; texts that say numbers and flags are taken as such."""
        config = Config(
            "x",
            {
                "Skip_TLS_verify": "true",
                "TIMEOUT": "5",
                "to": "a",
                "list": [1, None, "b"],
                "map": {"k": 1.0},
                "n": None,
            },
        )
        self.assertIs(config.flag("skipTLSVerify"), True)
        self.assertEqual(config.number("timeout"), 5)
        self.assertEqual(config.texts("to"), ("a",))
        self.assertEqual(config.texts("list"), ("1", "b"))
        self.assertEqual(config.mapping("map"), {"k": "1"})
        self.assertEqual((config.text("n"), config.number("n", 7), config.flag("n", True)), ("", 7, True))
        config.check()

    def test_problems(self) -> None:
        """All wrong options are told at once, each with its name and what it must be."""
        config = Config("x", {"a": {"k": 1}, "b": "soon", "c": "maybe", "d": [[1]], "e": {"k": []}, "f": 1.5})
        (
            config.text("a"),
            config.number("b"),
            config.flag("c"),
            config.texts("d"),
            config.mapping("e"),
            config.number("f"),
        )
        error = self.assertRaises(InvalidInputError, config.check)
        self.assertEqual(
            [str(problem) for problem in error.problems],
            [
                "x config: a must be a text, got 'map[k:1]'",
                "x config: b must be a whole number, got 'soon'",
                "x config: c must be true or false, got 'maybe'",
                "x config: d must be a text or a list of texts, got '[[1]]'",
                "x config: e must be a mapping of texts, got 'map[k:[]]'",
                "x config: f must be a whole number, got '1.5'",
            ],
        )

    def test_overridden(self) -> None:
        """Other options lie over these, whatever the spelling of their keys."""
        config = Config("x", {"body": "a", "silent": True}).overridden({"BODY": "b"})
        self.assertEqual((config.text("body"), config.flag("silent")), ("b", True))
