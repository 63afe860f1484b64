"""
A run's state as one line of its status file, and back. Pure.

Each line is a whole record: the last one holds. Times are RFC 3339 with whole seconds; a variable's value repeats its name
(``"NAME": "NAME=value"``); the exit code has a key of ours. Keys and their order are those of Dagu 1.30.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from operator import is_
from typing import Any

import msgspec

from txdagu.model.dag import Handler, Step
from txdagu.model.errors import DaguError
from txdagu.model.run import ChildRun, Decision, NodeStatus, RunRef, RunStatus
from txdagu.model.status import NodeState, RunState
from txdagu.store.policyjson import ConditionRecord, condition_document, conditions_of, without_empty
from txdagu.store.stepjson import OWN, StepRecord, encode_json, step_document, step_of

_NO_STEP = Step("")
_HANDLER_KEYS = {  # in the order of Dagu's records
    Handler.INIT: "onInit",
    Handler.EXIT: "onExit",
    Handler.SUCCESS: "onSuccess",
    Handler.FAILURE: "onFailure",
    Handler.ABORT: "onCancel",
    Handler.WAIT: "onWait",
}
_HIDDEN_OUTPUT = "DAGU_CONTINUE_ON."


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


def parse_time(text: str | None, zone: tzinfo = UTC) -> datetime | None:
    """The time, None for ``-``, empty and unreadable ones. A time without a zone (old records) is in `zone`."""
    if not text or text == "-":
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=zone)


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


class _RefRecord(msgspec.Struct):
    name: str | None = None
    id: str | None = None


class _ChildRunRecord(msgspec.Struct, rename="camel"):
    dag_run_id: str | None = None
    params: str | None = None


class _OwnNodeRecord(msgspec.Struct, rename="camel"):
    sealed_outputs: dict[str, list[str]] | None = None
    excused: bool | None = None
    exit_code: int = 0
    waits: str = ""


class _NodeRecord(msgspec.Struct, rename="camel"):
    step: StepRecord | None = None
    stdout: str | None = None
    stderr: str | None = None
    started_at: str | None = None
    finished_at: str | None = None
    status: int | None = None
    retried_at: str | None = None
    retry_count: int | None = None
    done_count: int | None = None
    repeated: bool | None = None
    error: str | None = None
    children: list[_ChildRunRecord | None] | None = None
    children_repeated: list[_ChildRunRecord | None] | None = None
    output_variables: dict[str, Any] | None = None
    approved_at: str | None = None
    approved_by: str | None = None
    approval_inputs: dict[str, str] | None = None
    rejected_at: str | None = None
    rejected_by: str | None = None
    rejection_reason: str | None = None
    txdagu: _OwnNodeRecord | None = None


class _RunRecord(msgspec.Struct, rename="camel"):
    root: _RefRecord | None = None
    parent: _RefRecord | None = None
    name: str | None = None
    dag_run_id: str | None = None
    attempt_id: str | None = None
    status: int | None = None
    worker_id: str | None = None
    pid: int | None = None
    nodes: list[_NodeRecord | None] | None = None
    on_init: _NodeRecord | None = None
    on_exit: _NodeRecord | None = None
    on_success: _NodeRecord | None = None
    on_failure: _NodeRecord | None = None
    on_cancel: _NodeRecord | None = None
    on_wait: _NodeRecord | None = None
    created_at: int | None = None
    queued_at: str | None = None
    started_at: str | None = None
    finished_at: str | None = None
    log: str | None = None
    error: str | None = None
    params_list: list[str] | None = None
    preconditions: list[ConditionRecord | None] | None = None


_decoder = msgspec.json.Decoder(_RunRecord)
_KEYS = {field.encode_name.lower(): field.encode_name for field in msgspec.structs.fields(_RunRecord)}


class UnknownStateError(DaguError):
    """A well-formed record names a state that this version does not know."""


def decode_status(line: bytes, zone: tzinfo = UTC) -> RunStatus:
    """
    The state in a line, whoever wrote it: unknown keys are read over, missing ones are empty.

    Raises `UnknownStateError` for a number that names no state, and `ValueError` for anything that is no record. Times without
    a zone are in `zone`.
    """
    record = _decoder.decode(line)
    if record.name is None or record.status is None or record.dag_run_id is None:
        record = _in_any_case(line)
    run = RunRef(record.name or "", record.dag_run_id or "")
    return RunStatus(
        run=run,
        root=_ref(record.root) or run,
        state=_run_state(record.status or 0),
        parent=_ref(record.parent),
        attempt_id=record.attempt_id or "",
        worker_id=record.worker_id or "",
        pid=record.pid or 0,
        nodes=tuple(_node(node, zone) for node in record.nodes or () if node),
        created_at_ms=record.created_at or 0,
        queued_at=parse_time(record.queued_at, zone),
        started_at=parse_time(record.started_at, zone),
        finished_at=parse_time(record.finished_at, zone),
        log=record.log or "",
        error=record.error or "",
        params=tuple(record.params_list or ()),
        handlers=_handlers(record, zone),
        preconditions=conditions_of(record.preconditions),
    )


def _handlers(record: _RunRecord, zone: tzinfo) -> dict[Handler, NodeStatus]:
    records = (
        (Handler.INIT, record.on_init),
        (Handler.EXIT, record.on_exit),
        (Handler.SUCCESS, record.on_success),
        (Handler.FAILURE, record.on_failure),
        (Handler.ABORT, record.on_cancel),
        (Handler.WAIT, record.on_wait),
    )
    return {handler: _node(node, zone) for handler, node in records if node}


def _in_any_case(line: bytes) -> _RunRecord:
    # Dagu takes keys in any case of letters. Nobody writes them so but people, so it is looked at only where a key is missing.
    document = msgspec.json.decode(line)
    return msgspec.convert({_KEYS.get(key.lower(), key): value for key, value in document.items()}, _RunRecord)


def _ref(record: _RefRecord | None) -> RunRef | None:
    return RunRef(record.name or "", record.id) if record and record.id else None


def _run_state(number: int) -> RunState:
    try:
        return RunState(number)
    except ValueError:
        raise UnknownStateError(f"status {number} of the run is not known to this version") from None


def _node_state(number: int) -> NodeState:
    try:
        return NodeState(number)
    except ValueError:
        raise UnknownStateError(f"status {number} of a step is not known to this version") from None


def _node(record: _NodeRecord, zone: tzinfo) -> NodeStatus:
    outputs: dict[str, str] = {}
    for name, value in (record.output_variables or {}).items():
        if isinstance(value, str) and value.startswith(name + "=") and not name.startswith(_HIDDEN_OUTPUT):
            outputs[name] = value[len(name) + 1 :]
    own = record.txdagu or _OwnNodeRecord()
    return NodeStatus(
        step=step_of(record.step) if record.step else _NO_STEP,
        state=_node_state(record.status or 0),
        stdout=record.stdout or "",
        stderr=record.stderr or "",
        started_at=parse_time(record.started_at, zone),
        finished_at=parse_time(record.finished_at, zone),
        error=record.error or "",
        retry_count=record.retry_count or 0,
        retried_at=parse_time(record.retried_at, zone),
        done_count=record.done_count or 0,
        repeated=bool(record.repeated),
        children=_children(record.children),
        children_repeated=_children(record.children_repeated),
        outputs=outputs,
        sealed_outputs={name: tuple(pieces) for name, pieces in (own.sealed_outputs or {}).items()},
        excused=bool(own.excused),
        decision=_decision(record, zone),
        exit_code=own.exit_code,
        waits=own.waits,
    )


def _decision(record: _NodeRecord, zone: tzinfo) -> Decision | None:
    if record.rejected_at:
        at = parse_time(record.rejected_at, zone)
        return Decision(False, at, record.rejected_by or "", reason=record.rejection_reason or "")
    if record.approved_at:
        at = parse_time(record.approved_at, zone)
        return Decision(True, at, record.approved_by or "", record.approval_inputs or {})
    return None


def _children(records: list[_ChildRunRecord | None] | None) -> tuple[ChildRun, ...]:
    return tuple(
        ChildRun(record.dag_run_id, record.params or "") for record in records or () if record and record.dag_run_id
    )


def told_as_failed(status: RunStatus, reason: str) -> RunStatus:
    """The state of a running run whose process is gone: it and what it was doing have failed."""

    def told(node: NodeStatus) -> NodeStatus:
        if node.state is not NodeState.RUNNING:
            return node
        return replace(node, state=NodeState.FAILED, error=node.error or reason, waits="")

    return replace(
        status,
        state=RunState.FAILED,
        error=status.error or reason,
        nodes=tuple(told(node) for node in status.nodes),
        handlers={handler: told(node) for handler, node in status.handlers.items()},
    )
