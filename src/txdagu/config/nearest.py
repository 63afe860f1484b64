"""What a misspelled word was probably meant to be."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(word: str, known: Iterable[str], cutoff: float = 0.7) -> str:
    """The known word that is most like `word`, whatever the case; empty if none is alike enough (1.0 would be equal)."""
    from difflib import get_close_matches

    by_lower: dict[str, str] = {}
    for candidate in known:
        by_lower.setdefault(candidate.lower(), candidate)
    matches = get_close_matches(word.lower(), by_lower, n=1, cutoff=cutoff)
    return by_lower[matches[0]] if matches else ""


def within_edits(word: str, known: Iterable[str], limit: int) -> str:
    """The first known word that at most `limit` single-character insertions, deletions or changes make of `word`, else empty."""
    for candidate in known:
        if abs(len(candidate) - len(word)) <= limit and _edits(word, candidate) <= limit:
            return candidate
    return ""


def _edits(one: str, other: str) -> int:
    """Levenshtein's distance."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(other, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]
