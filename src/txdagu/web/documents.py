"""What the REST API says, made of model values. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from http import HTTPStatus

from txdagu.model.run import RunRef
from txdagu.model.standing import standing_word
from txdagu.model.task import RunningTask, WorkerStatus
from txdagu.peers.interfaces import WorkersView

Document = dict[str, object]

# Dagu 1.30.2 has no code of its own for 405 and 503; these are the nearest of those that its clients know.
_CODES = {
    HTTPStatus.BAD_REQUEST: "bad_request",
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.METHOD_NOT_ALLOWED: "bad_request",
    HTTPStatus.CONFLICT: "already_exists",
    HTTPStatus.BAD_GATEWAY: "bad_gateway",
    HTTPStatus.SERVICE_UNAVAILABLE: "bad_gateway",
}
_LATEST = datetime.max.replace(tzinfo=UTC).timestamp()


def rfc3339(seconds: float) -> str:
    """Unix seconds as ``2026-11-23T17:54:44Z``; empty for 0 (not set) and for what is no time of the calendar."""
    if not 0 < seconds <= _LATEST:
        return ""
    return _written(int(seconds))


@lru_cache(8192)  # the same few times are written again and again, for every task and every question
def _written(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def health_document(version: str, uptime: float, now: float) -> Document:
    """
    ``GET /api/v2/health``. `uptime` is in seconds, `now` in Unix seconds.

    A process that can answer is healthy; one that cannot says nothing at all.
    """
    return {"status": "healthy", "version": version, "uptime": int(uptime), "timestamp": rfc3339(now)}


def workers_document(view: WorkersView, now: float) -> Document:
    """
    ``GET /api/v2/workers``: one row for each worker, sorted by id. `now` is in Unix seconds.

    Should several rows have one id, the one with the latest heartbeat stands.
    """
    rows: dict[str, WorkerStatus] = {}
    for worker in view.workers:
        other = rows.get(worker.id)
        if other is None or worker.last_heartbeat_at > other.last_heartbeat_at:
            rows[worker.id] = worker
    return {"workers": [worker_document(rows[name], now) for name in sorted(rows)], "errors": list(view.errors)}


def worker_document(worker: WorkerStatus, now: float) -> Document:
    """
    One worker.

    Keys in camelCase as Dagu 1.30.2 has them, with ``offline`` as fourth word of health; keys in snake_case as its guide has
    them; ``heartbeatAgeSeconds``, measured by the coordinator's clock alone, null where no heartbeat is known; and
    ``scheduling``, which says whether it gets new tasks.
    """
    beat = rfc3339(worker.last_heartbeat_at)
    return {
        "id": worker.id,
        "labels": dict(worker.labels),
        "totalPollers": worker.slots,
        "busyPollers": worker.busy,
        "runningTasks": [_task_document(task) for task in worker.running],
        "scheduling": _scheduling(worker),
        "lastHeartbeatAt": beat,
        "healthStatus": worker.health.value,
        "heartbeatAgeSeconds": _age(worker, now),
        "health_status": worker.health.name,
        "last_heartbeat": beat,
        "running_tasks": [_task_document_of_guide(task) for task in worker.running],
    }


def _scheduling(worker: WorkerStatus) -> Document:
    """``schedulable``, ``cordoned``, ``draining`` or ``drained``; times are empty where there are none."""
    standing = worker.standing
    return {
        "state": standing_word(standing, worker.running),
        "since": "" if standing is None else rfc3339(standing.since),
        "until": "" if standing is None or standing.until is None else rfc3339(standing.until),
        "reason": "" if standing is None else standing.reason,
        "by": "" if standing is None else standing.by,
    }


def _age(worker: WorkerStatus, now: float) -> float | None:
    """Coordinators of Dagu 1.30.2 tell no age; there the time of day must do."""
    if worker.heartbeat_age:
        return round(worker.heartbeat_age, 1)
    if not worker.last_heartbeat_at:
        return None
    return round(max(0.0, now - worker.last_heartbeat_at), 1)


def _task_document(task: RunningTask) -> Document:
    parent = task.parent or RunRef("", "")
    return {
        "dagName": task.run.name,
        "dagRunId": task.run.id,
        "rootDagRunName": task.root.name,
        "rootDagRunId": task.root.id,
        "parentDagRunName": parent.name,
        "parentDagRunId": parent.id,
        "startedAt": rfc3339(task.started_at),
    }


def _task_document_of_guide(task: RunningTask) -> Document:
    return {
        "dag_name": task.run.name,
        "dag_run_id": task.run.id,
        "root_dag_run_name": task.root.name,
        "started_at": rfc3339(task.started_at),
    }


def error_document(status: int, message: str) -> Document:
    """The body of a refusal, with the code that Dagu 1.30.2 has for it."""
    return {"code": _CODES.get(HTTPStatus(status), "internal_error"), "message": message}
