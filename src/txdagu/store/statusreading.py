"""
A line of a status file as the run's state, whoever wrote it; `statusjson` is the way there. Pure.

What Dagu keeps for itself among the variables is left out.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, tzinfo
from typing import Any

import msgspec

from txdagu.model.dag import Handler, Step
from txdagu.model.errors import DaguError
from txdagu.model.run import ChildRun, Decision, NodeStatus, RunRef, RunStatus
from txdagu.model.status import NodeState, RunState
from txdagu.store.policyjson import ConditionRecord, conditions_of
from txdagu.store.stepjson import StepRecord, step_of

_NO_STEP = Step("")
_HIDDEN_OUTPUT = "DAGU_CONTINUE_ON."


def parse_time(text: str | None, zone: tzinfo = UTC) -> datetime | None:
    """The time, None for ``-``, empty and unreadable ones. A time without a zone (old records) is in `zone`."""
    if not text or text == "-":
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=zone)


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
