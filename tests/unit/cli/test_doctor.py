"""The arguments of `dagu doctor`, and how findings are shown."""

from __future__ import annotations

import io
import json
import sys

from rich.console import Console
from twisted.trial.unittest import SynchronousTestCase

from txdagu import cli
from txdagu.cli.doctor import SUBJECTS, USAGE, read_address
from txdagu.cli.findings import as_json, show, show_subject, summary
from txdagu.config.values import UnfitError
from txdagu.model.findings import Examination, failure, ok, warning

LONG = "a sentence that is much too long for the width of a narrow terminal and must go on below"
FOUND = (ok("tcp", "it takes connections", seconds=0.25), warning("dates", LONG, "renew it", days_left=3.5))


class Addresses(SynchronousTestCase):
    """What may be examined."""

    def test_forms(self) -> None:
        """Names, IPv4 and IPv6 addresses, with and without a port."""
        for text, expected in {
            "host1": ("host1", None),
            "host1:50055": ("host1", 50055),
            "10.0.0.1:7": ("10.0.0.1", 7),
            "[::1]:7": ("::1", 7),
            "[::1]": ("::1", None),
            "fe80::1": ("fe80::1", None),
        }.items():
            self.assertEqual(read_address(text), expected, text)

    def test_mistakes(self) -> None:
        """Each is named."""
        for text in ("host1:", "host1:x", "host1:0", "host1:65536", ":7", "http://host1:7", "a b:7", "[::1]x:7:"):
            with self.assertRaises(UnfitError, msg=text):
                read_address(text)


class Usage(SynchronousTestCase):
    """Wrong calls end with 2 and say what is right."""

    def setUp(self) -> None:
        """Catch what is written."""
        self.out, self.err = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "stderr", self.err)

    def test_wrong_calls(self) -> None:
        """Subject, option, address, time limit, output, settings: nothing is examined then."""
        for arguments, expected in (
            ([], "no subject is given (one of: peer, journal)"),
            (["registry"], '"registry" is nothing that can be examined'),
            (["peer", "a", "b"], "at most one address is expected"),
            (["peer", "--nonsense"], "option --nonsense not recognized"),
            (["peer", "--timeout=soon"], '--timeout: "soon" is not a duration'),
            (["peer", "--output=xml"], '--output: "xml" is neither of text and json'),
            (["peer", "--peer.insecure=perhaps"], '"perhaps" is neither true nor false'),
        ):
            self.err.truncate(0)
            self.assertEqual(cli.main(["doctor", *arguments]), 2, arguments)
            self.assertIn(expected, self.err.getvalue())

    def test_help(self) -> None:
        """Every subject is listed."""
        self.assertEqual(cli.main(["doctor", "--help"]), 0)
        self.assertEqual(self.out.getvalue(), USAGE)
        for subject in SUBJECTS:
            self.assertIn(f"\n  {subject} ", USAGE)


class Showing(SynchronousTestCase):
    """Findings for people and for programs."""

    def shown(self, *, terminal: bool) -> str:
        """Both findings."""
        stream = io.StringIO()
        console = Console(file=stream, width=60, force_terminal=terminal, color_system="standard" if terminal else None)
        show_subject(console, "coordinator a at a:1", first=True)
        for finding in FOUND:
            show(console, finding)
        return stream.getvalue()

    def test_piped(self) -> None:
        """Each finding is one line, without colours and without blanks at the end, however long."""
        self.assertEqual(
            self.shown(terminal=False).splitlines(),
            [
                "Coordinator a at a:1",
                "  ✔ tcp                it takes connections",
                f"  ! dates              {LONG}",
                "                       → renew it",
            ],
        )

    def test_terminal(self) -> None:
        """Long sentences are wrapped below their beginning, in colours."""
        lines = self.shown(terminal=True).splitlines()
        self.assertIn("\x1b[32m✔", lines[1])
        self.assertEqual(lines[3], "                       the width of a narrow terminal and")
        self.assertIn("→ renew it", lines[5])

    def test_json(self) -> None:
        """One document with camelCase keys; what is empty is left out."""
        document = json.loads(as_json([Examination("a", FOUND), Examination("b", (failure("x", "bad", "mend"),))]))
        self.assertEqual(
            document,
            {
                "failed": True,
                "examinations": [
                    {
                        "subject": "a",
                        "failed": False,
                        "findings": [
                            {"check": "tcp", "mark": "ok", "text": "it takes connections", "figures": {"seconds": 0.25}},
                            {"check": "dates", "mark": "warning", "text": LONG, "advice": "renew it",
                             "figures": {"daysLeft": 3.5}},
                        ],
                    },
                    {
                        "subject": "b",
                        "failed": True,
                        "findings": [{"check": "x", "mark": "failure", "text": "bad", "advice": "mend"}],
                    },
                ],
            },
        )  # fmt: skip

    def test_summary(self) -> None:
        """Numbers in words that fit."""
        self.assertEqual(summary([Examination("a", FOUND)]), "1 ok, 1 warning, no failure")
        bad = failure("x", "bad")
        self.assertEqual(summary([Examination("a", (bad, bad))]), "0 ok, no warning, 2 failures")
