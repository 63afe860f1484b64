"""Leases in virtual time."""

from __future__ import annotations

from unittest import TestCase

from hypothesis import given
from hypothesis import strategies as st

from txdagu.reaper.leases import FAIL, FROZEN, OVER, REDISTRIBUTE, VALID, WAIT, Lease, Leases, freeze_after


class LeaseTests(TestCase):
    def setUp(self) -> None:
        self.leases = Leases()

    def hold(self, policy: str = REDISTRIBUTE, ttl: float = 30.0, sent_at: float = 0.0) -> None:
        """A lease called t that may be frozen for 900 s."""
        self.leases.hold(Lease("t", policy, ttl, 900.0, sent_at), sent_at)

    def test_when_it_is_frozen(self) -> None:
        """3 s before the lease ends, at two thirds of a shorter one; never at or after its end."""
        self.assertEqual([freeze_after(ttl) for ttl in (30, 9, 6, 3)], [27, 6, 4, 2])

    def test_redistribute(self) -> None:
        """Unrenewed it is frozen, and over when it was frozen as long as it may; each is told once."""
        self.hold()
        self.assertEqual(self.leases.next_deadline(), 27)
        self.assertEqual(self.leases.tick(26.9), [])
        self.assertEqual(self.leases.tick(27), [("t", FROZEN)])
        self.assertEqual(self.leases.tick(500), [])
        self.assertEqual(self.leases.next_deadline(), 927)
        self.assertEqual(self.leases.tick(927), [("t", OVER)])
        self.assertIsNone(self.leases.next_deadline())

    def test_fail(self) -> None:
        """What must not run twice is frozen alike, and over with its lease."""
        self.hold(FAIL)
        self.assertEqual((self.leases.tick(27), self.leases.tick(30)), ([("t", FROZEN)], [("t", OVER)]))

    def test_wait(self) -> None:
        """What is never given away is never frozen."""
        self.hold(WAIT)
        self.assertIsNone(self.leases.next_deadline())
        self.assertEqual(self.leases.tick(10**9), [])

    def test_renewed(self) -> None:
        """A renewal counts from when it was sent; a late answer to an early request thaws nothing, a new one does."""
        self.hold()
        self.leases.renewed(("t",), 10, 11)
        self.assertEqual((self.leases.tick(36.9), self.leases.tick(37)), ([], [("t", FROZEN)]))
        self.assertEqual(self.leases.renewed(("t",), 9, 40), [])
        self.assertEqual(self.leases.renewed(("t",), 12.5, 40), [])
        self.assertEqual(self.leases.renewed(("t",), 39, 41), [("t", VALID)])

    def test_over_is_final(self) -> None:
        """Neither a renewal nor another word brings back what is over, also if nobody had looked at the clock in time."""
        self.hold(FAIL)
        self.assertEqual(self.leases.renewed(("t",), 31, 31), [("t", OVER)])
        self.assertEqual(self.leases.renewed(("t",), 32, 32), [])
        self.assertEqual(self.leases.lost("t"), [])

    def test_lost(self) -> None:
        """What the coordinator has given away is over at once; it is told once."""
        self.hold()
        self.assertEqual((self.leases.lost("t"), self.leases.lost("t")), ([("t", OVER)], []))

    def test_late_confirmation(self) -> None:
        """T06: a confirmation that took longer than the lease begins frozen."""
        self.assertEqual(self.leases.hold(Lease("t", REDISTRIBUTE, 30.0, 900.0, 0.0), 31), [("t", FROZEN)])

    def test_unknown_policy(self) -> None:
        """A word that is no policy is refused."""
        with self.assertRaisesRegex(ValueError, "no such policy: never"):
            self.hold("never")

    @given(
        st.floats(0.5, 100),
        st.lists(st.tuples(st.floats(0, 20), st.floats(0, 20), st.booleans()), max_size=20),
        st.sampled_from([REDISTRIBUTE, FAIL]),
    )
    def test_never_runs_without_a_lease(
        self, ttl: float, history: list[tuple[float, float, bool]], policy: str
    ) -> None:
        """Whatever is renewed, late or lost: what is valid was granted to a request sent less than a lease ago."""
        leases, now, granted = Leases(), 0.0, 0.0
        leases.hold(Lease("t", policy, ttl, 50.0, 0.0), 0.0)
        for pause, delay, renewed in history:
            now += pause
            if renewed:
                leases.renewed(("t",), now - delay, now)
                granted = max(granted, now - delay)
            leases.tick(now)
            lease = leases.get("t")
            assert lease is not None
            if lease.standing == VALID:
                self.assertLess(now, granted + ttl)
