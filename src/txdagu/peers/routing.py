"""The routing rule where workers have to be counted: every way to start something asks here."""

from __future__ import annotations

from txdagu.dispatch.routing import Route, needs_census, route
from txdagu.model.health import Health
from txdagu.model.labels import WorkerSelector
from txdagu.model.task import WorkerStatus
from txdagu.peers.interfaces import ICoordinators


async def find_route(selector: WorkerSelector, mode: str, coordinators: ICoordinators | None) -> Route:
    """
    What `txdagu.dispatch.routing.route` decides.

    The healthy workers are counted if that matters; without `coordinators` there are none.
    """
    healthy = 0
    if coordinators is not None and needs_census(selector, mode):
        view = await coordinators.workers()
        healthy = sum(map(is_counted, view.workers))
    return route(selector, mode, healthy)


def is_counted(worker: WorkerStatus) -> bool:
    """Whether the routing rule counts a worker as one that is there: it beats, and may be given new tasks."""
    return worker.health is Health.HEALTHY and worker.standing is None
