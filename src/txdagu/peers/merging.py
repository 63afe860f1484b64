"""One list of workers out of what several coordinators know. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from txdagu.model.task import WorkerStatus


def merge_workers(lists: Iterable[Iterable[WorkerStatus]]) -> tuple[WorkerStatus, ...]:
    """Each worker once, as the coordinator that heard of it last sees it; sorted by id."""
    freshest: dict[str, WorkerStatus] = {}
    for workers in lists:
        for worker in workers:
            other = freshest.get(worker.id)
            if other is None or _fresher(worker, other):
                freshest[worker.id] = worker
    return tuple(freshest[worker_id] for worker_id in sorted(freshest))


def _fresher(one: WorkerStatus, other: WorkerStatus) -> bool:
    """Ages compare between hosts; times of day only where a coordinator of Dagu 1.30.2 tells no age."""
    if one.heartbeat_age and other.heartbeat_age:
        return one.heartbeat_age < other.heartbeat_age
    return one.last_heartbeat_at > other.last_heartbeat_at
