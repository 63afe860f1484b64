"""Which texts are cron expressions."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txdagu.dagfile.cron import schedule_error

GOOD = [
    "* * * * *",
    "*/5 0-6,12 1 1 0",
    "0 2 * * MON-FRI",
    "0 2 * jan,Dec sun",
    "5/15 * ? * ?",
    "0 0-23/2 1-31 1-12 0-6",
    "CRON_TZ=Europe/Berlin 0 2 * * *",
    "TZ=Etc/GMT+3  0 2 * * *",
    "  0   2 * * *  ",
]
BAD = [
    ("", "expected exactly 5 fields, found 0"),
    ("* * * *", "expected exactly 5 fields, found 4"),
    ("0 * * * * *", "expected exactly 5 fields, found 6"),
    ("@daily", "expected exactly 5 fields, found 1"),
    ("TZ=Europe/Berlin", "expected exactly 5 fields, found 0"),
    ("TZ= 0 2 * * *", "TZ= names no time zone"),
    ("60 * * * *", "'60' is no minute (0 to 59)"),
    ("* 24 * * *", "'24' is no hour (0 to 23)"),
    ("* * 0 * *", "'0' is no day of month (1 to 31)"),
    ("* * * 13 *", "'13' is no month (1 to 12)"),
    ("* * * * 7", "'7' is no day of week (0 to 6)"),
    ("* * * * MONDAY", "'MONDAY' is no day of week"),
    ("* * * MON *", "'MON' is no month"),
    ("*/0 * * * *", "'*/0' is no minute"),
    ("5-1 * * * *", "'5-1' is no minute"),
    ("*-5 * * * *", "'*-5' is no minute"),
    ("1,,2 * * * *", "'' is no minute"),
    ("-1 * * * *", "'-1' is no minute"),
    ("² * * * *", "'²' is no minute"),
]


class CronTests(SynchronousTestCase):
    def test_good(self) -> None:
        """Lists, ranges, steps, names and zones are accepted."""
        for text in GOOD:
            assert schedule_error(text) == "", text

    def test_bad(self) -> None:
        """The first part that is wrong is named, with what may stand there."""
        for text, message in BAD:
            assert message in schedule_error(text), text
