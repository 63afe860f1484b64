"""What is wrong with a file, collected while it is read."""

from __future__ import annotations

from dataclasses import replace

from txdagu.model.errors import InvalidInputError, Problem
from txdagu.yamltree import Node, Position, where


class Report:
    """
    Problems of one text, each with its place; what is reported twice (through an anchor) is kept once.

    `warnings` are about what is read but has no effect.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self._problems: dict[Problem, tuple[int, int]] = {}
        self._warnings: dict[Problem, tuple[int, int]] = {}

    def add(self, message: str, place: Node | Position, advice: str = "") -> None:
        """Note one problem."""
        problem = Problem(message, where(self.source, place), advice)
        self._problems.setdefault(problem, (place.line, place.column))

    def field(self, field: str, message: str, place: Node | Position, advice: str = "") -> None:
        """Note a problem with the value of a field."""
        self.add(f"field '{field}': {message}", place, advice)

    def warn(self, message: str, place: Node | Position, advice: str = "") -> None:
        """Note something that is no error, and has no effect."""
        problem = Problem(message, where(self.source, place), advice)
        self._warnings.setdefault(problem, (place.line, place.column))

    @property
    def warnings(self) -> list[Problem]:
        """All warnings in the order of their places."""
        return sorted(self._warnings, key=self._warnings.__getitem__)

    def adopt(self, error: InvalidInputError, place: Node | Position) -> None:
        """Note what a function objected to that knows no places."""
        for problem in error.problems:
            self.add(problem.message, place, problem.advice)

    def problems(self, roots: list[Node]) -> list[Problem]:
        """All problems in the order of their places, each with the path of keys that leads to it from one of the `roots`."""
        if not self._problems:
            return []
        paths = _paths(roots)
        ordered = sorted(self._problems, key=self._problems.__getitem__)
        return [replace(problem, path=paths.get(self._problems[problem], "")) for problem in ordered]


def _paths(roots: list[Node]) -> dict[tuple[int, int], str]:
    """The path of keys to each place of the documents; what an alias repeats has that of its first use."""
    paths: dict[tuple[int, int], str] = {}
    seen: set[int] = set()
    waiting = [(root, "") for root in reversed(roots)]
    while waiting:
        node, path = waiting.pop()
        paths.setdefault((node.line, node.column), path)
        if id(node) in seen:
            continue
        seen.add(id(node))
        inner: list[tuple[Node, str]] = []
        if isinstance(node.value, dict):
            for key, child in node.value.items():
                inner.append((child, f"{path}.{key}" if path else key))
                paths.setdefault((node.keys[key].line, node.keys[key].column), inner[-1][1])
        elif isinstance(node.value, list):
            inner = [(child, f"{path}[{index}]") for index, child in enumerate(node.value)]
        waiting.extend(reversed(inner))
    return paths
