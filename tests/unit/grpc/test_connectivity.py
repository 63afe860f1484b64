"""The states of a connection, without any connection."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from txdagu.grpc.connectivity import (
    Abandon,
    Backoff,
    ChannelState,
    Connectivity,
    Dial,
    Effects,
    Leave,
    Pause,
    Refuse,
    Serve,
)

BACKOFF = Backoff(jitter=0)


class ConnectivityTests(SynchronousTestCase):
    """What follows from what."""

    def setUp(self) -> None:
        """A new one."""
        self.core = Connectivity(BACKOFF, lambda: 0.5)

    def ready(self, now: float = 0) -> None:
        """Become ready."""
        if self.core.state is ChannelState.BACKING_OFF:
            self.core.pause_over(wanted=False)
        self.assertEqual(self.core.needed(), (Dial(),))
        self.assertEqual(self.core.server_ready(now), (Serve(),))

    def test_good_life(self) -> None:
        """Idle, connecting, ready, idle again; a call that waits makes it connect at once."""
        self.ready()
        self.assertEqual(self.core.ended("gone", 100, wanted=False), ())
        self.assertEqual((self.core.state, self.core.reason), (ChannelState.IDLE, "gone"))
        self.ready(200)
        self.assertEqual(self.core.ended("gone", 300, wanted=True), (Dial(),))
        self.assertEqual(self.core.state, ChannelState.CONNECTING)

    def test_failures(self) -> None:
        """Pauses grow from failure to failure, whichever way an attempt fails."""
        self.core.needed()
        self.assertEqual(self.core.failed("no"), (Pause(1.0), Refuse("no")))
        self.assertEqual(self.core.needed(), (), "there is a pause")
        self.assertEqual(self.core.pause_over(wanted=True), (Dial(),))
        self.assertEqual(self.core.timed_out("late"), (Abandon(), Pause(1.6), Refuse("late")))
        self.core.pause_over(wanted=True)
        effects = self.core.ended("closed before it was ready", 5, wanted=True)
        self.assertEqual(effects, (Pause(1.6 * 1.6), Refuse("closed before it was ready")))

    def test_hammering(self) -> None:
        """A server that accepts and drops is dialled once more at once, then with growing pauses."""
        self.ready(0)
        self.assertEqual(self.core.ended("dropped", 0.1, wanted=True), (Dial(),))
        pauses = []
        for _ in range(3):
            self.core.server_ready(1)
            (pause, refuse) = self.core.ended("dropped", 1.1, wanted=True)
            self.assertEqual((refuse, self.core.state), (Refuse("dropped"), ChannelState.BACKING_OFF))
            pauses.append(pause)
            self.core.pause_over(wanted=True)
        self.assertEqual(pauses, [Pause(1.0), Pause(1.6), Pause(1.6 * 1.6)])

    def test_stability(self) -> None:
        """Failures are forgotten after a connection that was ready for ten seconds, and not before."""
        self.core.needed()
        self.core.failed("no")
        self.ready(0)
        self.assertEqual(self.core.ended("short", 9.9, wanted=False), (Pause(1.0), Refuse("short")))
        self.ready(20)
        self.assertEqual(self.core.ended("long", 30, wanted=False), ())
        self.core.needed()
        self.assertEqual(self.core.failed("no"), (Pause(1.0), Refuse("no")))

    def test_reconnect(self) -> None:
        """Whoever knows a new address ends pauses, attempts and connections, and the failures are forgotten."""
        self.assertEqual(self.core.reconnect("moved", wanted=False), ())
        self.core.needed()
        self.assertEqual(self.core.reconnect("moved", wanted=True), (Abandon(), Dial()))
        self.core.failed("no")
        self.assertEqual(self.core.reconnect("moved", wanted=True), (Dial(),))
        self.core.server_ready(0)
        self.assertEqual(self.core.reconnect("moved", wanted=False), (Leave(),))
        self.assertEqual(self.core.state, ChannelState.IDLE)

    def test_stop(self) -> None:
        """Nothing happens after the end, and an attempt ends with it."""
        self.core.needed()
        self.assertEqual(self.core.stop("closed"), (Abandon(),))
        self.assertEqual(self.core.stop("closed"), ())
        for effects in (
            self.core.needed(),
            self.core.server_ready(0),
            self.core.failed("x"),
            self.core.timed_out("x"),
            self.core.ended("x", 0, wanted=True),
            self.core.pause_over(wanted=True),
            self.core.reconnect("x", wanted=True),
        ):
            self.assertEqual(effects, ())
        self.assertEqual((self.core.state, self.core.reason), (ChannelState.SHUT_DOWN, "closed"))

    @given(st.lists(st.tuples(st.integers(0, 6), st.booleans(), st.floats(0, 20)), max_size=40))
    def test_any_order(self, happenings: list[tuple[int, bool, float]]) -> None:
        """Whatever happens: one attempt at a time, and a pause exactly in the state that has one."""
        core, now, dialled = Connectivity(BACKOFF, lambda: 0.5), 0.0, 0
        for kind, wanted, later in happenings:
            now += later
            before = core.state
            events: list[Effects] = [
                core.needed() if kind == 0 else (),
                core.server_ready(now) if kind == 1 else (),
                core.failed("failed") if kind == 2 else (),
                core.timed_out("late") if kind == 3 else (),
                core.ended("ended", now, wanted=wanted) if kind == 4 else (),
                core.pause_over(wanted=wanted) if kind == 5 else (),
                core.reconnect("moved", wanted=wanted) if kind == 6 else (),
            ]
            effects = [effect for event in events for effect in event]
            if before is ChannelState.CONNECTING and (core.state is not before or Abandon() in effects):
                dialled -= 1
            dialled += effects.count(Dial())
            assert dialled == (core.state is ChannelState.CONNECTING)
            assert all(effect != Dial() for effect in effects[:-1])
            if any(isinstance(effect, Pause) for effect in effects):
                assert core.state is ChannelState.BACKING_OFF
            assert (Serve() in effects) == (before is not core.state and core.state is ChannelState.READY)
