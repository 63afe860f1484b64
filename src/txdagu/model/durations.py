"""Lengths of time as Go writes them: ``30s``, ``1.5m``, ``1h30m``."""

from __future__ import annotations

import re

NANOSECONDS = 1_000_000_000
DURATION = re.compile(r"0|[-+]?(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:ns|us|µs|ms|s|m|h))+")
_PART = re.compile(r"([0-9]*\.?[0-9]*)(ns|us|µs|ms|s|m|h)")
_UNITS = {
    "ns": 1,
    "us": 1000,
    "µs": 1000,
    "ms": 10**6,
    "s": NANOSECONDS,
    "m": 60 * NANOSECONDS,
    "h": 3600 * NANOSECONDS,
}


def nanoseconds(text: str) -> int:
    """How long the text says; what is none of the language's units counts nothing."""
    return int(sum(float(number or 0) * _UNITS[unit] for number, unit in _PART.findall(text)))
