"""From steps as they are written to steps in order: generated names, ids replaced, the chain written out, no cycles."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter

from txdagu.dagfile.fields import nearest
from txdagu.dagfile.report import Report
from txdagu.model.dag import Step
from txdagu.yamltree import Node, Position

MAX_STEP_NAME = 40
_ID = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]*")
_RESERVED_IDS = frozenset(("env", "params", "args", "stdout", "stderr", "output", "outputs"))


@dataclass(slots=True)
class Draft:
    """
    A step whose name and dependencies are not settled yet.

    `prefix` begins the name that is made for a step without one. `depends` is None where nothing is said, and empty where the
    step says that it waits for nothing.
    """

    step: Step
    place: Node
    name_place: Node | Position
    id_place: Node | Position | None = None
    prefix: str = "step"
    name: str = ""
    depends: tuple[tuple[str, Node], ...] | None = None
    depends_place: Node | None = None

    def __post_init__(self) -> None:
        self.name = self.name or self.step.name


def arrange(positions: Sequence[Sequence[Draft]], chain: bool, report: Report) -> tuple[Step, ...]:
    """
    The steps in the order of the file, each with its name and with the names of all steps that it waits for.

    `positions` are the places of the outer list, each with one step or with the members of a parallel group. In a `chain` a
    step waits for all of the position before, in addition to its own ``depends``, unless these are empty.
    """
    _name(positions)
    drafts = [draft for position in positions for draft in position]
    named = _check_names(drafts, report)
    ids = _check_ids(drafts, named, report)
    depends: dict[str, tuple[str, ...]] = {}
    previous: tuple[str, ...] = ()
    for position in positions:
        for draft in position:
            own = _resolve(draft, named, ids, report)
            if chain and (draft.depends is None or draft.depends):
                own = [*previous, *own]
            depends[draft.name] = tuple(dict.fromkeys(own))
        previous = tuple(draft.name for draft in position) or previous
    if len(named) == len(drafts):  # else two steps of one name are taken for one, and what they wait for is mixed up
        _check_cycles(depends, named, report)
    return tuple(replace(draft.step, name=draft.name, depends=depends[draft.name]) for draft in drafts)


def _name(positions: Iterable[Sequence[Draft]]) -> None:
    """Name what has no name: prefix and position in the outer list, counted up while that name is taken."""
    positions = list(positions)
    taken = {draft.name for position in positions for draft in position}
    for number, position in enumerate(positions, 1):
        for draft in position:
            count = number
            while not draft.name:
                candidate = f"{draft.prefix}_{count}"
                if candidate not in taken:
                    draft.name = candidate
                    taken.add(candidate)
                count += 1


def _check_names(drafts: Iterable[Draft], report: Report) -> dict[str, Draft]:
    named: dict[str, Draft] = {}
    for draft in drafts:
        if len(draft.name) > MAX_STEP_NAME:
            message = f"step name must be less than {MAX_STEP_NAME} characters (value: {draft.name})"
            report.field("name", message, draft.name_place, f"it has {len(draft.name)}")
        if draft.name in named:
            first = named[draft.name].name_place.line
            message = f"step name must be unique, and line {first} has it too (value: {draft.name})"
            report.field("name", message, draft.name_place)
        else:
            named[draft.name] = draft
    return named


def _check_ids(drafts: Iterable[Draft], named: dict[str, Draft], report: Report) -> dict[str, str]:
    """The names of steps by their ids."""
    ids: dict[str, str] = {}
    for draft in drafts:
        step_id = draft.step.id
        place = draft.id_place or draft.place
        if not step_id:
            continue
        if not _ID.fullmatch(step_id):
            message = f"invalid step ID format (value: {step_id})"
            report.field(
                "id", message, place, "begin with a letter, go on with letters, digits, dashes and underscores"
            )
        elif step_id.lower() in _RESERVED_IDS:
            report.field("id", f"step ID {step_id!r} is a reserved word", place)
        if step_id in ids:
            report.field("id", f"duplicate step ID: {step_id}", place)
        elif step_id in named and named[step_id] is not draft:
            other = named[step_id]
            if _order(other) < _order(draft):
                message = f"step name {step_id!r} conflicts with another step's ID"
                report.field("name", message, other.name_place, f"line {place.line} has it as an ID")
            else:
                report.field("id", f"step ID {step_id!r} conflicts with another step's name", place)
        ids.setdefault(step_id, draft.name)
    return ids


def _resolve(draft: Draft, named: dict[str, Draft], ids: dict[str, str], report: Report) -> list[str]:
    """The names of the steps that a step says it waits for."""
    found = []
    for text, place in draft.depends or ():
        name = text if text in named else ids.get(text)
        if name is None:
            message = f"step {draft.name} depends on non-existent step {text}"
            report.field("depends", message, place, nearest(text, [*named, *ids]))
        else:
            found.append(name)
    return found


def _check_cycles(depends: dict[str, tuple[str, ...]], named: dict[str, Draft], report: Report) -> None:
    """Report every cycle that shares no step with one reported before."""
    graph = dict(depends)
    while True:
        try:
            TopologicalSorter(graph).prepare()
            return
        except CycleError as error:
            cycle: list[str] = error.args[1][:-1]
        first = min(range(len(cycle)), key=lambda index: _order(named[cycle[index]]))
        cycle = cycle[first:] + cycle[:first]
        text = " -> ".join([*cycle, cycle[0]])
        draft = next((named[name] for name in cycle if named[name].depends_place is not None), named[cycle[0]])
        report.field(
            "depends",
            f"cyclic plan detected: {text}",
            draft.depends_place or draft.place,
            "each of these waits for the one before it; in a chain also for the step above",
        )
        graph = {name: needs for name, needs in graph.items() if name not in cycle}


def _order(draft: Draft) -> tuple[int, int]:
    return (draft.place.line, draft.place.column)
