"""What the reaper decides, in virtual time, with processes that are only numbers."""

from __future__ import annotations

from unittest import TestCase

from txdagu.reaper.core import CONTINUE, KILL, STOP, Reaper


class ReaperTests(TestCase):
    def setUp(self) -> None:
        self.core = Reaper()
        self.now = 0.0

    def tell(self, *lines: str) -> None:
        """Lines from the worker."""
        for line in lines:
            self.core.line(line, self.now)

    def orders(self, now: float, touched: int = 0) -> list[tuple[str, str, tuple[int, ...]]]:
        """What is ordered at that time; so many processes obey."""
        self.now = now
        self.core.tick(now)
        due = self.core.orders(now)
        for order in due:
            self.core.looked(order, touched, now)
        return [(order.signal, order.target, order.groups) for order in due]

    def settle(self) -> int:
        """Look as often as the core wants until it wants no more; how often that was."""
        looks = 0
        while (deadline := self.core.next_deadline()) is not None and looks < 50:
            looks += len(self.orders(deadline))
        return looks

    def test_freeze_and_continue(self) -> None:
        """Groups of a task are stopped when its lease ends unrenewed, again and again, and continued when it is renewed."""
        self.tell(
            "hold a.1 redistribute 30 900 0", "group a.1 7", "group a.1 8", "hold a.2 wait 30 900 0", "group a.2 9"
        )
        self.assertEqual(self.orders(26), [])
        self.assertEqual(self.orders(27), [(STOP, "a.1", (7, 8))])
        self.assertEqual(self.orders(27.1), [(STOP, "a.1", (7, 8))], "who was forked meanwhile")
        self.now = 28
        self.tell("renewed 27.9 a.1")
        self.assertEqual(self.orders(28), [(CONTINUE, "a.1", (7, 8))])
        self.now = 29
        self.tell("renewed 28.9 a.1 a.2")
        self.assertEqual(self.orders(29), [(CONTINUE, "a.1", (7, 8))])
        self.assertEqual(self.orders(40), [])

    def test_lost(self) -> None:
        """T23: what was given away is killed until nobody is found any more, also who comes late."""
        self.tell("hold a.1 redistribute 30 900 0", "group a.1 7", "lost a.1")
        self.assertEqual(self.orders(0, touched=2), [(KILL, "a.1", (7,))])
        self.tell("renewed 0 a.1", "group a.1 8")
        self.assertEqual(self.orders(0.01, touched=1), [(KILL, "a.1", (7, 8))])
        self.assertGreaterEqual(self.settle(), 3)
        self.assertIsNone(self.core.next_deadline())

    def test_freeze_limit(self) -> None:
        """What was frozen as long as it may is killed, and the worker is told: it may have slept."""
        self.tell("hold a.1 redistribute 30 100 0")
        self.orders(27)
        self.assertEqual(self.orders(127), [(KILL, "a.1", ())])
        self.assertEqual(self.core.words, ["over a.1"])

    def test_worker_gone(self) -> None:
        """T21: all open tasks are killed, frozen or not, waited for or not; those that are done are left alone."""
        self.tell("hold a.1 redistribute 3 900 0", "hold a.2 wait 3 900 0", "hold a.3 fail 30 900 0", "done a.3")
        self.orders(2)
        self.core.closed(self.now)
        self.assertFalse(self.core.finished)
        self.assertEqual(sorted(self.orders(2)), [(KILL, "a.1", ()), (KILL, "a.2", ())])
        self.settle()
        self.assertTrue(self.core.finished)

    def test_worker_gone_with_nothing(self) -> None:
        """Without a task there is nothing to wait for."""
        self.core.closed(0)
        self.assertTrue(self.core.finished)

    def test_done_while_frozen(self) -> None:
        """What a task left in the background is not left stopped for ever."""
        self.tell("hold a.1 redistribute 3 900 0", "group a.1 7")
        self.orders(2)
        self.tell("done a.1")
        self.assertEqual(self.orders(2), [(CONTINUE, "a.1", (7,))])
        self.settle()
        self.assertIsNone(self.core.next_deadline())

    def test_told_again(self) -> None:
        """A new reaper continues what the one before may have stopped, unless it must be stopped or killed."""
        self.now = 40.0
        self.tell(
            "held a.1 redistribute 30 900 39", "held a.2 redistribute 30 900 0", "held a.3 wait 30 900 0", "lost a.3"
        )
        self.assertEqual(self.orders(40), [(CONTINUE, "a.1", ()), (STOP, "a.2", ()), (KILL, "a.3", ())])

    def test_sweep(self) -> None:
        """All of an earlier worker is killed, and only then is it said that we are ready."""
        self.tell("sweep life-1", "sync x")
        self.assertEqual(self.core.words, [])
        self.assertEqual(self.orders(0, touched=1), [(KILL, "life-1.", ())])
        self.settle()
        self.assertEqual(self.core.words, ["ready x"])

    def test_group_that_ended(self) -> None:
        """The number of a group whose leader was waited for may be somebody else's: it is not signalled any more."""
        self.tell("hold a.1 redistribute 3 900 0", "group a.1 7", "ended a.1 7", "group a.1 8")
        self.assertEqual(self.orders(2), [(STOP, "a.1", (8,))])

    def test_no_such_line(self) -> None:
        """What is no line of ours is refused, with the line."""
        for line in ("", "hold a.1", "hold a.1 never 1 1 1", "dance"):
            with self.assertRaises(ValueError):
                self.core.line(line, 0)
