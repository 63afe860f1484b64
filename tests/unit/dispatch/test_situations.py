"""Situations in which other dispatchers lost tasks or ran them twice, and that no other test of the core shows."""

from __future__ import annotations

import sys
from typing import Any

from txdagu.dispatch.core import Beat, DispatchCore
from txdagu.dispatch.machine import State
from txdagu.model.run import RunRef
from txdagu.testing.dispatch import DONE, CoreTestCase, CountedNames, endings, make_poll, make_task, offers, running

DAY = 24 * 3600.0


class WaitingTests(CoreTestCase):
    """Tasks for which there is no slot."""

    def test_waiting_has_no_limit(self) -> None:
        """T08: a task that waits for days because its only worker is busy is neither an error nor forgotten, and then runs."""
        busy = self.started("long")
        self.core.submit(make_task("waits"), 1)
        for minute in range(1, 3 * 24 * 60, 10):
            now = minute * 60.0
            self.core.heartbeat(Beat("w1", {}, "one", slots=1, busy=1), now)
            self.core.run_heartbeat("w1", "one", [running(busy.task, 1)], now)
            self.core.tick(now)
        self.assertEqual(self.state("waits"), State.QUEUED)
        self.core.report_end("w1", busy.task.root, "long", 1, DONE, 3 * DAY)
        (offer,) = offers(self.core.poll(make_poll("w1"), 3 * DAY))
        self.assertEqual(offer.task.run.id, "waits")


class LivenessTests(CoreTestCase):
    """Workers that live, and what they say of their runs."""

    def test_many_quiet_runs(self) -> None:
        """T12: hundreds of runs begun at once by busy workers, none of which says anything for ten minutes, all go on."""
        given = [self.started(f"r{number}", f"w{number % 3}") for number in range(300)]
        for second in range(1, 600, 5):
            for worker in range(3):
                own = [running(offer.task, 1) for offer in given[worker::3]]
                self.assertEqual(self.core.run_heartbeat(f"w{worker}", "one", own, second).answer, [])
            self.assertEqual(self.core.tick(second).entries, [])
        self.assertEqual(len(self.core), 300)

    def test_alive_without_the_run(self) -> None:
        """T17: a worker that beats but no longer names a run loses it with the lease; one that names it late keeps it."""
        kept, dropped = self.started("kept"), self.started("dropped", "w2")
        for second in range(1, 31):
            self.core.heartbeat(Beat("w1", {}, "one", slots=1), second)
            self.core.heartbeat(Beat("w2", {}, "one", slots=1), second)
            if second == 29:
                self.core.run_heartbeat("w1", "one", [running(kept.task, 1)], second)
            self.core.tick(second)
        self.assertEqual(self.state("kept"), State.RUNNING)
        self.assertNotEqual(self.state("dropped"), State.RUNNING)
        (refused,) = self.core.run_heartbeat("w2", "one", [running(dropped.task, 1, "key")], 31).answer
        self.assertIn("given away", refused.reason)

    def test_half_open_worker(self) -> None:
        """T02: a worker that vanished without a word gets an offer in vain; the next one has the task after 10 s, once."""
        self.core.heartbeat(Beat("gone", {}, "one", slots=1), 0)
        self.core.poll(make_poll("gone"), 0)
        (vain,) = offers(self.core.submit(make_task("r1"), 1))
        self.assertEqual(vain.poll.worker_id, "gone")
        self.core.poll(make_poll("w2"), 2)
        given = [offer for turn in self.step_to(2, 60) for offer in offers(turn)]
        self.assertEqual([offer.poll.worker_id for offer in given], ["w2"])


class FinishedTests(CoreTestCase):
    """Tasks that have ended, and those who do not know it."""

    def test_old_news(self) -> None:
        """T27: whoever still names, confirms or reports an ended run makes nothing of it anew, and is told to stop."""
        offer = self.started()
        self.core.report_end("w1", offer.task.root, "r1", 1, DONE, 1)
        (order,) = self.core.run_heartbeat("w1", "one", [running(offer.task, 1, "key")], 2).answer
        self.assertIn("it has ended", order.reason)
        self.assertFalse(self.core.ack("w1", offer.token, 3).answer.accepted)
        self.core.heartbeat(Beat("w1", {}, "one", slots=1, busy=1, running=(running(offer.task, 1),)), 4)
        self.assertFalse(self.core.report_end("w2", offer.task.root, "r1", 0, DONE, 5).answer.accepted)
        self.assertEqual((len(self.core), self.state("r1")), (0, State.ENDED))

    def test_nothing_grows(self) -> None:
        """T78: after two weeks of runs by workers that come and go, no more is kept than the bounds of the past allow."""
        sizes = []
        for week in (1, 2):
            for number in range(1000):
                now = week * 7 * DAY + number * 600.0
                run_id, worker = f"r{week}-{number}", f"w{week}-{number // 10}"
                offer = self.started(run_id, worker, now)
                self.core.report_end(worker, offer.task.root, run_id, offer.epoch, DONE, now + 1)
                self._awake_until(now + 599)
            sizes.append(_size(self.core))
        self.assertLessEqual(sizes[1], sizes[0] * 1.1)

    def _awake_until(self, now: float) -> None:
        """What the coordinator does meanwhile: it looks whenever a deadline has come."""
        while (due := self.core.next_deadline()) is not None and due <= now:
            self.core.tick(due)


class StormTests(CoreTestCase):
    """Very many tasks at once."""

    def test_cost_of_a_task(self) -> None:
        """T52: a task in a storm of four thousand costs what one in a storm of five hundred costs: nothing is scanned."""
        few, many = self._calls(500) / 500, self._calls(4000) / 4000
        self.assertLess(many, few * 1.3)

    def _calls(self, number: int) -> int:
        """How many functions are called to bring so many tasks, of twenty selectors, to ten workers and to their ends."""
        core = DispatchCore(CountedNames())
        calls = 0

        def count(_frame: Any, event: str, _argument: Any) -> None:
            nonlocal calls
            calls += event == "call"

        before = sys.getprofile()
        sys.setprofile(count)
        try:
            for task in range(number):
                core.submit(make_task(f"r{task}", {"kind": str(task % 20)}), 0)
            done = 0
            while done < number:
                for kind in range(20):
                    for offer in offers(core.poll(make_poll(f"w{kind}", {"kind": str(kind)}), 1)):
                        core.ack(offer.poll.worker_id, offer.token, 1)
                        turn = core.report_end(
                            offer.poll.worker_id, RunRef("job", offer.task.run.id), offer.task.run.id, 1, DONE, 1
                        )
                        done += len(endings(turn))
        finally:
            sys.setprofile(before)
        return calls


def _size(what: object, seen: set[int] | None = None) -> int:
    """How many objects hang on this one."""
    seen = set() if seen is None else seen
    if id(what) in seen or isinstance(what, (str, int, float, type)) or what is None:
        return 0
    seen.add(id(what))
    parts: list[object] = []
    if isinstance(what, dict):
        parts += [*what.keys(), *what.values()]
    elif hasattr(what, "__iter__") and hasattr(what, "__len__") and not isinstance(what, (str, bytes)):
        parts += list(what)
    parts += list(getattr(what, "__dict__", {}).values())
    for kind in type(what).__mro__:
        parts += [getattr(what, name) for name in getattr(kind, "__slots__", ()) if hasattr(what, name)]
    return 1 + sum(_size(part, seen) for part in parts)
