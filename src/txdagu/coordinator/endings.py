"""Reports of workers as outcomes, and outcomes as run states for those who ask."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from txdagu.dispatch.records import Outcome
from txdagu.dispatch.turn import Ending, Inquiry
from txdagu.model.run import RunRef, RunStatus
from txdagu.model.status import RunState
from txdagu.store.statusjson import encode_status

# Hosts' clocks differ a little; a start shortly before the offer, by the worker's clock, is the start of that offer.
CLOCK_TOLERANCE = timedelta(seconds=5)


class _Ref(msgspec.Struct):
    name: str = ""
    id: str = ""


class _Report(msgspec.Struct, rename="camel"):
    name: str = ""
    dag_run_id: str = ""
    status: int = 0
    error: str = ""
    root: _Ref | None = None


_decode = msgspec.json.Decoder(_Report).decode


@dataclass(frozen=True, slots=True)
class Report:
    """What a status report says: of which run, the `error` if there is one, and how it ended; None while it goes on."""

    run: RunRef
    root: RunRef
    outcome: Outcome | None
    error: str = ""


def read_report(json_data: str) -> Report:
    """Read the few keys of a run's status that dispatching needs. Raises `ValueError` if it is no status."""
    try:
        found = _decode(json_data)
        state = RunState(found.status)
    except (msgspec.DecodeError, ValueError) as error:
        raise ValueError(f"the status cannot be read: {error}") from None
    if not found.dag_run_id:
        raise ValueError("the status names no run")
    run = RunRef(found.name, found.dag_run_id)
    root = RunRef(found.root.name, found.root.id) if found.root and found.root.id else run
    return Report(run, root, outcome_of(state, found.error, json_data), found.error)


def outcome_of(state: RunState, error: str, json_data: str = "") -> Outcome | None:
    """
    The outcome that a run's state means; None while somebody works on it.

    A run that waits for a person needs no worker: its task is over, and going on will be another one.
    """
    if not state.at_rest:
        return None
    return Outcome(state, f"{state.label}: {error}" if error else state.label, json_data)


def examined(asked: Inquiry, status: RunStatus | None, wall_now: datetime) -> tuple[bool, Outcome | None]:
    """
    What a run's files say about the attempt in question: whether it was started, and how it ended if it has.

    Of an attempt that we named, the name decides. Else it is another one than lay there when the task was accepted, and
    worker and time of start tell whether it belongs to this offer.
    """
    if status is None or status.state in (RunState.NOT_STARTED, RunState.QUEUED):
        return False, None
    if asked.attempt_id:
        ours = status.attempt_id == asked.attempt_id
    else:
        offered = wall_now - timedelta(seconds=asked.age)
        begun = status.started_at is not None and status.started_at >= offered - CLOCK_TOLERANCE
        known = bool(status.attempt_id) and status.attempt_id == asked.task.earlier_attempt
        ours = begun and status.worker_id == asked.worker_id and not known
    if not ours:
        return False, None
    outcome = outcome_of(status.state, status.error)
    if outcome is None:
        return True, None
    return True, Outcome(outcome.state, f"its status file says {outcome.reason}")


def final_status(ending: Ending, finished: datetime) -> RunStatus | None:
    """A run's final state where no worker reported one; None where only its own files can tell."""
    if ending.outcome.state is None:
        return None
    task = ending.task
    return RunStatus(
        run=task.run,
        root=task.root,
        parent=task.parent,
        state=ending.outcome.state,
        attempt_id=ending.attempt_id,
        worker_id=ending.worker_id,
        created_at_ms=int(finished.timestamp() * 1000),
        finished_at=finished,
        error=ending.outcome.reason,
    )


def ending_json(ending: Ending, finished: datetime) -> str:
    """The final state as a line of a status file: the worker's own words if it reported; empty if only files can tell."""
    if ending.outcome.report:
        return ending.outcome.report
    status = final_status(ending, finished)
    return encode_status(status).decode().rstrip("\n") if status is not None else ""


def open_json(run: RunRef, root: RunRef, *, running: bool) -> str:
    """The state of an open task as a line of a status file: whoever asks goes on waiting."""
    state = RunState.RUNNING if running else RunState.QUEUED
    return encode_status(RunStatus(run, root, state)).decode().rstrip("\n")
