"""Findings as text."""

from __future__ import annotations

from io import StringIO

from rich.console import Console
from twisted.trial.unittest import SynchronousTestCase

from txdagu.cli.findings import show, show_subject
from txdagu.model.findings import failure


class ShowTests(SynchronousTestCase):
    def test_control_characters(self) -> None:
        """What a stranger's certificate or answer says cannot steer the terminal, and is seen; letters of any language stay."""
        out = StringIO()
        console = Console(file=out, width=200)
        show_subject(console, "host\x1b]0;title\x07", first=True)
        show(console, failure("names", "for \x1b[2Jevil\nline, not for münchen.de", "mend\rit \x9b1m"))
        told = out.getvalue()
        self.assertIn("Host\\x1b]0;title\\x07\n", told)
        self.assertIn("for \\x1b[2Jevil\\nline, not for münchen.de\n", told)
        self.assertIn("mend\\rit \\x9b1m\n", told)
