"""Slots."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from txdagu.worker.holding import TaskSlot
from txdagu.worker.slots import Hold, Slots


class SlotsTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Two slots and a list of who got one."""
        self.slots = Slots(2)
        self.got: list[str] = []

    def _ask(self, name: str, returning: bool = False) -> Hold:
        return self.slots.ask(lambda: self.got.append(name), returning)

    def test_grants_at_once(self) -> None:
        """Free slots are granted within the asking; the third waits and counts against free."""
        self._ask("a")
        self.assertEqual(self.slots.free, 1)
        self._ask("b")
        waiting = self._ask("c")
        self.assertEqual((self.got, self.slots.busy, self.slots.free), (["a", "b"], 2, 0))
        self.assertFalse(waiting.held)

    def test_returning_go_first(self) -> None:
        """A run that comes back from waiting for its children goes before tasks that arrived earlier."""
        first, _ = self._ask("a"), self._ask("b")
        self._ask("new")
        self._ask("back", returning=True)
        first.give_back()
        self.assertEqual(self.got, ["a", "b", "back"])

    def test_waiters_go_before_new_work(self) -> None:
        """While somebody waits for a slot, none is offered to a coordinator."""
        first, _ = self._ask("a"), self._ask("b")
        self._ask("back", returning=True)
        first.give_back()
        self.assertEqual(self.slots.free, 0)

    def test_give_back_twice(self) -> None:
        """Giving back twice frees one slot, and giving up a wait frees none."""
        hold = self._ask("a")
        self._ask("b")
        waiting = self._ask("c")
        waiting.give_back()
        hold.give_back()
        hold.give_back()
        self.assertEqual((self.slots.busy, self.slots.free, self.got), (1, 1, ["a", "b"]))

    def test_listeners(self) -> None:
        """Whoever parks calls hears of each change."""
        numbers: list[int] = []
        self.slots.subscribe(lambda: numbers.append(self.slots.free))
        hold = self._ask("a")
        hold.give_back()
        self.assertEqual(numbers, [1, 2])

    @given(st.lists(st.tuples(st.sampled_from(["ask", "back", "give"]), st.integers(0, 30)), max_size=60))
    def test_never_more_than_there_are(self, steps: list[tuple[str, int]]) -> None:
        """Whatever happens: as many are held as the table says, never more than there are, and none is lost."""
        slots = Slots(3)
        holds: list[Hold] = []
        for what, number in steps:
            if what == "give" and holds:
                holds[number % len(holds)].give_back()
            elif what != "give":
                holds.append(slots.ask(lambda: None, returning=what == "back"))
            self.assertEqual(sum(hold.held for hold in holds), slots.busy)
            self.assertLessEqual(slots.busy, 3)
        for hold in holds:
            hold.give_back()
        self.assertEqual((slots.busy, slots.free), (0, 3))


class TaskSlotTests(SynchronousTestCase):
    def test_release_and_acquire(self) -> None:
        """A run that waits for children holds nothing, and its wait for a slot can be cancelled."""
        slots = Slots(1)
        one = TaskSlot(slots)
        self.successResultOf(one.acquire())
        one.release()
        other = TaskSlot(slots)
        back = one.acquire()
        self.assertNoResult(back)
        other.release()
        self.successResultOf(back)
        one.release()
        one.release()
        self.assertEqual((slots.busy, slots.free), (0, 1))

    def test_cancelled_wait(self) -> None:
        """A cancelled wait leaves no trace."""
        slots = Slots(1)
        holder = TaskSlot(slots)
        waiter = TaskSlot(slots)
        waiting = waiter.acquire()
        waiting.cancel()
        self.failureResultOf(waiting)
        holder.release()
        self.assertEqual((slots.busy, slots.free), (0, 1))
