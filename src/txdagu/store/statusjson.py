"""
A run's state as one line of its status file; `statusreading` is the way back. Pure.

Each line is a whole record: the last one holds. Times are RFC 3339 with whole seconds; a variable's value repeats its name
(``"NAME": "NAME=value"``); the exit code has a key of ours. Keys and their order are those of Dagu 1.30.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from operator import is_
from typing import Any

import msgspec

from txdagu.model.dag import Handler, Step
from txdagu.model.run import ChildRun, Decision, NodeStatus, RunRef, RunStatus
from txdagu.model.status import RunState
from txdagu.store.policyjson import condition_document, without_empty
from txdagu.store.stepjson import OWN, encode_json, step_document

_HANDLER_KEYS = {  # in the order of Dagu's records
    Handler.INIT: "onInit",
    Handler.EXIT: "onExit",
    Handler.SUCCESS: "onSuccess",
    Handler.FAILURE: "onFailure",
    Handler.ABORT: "onCancel",
    Handler.WAIT: "onWait",
}


def format_time(at: datetime | None, missing: str = "") -> str:
    """RFC 3339 with whole seconds, ``Z`` for UTC; `missing` for None."""
    if at is None:
        return missing
    offset = at.utcoffset()
    if offset is None or offset.total_seconds() % 60:
        at = at.astimezone(UTC)  # offsets of uneven seconds, as before 1900, have no place in RFC 3339
        offset = timedelta(0)
    text = at.replace(tzinfo=None).isoformat(timespec="seconds")
    return text + "Z" if not offset else at.isoformat(timespec="seconds")


class StatusEncoder:
    """
    Encodes one run's states, one after the other.

    Values are frozen, so a step or node that is the very object of the line before keeps its encoded form: a line costs
    what changed, not what there is. `encoded` counts the nodes that were encoded.
    """

    def __init__(self) -> None:
        self.encoded = 0
        self._nodes: tuple[NodeStatus, ...] = ()
        self._fragments: list[bytes] = []
        self._steps: dict[int, tuple[Step, bytes]] = {}
        self._queued = False

    def encode(self, status: RunStatus) -> bytes:
        """The line, with its end."""
        queued = status.state is RunState.QUEUED
        missing = "-" if queued else ""
        if queued is self._queued and len(self._nodes) == len(status.nodes):
            same = map(is_, self._nodes, status.nodes)
            for index in [index for index, kept in enumerate(same) if not kept]:
                self._fragments[index] = self._node(status.nodes[index], missing)
        else:
            self._fragments = [self._node(node, missing) for node in status.nodes]
        self._queued, self._nodes = queued, status.nodes
        handlers = {handler: self._node(node, missing) for handler, node in status.handlers.items()}
        nodes = b"[" + b",".join(self._fragments) + b"]"
        return encode_json(_run_document(status, nodes, handlers)) + b"\n"

    def _step(self, step: Step) -> msgspec.Raw:
        known = self._steps.get(id(step))
        if known is None:
            known = self._steps[id(step)] = (step, encode_json(step_document(step)))
        return msgspec.Raw(known[1])

    def _node(self, node: NodeStatus, missing: str) -> bytes:
        self.encoded += 1
        document: dict[str, Any] = {
            "step": self._step(node.step),
            "stdout": node.stdout,
            "stderr": node.stderr,
            "startedAt": format_time(node.started_at, missing),
            "finishedAt": format_time(node.finished_at, missing),
            "status": int(node.state),
        }
        if node.retried_at:
            document["retriedAt"] = format_time(node.retried_at)
        if node.retry_count:
            document["retryCount"] = node.retry_count
        if node.done_count:
            document["doneCount"] = node.done_count
        if node.repeated:
            document["repeated"] = True
        if node.error:
            document["error"] = node.error
        if node.children:
            document["children"] = [_child_document(child) for child in node.children]
        if node.children_repeated:
            document["childrenRepeated"] = [_child_document(child) for child in node.children_repeated]
        if node.outputs:
            document["outputVariables"] = {name: f"{name}={value}" for name, value in node.outputs.items()}
        if node.decision is not None:
            document |= _decision_document(node.decision)
        own = {
            "sealedOutputs": dict(node.sealed_outputs),
            "excused": node.excused,
            "exitCode": node.exit_code,
            "waits": node.waits,
        }
        if any(own.values()):
            document[OWN] = without_empty(own)
        return encode_json(document)


def encode_status(status: RunStatus) -> bytes:
    """One state as one line, with its end."""
    return StatusEncoder().encode(status)


def _decision_document(decision: Decision) -> dict[str, Any]:
    at = format_time(decision.at)
    if decision.approved:
        document = {"approvedAt": at, "approvedBy": decision.by, "approvalInputs": dict(decision.inputs)}
    else:
        document = {"rejectedAt": at, "rejectedBy": decision.by, "rejectionReason": decision.reason}
    return {key: value for key, value in document.items() if value}


def _child_document(child: ChildRun) -> dict[str, str]:
    return {"dagRunId": child.run_id, "params": child.params} if child.params else {"dagRunId": child.run_id}


def _ref_document(ref: RunRef) -> dict[str, str]:
    return {"name": ref.name, "id": ref.id}


def _run_document(status: RunStatus, nodes: bytes, handlers: Mapping[Handler, bytes]) -> dict[str, Any]:
    document: dict[str, Any] = {"root": _ref_document(status.root)}
    if status.parent:
        document["parent"] = _ref_document(status.parent)
    document["name"] = status.run.name
    document["dagRunId"] = status.run.id
    document["attemptId"] = status.attempt_id
    document["status"] = int(status.state)
    if status.worker_id:
        document["workerId"] = status.worker_id
    if status.pid:
        document["pid"] = status.pid
    document["nodes"] = msgspec.Raw(nodes)
    document |= {key: msgspec.Raw(handlers[handler]) for handler, key in _HANDLER_KEYS.items() if handler in handlers}
    if status.created_at_ms:
        document["createdAt"] = status.created_at_ms
    for key, at in (
        ("queuedAt", status.queued_at),
        ("startedAt", status.started_at),
        ("finishedAt", status.finished_at),
    ):
        if at:
            document[key] = format_time(at)
    if status.log:
        document["log"] = status.log
    if status.error:
        document["error"] = status.error
    if status.params:
        document["params"] = " ".join(status.params)
        document["paramsList"] = status.params
    if status.preconditions:
        document["preconditions"] = [condition_document(condition) for condition in status.preconditions]
    return document
