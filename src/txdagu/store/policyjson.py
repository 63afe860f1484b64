"""Conditions and policies of steps as records. Durations are nanoseconds. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from txdagu.model.conditions import Condition
from txdagu.model.dag import Parallel
from txdagu.model.policies import ContinueOn, RepeatMode, RepeatPolicy, RetryPolicy

NANOSECONDS = 1_000_000_000


def without_empty(document: Mapping[str, Any]) -> dict[str, Any]:
    """The keys whose values say anything."""
    return {key: value for key, value in document.items() if value}


class ConditionRecord(msgspec.Struct):
    """One condition; in records of a run with what was wrong with it."""

    condition: str | None = None
    expected: str | None = None
    negate: bool | None = None
    error: str | None = None


def condition_document(condition: Condition) -> dict[str, Any]:
    """A condition, ready to be encoded."""
    document: dict[str, Any] = {"condition": condition.text}
    further = {"expected": condition.expected, "negate": condition.negate, "error": condition.error}
    return document | without_empty(further)


def conditions_of(records: Iterable[ConditionRecord | None] | None) -> tuple[Condition, ...]:
    """The conditions in a record."""
    return tuple(_condition_of(record) for record in records or () if record)


def _condition_of(record: ConditionRecord) -> Condition:
    return Condition(record.condition or "", record.expected or "", bool(record.negate), record.error or "")


class ContinueOnRecord(msgspec.Struct, rename="camel"):
    """When others go on."""

    failure: bool | None = None
    skipped: bool | None = None
    exit_code: list[int] | None = None
    output: list[str] | None = None
    mark_success: bool | None = None


def continue_on_document(continue_on: ContinueOn) -> dict[str, Any]:
    """``continueOn``, ready to be encoded; empty where nothing is asked for."""
    return without_empty(
        {
            "failure": continue_on.failure,
            "skipped": continue_on.skipped,
            "exitCode": continue_on.exit_codes,
            "output": continue_on.outputs,
            "markSuccess": continue_on.mark_success,
        }
    )


def continue_on_of(record: ContinueOnRecord | None) -> ContinueOn:
    """``continueOn`` in a record."""
    if record is None:
        return ContinueOn()
    return ContinueOn(
        bool(record.failure),
        bool(record.skipped),
        tuple(record.exit_code or ()),
        tuple(record.output or ()),
        bool(record.mark_success),
    )


class RetryRecord(msgspec.Struct, rename="camel"):
    """The retry policy; limit and interval are numbers, or texts under keys of their own."""

    limit: int | None = None
    interval: int | None = None
    limit_str: str | None = None
    interval_sec_str: str | None = None
    exit_code: list[int] | None = None
    backoff: float | None = None
    max_interval: int | None = None


def retry_document(policy: RetryPolicy | None) -> dict[str, Any]:
    """``retryPolicy``, ready to be encoded; empty for none."""
    if policy is None:
        return {}
    limit, interval = policy.limit, policy.interval
    return without_empty(
        {
            "limit": limit if isinstance(limit, int) else 0,
            "interval": interval * NANOSECONDS if isinstance(interval, int) else 0,
            "limitStr": limit if isinstance(limit, str) else "",
            "intervalSecStr": interval if isinstance(interval, str) else "",
            "exitCode": policy.exit_codes,
            "backoff": policy.backoff,
            "maxInterval": policy.max_interval * NANOSECONDS,
        }
    )


def retry_of(record: RetryRecord | None) -> RetryPolicy | None:
    """``retryPolicy`` in a record; Dagu leaves an empty one where there is none."""
    if record is None or not (record.limit or record.limit_str):
        return None
    return RetryPolicy(
        record.limit_str or record.limit or 0,
        record.interval_sec_str or (record.interval or 0) // NANOSECONDS,
        tuple(record.exit_code or ()),
        record.backoff or 0.0,
        (record.max_interval or 0) // NANOSECONDS,
    )


class RepeatRecord(msgspec.Struct, rename="camel"):
    """The repeat policy; ``repeat`` is that of older records."""

    repeat_mode: str | None = None
    repeat: bool | None = None
    interval: int | None = None
    limit: int | None = None
    backoff: float | None = None
    max_interval: int | None = None
    condition: ConditionRecord | None = None
    exit_code: list[int] | None = None


def repeat_document(policy: RepeatPolicy | None) -> dict[str, Any]:
    """``repeatPolicy``, ready to be encoded; empty for none."""
    if policy is None:
        return {}
    return without_empty(
        {
            "repeatMode": policy.mode.value,
            "interval": policy.interval * NANOSECONDS,
            "limit": policy.limit,
            "backoff": policy.backoff,
            "maxInterval": policy.max_interval * NANOSECONDS,
            "condition": condition_document(policy.condition) if policy.condition else None,
            "exitCode": policy.exit_codes,
        }
    )


def repeat_of(record: RepeatRecord | None) -> RepeatPolicy | None:
    """``repeatPolicy`` in a record. Raises `ValueError` for an unknown mode."""
    if record is None or not (record.repeat_mode or record.repeat):
        return None
    return RepeatPolicy(
        RepeatMode(record.repeat_mode or RepeatMode.WHILE.value),
        _condition_of(record.condition) if record.condition else None,
        tuple(record.exit_code or ()),
        record.limit or 0,
        (record.interval or 0) // NANOSECONDS,
        record.backoff or 0.0,
        (record.max_interval or 0) // NANOSECONDS,
    )


class ItemRecord(msgspec.Struct):
    """One item of ``parallel``: a text, or params."""

    value: str | None = None
    params: dict[str, str] | None = None


class ParallelRecord(msgspec.Struct, rename="camel"):
    """Items for each of which a child runs."""

    variable: str | None = None
    items: list[ItemRecord] | None = None
    max_concurrent: int | None = None


def parallel_document(parallel: Parallel | None) -> dict[str, Any]:
    """``parallel``, ready to be encoded; empty for none."""
    if parallel is None:
        return {}
    items = [{"value": item} if isinstance(item, str) else {"params": dict(item)} for item in parallel.items]
    document = without_empty({"variable": parallel.variable, "items": items})
    return document | {"maxConcurrent": parallel.max_concurrent}


def parallel_of(record: ParallelRecord | None) -> Parallel | None:
    """``parallel`` in a record."""
    if record is None or not (record.variable or record.items):
        return None
    items = tuple(item.value or "" if item.params is None else item.params for item in record.items or ())
    return Parallel(record.variable or "", items, record.max_concurrent or Parallel().max_concurrent)
