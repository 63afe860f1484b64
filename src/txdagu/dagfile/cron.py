"""Whether a text is a cron expression as Dagu 1.30.2 takes it: five fields, names of months and days, a time zone in front."""

from __future__ import annotations

import re

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 6, _DAYS),
)
_ZONE = re.compile(r"(?:CRON_TZ|TZ)=[A-Za-z0-9_+\-/]+")
_PART = re.compile(r"(?P<first>\*|\?|\w+)(?:-(?P<last>\w+))?(?:/(?P<step>\d+))?")


def schedule_error(expression: str) -> str:
    """What is wrong with a cron expression, or nothing."""
    words = expression.split()
    if words and words[0].startswith(("CRON_TZ=", "TZ=")):
        if not _ZONE.fullmatch(words[0]):
            return f"{words[0]} names no time zone"
        del words[0]
    if len(words) != len(_FIELDS):
        return f"expected exactly 5 fields, found {len(words)}: {expression!r}"
    for word, (what, least, most, names) in zip(words, _FIELDS, strict=True):
        for part in word.split(","):
            if not _is_part(part, least, most, names):
                return f"{part!r} is no {what} ({least} to {most})"
    return ""


def _is_part(part: str, least: int, most: int, names: tuple[str, ...]) -> bool:
    match = _PART.fullmatch(part)
    if match is None or (match["step"] is not None and int(match["step"]) == 0):
        return False
    if match["first"] in ("*", "?"):
        return match["last"] is None
    first = _number(match["first"], least, names)
    last = first if match["last"] is None else _number(match["last"], least, names)
    return first is not None and last is not None and least <= first <= last <= most


def _number(text: str, least: int, names: tuple[str, ...]) -> int | None:
    if text.isascii() and text.isdigit():
        return int(text)
    return names.index(text.lower()) + least if text.lower() in names else None
