"""Steps as records: what status lines and DAG snapshots have in common. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import msgspec

from txdagu.model.dag import ChildCall, Command, Output, Step
from txdagu.model.labels import WorkerSelector

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


class StepRecord(msgspec.Struct, rename="camel"):
    """A step as Dagu 1.30.2 writes it; the second block names what we read only to say that we cannot do it."""

    name: str | None = None
    id: str | None = None
    description: str | None = None
    shell: str | None = None
    shell_args: list[str] | None = None
    dir: str | None = None
    executor_config: dict[str, Any] | None = None
    script: str | None = None
    commands: list[CommandRecord] | None = None
    output: str | None = None
    output_key: str | None = None
    output_omit: bool | None = None
    depends: list[str] | None = None
    child_dag: ChildRecord | None = None
    worker_selector: dict[str, str] | None = None
    env: list[str] | None = None
    command: str | None = None
    args: list[str] | None = None
    cmd_with_args: str | None = None
    cmd_args_sys: str | None = None
    txdagu: OwnStepRecord | None = None

    shell_packages: Any = None
    stdout: Any = None
    stderr: Any = None
    log_output: Any = None
    continue_on: Any = None
    retry_policy: Any = None
    repeat_policy: Any = None
    mail_on_error: Any = None
    preconditions: Any = None
    signal_on_stop: Any = None
    parallel: Any = None
    timeout: int | None = None
    container: Any = None
    llm: Any = None
    messages: Any = None


_REFUSED_OF_STEP = (
    ("shell_packages", "shellPackages"),
    ("stdout", "stdout"),
    ("stderr", "stderr"),
    ("continue_on", "continueOn"),
    ("mail_on_error", "mailOnError"),
    ("preconditions", "preconditions"),
    ("signal_on_stop", "signalOnStop"),
    ("parallel", "parallel"),
    ("timeout", "timeout"),
    ("container", "container"),
    ("llm", "llm"),
    ("messages", "messages"),
)
_KNOWN_EXECUTORS = ("", "dag", "subworkflow", "command", "shell")


def step_document(step: Step) -> dict[str, Any]:
    """The step with empty keys left out, ready to be encoded."""
    output, child = step.output, step.child
    document: dict[str, Any] = {
        "id": step.id,
        "name": step.name,
        "description": step.description,
        "shell": step.shell,
        "shellArgs": step.shell_args,
        "dir": step.dir,
        "executorConfig": {"type": "dag"} if child else None,
        "script": step.script,
        "commands": [_command_document(command) for command in step.commands],
        "output": output.name if output else None,
        "outputKey": output.key if output else None,
        "outputOmit": output.omit if output else None,
        "depends": step.depends,
        "childDag": {"name": child.name, "params": child.params} if child else None,
        "workerSelector": dict(step.worker_selector.labels),
        "env": step.env,
        OWN: {"workerSelector": LOCAL} if step.worker_selector.local else None,
    }
    return {key: value for key, value in document.items() if value or key == "name"}


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
    child = record.child_dag
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
        child=ChildCall(child.name, child.params or "") if child and child.name else None,
        worker_selector=selector_of(record.worker_selector, record.txdagu.worker_selector if record.txdagu else None),
    )


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


def refused(record: StepRecord) -> Iterator[str]:
    """Names of keys in the record that ask for something this version cannot do."""
    for attribute, key in _REFUSED_OF_STEP:
        if getattr(record, attribute):
            yield key
    if record.log_output not in (None, "", "separate"):
        yield "logOutput"
    if isinstance(record.retry_policy, dict) and (
        record.retry_policy.get("limit") or record.retry_policy.get("limitStr")
    ):
        yield "retryPolicy"
    if isinstance(record.repeat_policy, dict) and (
        record.repeat_policy.get("repeatMode") or record.repeat_policy.get("repeat")
    ):
        yield "repeatPolicy"
    kind = (record.executor_config or {}).get("type") or ""
    if kind not in _KNOWN_EXECUTORS:
        yield f"executorConfig.type {kind!r}"
