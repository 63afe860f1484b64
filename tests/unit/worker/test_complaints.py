"""Lasting trouble in the log: told, then held back, told again after a minute."""

from __future__ import annotations

from unittest import TestCase

from txdagu.worker.complaints import Complaint


class ComplaintTests(TestCase):
    def setUp(self) -> None:
        """A complaint with a clock that stands still."""
        self.now = 0.0
        self.said: list[str] = []
        self.complaint = Complaint(self.said.append, lambda: self.now)

    def test_same_trouble(self) -> None:
        """The same sentence is told once a minute, with how often it was held back."""
        for self.now in (0.0, 1.0, 59.0, 60.0):
            self.complaint.trouble("nobody answers")
        self.assertEqual(self.said, ["nobody answers", "nobody answers (and 2 times before, untold)"])

    def test_other_trouble(self) -> None:
        """Another reason is told at once."""
        self.complaint.trouble("refused")
        self.complaint.trouble("no answer within 3 s")
        self.assertEqual(self.said, ["refused", "no answer within 3 s"])

    def test_after_it_went_well(self) -> None:
        """Trouble that comes back is told at once, and that it had gone is known."""
        self.complaint.trouble("refused")
        self.assertTrue(self.complaint.settled())
        self.assertFalse(self.complaint.settled())
        self.complaint.trouble("refused")
        self.assertEqual(self.said, ["refused", "refused"])
