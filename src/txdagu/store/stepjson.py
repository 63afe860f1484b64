"""Steps as records: what status lines and DAG snapshots have in common. Pure."""

from __future__ import annotations

import re
import shlex
from typing import Any

import msgspec

from txdagu.model.dag import ChildCall, Command, LogOutput, Output, Step
from txdagu.model.errors import InvalidInputError
from txdagu.model.labels import WorkerSelector
from txdagu.model.params import params_text, parse_params
from txdagu.store.containerjson import ContainerRecord, container_document, container_of
from txdagu.store.policyjson import (
    NANOSECONDS,
    ConditionRecord,
    ContinueOnRecord,
    ParallelRecord,
    RepeatRecord,
    RetryRecord,
    condition_document,
    conditions_of,
    continue_on_document,
    continue_on_of,
    parallel_document,
    parallel_of,
    repeat_document,
    repeat_of,
    retry_document,
    retry_of,
    without_empty,
)

# The key under which we keep what Dagu's records have no place for. It reads over unknown keys.
OWN = "txdagu"
LOCAL = "local"

_TORN = re.compile(r"[\s'\"]")
_encoder = msgspec.json.Encoder()


def encode_json(document: Any) -> bytes:
    """JSON on one line. Text that is not Unicode (from file names, say) gets question marks instead of an error."""
    try:
        return _encoder.encode(document)
    except UnicodeEncodeError:
        return _encoder.encode(_cleaned(document))


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_cleaned(key): _cleaned(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(item) for item in value]
    return value


class CommandRecord(msgspec.Struct, rename="camel"):
    """One of a step's commands."""

    command: str | None = None
    args: list[str] | None = None
    cmd_with_args: str | None = None


class ChildRecord(msgspec.Struct):
    """The DAG that a step calls."""

    name: str | None = None
    params: str | None = None


class OwnStepRecord(msgspec.Struct, rename="camel"):
    """Our addition to a step."""

    worker_selector: str | None = None
    params: str | None = None


class ExecutorRecord(msgspec.Struct):
    """A step's type and its options."""

    type: str | None = None
    config: dict[str, Any] | None = None


class StepRecord(msgspec.Struct, rename="camel"):
    """A step as Dagu 1.30.2 writes it; the second block are the keys of older records and our own."""

    name: str | None = None
    id: str | None = None
    description: str | None = None
    shell: str | None = None
    shell_args: list[str] | None = None
    dir: str | None = None
    executor_config: ExecutorRecord | None = None
    script: str | None = None
    commands: list[CommandRecord] | None = None
    output: str | None = None
    output_key: str | None = None
    output_omit: bool | None = None
    depends: list[str] | None = None
    child_dag: ChildRecord | None = None
    worker_selector: dict[str, str] | None = None
    env: list[str] | None = None
    params: dict[str, Any] | None = None
    shell_packages: list[str] | None = None
    stdout: str | None = None
    stderr: str | None = None
    log_output: str | None = None
    continue_on: ContinueOnRecord | None = None
    retry_policy: RetryRecord | None = None
    repeat_policy: RepeatRecord | None = None
    mail_on_error: bool | None = None
    preconditions: list[ConditionRecord] | None = None
    signal_on_stop: str | None = None
    parallel: ParallelRecord | None = None
    timeout: int | None = None
    container: ContainerRecord | None = None
    llm: dict[str, Any] | None = None
    messages: list[dict[str, str]] | None = None

    command: str | None = None
    args: list[str] | None = None
    cmd_with_args: str | None = None
    cmd_args_sys: str | None = None
    txdagu: OwnStepRecord | None = None


_COMMAND_TYPES = ("shell", "command")
_CALL_TYPES = ("dag", "subworkflow", "parallel")


def step_document(step: Step) -> dict[str, Any]:
    """The step with empty keys left out, ready to be encoded."""
    output, child = step.output, step.child
    kind = ("parallel" if step.parallel else "dag") if child else step.type
    own = {"workerSelector": LOCAL if step.worker_selector.local else None, "params": step.params}
    document: dict[str, Any] = {
        "id": step.id,
        "name": step.name,
        "description": step.description,
        "shell": step.shell,
        "shellPackages": step.shell_packages,
        "shellArgs": step.shell_args,
        "dir": step.dir,
        "executorConfig": without_empty({"type": kind, "config": dict(step.config)}),
        "script": step.script,
        "commands": [_command_document(command) for command in step.commands],
        "stdout": step.stdout,
        "stderr": step.stderr,
        "logOutput": step.log_output.value if step.log_output else None,
        "output": output.name if output else None,
        "outputKey": output.key if output else None,
        "outputOmit": output.omit if output else None,
        "depends": step.depends,
        "continueOn": continue_on_document(step.continue_on),
        "retryPolicy": retry_document(step.retry_policy),
        "repeatPolicy": repeat_document(step.repeat_policy),
        "mailOnError": step.mail_on_error,
        "preconditions": [condition_document(condition) for condition in step.preconditions],
        "signalOnStop": step.signal_on_stop,
        "childDag": {"name": child.name, "params": child.params} if child else None,
        "workerSelector": dict(step.worker_selector.labels),
        "parallel": parallel_document(step.parallel),
        "env": step.env,
        "params": _params_document(step.params),
        "timeout": step.timeout_seconds * NANOSECONDS,
        "container": container_document(step.container),
        "llm": dict(step.llm),
        "messages": [dict(message) for message in step.messages],
        OWN: without_empty(own),
    }
    return {key: value for key, value in document.items() if value or key == "name"}


def _params_document(params: str) -> dict[str, str]:
    """Params as a mapping, in which one without a name has the empty name."""
    if not params:
        return {}
    try:
        return {name or "": value for name, value in parse_params(params)}
    except InvalidInputError:
        return {"": params}


def _command_document(command: Command) -> dict[str, Any]:
    document: dict[str, Any] = {"command": command.program}
    if command.args:
        document["args"] = command.args
    document["cmdWithArgs"] = command.text
    return document


def selector_of(labels: dict[str, str] | None, own: str | None) -> WorkerSelector:
    """The selector in a record, ours included."""
    return WorkerSelector(dict(labels or {}), local=own == LOCAL)


def step_of(record: StepRecord) -> Step:
    """The step in a record; the old single-command keys are read as well."""
    commands = tuple(_command_of(command) for command in record.commands or ())
    if not commands and (record.command or record.cmd_with_args or record.cmd_args_sys):
        commands = (_legacy_command(record),)
    child = record.child_dag if record.child_dag and record.child_dag.name else None
    executor = record.executor_config or ExecutorRecord()
    kind = executor.type or ""
    own = record.txdagu or OwnStepRecord()
    params = own.params or ("" if child else _params_text(record.params or {}))
    return Step(
        name=record.name or "",
        id=record.id or "",
        description=record.description or "",
        commands=commands,
        script=record.script or "",
        shell=record.shell or "",
        shell_args=tuple(record.shell_args or ()),
        dir=record.dir or "",
        env=tuple(record.env or ()),
        output=Output(record.output, record.output_key or "", bool(record.output_omit)) if record.output else None,
        depends=tuple(record.depends or ()),
        child=ChildCall(child.name or "", child.params or "") if child else None,
        worker_selector=selector_of(record.worker_selector, own.worker_selector),
        type="" if kind in _COMMAND_TYPES or (child and kind in _CALL_TYPES) else kind,
        config=executor.config or {},
        params=params,
        parallel=parallel_of(record.parallel),
        preconditions=conditions_of(record.preconditions),
        continue_on=continue_on_of(record.continue_on),
        retry_policy=retry_of(record.retry_policy),
        repeat_policy=repeat_of(record.repeat_policy),
        timeout_seconds=(record.timeout or 0) // NANOSECONDS,
        signal_on_stop=record.signal_on_stop or "",
        mail_on_error=bool(record.mail_on_error),
        stdout=record.stdout or "",
        stderr=record.stderr or "",
        log_output=LogOutput(record.log_output) if record.log_output else None,
        shell_packages=tuple(record.shell_packages or ()),
        container=container_of(record.container),
        llm=record.llm or {},
        messages=tuple(record.messages or ()),
    )


def _params_text(params: dict[str, Any]) -> str:
    try:
        return params_text(((name or None, str(value)) for name, value in params.items()), always=True)
    except InvalidInputError:
        return ""


def _command_of(record: CommandRecord) -> Command:
    program, args = record.command or "", tuple(record.args or ())
    return Command(record.cmd_with_args or _line(program, args), program, args)


def _legacy_command(record: StepRecord) -> Command:
    program, args = record.command or "", tuple(record.args or ())
    return Command(record.cmd_with_args or record.cmd_args_sys or _line(program, args), program, args)


def _line(program: str, args: tuple[str, ...]) -> str:
    # Only words that a shell would take apart are quoted: in the others, variables shall still be found.
    words = (program, *args)
    return " ".join(shlex.quote(word) if not word or _TORN.search(word) else word for word in words)
