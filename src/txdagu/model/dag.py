"""What a DAG file says should happen: steps, their order, and what they need. Values as read, nothing evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from txdagu.model.conditions import Condition
from txdagu.model.container import Container
from txdagu.model.labels import WorkerSelector
from txdagu.model.mail import MailAddressing, MailOn, SmtpServer
from txdagu.model.policies import ContinueOn, OnWorkerLost, RepeatPolicy, RetryPolicy

DEFAULT_HISTORY_DAYS = 30
DEFAULT_CLEAN_UP_SECONDS = 5
DEFAULT_MAX_OUTPUT_SIZE = 1024 * 1024
DEFAULT_MAX_CONCURRENT = 10


@dataclass(frozen=True, slots=True)
class Command:
    """
    One command of a step.

    `text` is the whole line, for a shell; `program` and `args` are the same split into words, for files and pages.
    """

    text: str
    program: str = ""
    args: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Output:
    """Where a step's standard output goes: variable `name`; `key` renames it in ``outputs.json``, `omit` leaves it out there."""

    name: str
    key: str = ""
    omit: bool = False


@dataclass(frozen=True, slots=True)
class ChildCall:
    """A step's call of another DAG: its name, and its params as one text ``K="v" …`` which is evaluated at start."""

    name: str
    params: str = ""


@dataclass(frozen=True, slots=True)
class Parallel:
    """
    One child run per item. The items come from the text `variable`, evaluated and split, or stand in `items`.

    An item is a text, or a mapping of texts whose keys become params.
    """

    variable: str = ""
    items: tuple[str | Mapping[str, str], ...] = ()
    max_concurrent: int = DEFAULT_MAX_CONCURRENT


class LogOutput(Enum):
    """Whether a step's two output streams have a log file each, or share one."""

    SEPARATE = "separate"
    MERGED = "merged"


class Handler(Enum):
    """At which point of a run a handler step runs; the names of its nodes are ``onInit`` … in Dagu's records."""

    INIT = "init"
    SUCCESS = "success"
    FAILURE = "failure"
    ABORT = "cancel"
    EXIT = "exit"
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class Secret:
    """Where a secret's value comes from: `provider` is ``env`` or ``file``, `key` the variable's name or the file's."""

    name: str
    provider: str
    key: str
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ParamsSchema:
    """A JSON Schema that the params must satisfy: a file or URL, as written."""

    location: str


@dataclass(frozen=True, slots=True)
class Step:
    """
    One step. Exactly one of `commands`, `script` and `child` says what it does (`commands` plus `script`: the script's
    file is the last argument of the one command), unless its `type` needs none of them.

    `type` is empty where the step runs commands; `config` holds the options of the type as written. `env` holds ``NAME=value``
    texts in order. `shell` is empty where the DAG's or the default shell runs the step. `depends` holds names of steps, resolved:
    ids are replaced and the order of a chain is written out. `timeout_seconds` 0 means no limit. `params` are inputs of types
    other than calls (GitHub actions), as one text.
    """

    name: str
    id: str = ""
    description: str = ""
    commands: tuple[Command, ...] = ()
    script: str = ""
    shell: str = ""
    shell_args: tuple[str, ...] = ()
    dir: str = ""
    env: tuple[str, ...] = ()
    output: Output | None = None
    depends: tuple[str, ...] = ()
    child: ChildCall | None = None
    worker_selector: WorkerSelector = WorkerSelector()
    type: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    params: str = ""
    parallel: Parallel | None = None
    preconditions: tuple[Condition, ...] = ()
    continue_on: ContinueOn = ContinueOn()
    retry_policy: RetryPolicy | None = None
    repeat_policy: RepeatPolicy | None = None
    timeout_seconds: int = 0
    signal_on_stop: str = ""
    mail_on_error: bool = False
    stdout: str = ""
    stderr: str = ""
    log_output: LogOutput | None = None
    shell_packages: tuple[str, ...] = ()
    container: Container | None = None
    llm: Mapping[str, Any] = field(default_factory=dict)
    messages: tuple[Mapping[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Dag:
    """
    One document of a DAG file.

    `params` holds the written defaults as one text in the command line's syntax (``NAME=value`` or bare values, values
    quoted where needed), `env` holds ``NAME=value`` texts in order; neither is evaluated. `local_dags` are the file's other
    documents by name, without their own `local_dags`. `yaml_text` is the source of the whole file (of the one document
    for a local DAG); `location` the file's absolute path, or empty. `working_dir` is as written; `base_dir` is the directory of
    the file, to which a relative one refers. `dotenv` holds the files to read, in order, none where that was switched off.
    `registry_auths`, `ssh`, `llm`, `otel` and `run_config` are as written. Times are in seconds, 0 means none.
    """

    name: str
    steps: tuple[Step, ...] = ()
    type: str = "chain"
    group: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    schedule: tuple[str, ...] = ()
    stop_schedule: tuple[str, ...] = ()
    restart_schedule: tuple[str, ...] = ()
    skip_if_successful: bool = False
    params: str = ""
    params_schema: ParamsSchema | None = None
    env: tuple[str, ...] = ()
    shell: str = ""
    shell_args: tuple[str, ...] = ()
    working_dir: str = ""
    base_dir: str = ""
    log_dir: str = ""
    queue: str = ""
    max_active_runs: int = 1
    max_active_steps: int = 0
    hist_retention_days: int = DEFAULT_HISTORY_DAYS
    max_clean_up_seconds: int = DEFAULT_CLEAN_UP_SECONDS
    max_output_size: int = DEFAULT_MAX_OUTPUT_SIZE
    worker_selector: WorkerSelector = WorkerSelector()
    on_worker_lost: OnWorkerLost = OnWorkerLost()
    dotenv: tuple[str, ...] = (".env",)
    secrets: tuple[Secret, ...] = ()
    log_output: LogOutput = LogOutput.SEPARATE
    timeout_seconds: int = 0
    delay_seconds: int = 0
    restart_wait_seconds: int = 0
    preconditions: tuple[Condition, ...] = ()
    handlers: Mapping[Handler, Step] = field(default_factory=dict)
    mail_on: MailOn = MailOn()
    error_mail: MailAddressing = MailAddressing()
    info_mail: MailAddressing = MailAddressing()
    wait_mail: MailAddressing = MailAddressing()
    smtp: SmtpServer | None = None
    container: Container | None = None
    registry_auths: Mapping[str, Any] = field(default_factory=dict)
    ssh: Mapping[str, Any] = field(default_factory=dict)
    llm: Mapping[str, Any] = field(default_factory=dict)
    otel: Mapping[str, Any] = field(default_factory=dict)
    run_config: Mapping[str, bool] = field(default_factory=dict)
    local_dags: Mapping[str, Dag] = field(default_factory=dict)
    yaml_text: str = ""
    location: str = ""

    @property
    def queue_name(self) -> str:
        """The queue and process group of its runs: as written, else the DAG's name."""
        return self.queue or self.name

    def step(self, name: str) -> Step:
        """The step of that name; `KeyError` if there is none."""
        for step in self.steps:
            if step.name == name:
                return step
        raise KeyError(name)
