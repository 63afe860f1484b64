"""The facts about a run as one document of JSON values, for programs. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from txdagu.dispatch.explanation import Explanation
from txdagu.dispatch.machine import State
from txdagu.dispatch.matching import Verdict
from txdagu.execution.explaining.account import Account
from txdagu.execution.explaining.situation import QueuePlace, Situation
from txdagu.execution.explaining.tasks import binding
from txdagu.model.run import RunStatus
from txdagu.peers.told import HistoryLine

Document = dict[str, object]


def explain_document(found: Situation, said: Account) -> Document:
    """``dagu explain --output json`` and ``GET …/explain``. Times are RFC 3339 in UTC, ages in seconds."""
    told = found.word.best
    task = told.task if told is not None else None
    document: Document = {
        "dagName": found.run.name,
        "dagRunId": found.run.id,
        "rootDagRunName": found.root.name,
        "rootDagRunId": found.root.id,
        "state": said.state,
        "summary": said.headline,
        "since": moment(said.since),
        "binding": None if said.binding is None else {"kind": said.binding.kind, "text": said.binding.text},
        "nextStep": said.next_step,
        "facts": [{"about": label, "text": text} for label, text in said.facts],
        "workers": verdict_documents(said.verdicts),
        "coordinator": told.coordinator if told is not None else None,
        "task": None if task is None else task_document(task),
        "status": None if found.status is None else _status(found.status),
        "queue": None if found.queue is None else _queue(found.queue),
        "below": [task_document(one) for one in told.below] if told is not None else [],
        "history": history_documents(found.word.history),
        "lookedAt": list(found.looked_at),
        "unanswered": list(found.word.errors),
        "tellWorkersOnly": [one.coordinator for one in found.word.listed],
    }
    return document


def timeline_document(found: Situation) -> Document:
    """``GET …/timeline``: every transition of the run's tasks that is still kept, oldest first."""
    told = found.word.best
    return {
        "dagName": found.run.name,
        "dagRunId": found.run.id,
        "coordinator": told.coordinator if told is not None else None,
        "history": history_documents(found.word.history),
        "unanswered": list(found.word.errors),
        "tellWorkersOnly": [one.coordinator for one in found.word.listed],
    }


def history_documents(history: Iterable[HistoryLine]) -> list[Document]:
    """The transitions."""
    return [
        {
            "at": moment(line.at),
            "state": line.state.value,
            "workerId": line.worker_id,
            "epoch": line.epoch,
            "reason": line.reason,
            "coordinator": line.coordinator,
        }
        for line in history
    ]


def verdict_documents(verdicts: Iterable[Verdict]) -> list[Document]:
    """The verdicts."""
    return [{"workerId": one.worker_id, "verdict": one.fit.value, "reason": one.reason} for one in verdicts]


def task_document(task: Explanation) -> Document:
    """A task as a coordinator knows it."""
    outcome = task.outcome
    bound = binding(task) if task.state is State.QUEUED else None
    return {
        "dagName": task.run.name,
        "dagRunId": task.run.id,
        "state": task.state.value,
        "stateSeconds": round(task.age, 3),
        "selector": dict(task.selector),
        "needs": task.needs,
        "onWorkerLost": {"policy": task.on_worker_lost.policy.value, "limit": task.on_worker_lost.limit},
        "workerId": task.worker_id,
        "epoch": task.epoch,
        "attempt": task.attempt_name,
        "confirms": task.confirms,
        "heardSecondsAgo": round(task.heard_age, 3) if task.lease_left is not None else None,
        "leaseSecondsLeft": None if task.lease_left is None else round(task.lease_left, 3),
        "silent": task.silent,
        "adopted": task.adopted,
        "lostWorkers": list(task.lost_workers),
        "cancelReason": task.cancel_reason,
        "ahead": task.ahead,
        "binding": None if bound is None else {"kind": bound.kind, "text": bound.text},
        "workers": verdict_documents(task.verdicts),
        "outcome": None
        if outcome is None
        else {"state": None if outcome.state is None else outcome.state.label, "reason": outcome.reason},
    }


def _status(status: RunStatus) -> Document:
    return {
        "state": status.state.label,
        "workerId": status.worker_id,
        "attemptId": status.attempt_id,
        "pid": status.pid,
        "queuedAt": moment(status.queued_at),
        "startedAt": moment(status.started_at),
        "finishedAt": moment(status.finished_at),
        "error": status.error,
        "steps": [
            {"name": node.step.name, "state": node.state.label, "waits": node.waits, "error": node.error}
            for node in status.nodes
        ],
    }


def _queue(place: QueuePlace) -> Document:
    return {
        "name": place.queue,
        "position": place.position,
        "waiting": place.waiting,
        "before": [{"dagName": run.name, "dagRunId": run.id} for run in place.before],
        "running": place.alive,
        "limit": place.limit,
        "limitFrom": place.limit_from,
        "schedulers": list(place.schedulers),
    }


def moment(at: datetime | None) -> str | None:
    """A time as RFC 3339 in UTC, to the millisecond."""
    return None if at is None else at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
