"""
The snapshot that an attempt takes of its DAG (``dag.json``), and back. Pure.

Dagu fills in defaults only when it loads YAML, never when it reads a snapshot: a missing ``histRetentionDays`` makes it delete
the history. So these keys are always written. Durations are nanoseconds. What Dagu has no key for is kept under ``txdagu``.
"""

from __future__ import annotations

import base64
import binascii
import posixpath
from collections.abc import Sequence
from typing import Any

import msgspec

from txdagu.model.dag import DEFAULT_CLEAN_UP_SECONDS, DEFAULT_HISTORY_DAYS, DEFAULT_MAX_OUTPUT_SIZE, Dag
from txdagu.model.errors import InvalidInputError, Problem
from txdagu.model.params import parse_params
from txdagu.store.errors import CorruptRecordError
from txdagu.store.stepjson import (
    LOCAL,
    OWN,
    StepRecord,
    encode_json,
    refused,
    selector_of,
    step_document,
    step_of,
)

_NANOSECONDS = 1_000_000_000


def params_list(params: str) -> tuple[str, ...]:
    """The written params as records list them: ``NAME=value`` each, bare ones named by their position."""
    try:
        written = parse_params(params)
    except InvalidInputError:
        return ()
    return tuple(f"{position if name is None else name}={value}" for position, (name, value) in enumerate(written, 1))


def encode_dag(dag: Dag, params: Sequence[str], somewhere: str) -> bytes:
    """
    The snapshot on one line, without a line end.

    `params` are the run's own, evaluated. `somewhere` is an absolute directory for a DAG that names none and has none.
    """
    return encode_json(_document(dag, params, somewhere))


def _document(dag: Dag, params: Sequence[str], somewhere: str) -> dict[str, Any]:
    document: dict[str, Any] = {
        "workingDir": posixpath.join(dag.base_dir or somewhere, dag.working_dir).rstrip("/") or "/"
    }
    if dag.working_dir.startswith(("~", "$")):
        document["workingDir"] = dag.working_dir
    _put_texts(document, (("location", dag.location), ("group", dag.group)))
    document["name"] = dag.name
    document["type"] = dag.type
    _put_texts(document, (("shell", dag.shell),))
    _put_lists(document, (("shellArgs", dag.shell_args), ("tags", dag.tags)))
    _put_texts(document, (("description", dag.description),))
    if dag.schedule:
        document["schedule"] = [{"expression": expression} for expression in dag.schedule]
    _put_lists(document, (("env", dag.env),))
    _put_texts(document, (("logDir", dag.log_dir),))
    document["logOutput"] = "separate"
    _put_texts(document, (("defaultParams", dag.params),))
    if params:
        document["params"] = params
        values = dict(text.partition("=")[::2] for text in params)
        document["paramsJSON"] = encode_json(dict(sorted(values.items()))).decode()
    document["steps"] = [step_document(step) for step in dag.steps]
    if dag.max_active_steps:
        document["maxActiveSteps"] = dag.max_active_steps
    document["maxActiveRuns"] = dag.max_active_runs
    document["maxCleanUpTime"] = dag.max_clean_up_seconds * _NANOSECONDS
    document["histRetentionDays"] = dag.hist_retention_days or DEFAULT_HISTORY_DAYS
    _put_texts(document, (("queue", dag.queue),))
    if dag.worker_selector.labels:
        document["workerSelector"] = dict(dag.worker_selector.labels)
    document["maxOutputSize"] = dag.max_output_size
    if dag.local_dags:
        document["localDAGs"] = {
            name: _document(local, params_list(local.params), somewhere) for name, local in dag.local_dags.items()
        }
    if dag.yaml_text:
        document["yamlData"] = base64.b64encode(dag.yaml_text.encode("utf-8", "replace")).decode()
    own: dict[str, str] = {"baseDir": dag.base_dir, "workingDir": dag.working_dir}
    if dag.worker_selector.local:
        own["workerSelector"] = LOCAL
    document[OWN] = own
    return document


def _put_texts(document: dict[str, Any], pairs: Sequence[tuple[str, str]]) -> None:
    document.update((key, text) for key, text in pairs if text)


def _put_lists(document: dict[str, Any], pairs: Sequence[tuple[str, Sequence[str]]]) -> None:
    document.update((key, texts) for key, texts in pairs if texts)


class _ScheduleRecord(msgspec.Struct):
    expression: str = ""


class _OwnRecord(msgspec.Struct, rename="camel"):
    base_dir: str = ""
    working_dir: str = ""
    worker_selector: str | None = None


class _DagRecord(msgspec.Struct, rename="camel"):
    name: str | None = None
    working_dir: str | None = None
    location: str | None = None
    group: str | None = None
    type: str | None = None
    shell: str | None = None
    shell_args: list[str] | None = None
    tags: list[str] | None = None
    description: str | None = None
    schedule: list[_ScheduleRecord] | None = None
    env: list[str] | None = None
    log_dir: str | None = None
    default_params: str | None = None
    steps: list[StepRecord] | None = None
    max_active_steps: int | None = None
    max_active_runs: int | None = None
    max_clean_up_time: int | None = None
    hist_retention_days: int | None = None
    queue: str | None = None
    worker_selector: dict[str, str] | None = None
    max_output_size: int | None = None
    local_dags: dict[str, _DagRecord] | None = msgspec.field(default=None, name="localDAGs")
    yaml_data: str | None = None
    txdagu: _OwnRecord | None = None

    log_output: Any = None
    handler_on: Any = None
    preconditions: Any = None
    timeout: int | None = None
    delay: int | None = None
    container: Any = None
    registry_auths: Any = None
    ssh: Any = None
    llm: Any = None
    secrets: Any = None


_REFUSED_OF_DAG = (
    ("preconditions", "preconditions"),
    ("timeout", "timeout"),
    ("delay", "delay"),
    ("container", "container"),
    ("registry_auths", "registryAuths"),
    ("ssh", "ssh"),
    ("llm", "llm"),
    ("secrets", "secrets"),
)

_decoder = msgspec.json.Decoder(_DagRecord)


def decode_dag(data: bytes, path: str) -> Dag:
    """
    The DAG in a snapshot, whoever wrote it, ready to be executed again.

    Raises `CorruptRecordError` if the data is no snapshot, and `InvalidInputError` if it asks for something that this version
    cannot do, because leaving that out in silence would run another DAG than the one that was written.
    """
    try:
        record = _decoder.decode(data)
        problems = [Problem(f"{key} is not supported", path) for key in _refused_of_dag(record)]
        for step in record.steps or ():
            problems += [Problem(f"step {step.name!r}: {key} is not supported", path) for key in refused(step)]
        if problems:
            raise InvalidInputError(problems)
        return _dag(record)
    except InvalidInputError:
        raise
    except ValueError as error:
        raise CorruptRecordError(path, str(error)) from error


def _refused_of_dag(record: _DagRecord) -> list[str]:
    keys = [key for attribute, key in _REFUSED_OF_DAG if getattr(record, attribute)]
    if isinstance(record.handler_on, dict):
        keys += [f"handlerOn.{name}" for name, handler in record.handler_on.items() if handler]
    if record.log_output not in (None, "", "separate"):
        keys.append("logOutput")
    return keys


def _dag(record: _DagRecord) -> Dag:
    working_dir, location = record.working_dir or "", record.location or ""
    base_dir = posixpath.dirname(location) if location else working_dir
    own = record.txdagu
    if own:
        working_dir, base_dir = own.working_dir, own.base_dir
    return Dag(
        name=record.name or "",
        steps=tuple(step_of(step) for step in record.steps or ()),
        type=record.type or "chain",
        group=record.group or "",
        description=record.description or "",
        tags=tuple(record.tags or ()),
        schedule=tuple(entry.expression for entry in record.schedule or ()),
        params=record.default_params or "",
        env=tuple(record.env or ()),
        shell=record.shell or "",
        shell_args=tuple(record.shell_args or ()),
        working_dir=working_dir,
        base_dir=base_dir,
        log_dir=record.log_dir or "",
        queue=record.queue or "",
        max_active_runs=1 if record.max_active_runs is None else record.max_active_runs,
        max_active_steps=record.max_active_steps or 0,
        hist_retention_days=record.hist_retention_days or DEFAULT_HISTORY_DAYS,
        max_clean_up_seconds=_seconds(record.max_clean_up_time),
        max_output_size=record.max_output_size or DEFAULT_MAX_OUTPUT_SIZE,
        worker_selector=selector_of(record.worker_selector, own.worker_selector if own else None),
        local_dags={name: _dag(local) for name, local in (record.local_dags or {}).items()},
        yaml_text=_text(record.yaml_data),
        location=location,
    )


def _seconds(nanoseconds: int | None) -> int:
    return DEFAULT_CLEAN_UP_SECONDS if nanoseconds is None else nanoseconds // _NANOSECONDS


def _text(encoded: str | None) -> str:
    try:
        return base64.b64decode(encoded or "", validate=True).decode("utf-8", "replace")
    except binascii.Error as error:
        raise ValueError(f"yamlData is not base64: {error}") from error


class _NamesRecord(msgspec.Struct):
    name: str | None = None
    queue: str | None = None


_names_decoder = msgspec.json.Decoder(_NamesRecord)


def liveness_names(data: bytes, path: str) -> tuple[str, str]:
    """Queue and name of the DAG, which say where the run's liveness file is; all else in the snapshot is not looked at."""
    try:
        record = _names_decoder.decode(data)
    except ValueError as error:
        raise CorruptRecordError(path, str(error)) from error
    name = record.name or ""
    return record.queue or name, name
