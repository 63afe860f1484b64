"""What a real shell makes of values: exactly what was given, wherever the language promises that."""

from __future__ import annotations

import subprocess

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from txdagu.execution.evaluation.references import Scope, replace_references

# No NUL in commands; within double quotes a shell has ideas of its own about dollars and backticks, and a line break becomes \n.
_SPECIAL = "$`\n\r\x00"
texts = st.text(
    st.characters(codec="utf-8", exclude_characters=_SPECIAL) | st.sampled_from("\"'\\ \t;|&<>*?#~(){}[]!"), max_size=30
)


def printed(words: list[str], variables: dict[str, str]) -> list[str]:
    """What sh prints for these words of a command line, each with an end of its own."""
    line = replace_references(f"printf '%s\\0' {' '.join(words)}", Scope(variables))
    done = subprocess.run(["sh", "-e", "-c", line], capture_output=True, check=True, timeout=20)
    return done.stdout.decode().split("\0")[:-1]


class ShellTests(SynchronousTestCase):
    """One shell for many values at once."""

    @settings(max_examples=40)
    @given(st.lists(texts, min_size=5, max_size=30))
    def test_own_double_quotes(self, values: list[str]) -> None:
        """A reference alone between double quotes gives the shell one word, and that is the value."""
        variables = {f"V{number}": value for number, value in enumerate(values)}
        self.assertEqual(printed([f'"${{{name}}}"' for name in variables], variables), values)

    @settings(max_examples=40)
    @given(st.lists(st.text("abcXYZ012._-/:@%+,=", min_size=1, max_size=12), min_size=1, max_size=20))
    def test_plain_words(self, values: list[str]) -> None:
        """Values without anything that means something to a shell need no quotes, also within other words."""
        variables = {f"V{number}": value for number, value in enumerate(values)}
        expected = [text for value in values for text in (value, f"<{value}>")]
        self.assertEqual(printed([f'${{{name}}} "<${name}>"' for name in variables], variables), expected)

    def test_single_quotes(self) -> None:
        """A reference that touches a single quote stays as it is written."""
        self.assertEqual(printed(["'${V}'", "'${V} x'", "'x $V'"], {"V": "value"}), ["${V}", "${V} x", "x $V"])
