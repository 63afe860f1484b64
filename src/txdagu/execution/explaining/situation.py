"""All that can be known of a run: from its files, from the queue, from the coordinators."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from txdagu.config.settings import Settings
from txdagu.dagfile import beyond_dagu
from txdagu.dispatch.matching import Verdict, nearest_first
from txdagu.dispatch.whatif import FleetChange, Wish
from txdagu.execution.plan.approval import Wait, waits_of
from txdagu.execution.singlestep import run_name
from txdagu.model.dag import Dag
from txdagu.model.errors import DaguError, NotFoundError
from txdagu.model.run import RunRef, RunStatus
from txdagu.model.status import RunState
from txdagu.peers.interfaces import IExplainer
from txdagu.peers.told import ClusterWord, place_among
from txdagu.store.interfaces import IRunQueue, IRunStore

SHOWN_BEFORE = 5

Schedulers = Callable[[], Awaitable[tuple[str, ...]]]


@dataclass(frozen=True, slots=True)
class QueuePlace:
    """
    Where a run stands in its queue.

    `position` counts from 1, of `waiting` in all; `before` names the nearest ones before it. `alive` runs of the queue go on now,
    of `limit` at most; `limit_from` says who set that. `schedulers` are the ids of those who empty the queues now.
    """

    queue: str
    position: int
    waiting: int
    before: tuple[RunRef, ...]
    alive: int
    limit: int
    limit_from: str
    schedulers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Situation:
    """
    A run at one moment, `at`.

    `word` is what the coordinators say. `status` is the latest state in its files, None if there is none, and `unreadable` says
    what is wrong with them. `guesses` are verdicts by what coordinators of Dagu list, for a run that waits for a worker of
    theirs. `waits` are steps of the run, or below it, that wait for a person. `looked_at` names all places where the run was
    looked for.
    """

    run: RunRef
    root: RunRef
    at: datetime
    word: ClusterWord
    status: RunStatus | None = None
    unreadable: str = ""
    queue: QueuePlace | None = None
    queues_enabled: bool = True
    guesses: tuple[Verdict, ...] = ()
    waits: tuple[Wait, ...] = ()
    looked_at: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the facts come from. `schedulers` tells who empties the queues, `now` the time with its zone."""

    store: IRunStore
    queue: IRunQueue
    explainer: IExplainer
    schedulers: Schedulers
    settings: Settings
    now: Callable[[], datetime]


class Situations:
    """Gathers what is known of runs; changes nothing."""

    def __init__(self, sources: Sources) -> None:
        self._from = sources

    async def of(self, root: RunRef, child: str = "") -> Situation:
        """
        What is known of a root run, or of the one with the id `child` below it.

        Raises `NotFoundError` with all that was looked at, if nobody knows the run.
        """
        sources = self._from
        status, unreadable = await self._status(root, root)
        below: dict[str, RunStatus] = {}
        if status is not None and (child or status.state is RunState.WAITING):
            below = await self._below(status, root)
        run = root
        waits = tuple(waits_of(status, below)) if status is not None else ()
        if child:
            known = below.get(child)
            run = known.run if known is not None else RunRef(root.name, child)
            status, waits = known, ()
        word: ClusterWord = await sources.explainer.explain(run, root)
        place = None if child else await self._place(root)
        looked_at = self._looked_at(word)
        if status is None and not unreadable and place is None and word.best is None:
            raise NotFoundError(f"nobody knows run {child or root.id} of {root.name}: {'; '.join(looked_at)}")
        return Situation(
            run,
            root,
            sources.now(),
            word,
            status,
            unreadable,
            place,
            sources.settings.queues.enabled,
            await self._guesses(run, root, status, word),
            waits,
            looked_at,
        )

    async def _status(self, run: RunRef, root: RunRef) -> tuple[RunStatus | None, str]:
        try:
            return await self._from.store.read_status(run, root), ""
        except DaguError as error:
            return None, str(error)

    async def _below(self, top: RunStatus, root: RunRef) -> dict[str, RunStatus]:
        """The runs that were called, and theirs, by id."""
        found: dict[str, RunStatus] = {}
        pending = [top]
        while pending:
            status = pending.pop()
            for node in (*status.nodes, *status.handlers.values()):
                name = node.step.child.name if node.step.child is not None else run_name(node.step.name)
                for child in (*node.children_repeated, *node.children):
                    if child.run_id in found:
                        continue
                    below, _ = await self._status(RunRef(name, child.run_id), root)
                    if below is not None:
                        found[child.run_id] = below
                        pending.append(below)
        return found

    async def _place(self, run: RunRef) -> QueuePlace | None:
        """Where the run stands in a queue; None if it stands in none."""
        queue, sources = self._from.queue, self._from
        items: list[tuple[str, RunRef]] = await queue.items()
        name = next((name for name, item in items if item == run), None)
        if name is None:
            return None
        waiting = list(dict.fromkeys(item for where, item in items if where == name))
        position = waiting.index(run)
        limit, limit_from = await self._limit(name, waiting[0])
        return QueuePlace(
            queue=name,
            position=position + 1,
            waiting=len(waiting),
            before=tuple(waiting[max(0, position - SHOWN_BEFORE) : position]),
            alive=await queue.running(name),
            limit=limit,
            limit_from=limit_from,
            schedulers=await sources.schedulers(),
        )

    async def _limit(self, queue: str, first: RunRef) -> tuple[int, str]:
        """How many runs of a queue may go on at a time: as the settings say, else as the DAG of its first run does."""
        limits: Mapping[str, int] = self._from.settings.queues.limits
        if queue in limits:
            return max(1, limits[queue]), "queues.config"
        dag = await self._dag(first, first)
        return (1, "the default") if dag is None else (max(1, dag.max_active_runs), f"maxActiveRuns of {first.name}")

    async def _dag(self, run: RunRef, root: RunRef) -> Dag | None:
        try:
            found: Dag | None = await self._from.store.read_dag(run, root)
        except (DaguError, OSError):
            return None
        return found

    async def _guesses(
        self, run: RunRef, root: RunRef, status: RunStatus | None, word: ClusterWord
    ) -> tuple[Verdict, ...]:
        """What lists of workers say of places for a run that waits, where its coordinator may be one that tells no more."""
        waits = status is not None and status.state is RunState.QUEUED
        if not waits or word.best is not None or not word.listed:
            return ()
        dag = await self._dag(run, root)
        if dag is None or dag.worker_selector.local:
            return ()
        wish = Wish(dag.worker_selector.labels, beyond_dagu(dag))
        return nearest_first(
            one for listed in word.listed for one in place_among(wish, listed.workers, FleetChange())[1]
        )

    def _looked_at(self, word: ClusterWord) -> tuple[str, ...]:
        paths = self._from.settings.paths
        asked = [f"coordinator {name} was asked" for name in word.asked]
        return (
            f"its files were looked for in {paths.dag_runs_dir}",
            f"its queue item in {paths.queue_dir}",
            *asked,
            *(f"{error}" for error in word.errors),
            *((word.nobody,) if word.nobody else ()),
        )


def situations(settings: Settings, reactor: Any, store: Any, coordinators: Any) -> Situations:
    """Situations from the data directory of these settings, and from `Coordinators`."""
    import socket

    from txdagu.peers.explaining import Explainer
    from txdagu.registry.entries import Activity, Kind
    from txdagu.registry.views import MembershipView
    from txdagu.system.clock import local_now, monotonic

    view = MembershipView(reactor, settings.paths.service_registry_dir, Kind.SCHEDULER, monotonic, socket.gethostname())

    async def schedulers() -> tuple[str, ...]:
        await view.refresh()
        return tuple(entry.id for entry in view.members() if entry.status == Activity.ACTIVE)

    explainer = Explainer(coordinators)
    return Situations(Sources(store, store.queue, explainer, schedulers, settings, local_now))
