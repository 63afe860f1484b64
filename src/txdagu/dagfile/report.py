"""What is wrong with a file, collected while it is read."""

from __future__ import annotations

from txdagu.model.errors import InvalidInputError, Problem
from txdagu.yamltree import Node, Position, where


class Report:
    """Problems of one text, each with its place; what is reported twice (through an anchor) is kept once."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._problems: dict[Problem, tuple[int, int]] = {}

    def add(self, message: str, place: Node | Position, advice: str = "") -> None:
        """Note one problem."""
        problem = Problem(message, where(self.source, place), advice)
        self._problems.setdefault(problem, (place.line, place.column))

    def field(self, field: str, message: str, place: Node | Position, advice: str = "") -> None:
        """Note a problem with the value of a field."""
        self.add(f"field '{field}': {message}", place, advice)

    def adopt(self, error: InvalidInputError, place: Node | Position) -> None:
        """Note what a function objected to that knows no places."""
        for problem in error.problems:
            self.add(problem.message, place, problem.advice)

    def check(self) -> None:
        """Raise `InvalidInputError` with all problems in the order of their places, if there are any."""
        if self._problems:
            raise InvalidInputError(sorted(self._problems, key=self._problems.__getitem__))
