"""Log lines of services: the text and JSON forms that Dagu 1.30.2 writes (those of Go's slog)."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    formatEvent,
    globalLogBeginner,
)
from zope.interface import implementer

_WORDS = {
    LogLevel.debug: "DEBUG",
    LogLevel.info: "INFO",
    LogLevel.warn: "WARN",
    LogLevel.error: "ERROR",
    LogLevel.critical: "ERROR",
}
_PLAIN = re.compile(r'[^\s"=\\\x00-\x1f\x7f]+')
_LEGACY = frozenset(("message", "time", "system", "isError", "format", "failure", "why", "printed"))


def begin_logging(stream: Stream, log_format: str, *, debug: bool = False, quiet: bool = False) -> None:
    """
    Send all events, those of the past included, to `stream`.

    `debug` shows every detail, `quiet` warnings and errors only; otherwise events from info on, and
    of Twisted itself from warning on.
    """
    render = json_line if log_format == "json" else text_line
    observer = FilteringLogObserver(LineObserver(stream, render), [shown(debug=debug, quiet=quiet)])
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)


def shown(*, debug: bool = False, quiet: bool = False) -> LogLevelFilterPredicate:
    """Which events are written. Events of Twisted's old logging, which much of it still uses, have a namespace of their own."""
    predicate = LogLevelFilterPredicate(defaultLogLevel=LogLevel.warn if quiet else LogLevel.info)
    if debug and not quiet:
        predicate.setLogLevelForNamespace("", LogLevel.debug)
    else:
        predicate.setLogLevelForNamespace("twisted", LogLevel.warn)
        predicate.setLogLevelForNamespace("log_legacy", LogLevel.warn)
    return predicate


class Stream(Protocol):
    """Where lines go."""

    def write(self, text: str, /) -> object:
        """Take some text."""

    def flush(self) -> object:
        """Let go of what was kept back."""


class StandardError:
    """Whatever `sys.stderr` is at the time of writing: a live table on the terminal takes its place for a while."""

    def write(self, text: str, /) -> None:
        """Write to it."""
        sys.stderr.write(text)

    def flush(self) -> None:
        """Flush it."""
        sys.stderr.flush()


@implementer(ILogObserver)
class LineObserver:
    """Writes each event as `render` has it. A stream that takes no more is left alone: logging never ends a service."""

    def __init__(self, stream: Stream, render: Callable[[LogEvent], str]) -> None:
        self._stream = stream
        self._render = render

    def __call__(self, event: LogEvent) -> None:
        """Write one event."""
        try:
            self._stream.write(f"{self._render(event)}\n")
            self._stream.flush()
        except (OSError, ValueError):
            return


def text_line(event: LogEvent) -> str:
    """``time=… level=INFO msg="…" key=value``; a traceback follows on lines of its own."""
    pairs = _pairs(event)
    traceback = pairs.pop("traceback", "")
    line = " ".join(f"{key}={_quoted(value)}" for key, value in pairs.items())
    return f"{line}\n{traceback.rstrip()}" if isinstance(traceback, str) and traceback else line


def json_line(event: LogEvent) -> str:
    """The same as one JSON object, traceback included."""
    return json.dumps(_pairs(event), ensure_ascii=False)


def _pairs(event: LogEvent) -> dict[str, str | int | float | bool]:
    at = datetime.fromtimestamp(event.get("log_time", 0.0)).astimezone()
    pairs: dict[str, str | int | float | bool] = {
        "time": at.isoformat(timespec="milliseconds"),
        "level": _WORDS.get(event.get("log_level", LogLevel.info), "INFO"),
        "msg": formatEvent(event) or str(event.get("log_failure", "")),
    }
    for key, value in event.items():
        known = key.startswith("log_") or key in _LEGACY or key in pairs
        if not known and isinstance(value, str | int | float) and value != pairs["msg"]:
            pairs[key] = value
    failure = event.get("log_failure")
    if failure is not None:
        pairs["error"] = failure.getErrorMessage()
        pairs["traceback"] = failure.getTraceback()
    return pairs


def _quoted(value: str | float) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)
