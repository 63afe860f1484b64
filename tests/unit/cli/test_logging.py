"""Log lines of services."""

from __future__ import annotations

import io
import json

from twisted.logger import FilteringLogObserver, LogEvent, Logger, LogLevel, LogPublisher
from twisted.python import log as old_log
from twisted.trial.unittest import SynchronousTestCase

from txdagu.cli.logging import LineObserver, json_line, shown, text_line


def event(**fields: object) -> LogEvent:
    """An event at a fixed time."""
    return {"log_time": 1700000000.25, "log_level": LogLevel.info, "log_format": "hello", **fields}


class Lines(SynchronousTestCase):
    """The forms of slog."""

    def test_text(self) -> None:
        """time, level, msg and fields; quoted where needed, names as in the format string."""
        line = text_line(event(log_format="worker {worker_id} became {health}", worker_id="w 1", health="healthy", n=3))
        time, rest = line.split(" ", 1)
        self.assertRegex(time, r"^time=2023-11-1\dT\d\d:\d\d:20\.250[+-]\d\d:\d\d$")
        self.assertEqual(rest, 'level=INFO msg="worker w 1 became healthy" worker_id="w 1" health=healthy n=3')

    def test_quoting(self) -> None:
        """A line is one line, whatever is in it."""
        line = text_line(event(log_format="got {text}", text='a "b"\nc=d'))
        self.assertTrue(line.endswith('msg="got a \\"b\\"\\nc=d" text="a \\"b\\"\\nc=d"'), line)
        self.assertTrue(text_line(event(log_format="x", x="")).endswith('msg=x x=""'))

    def test_no_echo(self) -> None:
        """A field that is the whole message is not told twice."""
        self.assertTrue(text_line(event(log_format="{warning}", warning="careful")).endswith("msg=careful"))

    def test_levels(self) -> None:
        """Twisted's five levels in slog's four words."""
        words = {
            level.name: json.loads(json_line(event(log_level=level)))["level"] for level in LogLevel.iterconstants()
        }
        self.assertEqual(
            words, {"debug": "DEBUG", "info": "INFO", "warn": "WARN", "error": "ERROR", "critical": "ERROR"}
        )

    def test_json(self) -> None:
        """One object a line; fields keep their types, objects that are no plain values are left out."""
        found = json.loads(json_line(event(count=2, ok=True, thing=object(), log_namespace="x")))
        self.assertEqual(found.pop("time")[19:23], ".250")
        self.assertEqual(found, {"level": "INFO", "msg": "hello", "count": 2, "ok": True})

    def test_failure(self) -> None:
        """A failure tells its message in the line and its traceback below; in JSON in the object."""
        written = io.StringIO()
        log = Logger(observer=LineObserver(written, text_line))
        as_json = io.StringIO()
        second = Logger(observer=LineObserver(as_json, json_line))
        for logger in (log, second):
            try:
                raise ValueError("oh no")
            except ValueError:
                logger.failure("while {doing}", doing="trying")
        first, *rest = written.getvalue().splitlines()
        self.assertIn('level=ERROR msg="while trying"', first)
        self.assertIn('error="oh no"', first)
        self.assertIn("Traceback", rest[0])
        self.assertIn("ValueError: oh no", json.loads(as_json.getvalue())["traceback"])

    def test_closed_stream(self) -> None:
        """A reader that has gone does not end the service."""
        stream = io.StringIO()
        stream.close()
        LineObserver(stream, text_line)(event())

    def test_what_is_shown(self) -> None:
        """Of Twisted itself only what is wrong: no ports that open and close; with debug everything."""
        for debug, expected in ((False, ["ours"]), (True, ["(TCP Port 8080 Closed)", "ours"])):
            written = io.StringIO()
            observer = FilteringLogObserver(LineObserver(written, text_line), [shown(debug=debug)])
            publisher = old_log.LogPublisher(publishPublisher=LogPublisher(observer))
            publisher.msg("(TCP Port 8080 Closed)")
            Logger("txdagu.x", observer=observer).info("ours")
            self.assertEqual([line.split("msg=")[1].strip('"') for line in written.getvalue().splitlines()], expected)
