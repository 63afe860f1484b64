"""A piece of work on its way to a worker, and what is known of the workers."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from txdagu.model.health import Health
from txdagu.model.labels import Labels
from txdagu.model.policies import OnWorkerLost
from txdagu.model.run import RunRef
from txdagu.model.standing import Standing


class Operation(Enum):
    """What a worker shall do: start a new run, or take up one that the store already has."""

    START = "start"
    RETRY = "retry"


@dataclass(frozen=True, slots=True)
class Task:
    """
    One run that a worker shall execute.

    `target` is the DAG's name; `definition` its YAML. `selector` are the labels that a worker must have. A root run has
    itself as `root` and no `parent`. `on_worker_lost` says what becomes of it when its worker is lost. A `single_step`, in JSON,
    is executed in place of the definition. `needs` is a phrase for what Dagu 1.30.2 does not know of it, empty where its workers
    may have it too. `trace_parent` is the place in a trace from which it was called (W3C ``traceparent``). `earlier_attempt` is
    the id of the latest attempt that the run had when the task was handed in, empty if it had none; None where nobody told.
    """

    run: RunRef
    root: RunRef
    operation: Operation
    target: str
    parent: RunRef | None = None
    params: str = ""
    step: str = ""
    selector: Labels = field(default_factory=dict)
    definition: str = ""
    trace_parent: str = ""
    on_worker_lost: OnWorkerLost = OnWorkerLost()
    single_step: str = ""
    needs: str = ""
    earlier_attempt: str | None = None

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What makes two dispatches the same one while the task is open: root run, run id, operation."""
        return (self.root.name, self.root.id, self.run.id, self.operation.value)


@dataclass(frozen=True, slots=True)
class RunningTask:
    """A run that a worker says it is executing. `started_at` is in Unix seconds; `epoch` is 0 where the peer knows none."""

    run: RunRef
    root: RunRef
    parent: RunRef | None = None
    started_at: int = 0
    attempt_key: str = ""
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """
    A worker as its coordinator sees it. `heartbeat_age` is in seconds; `last_heartbeat_at` in Unix seconds, for display.

    `confirms` tells a worker of ours, which acknowledges offers, from one of Dagu. With a `standing` it gets no new tasks.
    """

    id: str
    labels: Labels
    health: Health
    slots: int
    busy: int
    running: tuple[RunningTask, ...] = ()
    heartbeat_age: float = 0.0
    last_heartbeat_at: int = 0
    confirms: bool = True
    standing: Standing | None = None
