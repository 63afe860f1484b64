"""Names in the data directory."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from unittest import TestCase

from hypothesis import given
from hypothesis import strategies as st

from txdagu.model.errors import InvalidInputError
from txdagu.model.ids import new_run_id
from txdagu.store import layout

AT = datetime(2026, 11, 24, 2, 54, 1, 961_999, tzinfo=timezone(timedelta(hours=9)))


class NamesTests(TestCase):
    """Real names of Dagu 1.30.2 for known times and ids."""

    def test_names(self) -> None:
        """Directories carry UTC, log files local time, queue items nanoseconds."""
        for made, expected in (
            (layout.day_path(AT), "2026/11/23"),
            (layout.run_dir_name(AT, "run-A_1"), "dag-run_20261123_175401Z_run-A_1"),
            (layout.attempt_dir_name(AT, "c5c766"), "attempt_20261123_175401_961Z_c5c766"),
            (layout.run_log_name(AT, "0193-56789"), "dag-run_20261124.025401.961.0193-567.log"),
            (layout.step_log_dir_name(AT, "c5c766"), "run_20261123_175401Z_c5c766"),
            (
                layout.step_log_stem("step with spaces & / slash", AT, "run-A_1"),
                "step_with_spaces_____slash.20261124.025401.961.run-A_1",
            ),
            (layout.proc_file_name(AT, "slow-1"), "proc_20261123_175401Z_slow-1.proc"),
            (layout.queue_item_name(AT, "qa"), "item_low_20261123_175401_961999000Z_qa.json"),
            (layout.child_dir_name("9rav"), "child_9rav"),
        ):
            self.assertEqual(made, expected)

    def test_prefixes(self) -> None:
        """A hash of the whole name is added where replacing or cutting changed it; endings of files fall away first."""
        for name, expected in (
            ("basic", "basic"),
            ("dotted.v1", "dotted_v1-965b"),
            ("x.yaml", "x"),
            ("a.b.yml", "a_b-6970"),
            ("dir/basic.yml", "basic"),
        ):
            self.assertEqual(layout.run_prefix(name), expected)
        long = layout.run_prefix("x" * 120)
        self.assertEqual(long[:101], "x" * 100 + "-")
        self.assertEqual(len(long), 105)

    def test_parsed(self) -> None:
        """Names are read back whole; hidden, foreign and malformed ones are not taken."""
        self.assertEqual(layout.parse_run_dir("dag-run_20261123_175401Z_run-A_1"), "run-A_1")
        attempt = layout.parse_attempt_dir("attempt_20261123_175401_961Z_my-own.id")
        assert attempt
        self.assertEqual(attempt.id, "my-own.id")
        self.assertEqual(layout.parse_proc_file("proc_20261123_175401Z_a_b.proc"), "a_b")
        for name in (
            ".attempt_20261123_175401_961Z_c",
            "attempt_20261123_175401Z_c",
            "attempt_20261123_175401_9Z_c",
            "x",
        ):
            self.assertIsNone(layout.parse_attempt_dir(name))
        for name in ("dag-run_20261123_175401_x", "dag-run_20261123_175401Z_", "dag-run_20261123_175401Z_a/../b"):
            self.assertIsNone(layout.parse_run_dir(name))
        self.assertIsNone(layout.parse_proc_file("proc_20261123_175401Z_x.tmp"))

    def test_order_of_queue_items(self) -> None:
        """High priority goes first, then the older one; other files are no items."""
        names = [
            "item_low_20261123_175633_086424841Z_a.json",
            "item_low_20261123_175633_086424842Z_b.json",
            "item_high_20261124_000000_000000000Z_c.json",
        ]
        orders = [(order, name[-6]) for name in names if (order := layout.queue_item_order(name))]
        self.assertEqual([name for _, name in sorted(orders)], ["c", "a", "b"])
        self.assertIsNone(layout.queue_item_order("queue_123"))

    def test_one_element_of_a_path(self) -> None:
        """Names from outside cannot lead to other directories."""
        self.assertEqual(layout.single_name("a b.c", "queue"), "a b.c")
        for name in ("", ".", "..", "a/b", "../x", "a\0"):
            with self.assertRaisesRegex(InvalidInputError, "queue"):
                layout.single_name(name, "queue")

    @given(st.datetimes(datetime(2000, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC)), st.integers(0, 3000))
    def test_later_attempts_sort_later(self, at: datetime, back: int) -> None:
        """An attempt made after another sorts after it, also when the clock stands still or goes back."""
        first = layout.attempt_dir_name(at, "ffffff")
        second = layout.attempt_dir_name(at - timedelta(milliseconds=back), "000000", first)
        self.assertGreater(second, first)
        self.assertIsNotNone(layout.parse_attempt_dir(second))

    def test_attempt_after_a_stamp_that_is_no_date(self) -> None:
        """A foreign attempt with an impossible date is followed all the same."""
        last = "attempt_29991399_999999_999Z_x"
        name = layout.attempt_dir_name(AT, "000000", last)
        self.assertGreater(name, last)
        self.assertIsNotNone(layout.parse_attempt_dir(name))

    def test_birthday(self) -> None:
        """Ids of version 7 tell the first day their run can lie in, other ids do not."""
        self.assertEqual(layout.birthday(new_run_id(int(AT.timestamp() * 1000), b"0123456789")), "2026/11/22")
        self.assertEqual(layout.birthday("run-A_1"), "")
        self.assertEqual(layout.birthday("2f1e4d3c-0000-4000-8000-000000000000"), "")
