"""What somebody asks the engine to run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from txdagu.execution.singlestep import GivenValues
from txdagu.model.dag import Dag
from txdagu.model.run import RunRef, RunStatus
from txdagu.model.status import RunState


@dataclass(frozen=True)
class RunRequest:
    """
    One run to execute.

    `params` lie over the DAG's defaults, in the command line's syntax. `attempt_name` is the directory name that a
    coordinator chose. With `previous`, a retry: its well ended nodes and its evaluated params are kept, the rest runs; with
    `step`, all that had ended is kept but that one. `working_dir` is the caller's, for a DAG without its own. `new` refuses
    an id that exists. `inherited_env` is what a calling run of the same process adds to the environment in which ``env`` and
    ``params`` are evaluated; steps do not see it. `inherited_secrets` are the caller's, to be masked here as well.
    `trace_parent` is the place in a trace from which the run was called (W3C ``traceparent``). A run of a single step of
    another run has `given` values in place of env, params and dotenv files of its own. `epoch` is the fence under which a worker
    runs it, 0 elsewhere; steps see it as ``DAGU_ATTEMPT_EPOCH``.
    """

    dag: Dag
    run: RunRef
    root: RunRef
    parent: RunRef | None = None
    params: str = ""
    worker_id: str = "local"
    attempt_name: str = ""
    previous: RunStatus | None = None
    step: str = ""
    working_dir: str = ""
    new: bool = False
    queued_at: datetime | None = None
    inherited_env: Mapping[str, str] = field(default_factory=dict)
    inherited_secrets: Mapping[str, str] = field(default_factory=dict)
    trace_parent: str = ""
    given: GivenValues | None = None
    epoch: int = 0

    @property
    def resumes(self) -> bool:
        """Whether the run goes on where it stood, queued or waiting for a person; else it is a retry of one that ended."""
        return self.previous is not None and self.previous.state in (RunState.QUEUED, RunState.WAITING)
