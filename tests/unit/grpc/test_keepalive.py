"""When a silent peer is pinged, and when it counts as gone."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txdagu.grpc.keepalive import Keepalive, KeepaliveTimes


class KeepaliveTests(SynchronousTestCase):
    """One connection on a clock."""

    def setUp(self) -> None:
        """A peer that answers pings while `alive`."""
        self.clock = Clock()
        self.pings: list[float] = []
        self.dead: list[float] = []
        self.alive = True
        self.needed = True
        self.keepalive = Keepalive(
            self.clock,
            times=KeepaliveTimes(),
            is_needed=lambda: self.needed,
            ping=self.ping,
            dead=lambda _timeout: self.dead.append(self.clock.seconds()),
        )
        self.keepalive.start()

    def tearDown(self) -> None:
        """Nothing is left behind."""
        self.keepalive.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def ping(self) -> None:
        """A ping was sent; its answer comes in a moment."""
        self.pings.append(self.clock.seconds())
        if self.alive:
            self.clock.callLater(0.5, self.keepalive.heard)

    def answer(self) -> None:
        """The peer answers a call."""
        self.keepalive.heard()
        self.keepalive.answered()

    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.clock.pump([0.5] * (2 * seconds))

    def strikes(self, answers: list[float]) -> int:
        """How often a server of grpc-go would count a ping: less than five minutes after the last, and nothing sent between."""
        strikes, last, sent = 0, float("-inf"), list(answers)
        for ping in self.pings:
            if any(last < answer <= ping for answer in sent):
                strikes = 0
            elif ping - last < 300:
                strikes += 1
            last = ping
        return strikes

    def test_silence(self) -> None:
        """With only a parked call, a living peer is pinged every five minutes: what the strictest server allows."""
        self.wait(1300)
        self.assertEqual(self.pings, [300, 600.5, 901, 1201.5])
        self.assertEqual((self.strikes([]), self.dead), (0, []))

    def test_after_data(self) -> None:
        """After an answer one ping is free, so a peer that vanishes between two answers is noticed in half a minute."""
        self.wait(100)
        self.answer()
        self.wait(3)
        self.answer()
        self.alive = False
        self.wait(40)
        self.assertEqual((self.pings, self.dead), ([113], [133]))

    def test_only_one_is_free(self) -> None:
        """However answers and silence alternate, a strict server has nothing to complain of."""
        answers = []
        for silence in (5, 40, 400, 8, 700, 11, 12, 13, 350):
            self.answer()
            answers.append(self.clock.seconds())
            self.wait(silence)
        self.assertEqual(self.strikes(answers), 0)
        self.assertGreater(len(self.pings), 5)
        self.assertEqual(self.dead, [])

    def test_idle(self) -> None:
        """Without calls nobody is pinged; the next call starts the watch again."""
        self.needed = False
        self.wait(1000)
        self.needed = True
        self.keepalive.start()
        self.alive = False
        self.wait(330)
        self.assertEqual((self.pings, self.dead), ([1300], [1320]))

    def test_set_times(self) -> None:
        """Shorter times count at once."""
        self.alive = False
        self.keepalive.set_times(KeepaliveTimes(30, 30, 5))
        self.wait(36)
        self.assertEqual((self.pings, self.dead), ([30], [35]))
