"""Where changes of something can be seen: directories, and names in them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """
    A directory to look at, and what in it matters: `name` exactly, or else everything ending in `suffix`.

    At a place of `structure`, a change may mean that one has to look elsewhere now.
    """

    directory: str
    name: str = ""
    suffix: str = ""
    structure: bool = False


@dataclass(frozen=True, slots=True)
class Places:
    """All places where a change can be seen now; `complete` if nothing can change unseen there."""

    places: frozenset[Place] = frozenset()
    complete: bool = False
