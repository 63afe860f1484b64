"""Which captured outputs a step can see: those of its ancestors, the nearest one winning."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class Visible:
    """
    Outputs that a step and its dependants can see, each with its distance.

    Distances are kept relative to `shift`, so that passing all of them along one edge costs nothing.
    """

    entries: dict[str, tuple[int, str]] = field(default_factory=dict)
    shift: int = 0

    def values(self) -> dict[str, str]:
        """Names and values."""
        return {name: value for name, (_, value) in self.entries.items()}


def inherited(parents: Iterable[Visible]) -> Visible:
    """What a step sees whose dependencies see `parents`; at equal distance the dependency named first wins."""
    filled = [parent for parent in parents if parent.entries]
    if not filled:
        return Visible()
    if len(filled) == 1:
        return Visible(filled[0].entries, filled[0].shift + 1)
    merged: dict[str, tuple[int, str]] = {}
    for parent in filled:
        for name, (relative, value) in parent.entries.items():
            distance = relative + parent.shift + 1
            if name not in merged or distance < merged[name][0]:
                merged[name] = (distance, value)
    return Visible(merged)


def extended(seen: Visible, own: Mapping[str, str]) -> Visible:
    """What the dependants of a step inherit that sees `seen` and has captured `own`."""
    if not own:
        return seen
    return Visible({**seen.entries, **{name: (-seen.shift, value) for name, value in own.items()}}, seen.shift)
