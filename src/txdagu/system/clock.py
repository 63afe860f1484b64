"""The time, read nowhere else: services hand these functions to those who need them."""

from __future__ import annotations

import time
from datetime import datetime

monotonic = time.monotonic
"""Seconds that no change of the clock disturbs; only differences mean something, and only in this process."""


def boottime() -> float:
    """Seconds since this host was started, those included in which it slept; the same in all of its processes."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def local_now() -> datetime:
    """The time with the zone of this host, as people read it in files and reports."""
    return datetime.now().astimezone()


def unix_now() -> float:
    """The time in Unix seconds."""
    return time.time_ns() / 1e9


def unix_now_ms() -> int:
    """The time in whole Unix milliseconds."""
    return time.time_ns() // 1_000_000
