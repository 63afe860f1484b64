"""Whether the host is still there, in virtual time."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txdagu.execution.steps.ssh.client import ALIVE, CUT, GIVE_UP, Client
from txdagu.model.errors import DaguError


class Wire:
    """Transport and connection at once."""

    def __init__(self) -> None:
        self.lost: Deferred[DaguError] = Deferred()
        self.asked: list[Deferred[bytes]] = []
        self.aborted: list[str] = []
        self.closed = False

    def sendGlobalRequest(self, name: bytes, data: bytes, wantReply: int) -> Deferred[bytes]:  # noqa: N803
        self.asked.append(Deferred())
        return self.asked[-1]

    def abort(self, trouble: str = "") -> None:
        self.aborted.append(trouble)

    def close(self) -> None:
        self.closed = True


class AliveTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.wire = Clock(), Wire()
        self.client = Client(self.clock, cast("Any", self.wire), cast("Any", self.wire))

    def test_answers(self) -> None:
        """Any answer, also a refusal, shows that somebody is there."""
        for number in range(GIVE_UP * 3):
            self.clock.advance(ALIVE)
            answer = self.wire.asked[-1]
            (answer.callback if number % 2 else answer.errback)(cast("Any", DaguError("unknown request")))
        self.assertEqual(self.wire.aborted, [])

    def test_silence(self) -> None:
        """After several questions without an answer the connection is cut, with the reason."""
        self.clock.pump([ALIVE] * (GIVE_UP + 1))
        self.assertEqual(len(self.wire.asked), GIVE_UP)
        self.assertIn("has not answered for 90 s", self.wire.aborted[0])
        self.wire.lost.callback(DaguError("gone"))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_close(self) -> None:
        """A goodbye that nobody hears ends all the same; a heard one leaves nothing behind."""
        self.client.close()
        self.clock.advance(CUT)
        self.assertEqual((self.wire.closed, len(self.wire.aborted)), (True, 1))
        self.setUp()
        self.client.close()
        self.wire.lost.callback(DaguError("gone"))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.client.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])
