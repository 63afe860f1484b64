"""What somebody asks the engine to run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from txdagu.execution.singlestep import GivenValues
from txdagu.model.dag import Dag
from txdagu.model.run import RunRef, RunStatus


@dataclass(frozen=True)
class RunRequest:
    """
    One run to execute.

    `params` lie over the DAG's defaults, in the command line's syntax. `attempt_name` is the directory name that a coordinator
    chose. With `previous`, a retry: its well ended nodes and its evaluated params are kept, the rest runs. `working_dir` is
    the caller's, for a DAG without its own. `new` refuses an id that exists. `inherited_env` is what a calling run of the
    same process adds to the environment in which ``env`` and ``params`` are evaluated; steps do not see it.
    `inherited_secrets` are the caller's, to be masked here as well. A run of a single step of another run has `given` values in
    place of env, params and dotenv files of its own.
    """

    dag: Dag
    run: RunRef
    root: RunRef
    parent: RunRef | None = None
    params: str = ""
    worker_id: str = "local"
    attempt_name: str = ""
    previous: RunStatus | None = None
    working_dir: str = ""
    new: bool = False
    queued_at: datetime | None = None
    inherited_env: Mapping[str, str] = field(default_factory=dict)
    inherited_secrets: Mapping[str, str] = field(default_factory=dict)
    given: GivenValues | None = None
