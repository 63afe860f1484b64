"""Values with the place where they were written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from txdagu.model.scalars import scalar_text

Scalar: TypeAlias = str | int | float | bool | None


class Position(NamedTuple):
    """A place in a text; lines and columns count from 1."""

    line: int
    column: int


NO_KEYS: Mapping[str, Position] = MappingProxyType({})


@dataclass(slots=True)
class Node:
    """
    One value of a YAML text and where it begins.

    `value` is a dict of nodes, a list of nodes, or a scalar. `keys` says where each key of a mapping stands; `text` is a scalar
    as it was written, without quotes. A node that was written once and used in several places is shared.
    """

    value: dict[str, Node] | list[Node] | Scalar
    line: int
    column: int
    text: str = ""
    keys: Mapping[str, Position] = field(default_factory=lambda: NO_KEYS)


def plain(node: Node) -> Any:
    """The value without positions: dicts, lists and scalars."""
    value = node.value
    if isinstance(value, dict):
        return {key: plain(child) for key, child in value.items()}
    if isinstance(value, list):
        return [plain(child) for child in value]
    return value


def where(source: str, place: Node | Position) -> str:
    """``file:12:5``, as editors understand it."""
    return f"{source}:{place.line}:{place.column}"


def label_text(node: Node) -> str:
    """
    The text of a scalar as the value of a worker's label: ``true`` and ``false``, and numbers as they were written.

    So ``cuda: 11.10`` asks for the same as ``--worker.labels cuda=11.10``.
    """
    if isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return node.text
    return scalar_text(plain(node))
