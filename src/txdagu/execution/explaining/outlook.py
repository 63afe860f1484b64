"""Where a DAG, its steps and the DAGs that they call would run now."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from txdagu.dagfile import beyond_dagu
from txdagu.dispatch.routing import Place as Where
from txdagu.dispatch.routing import Route, route
from txdagu.dispatch.whatif import FleetChange, Wish
from txdagu.execution.steps.elsewhere import NEEDS
from txdagu.model.dag import Dag, Step
from txdagu.model.errors import DaguError
from txdagu.model.params import parse_params
from txdagu.peers.interfaces import ICoordinators, IExplainer
from txdagu.peers.routing import is_counted
from txdagu.peers.told import Place, PlanWord

_REFERENCE = re.compile(r"\$\{(\w+)\}|\$(\w+)")

AS_IT_IS = FleetChange()

FindDag = Callable[[str, str], Awaitable[Dag]]


@dataclass(frozen=True, slots=True)
class Row:
    """
    One thing that has a place: a run, or a step.

    `depth` is 0 for the DAG itself, 1 for its steps, and so on; `calls` names the DAG that a step runs. `route` is the decision
    of the routing rule, None for a step that stays with its run. `place` is where it would go if that is a worker. `beside` is
    the DAG with whose run it stays otherwise, empty for this host. `note` tells what cannot be known before the run.
    """

    name: str
    depth: int
    calls: str = ""
    route: Route | None = None
    place: Place | None = None
    beside: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Outlook:
    """
    Where all of a DAG would run.

    `uncertain` names coordinators that do not tell which of the workers that fit they take; `errors` and `nobody` are as in
    `ClusterWord`.
    """

    dag: str
    change: FleetChange
    rows: tuple[Row, ...]
    uncertain: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    nobody: str = ""


class Outlooks:
    """
    Tells where DAGs would run, by the very functions that decide when they run: the routing rule here, the matcher in each
    coordinator. `mode` is the default execution mode, `find_dag` as engines have it.
    """

    def __init__(self, explainer: IExplainer, coordinators: ICoordinators, find_dag: FindDag, mode: str) -> None:
        self._explainer = explainer
        self._coordinators = coordinators
        self._find_dag = find_dag
        self._mode = mode

    async def of(self, dag: Dag, params: str = "", change: FleetChange = AS_IT_IS) -> Outlook:
        """Where a DAG would run with these params, each step on its own, in a cluster changed in that way."""
        rows = _Rows(self._find_dag, self._mode, await self._healthy(change))
        await rows.add(dag, _values(dag.params, params))
        wishes = [wish for wish in rows.wishes if wish is not None]
        word = PlanWord() if not wishes else await self._explainer.plan(wishes, change)
        places = iter(word.places)
        placed = tuple(
            row if wish is None else replace(row, place=next(places))
            for row, wish in zip(rows.rows, rows.wishes, strict=True)
        )
        return Outlook(dag.name, change, placed, word.uncertain, word.errors, word.nobody)

    async def _healthy(self, change: FleetChange) -> int:
        """How many workers the routing rule counts."""
        if self._mode != "auto":
            return 0
        view = await self._coordinators.workers()
        return sum(is_counted(one) and one.id not in change.without for one in view.workers) + len(change.added)


class _Rows:
    """The rows of a DAG, each with the wish it has of a worker, None where it has none."""

    def __init__(self, find_dag: FindDag, mode: str, healthy: int) -> None:
        self.rows: list[Row] = []
        self.wishes: list[Wish | None] = []
        self._find_dag = find_dag
        self._mode = mode
        self._healthy = healthy

    async def add(self, dag: Dag, values: Mapping[str, str]) -> None:
        """The DAG itself, and all below."""
        way = route(dag.worker_selector, self._mode, self._healthy)
        self._append(Row(dag.name, 0, route=way), Wish(way.selector.labels, beyond_dagu(dag)))
        await self._steps(dag, values, 1, dag.name, (dag.name,))

    def _append(self, row: Row, wish: Wish | None = None) -> None:
        self.rows.append(row)
        self.wishes.append(wish if row.route is not None and row.route.place is Where.WORKER else None)

    async def _steps(
        self, dag: Dag, values: Mapping[str, str], depth: int, beside: str, callers: tuple[str, ...]
    ) -> None:
        for step in (*dag.steps, *dag.handlers.values()):
            if step.child is not None:
                await self._call(dag, step, step.child.name, values, depth, beside, callers)
            elif step.worker_selector:
                way = route(step.worker_selector, self._mode, self._healthy)
                here = "" if way.place is Where.WORKER else beside
                self._append(Row(step.name, depth, route=way, beside=here), Wish(way.selector.labels, NEEDS))
            else:
                self._append(Row(step.name, depth, beside=beside))

    async def _call(
        self,
        dag: Dag,
        step: Step,
        written: str,
        values: Mapping[str, str],
        depth: int,
        beside: str,
        callers: tuple[str, ...],
    ) -> None:
        name = _evaluated(written, values)
        if name is None:
            note = f"which DAG it calls ({written}) is known when it runs"
            self._append(Row(step.name, depth, written, beside=beside, note=note))
            return
        local = dag.local_dags.get(name)
        try:
            callee = replace(local, local_dags=dag.local_dags) if local else await self._find_dag(name, dag.base_dir)
        except DaguError as error:
            self._append(Row(step.name, depth, name, beside=beside, note=f"it would fail: {error}"))
            return
        selector = callee.worker_selector.overridden_by(step.worker_selector)
        way = route(selector, self._mode, self._healthy)
        on_worker = way.place is Where.WORKER
        note = ""
        if step.parallel is not None:
            note = f"one run for each item, {step.parallel.max_concurrent} at a time; each is placed on its own"
        again = callee.name in callers
        if again:
            note = "it calls a DAG that called it; what lies below is the same again"
        row = Row(step.name, depth, callee.name, way, beside="" if on_worker else beside, note=note)
        self._append(row, Wish(way.selector.labels, beyond_dagu(callee)))
        if not again:
            below = callee.name if on_worker else beside
            await self._steps(callee, _values(callee.params), depth + 1, below, (*callers, callee.name))


def _values(*texts: str) -> dict[str, str]:
    """Named params, later ones over earlier ones; what would have to be evaluated is left out."""
    values = {name: value for text in texts for name, value in parse_params(text) if name is not None}
    return {name: value for name, value in values.items() if not _open(value)}


def _evaluated(text: str, values: Mapping[str, str]) -> str | None:
    """The text with the references that are known; None if more would have to be evaluated."""

    def known(match: re.Match[str]) -> str:
        return values.get(match[1] or match[2], match[0])

    found = _REFERENCE.sub(known, text)
    return None if _open(found) else found


def _open(text: str) -> bool:
    return "$" in text or "`" in text


def names_of(workers: Iterable[str]) -> str:
    """``w1``, ``w1 or w2``, ``w1, w2 or w3``."""
    *first, last = workers
    return f"{', '.join(first)} or {last}" if first else last
