"""What goes before a step's own messages."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txdagu.execution.conversations import continued
from txdagu.model.chat import ChatMessage


def talk(text: str) -> list[ChatMessage]:
    """Messages from ``s1 u1``: s for the system, u for a user."""
    roles = {"s": "system", "u": "user"}
    return [ChatMessage(roles[word[0]], word) for word in text.split()]


class ContinuedTests(SynchronousTestCase):
    def test_one_system(self) -> None:
        """One message from the system, in front: the last of its own, else the first of those before; the rest keep order."""
        for before, own, expected in (
            ("", "u1 s1 u2", "s1 u1 u2"),
            ("", "s1 s2 u1", "s2 u1"),
            ("s1 u1 s2 u2", "u3", "s1 u1 u2 u3"),
            ("s1 u1", "u2 s2", "s2 u1 u2"),
            ("u1", "", "u1"),
        ):
            messages = continued(talk(before), talk(own))
            self.assertEqual(" ".join(message.content for message in messages), expected)
