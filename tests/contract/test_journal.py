"""What every journal promises, whether it outlives the process or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txdagu.dispatch.journal import Journal, MemoryJournal
from txdagu.dispatch.machine import State
from txdagu.dispatch.records import Entry, Outcome, StandingEntry, Transition
from txdagu.model.run import RunRef
from txdagu.model.standing import Mode, Standing
from txdagu.model.status import RunState
from txdagu.model.task import Operation, Task
from txdagu.testing.journal import UNIX_START, Lives, journal_in

if TYPE_CHECKING:
    Suite = SynchronousTestCase
else:
    Suite = object  # so that it is run for the providers only

FULL_TASK = Task(
    run=RunRef("child", "c1"),
    root=RunRef("top", "r1"),
    parent=RunRef("mid", "m1"),
    operation=Operation.RETRY,
    target="child",
    params='A="ü" B=\x00',
    step="only",
    selector={"gpu": "", "zone": "a=b"},
    definition="steps:\n  - echo '\u2028'\n",
)


def essence(entry: Entry) -> Entry:
    """An entry without what a journal need not give back: what the transition began with, and fractions of a millisecond."""
    line = entry.transition
    return replace(
        entry,
        before=State.NEW,
        before_epoch=0,
        offered_at=round(entry.offered_at, 3),
        transition=replace(line, at=round(line.at, 3)),
    )


class Contract(Suite):
    """The suite; providers say how their journal is made."""

    clock: Clock
    journal: Journal

    def make(self) -> Journal:
        """A journal without entries."""
        raise AssertionError("providers make their journal")

    def setUp(self) -> None:
        """An open journal."""
        super().setUp()
        self.clock = Clock()
        self.clock.advance(1000)
        self.journal = self.make()
        self.result(self.journal.open())

    def tearDown(self) -> None:
        """Close it."""
        self.result(self.journal.close())

    def result(self, awaitable: Any) -> Any:
        """What it comes to, at once."""
        return self.successResultOf(Deferred.fromCoroutine(awaitable))

    def commit(self, *turns: Sequence[Entry]) -> None:
        """Each in a commit of its own."""
        for turn in turns:
            self.result(self.journal.commit(turn))

    def test_empty(self) -> None:
        """A new journal has nothing, and no number was ever given."""
        kept = self.result(self.journal.load())
        self.assertEqual(((), (), 0), (kept.open, kept.ended, kept.last_number))

    def test_newest_of_each_task(self) -> None:
        """Open tasks come back in the order of acceptance, ended ones in the order of their ends, each as it was last."""
        lives = Lives()
        waiting = [lives.submit("w2"), lives.submit("w1")]
        ended = [lives.whole("e1"), lives.whole("e2")]
        self.commit(*waiting, *ended[0][:-1], *ended[1], ended[0][-1])
        kept = self.result(self.journal.load())
        self.assertEqual([essence(turn[-1]) for turn in waiting], [essence(entry) for entry in kept.open])
        self.assertEqual(["e1", "e2"], sorted(entry.task.run.id for entry in kept.ended))
        self.assertEqual({State.ENDED}, {entry.transition.state for entry in kept.ended})
        self.assertEqual(4, kept.last_number)

    def test_everything_comes_back(self) -> None:
        """Every field of an entry survives, whatever characters it holds."""
        outcome = Outcome(RunState.PARTIALLY_SUCCEEDED, "half \u2713", '{"status":6}')
        values: dict[str, Any] = {
            "token": "t",
            "attempt_id": "00ff00",
            "attempt_name": "attempt_x",
            "confirms": True,
            "cancel_reason": "asked; for",
            "incarnation": "life-1",
            "lost_workers": ("w7", "w8"),
            "offered_at": 999.25,
            "adopted": True,
        }
        first = Entry(7, FULL_TASK, Transition(1000.5, State.QUEUED, "", 3, "waits"), before_epoch=3)
        second = Entry(
            7, FULL_TASK, Transition(1001.125, State.RUNNING, "wörker", 4, "why"), sequence=2, before=State.QUEUED,
            before_epoch=3, **values,
        )  # fmt: skip
        third = replace(
            second, transition=Transition(1002.0, State.ENDED, "wörker", 4, "done"), outcome=outcome, sequence=3,
            before=State.RUNNING, before_epoch=4,
        )  # fmt: skip
        for entry in (first, second):
            self.commit([entry])
            self.assertEqual([essence(entry)], [essence(one) for one in self.result(self.journal.load()).open])
        self.clock.advance(3)
        self.commit([third])
        kept = self.result(self.journal.load())
        self.assertEqual([essence(third)], [essence(one) for one in kept.ended])
        self.assertEqual(7, kept.last_number)

    def test_standings_of_workers(self) -> None:
        """What keeps tasks from a worker comes back as it was ordered last, with or beside tasks, until it is lifted."""
        drained = StandingEntry("gpu@1", Standing(Mode.DRAINING, 1000.5, 1600.25, "disk \u2713", "ada@host1"))
        cordoned = StandingEntry("eu-1", Standing(Mode.CORDONED, 1001.0, None, "", ""))
        changed = StandingEntry("eu-1", Standing(Mode.CORDONED, 1001.0, None, "power", "bob"))
        waiting = Lives().submit("r1")
        self.result(self.journal.commit((), [cordoned]))
        self.result(self.journal.commit(waiting, [drained, changed]))
        kept = self.result(self.journal.load())
        self.assertEqual([changed, drained], sorted(kept.standings, key=lambda entry: entry.worker_id))
        self.assertEqual(1, len(kept.open))
        self.result(self.journal.commit((), [StandingEntry("gpu@1", None), StandingEntry("never", None)]))
        self.assertEqual((changed,), self.result(self.journal.load()).standings)

    def test_several_transitions_in_one_commit(self) -> None:
        """A turn may move one task several times, or begin and end it: the last state counts, all are in the timeline."""
        turns = Lives().whole("r1")
        self.commit([entry for turn in turns for entry in turn])
        kept = self.result(self.journal.load())
        self.assertEqual(((), 1), (kept.open, len(kept.ended)))
        run = RunRef("job", "r1")
        states = [line.state for line in self.result(self.journal.timeline(run, "r1"))]
        self.assertEqual([State.QUEUED, State.OFFERED, State.RUNNING, State.ENDED], states)

    def test_timeline_of_a_run(self) -> None:
        """The flight recorder has every task of a run, one after the other, and nothing of others."""
        lives = Lives()
        self.commit(*lives.whole("r1"), *lives.whole("other"), *lives.whole("r1"))
        lines = self.result(self.journal.timeline(RunRef("job", "r1"), "r1"))
        self.assertEqual(8, len(lines))
        self.assertEqual([1, 2], sorted({line.epoch for line in lines} - {0}))
        self.assertEqual(("worker-r1", "worker worker-r1 confirmed"), (lines[2].worker_id, lines[2].reason))
        self.assertEqual([round(line.at, 3) for line in lines], sorted(round(line.at, 3) for line in lines))
        self.assertEqual([], list(self.result(self.journal.timeline(RunRef("job", "nobody"), "r1"))))

    def test_empty_commit(self) -> None:
        """A commit of nothing returns when those before it are kept."""
        first = Deferred.fromCoroutine(_coroutine(self.journal.commit(Lives().submit("r1"))))
        second = Deferred.fromCoroutine(_coroutine(self.journal.commit([])))
        self.successResultOf(first)
        self.successResultOf(second)
        self.assertEqual(1, len(self.result(self.journal.load()).open))


async def _coroutine(awaitable: Any) -> Any:
    return await awaitable


class MemoryJournalTests(Contract, SynchronousTestCase):
    """The one that lives as long as the process."""

    def make(self) -> Journal:
        """In memory."""
        return MemoryJournal()

    def test_bounded(self) -> None:
        """Of ended tasks no more are kept than asked for, and nothing of their timelines."""
        journal = MemoryJournal(ended=1)
        lives = Lives()
        for turn in (*lives.whole("r1"), *lives.whole("r2")):
            self.result(journal.commit(turn))
        self.assertEqual(["r2"], [entry.task.run.id for entry in self.result(journal.load()).ended])
        self.assertEqual([], list(self.result(journal.timeline(RunRef("job", "r1"), "r1"))))


class DurableJournalTests(Contract, SynchronousTestCase):
    """The one on disk."""

    def make(self) -> Journal:
        """In a directory of its own."""
        self.directory = Path(self.mktemp())
        return journal_in(self.directory, self.clock)

    def test_survives_the_process(self) -> None:
        """Another process finds what was committed, with times of its own clock, and goes on numbering."""
        lives = Lives()
        turn = lives.submit("r1")
        self.commit(turn, *lives.whole("r2"))
        self.result(self.journal.close())
        self.clock = Clock()
        self.clock.advance(5)
        self.journal = journal_in(self.directory, self.clock, unix_start=UNIX_START + 1005)
        self.result(self.journal.open())
        kept = self.result(self.journal.load())
        self.assertEqual(["r1"], [entry.task.run.id for entry in kept.open])
        self.assertAlmostEqual(1.0 - 1005, kept.open[0].transition.at, 2)
        self.assertEqual((["r2"], 2), ([entry.task.run.id for entry in kept.ended], kept.last_number))
