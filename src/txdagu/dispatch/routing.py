"""The routing rule: does work run here or on a worker, and on which. One function for every way to start something."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from txdagu.model.labels import WorkerSelector, format_labels


class Place(Enum):
    """Where work runs."""

    HERE = "here"
    WORKER = "on a worker"


@dataclass(frozen=True, slots=True)
class Route:
    """The decision and the reason for it, in one sentence."""

    place: Place
    selector: WorkerSelector
    reason: str


def needs_census(selector: WorkerSelector, mode: str) -> bool:
    """Whether `route` will look at the number of healthy workers, so that nobody is asked in vain."""
    return not selector and mode == "auto"


def route(selector: WorkerSelector, mode: str, healthy_workers: int = 0) -> Route:
    """
    Decide by what was written, then by the default execution mode.

    `selector` is the DAG's own, with that of a calling step laid over it. Without one, `mode` decides: ``local`` here,
    ``distributed`` any worker, ``auto`` any worker while at least one is healthy, else here.
    """
    if selector.local:
        return Route(Place.HERE, selector, "workerSelector is local")
    if selector.labels:
        return Route(Place.WORKER, selector, f"workerSelector asks for {format_labels(selector.labels)}")
    if mode == "distributed":
        return Route(Place.WORKER, selector, "defaultExecutionMode is distributed")
    if mode == "auto" and healthy_workers > 0:
        return Route(Place.WORKER, selector, "no workerSelector, and workers are there")
    if mode == "auto":
        return Route(Place.HERE, selector, "no workerSelector, and no healthy worker is there")
    return Route(Place.HERE, selector, "defaultExecutionMode is local")
