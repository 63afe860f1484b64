"""What a DAG file says should happen: steps, their order, and what they need. Values as read, nothing evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from txdagu.model.labels import WorkerSelector

DEFAULT_HISTORY_DAYS = 30
DEFAULT_CLEAN_UP_SECONDS = 5
DEFAULT_MAX_OUTPUT_SIZE = 1024 * 1024


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
class Step:
    """
    One step. Exactly one of `commands`, `script` and `child` says what it does (`commands` plus `script`: the script's
    file is the last argument of the one command).

    `env` holds ``NAME=value`` texts in order. `shell` is empty where the DAG's or the default shell runs the step.
    `depends` holds names of steps, resolved: ids are replaced and the order of a chain is written out.
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


@dataclass(frozen=True, slots=True)
class Dag:
    """
    One document of a DAG file.

    `params` holds the written defaults as one text in the command line's syntax (``NAME=value`` or bare values, values
    quoted where needed), `env` holds ``NAME=value`` texts in order; neither is evaluated. `local_dags` are the file's other
    documents by name, without their own `local_dags`. `yaml_text` is the source of the whole file (of the one document
    for a local DAG); `location` the file's absolute path, or empty. `working_dir` is as written; `base_dir` is the directory of
    the file, to which a relative one refers.
    """

    name: str
    steps: tuple[Step, ...] = ()
    type: str = "chain"
    group: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    schedule: tuple[str, ...] = ()
    params: str = ""
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
