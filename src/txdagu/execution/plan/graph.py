"""Which step depends on which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from txdagu.model.dag import Dag, Step
from txdagu.model.errors import InvalidInputError, Problem


def check_step(dag: Dag, name: str) -> None:
    """Raise `InvalidInputError` if the DAG has no step of that name."""
    names = [step.name for step in dag.steps]
    if name not in names:
        advice = f"its steps are {', '.join(names)}" if names else "it has no steps"
        raise InvalidInputError([Problem(f'DAG {dag.name} has no step "{name}"', advice=advice)])


class StepGraph:
    """
    The steps by index, with their direct `dependencies` (in the order named, each once) and `dependants`.

    `order` holds all indexes, each after its dependencies. Raises `InvalidInputError` for unknown dependencies, names given
    twice, and circles.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        index_of = {step.name: position for position, step in enumerate(steps)}
        if problems := _problems(steps, index_of):
            raise InvalidInputError(problems)
        self.dependencies = [tuple(dict.fromkeys(index_of[name] for name in step.depends)) for step in steps]
        self.dependants: list[list[int]] = [[] for _ in steps]
        for index, dependencies in enumerate(self.dependencies):
            for dependency in dependencies:
                self.dependants[dependency].append(index)
        self.order = self._sorted(steps)

    def _sorted(self, steps: Sequence[Step]) -> list[int]:
        missing = [len(dependencies) for dependencies in self.dependencies]
        order = [index for index, count in enumerate(missing) if count == 0]
        for index in order:  # grows while it is walked
            for dependant in self.dependants[index]:
                missing[dependant] -= 1
                if missing[dependant] == 0:
                    order.append(dependant)
        if len(order) < len(steps):
            names = ", ".join(steps[index].name for index, count in enumerate(missing) if count)
            raise InvalidInputError([Problem(f"steps wait for each other in a circle: {names}")])
        return order


def _problems(steps: Sequence[Step], index_of: Mapping[str, int]) -> list[Problem]:
    problems = [
        Problem(f"step {step.name} depends on non-existent step {name}")
        for step in steps
        for name in step.depends
        if name not in index_of
    ]
    problems += [
        Problem("step name must be unique", step.name)
        for position, step in enumerate(steps)
        if index_of[step.name] != position
    ]
    return problems
