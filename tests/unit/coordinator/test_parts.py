"""Names, addresses and endings of the coordinator."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from txdagu.coordinator.address import advertised_host
from txdagu.coordinator.endings import examined, outcome_of, read_report
from txdagu.coordinator.handover import Owner, offered_task
from txdagu.coordinator.naming import RandomNames, attempt_name, attempt_time
from txdagu.dispatch.records import Poll
from txdagu.dispatch.turn import Inquiry, Offer
from txdagu.model.run import RunRef, RunStatus
from txdagu.model.status import RunState
from txdagu.testing.dispatch import make_task

WALL = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)


class NameTests(SynchronousTestCase):
    """Tokens and attempts."""

    def test_attempt_directory(self) -> None:
        """The name has the time in UTC with milliseconds and six hexadecimal digits."""
        names = RandomNames(lambda: WALL, lambda count: "ab" * count)
        self.assertEqual(("ababab", "attempt_20260102_030405_678Z_ababab"), names.attempt(""))
        self.assertEqual(32, len(names.token()))

    @given(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)), st.integers(-10_000, 10_000))
    def test_later_than_the_one_before(self, at: datetime, milliseconds: int) -> None:
        """Whatever the wall clock does, the next attempt of a run sorts after the one before."""
        before = attempt_name(at.replace(tzinfo=UTC), "ffffff")
        now = at.replace(tzinfo=UTC) + timedelta(milliseconds=milliseconds)
        _, after = RandomNames(lambda: now, lambda count: "00" * count).attempt(before)
        self.assertGreater(after, before)

    def test_other_names(self) -> None:
        """A name that is no attempt's has no time."""
        self.assertIsNone(attempt_time("attempt_yesterday"))
        self.assertIsNone(attempt_time(""))


class AddressTests(SynchronousTestCase):
    """What is advertised."""

    def test_rules(self) -> None:
        """Configured, else the host's name if it leads to the bound interface, else an address that others can reach."""
        cases = [
            (("0.0.0.0", "gw.example", "box", ["10.0.0.5"], "10.0.0.5"), "gw.example", ""),
            (("0.0.0.0", "", "box", ["10.0.0.5"], "10.0.0.5"), "box", ""),
            (("10.0.0.5", "", "box", ["10.0.0.5"], "10.0.0.5"), "box", ""),
            (("10.0.0.5", "", "box", ["127.0.1.1"], "10.0.0.5"), "10.0.0.5", ""),
            (("0.0.0.0", "", "box", ["127.0.1.1"], "10.0.0.5"), "10.0.0.5", ""),
            (("0.0.0.0", "", "box", [], "10.0.0.5"), "10.0.0.5", ""),
            (("127.0.0.1", "", "box", ["10.0.0.5"], "10.0.0.5"), "127.0.0.1", "only this host can reach"),
            (("127.0.0.1", "", "box", ["127.0.0.1"], "10.0.0.5"), "box", "only this host can reach"),
            (("0.0.0.0", "", "box", ["127.0.1.1"], ""), "box", "set coordinator.advertise"),
            (("::", "", "box", ["fd00::5"], "fd00::5"), "box", ""),
        ]
        for arguments, host, warning in cases:
            found = advertised_host(*arguments)
            self.assertEqual(host, found.host, arguments)
            self.assertEqual(bool(warning), bool(found.warning), arguments)
            self.assertIn(warning, found.warning)


class EndingTests(SynchronousTestCase):
    """Reports and files."""

    def test_report_without_root(self) -> None:
        """A run that names no root is its own; unknown keys do not matter."""
        report = read_report('{"name":"job","dagRunId":"r1","status":2,"error":"boom","nodes":[1]}')
        self.assertEqual((RunRef("job", "r1"), RunRef("job", "r1")), (report.run, report.root))
        assert report.outcome is not None
        self.assertEqual((RunState.FAILED, "failed: boom"), (report.outcome.state, report.outcome.reason))

    def test_unreadable_reports(self) -> None:
        """Text that is no status raises ValueError and nothing else."""
        for text in ("", "[]", '{"status":99,"dagRunId":"r"}', '{"status":"x"}', '{"status":4}'):
            with self.assertRaises(ValueError):
                read_report(text)

    def test_rest_is_an_outcome(self) -> None:
        """A task is over when nobody works on its run any more, also where that waits for a person; else it is not."""
        going_on = {state for state in RunState if outcome_of(state, "") is None}
        self.assertEqual(going_on, {RunState.NOT_STARTED, RunState.RUNNING, RunState.QUEUED})

    def test_files_of_an_attempt_that_we_named(self) -> None:
        """Only the attempt in question counts, by its id."""
        run = RunRef("job", "r1")
        asked = Inquiry(make_task("r1"), 1, 1, "w1", "abcdef", 3.0)
        ours = RunStatus(run, run, RunState.SUCCEEDED, attempt_id="abcdef")
        started, outcome = examined(asked, ours, WALL)
        self.assertTrue(started and outcome is not None)
        other = RunStatus(run, run, RunState.SUCCEEDED, attempt_id="012345")
        self.assertEqual((False, None), examined(asked, other, WALL))
        self.assertEqual((False, None), examined(asked, None, WALL))

    def test_files_of_an_attempt_that_the_worker_named(self) -> None:
        """Worker and time of start decide: an older run of the same id, or one of another worker, is not the one."""
        run = RunRef("job", "r1")
        asked = Inquiry(make_task("r1"), 1, 1, "w1", "", 10.0)

        def status(worker_id: str, ago: float) -> RunStatus:
            return RunStatus(run, run, RunState.RUNNING, worker_id=worker_id, started_at=WALL - timedelta(seconds=ago))

        self.assertEqual((True, None), examined(asked, status("w1", 9), WALL))
        self.assertEqual((True, None), examined(asked, status("w1", 13), WALL))
        self.assertEqual((False, None), examined(asked, status("w1", 600), WALL))
        self.assertEqual((False, None), examined(asked, status("w2", 9), WALL))

    def test_attempt_that_was_there_before(self) -> None:
        """What the same worker did a moment before the task was accepted is not the task's, however close the times are."""
        run = RunRef("job", "r1")
        asked = Inquiry(replace(make_task("r1"), earlier_attempt="abcdef"), 1, 1, "w1", "", 1.0)
        before = RunStatus(run, run, RunState.SUCCEEDED, attempt_id="abcdef", worker_id="w1", started_at=WALL)
        self.assertEqual((False, None), examined(asked, before, WALL))
        started, outcome = examined(asked, replace(before, attempt_id="012345"), WALL)
        self.assertTrue(started and outcome is not None)


class OfferTests(SynchronousTestCase):
    """Tasks as workers get them."""

    def test_words_of_ours(self) -> None:
        """Workers of Dagu get a definition without words that they would refuse; ours get it as it was written."""
        written = "onWorkerLost: fail\nsteps: [a]\n"
        task = replace(make_task("r1"), definition=written)
        for confirms, definition in ((True, written), (False, "steps:\n- a\n")):
            offer = Offer(Poll("w", {}), task, "token", 1, "id", "name", confirms)
            self.assertEqual(definition, offered_task(offer, Owner("c", "host", 1)).definition)
