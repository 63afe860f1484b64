"""
The snapshot that an attempt takes of its DAG (``dag.json``), and back. Pure.

Dagu fills in defaults only when it loads YAML, never when it reads a snapshot: a missing ``histRetentionDays`` makes it delete
the history. So these keys are always written. Durations are nanoseconds. What Dagu has no key for is kept under ``txdagu``.
"""

from __future__ import annotations

import base64
import binascii
import posixpath
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from txdagu.dagfile.values import DEFAULT_DOTENV
from txdagu.model.dag import (
    DEFAULT_CLEAN_UP_SECONDS,
    DEFAULT_HISTORY_DAYS,
    DEFAULT_MAX_OUTPUT_SIZE,
    Dag,
    Handler,
    LogOutput,
    ParamsSchema,
)
from txdagu.model.errors import InvalidInputError
from txdagu.model.params import parse_params
from txdagu.model.policies import LostWorkerPolicy, OnWorkerLost
from txdagu.store.containerjson import ContainerRecord, container_document, container_of
from txdagu.store.errors import CorruptRecordError
from txdagu.store.policyjson import NANOSECONDS, ConditionRecord, condition_document, conditions_of
from txdagu.store.settingsjson import (
    MailOnRecord,
    MailRecord,
    SecretRecord,
    SmtpRecord,
    mail_document,
    mail_of,
    mail_on_document,
    mail_on_of,
    otel_document,
    otel_of,
    registries_document,
    secret_document,
    secrets_of,
    smtp_document,
    smtp_of,
    ssh_document,
)
from txdagu.store.stepjson import (
    LOCAL,
    OWN,
    StepRecord,
    encode_json,
    selector_of,
    step_document,
    step_of,
)


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
    _put(document, {"location": dag.location, "group": dag.group})
    document["name"] = dag.name
    document["type"] = dag.type
    _put(document, {"shell": dag.shell, "shellArgs": dag.shell_args, "dotenv": dag.dotenv, "tags": dag.tags})
    _put(document, {"description": dag.description})
    for key, expressions in (
        ("schedule", dag.schedule),
        ("stopSchedule", dag.stop_schedule),
        ("restartSchedule", dag.restart_schedule),
    ):
        _put(document, {key: [{"expression": expression} for expression in expressions]})
    _put(document, {"skipIfSuccessful": dag.skip_if_successful, "env": dag.env, "logDir": dag.log_dir})
    document["logOutput"] = dag.log_output.value
    _put(document, {"defaultParams": dag.params})
    if params:
        document["params"] = params
        values = dict(text.partition("=")[::2] for text in params)
        document["paramsJSON"] = encode_json(dict(sorted(values.items()))).decode()
    document["steps"] = [step_document(step) for step in dag.steps]
    _put(
        document,
        {
            "handlerOn": {handler.value: step_document(step) for handler, step in dag.handlers.items()},
            "preconditions": [condition_document(condition) for condition in dag.preconditions],
            "smtp": smtp_document(dag.smtp),
            "errorMail": mail_document(dag.error_mail),
            "infoMail": mail_document(dag.info_mail),
            "waitMail": mail_document(dag.wait_mail),
            "mailOn": mail_on_document(dag.mail_on),
            "timeout": dag.timeout_seconds * NANOSECONDS,
            "delay": dag.delay_seconds * NANOSECONDS,
            "restartWait": dag.restart_wait_seconds * NANOSECONDS,
            "maxActiveSteps": dag.max_active_steps,
        },
    )
    document["maxActiveRuns"] = dag.max_active_runs
    document["maxCleanUpTime"] = dag.max_clean_up_seconds * NANOSECONDS
    document["histRetentionDays"] = dag.hist_retention_days or DEFAULT_HISTORY_DAYS
    _put(document, {"queue": dag.queue, "workerSelector": dict(dag.worker_selector.labels)})
    document["maxOutputSize"] = dag.max_output_size
    _put(
        document,
        {
            "otel": otel_document(dag.otel),
            "container": container_document(dag.container),
            "runConfig": dict(dag.run_config),
            "registryAuths": registries_document(dag.registry_auths),
            "ssh": ssh_document(dag.ssh),
            "llm": dict(dag.llm),
            "secrets": [secret_document(secret) for secret in dag.secrets],
        },
    )
    if dag.local_dags:
        document["localDAGs"] = {
            name: _document(local, params_list(local.params), somewhere) for name, local in dag.local_dags.items()
        }
    if dag.yaml_text:
        document["yamlData"] = base64.b64encode(dag.yaml_text.encode("utf-8", "replace")).decode()
    own: dict[str, Any] = {"baseDir": dag.base_dir, "workingDir": dag.working_dir}
    _put(own, {"workerSelector": LOCAL if dag.worker_selector.local else ""})
    if dag.params_schema is not None:
        own["paramsSchema"] = dag.params_schema.location
    if dag.on_worker_lost != OnWorkerLost():
        own["onWorkerLost"] = {"policy": dag.on_worker_lost.policy.value, "limit": dag.on_worker_lost.limit}
    document[OWN] = own
    return document


def _put(document: dict[str, Any], entries: Mapping[str, Any]) -> None:
    """Add the entries that say anything."""
    document.update((key, value) for key, value in entries.items() if value)


class _ScheduleRecord(msgspec.Struct):
    expression: str = ""


class _LostRecord(msgspec.Struct):
    policy: str = LostWorkerPolicy.REDISTRIBUTE.value
    limit: int = OnWorkerLost().limit


class _OwnRecord(msgspec.Struct, rename="camel"):
    base_dir: str = ""
    working_dir: str = ""
    worker_selector: str | None = None
    params_schema: str | None = None
    on_worker_lost: _LostRecord | None = None


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

    dotenv: list[str] | None = None
    stop_schedule: list[_ScheduleRecord] | None = None
    restart_schedule: list[_ScheduleRecord] | None = None
    skip_if_successful: bool | None = None
    log_output: str | None = None
    handler_on: dict[str, StepRecord | None] | None = None
    preconditions: list[ConditionRecord] | None = None
    smtp: SmtpRecord | None = None
    error_mail: MailRecord | None = None
    info_mail: MailRecord | None = None
    wait_mail: MailRecord | None = None
    mail_on: MailOnRecord | None = None
    timeout: int | None = None
    delay: int | None = None
    restart_wait: int | None = None
    otel: dict[str, Any] | None = None
    container: ContainerRecord | None = None
    run_config: dict[str, bool] | None = None
    registry_auths: dict[str, Any] | None = None
    ssh: dict[str, Any] | None = None
    llm: dict[str, Any] | None = None
    secrets: list[SecretRecord] | None = None


_decoder = msgspec.json.Decoder(_DagRecord)


def decode_dag(data: bytes, path: str) -> Dag:
    """The DAG in a snapshot, whoever wrote it, ready to be executed again. Raises `CorruptRecordError` if it is none."""
    try:
        return _dag(_decoder.decode(data))
    except ValueError as error:
        raise CorruptRecordError(path, str(error)) from error


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
        schedule=_expressions(record.schedule),
        stop_schedule=_expressions(record.stop_schedule),
        restart_schedule=_expressions(record.restart_schedule),
        skip_if_successful=bool(record.skip_if_successful),
        params=record.default_params or "",
        params_schema=ParamsSchema(own.params_schema) if own and own.params_schema is not None else None,
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
        max_clean_up_seconds=_seconds(record.max_clean_up_time, DEFAULT_CLEAN_UP_SECONDS),
        max_output_size=record.max_output_size or DEFAULT_MAX_OUTPUT_SIZE,
        worker_selector=selector_of(record.worker_selector, own.worker_selector if own else None),
        on_worker_lost=_on_worker_lost(own.on_worker_lost if own else None),
        dotenv=tuple(dict.fromkeys([DEFAULT_DOTENV, *record.dotenv])) if record.dotenv else (),
        secrets=secrets_of(record.secrets),
        log_output=LogOutput(record.log_output or LogOutput.SEPARATE.value),
        timeout_seconds=_seconds(record.timeout),
        delay_seconds=_seconds(record.delay),
        restart_wait_seconds=_seconds(record.restart_wait),
        preconditions=conditions_of(record.preconditions),
        handlers={Handler(name): step_of(step) for name, step in (record.handler_on or {}).items() if step},
        mail_on=mail_on_of(record.mail_on),
        error_mail=mail_of(record.error_mail),
        info_mail=mail_of(record.info_mail),
        wait_mail=mail_of(record.wait_mail),
        smtp=smtp_of(record.smtp),
        container=container_of(record.container),
        registry_auths=record.registry_auths or {},
        ssh=record.ssh or {},
        llm=record.llm or {},
        otel=otel_of(record.otel),
        run_config=record.run_config or {},
        local_dags={name: _dag(local) for name, local in (record.local_dags or {}).items()},
        yaml_text=_text(record.yaml_data),
        location=location,
    )


def _expressions(records: list[_ScheduleRecord] | None) -> tuple[str, ...]:
    return tuple(entry.expression for entry in records or ())


def _on_worker_lost(record: _LostRecord | None) -> OnWorkerLost:
    return OnWorkerLost(LostWorkerPolicy(record.policy), record.limit) if record else OnWorkerLost()


def _seconds(nanoseconds: int | None, missing: int = 0) -> int:
    return missing if nanoseconds is None else nanoseconds // NANOSECONDS


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
