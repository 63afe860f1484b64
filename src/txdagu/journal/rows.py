"""Entries as rows, with checksums that tell when a row is not what was written; and back."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import msgspec

from txdagu.dispatch.machine import State
from txdagu.dispatch.records import Entry, Outcome, StandingEntry, Transition
from txdagu.model.standing import Mode, Standing
from txdagu.model.status import RunState
from txdagu.model.task import Task

COLUMNS = (
    "number",
    "root_name",
    "root_id",
    "run_id",
    "task",
    "task_checksum",
    "state",
    "epoch",
    "sequence",
    "changed",
    "facts",
    "checksum",
)
TRANSITION_COLUMNS = ("number", "sequence", "at", "state", "worker_id", "epoch", "reason")
STANDING_COLUMNS = ("worker_id", "mode", "since", "until", "reason", "ordered_by", "checksum")

Row = tuple[Any, ...]


class DamagedRowError(Exception):
    """A row is not what was once written; the message says in which way."""


class _Outcome(msgspec.Struct, omit_defaults=True):
    state: int | None
    reason: str
    report: str = ""


class _Facts(msgspec.Struct, omit_defaults=True):
    """What changes with transitions and has no column. Keys that are missing have these values, unknown ones are skipped."""

    reason: str
    worker_id: str = ""
    token: str = ""
    attempt_id: str = ""
    attempt_name: str = ""
    confirms: bool = False
    cancel_reason: str = ""
    outcome: _Outcome | None = None
    incarnation: str = ""
    lost_workers: tuple[str, ...] = ()
    offered_at: int = 0
    adopted: bool = False


_encode = msgspec.json.Encoder().encode
_decode_facts = msgspec.json.Decoder(_Facts).decode
_decode_task = msgspec.json.Decoder(Task).decode


def milliseconds(at: float, offset: float) -> int:
    """A moment of the core in Unix milliseconds; `offset` is what must be added to the core's seconds."""
    return round((at + offset) * 1000)


def moment(unix_ms: int, offset: float) -> float:
    """The same moment in the core's seconds."""
    return unix_ms / 1000 - offset


def to_row(entry: Entry, offset: float) -> Row:
    """The row of a task, in the order of `COLUMNS`."""
    task = _encode(entry.task).decode()
    root = entry.task.root
    identity = (entry.number, root.name, root.id, entry.task.run.id, task, zlib.crc32(task.encode()))
    return (*identity, *changes(entry, offset))


def changes(entry: Entry, offset: float) -> Row:
    """What a transition changes in the row: `COLUMNS` from ``state`` on."""
    outcome = entry.outcome
    facts = _Facts(
        reason=entry.transition.reason,
        worker_id=entry.transition.worker_id,
        token=entry.token,
        attempt_id=entry.attempt_id,
        attempt_name=entry.attempt_name,
        confirms=entry.confirms,
        cancel_reason=entry.cancel_reason,
        outcome=None if outcome is None else _Outcome(_number(outcome.state), outcome.reason, outcome.report),
        incarnation=entry.incarnation,
        lost_workers=entry.lost_workers,
        offered_at=milliseconds(entry.offered_at, offset),
        adopted=entry.adopted,
    )
    changed = milliseconds(entry.transition.at, offset)
    values = (entry.transition.state.value, entry.transition.epoch, entry.sequence, changed, _encode(facts).decode())
    return (*values, _checksum(entry.number, *values))


def transition_row(entry: Entry, offset: float) -> Row:
    """The transition's line in the flight recorder, in the order of `TRANSITION_COLUMNS`."""
    line = entry.transition
    at = milliseconds(line.at, offset)
    return (entry.number, entry.sequence, at, line.state.value, line.worker_id, line.epoch, line.reason)


def to_entry(row: Sequence[Any], offset: float) -> Entry:
    """
    The entry that gave this row. Raises `DamagedRowError` if it is not as it was written.

    What it was `before` is what it is now: the next transition begins with that.
    """
    number, _, _, _, task_text, task_checksum, state, epoch, sequence, changed, facts_text, checksum = row
    try:
        if zlib.crc32(task_text.encode()) != task_checksum:
            raise DamagedRowError("the checksum of the task is wrong")
        if _checksum(number, state, epoch, sequence, changed, facts_text) != checksum:
            raise DamagedRowError("the checksum of the task's state is wrong")
        task = _decode_task(task_text)
        facts = _decode_facts(facts_text)
        last = Transition(moment(changed, offset), State(state), facts.worker_id, epoch, facts.reason)
        outcome = None if facts.outcome is None else _outcome(facts.outcome)
    except (msgspec.DecodeError, ValueError, AttributeError) as error:
        raise DamagedRowError(f"it cannot be read: {error}") from None
    return Entry(
        number=number,
        task=task,
        transition=last,
        token=facts.token,
        attempt_id=facts.attempt_id,
        attempt_name=facts.attempt_name,
        confirms=facts.confirms,
        cancel_reason=facts.cancel_reason,
        outcome=outcome,
        sequence=sequence,
        before=last.state,
        before_epoch=epoch,
        incarnation=facts.incarnation,
        lost_workers=facts.lost_workers,
        offered_at=moment(facts.offered_at, offset),
        adopted=facts.adopted,
    )


def standing_row(worker_id: str, standing: Standing, offset: float) -> Row:
    """The row of a worker that may not have new tasks, in the order of `STANDING_COLUMNS`."""
    until = 0 if standing.until is None else milliseconds(standing.until, offset)
    since = milliseconds(standing.since, offset)
    values = (worker_id, standing.mode.value, since, until, standing.reason, standing.by)
    return (*values, _checksum(*values))


def to_standing(row: Sequence[Any], offset: float) -> StandingEntry:
    """
    What keeps new tasks from that worker.

    A damaged row is still an order that somebody has given, so its worker stays cordoned until somebody lets it go on.
    """
    worker_id, mode, since, until, reason, by, checksum = row
    if _checksum(*row[:-1]) != checksum:
        damaged = "the record of this in the journal is damaged; dagu worker resume lets it take tasks again"
        return StandingEntry(str(worker_id), Standing(Mode.CORDONED, -offset, None, damaged))
    limit = moment(until, offset) if until else None
    return StandingEntry(worker_id, Standing(Mode(mode), moment(since, offset), limit, reason, by))


def readable(row: Sequence[Any]) -> str:
    """A row as JSON, whatever is in it."""
    return _encode({column: _shown(value) for column, value in zip(COLUMNS, row, strict=True)}).decode()


def _shown(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return value if isinstance(value, int) or value is None else repr(value)


def _checksum(*values: Any) -> int:
    return zlib.crc32("\0".join(map(str, values)).encode("utf-8", "surrogatepass"))


def _number(state: RunState | None) -> int | None:
    return None if state is None else state.value


def _outcome(stored: _Outcome) -> Outcome:
    return Outcome(None if stored.state is None else RunState(stored.state), stored.reason, stored.report)
