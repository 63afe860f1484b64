"""How two observations differ, value by value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_ABSENT = "(absent)"


def differences(theirs: Any, ours: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Path, their value and ours, for each that is not the same; the path's parts are joined with ``/``."""
    if isinstance(theirs, Mapping) and isinstance(ours, Mapping):
        for key in dict.fromkeys([*theirs, *ours]):
            yield from differences(theirs.get(key, _ABSENT), ours.get(key, _ABSENT), f"{path}/{key}" if path else key)
    elif theirs != ours:
        yield path, theirs, ours


def value_at(observed: Mapping[str, Any], path: str) -> Any:
    """The value at a path as `differences` writes it; the leading ``run/`` may be left out."""
    first, *rest = path.split("/")
    value = observed[first] if first in observed else (observed["run"] or {}).get(first, _ABSENT)
    for part in rest:
        value = value.get(part, _ABSENT) if isinstance(value, Mapping) else _ABSENT
    return value


def covered(path: str, prefixes: tuple[str, ...]) -> str:
    """Which of the prefixes leads to the path; empty if none does."""
    return next((prefix for prefix in prefixes if path == prefix or path.startswith(f"{prefix}/")), "")
