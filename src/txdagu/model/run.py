"""What happened: a run, its steps, and the result of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from txdagu.model.conditions import Condition
from txdagu.model.dag import Handler, Step
from txdagu.model.status import NodeState, RunState


@dataclass(frozen=True, slots=True, order=True)
class RunRef:
    """Names one run: the DAG's name and the run's id. Written ``name:id`` on the command line."""

    name: str
    id: str

    def __str__(self) -> str:
        """Written as the command line takes it."""
        return f"{self.name}:{self.id}"


@dataclass(frozen=True, slots=True)
class ChildRun:
    """A run that a step started, with the evaluated params text it was given."""

    run_id: str
    params: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """
    What a person said to a step that waited: `approved`, with the `inputs` by name, or rejected, for a `reason`.

    `by` names the person, where that is known.
    """

    approved: bool
    at: datetime | None = None
    by: str = ""
    inputs: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """
    A step and what became of it.

    `step` is as evaluated so far. `stdout` and `stderr` are absolute paths of log files, empty before the start.
    `outputs` maps the names of captured variables to their values. Where the values of secrets are hidden in them,
    `sealed_outputs` has them in pieces: text and names of secrets in turn, text first. `retry_count` counts retries after
    failures, the last begun at `retried_at`; `done_count` counts rounds, of which there are several where the step `repeated`.
    `children` are the runs that the last round called, `children_repeated` those of the rounds before. `excused` is said of a
    failure after which the run went on; `decision` is there once a person has decided. `exit_code` is that of the last
    execution; `waits` says why a step that has its turn has not begun.
    """

    step: Step
    state: NodeState = NodeState.NOT_STARTED
    stdout: str = ""
    stderr: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    error: str = ""
    exit_code: int = 0
    waits: str = ""
    retry_count: int = 0
    retried_at: datetime | None = None
    done_count: int = 0
    repeated: bool = False
    children: tuple[ChildRun, ...] = ()
    children_repeated: tuple[ChildRun, ...] = ()
    outputs: Mapping[str, str] = field(default_factory=dict)
    sealed_outputs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    excused: bool = False
    decision: Decision | None = None


@dataclass(frozen=True, slots=True)
class RunStatus:
    """
    A run at one moment: what a line of its status file says.

    `root` is the topmost run of the family (the run itself when nobody called it), `parent` the direct caller. `params` holds
    the evaluated ``NAME=value`` texts, positional ones named ``1``, ``2``, …; `worker_id` is ``local`` where no worker was asked;
    `created_at_ms` is the time of writing in Unix milliseconds. All times know their zone. `handlers` has a node for each
    handler of the DAG, `preconditions` the DAG's conditions with their messages.
    """

    run: RunRef
    root: RunRef
    state: RunState = RunState.NOT_STARTED
    parent: RunRef | None = None
    attempt_id: str = ""
    worker_id: str = ""
    pid: int = 0
    nodes: tuple[NodeStatus, ...] = ()
    created_at_ms: int = 0
    queued_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    log: str = ""
    error: str = ""
    params: tuple[str, ...] = ()
    handlers: Mapping[Handler, NodeStatus] = field(default_factory=dict)
    preconditions: tuple[Condition, ...] = ()

    @property
    def handlers_begun(self) -> tuple[NodeStatus, ...]:
        """The nodes of the handlers that had their turn, in the order of their turns."""
        nodes = (self.handlers.get(handler) for handler in Handler)
        return tuple(node for node in nodes if node is not None and node.state is not NodeState.NOT_STARTED)

    def kept(self, node: NodeStatus) -> bool:
        """Whether a node was taken over from an earlier attempt: its step began before this one did."""
        began = self.started_at
        return began is not None and node.started_at is not None and node.started_at < began

    def node(self, step_name: str) -> NodeStatus:
        """The node of that step; `KeyError` if there is none."""
        for node in self.nodes:
            if node.step.name == step_name:
                return node
        raise KeyError(step_name)

    @property
    def outputs(self) -> dict[str, str]:
        """All captured variables of all steps by name; a later step wins."""
        found: dict[str, str] = {}
        for node in self.nodes:
            found.update(node.outputs)
        return found
