"""What the engine shall run for a task."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from functools import partial
from typing import Any

from twisted.logger import Logger

from txdagu.dagfile import load_dag
from txdagu.execution.plan import check_step
from txdagu.execution.request import RunRequest
from txdagu.execution.singlestep import decode_single_step
from txdagu.model.dag import Dag
from txdagu.model.errors import NotFoundError
from txdagu.model.task import Operation, Task
from txdagu.store.dagfiles import read_base
from txdagu.store.interfaces import IRunStore
from txdagu.system.threads import threads_of

DIRECTORY_PREFIX = "dagu-run-"


@dataclass(frozen=True, slots=True)
class PreparedRun:
    """The request, and the directory that was made for the run alone and goes with it; empty if none was."""

    request: RunRequest
    own_directory: str = ""


class Requests:
    """
    Makes requests out of tasks.

    START brings the YAML along. Where the store has an earlier attempt of that run (a step's retry sends START again with the
    same id; a task whose worker was lost is handed out anew), its finished steps are kept. RETRY takes up a run that the
    store has: the DAG is the snapshot taken when it was queued, so that edits since then do not matter. A DAG that brings
    no working directory runs in a fresh one. What it inherits stands in the file `base_config` of this host. A single step brings
    all with it, and keeps what earlier workers have done of the same execution, not what earlier executions have.
    """

    log = Logger()

    def __init__(self, reactor: Any, store: IRunStore, worker_id: str, base_config: str) -> None:
        self._in_thread = threads_of(reactor)
        self._store = store
        self._worker_id = worker_id
        self._base_config = base_config

    async def prepare(self, task: Task, attempt_name: str, epoch: int = 0) -> PreparedRun:
        """
        The request for a task, with the name and epoch of the attempt as the coordinator chose them.

        Raises `DaguError` with the reason if there is no DAG, if it cannot be read, or if it has no such step as the task names.
        """
        single = decode_single_step(task.single_step) if task.single_step else None
        dag = single.dag if single is not None else await self._dag(task)
        if task.step:
            check_step(dag, task.step)
        previous = await self._store.read_status(task.run, task.root)
        if single is not None and previous is not None and previous.attempt_id == single.given.earlier_attempt:
            previous = None
        own_directory = ""
        if not dag.working_dir and (single is not None or not dag.base_dir):
            own_directory = await self._in_thread(partial(tempfile.mkdtemp, prefix=DIRECTORY_PREFIX))
        request = RunRequest(
            dag=dag,
            run=task.run,
            root=task.root,
            parent=task.parent,
            params=task.params,
            worker_id=self._worker_id,
            attempt_name=attempt_name,
            previous=previous,
            step=task.step,
            working_dir=own_directory,
            queued_at=previous.queued_at if previous is not None else None,
            trace_parent=task.trace_parent,
            given=single.given if single is not None else None,
            epoch=epoch,
        )
        return PreparedRun(request, own_directory)

    async def clean_up(self, prepared: PreparedRun) -> None:
        """Remove the run's own directory with everything its steps left there."""
        if not prepared.own_directory:
            return
        try:
            await self._in_thread(partial(shutil.rmtree, prepared.own_directory))
        except OSError as error:
            self.log.warn(
                "{path}, the working directory of run {run}, cannot be removed: {error}",
                path=prepared.own_directory,
                run=str(prepared.request.run),
                error=error,
            )

    async def _dag(self, task: Task) -> Dag:
        if task.operation is Operation.RETRY:
            dag = await self._store.read_dag(task.run, task.root)
            if dag is not None:
                return dag
        if not task.definition:
            raise NotFoundError(
                f"the store has no run {task.run}, and the task brings no definition: "
                "do worker and dispatcher share their data directory?"
            )
        # YAML of unusual size takes its time.
        return await self._in_thread(partial(load_definition, task, self._base_config))


def load_definition(task: Task, base_config: str = "") -> Dag:
    """
    The DAG in the task's definition; one without a name has the task's target for it.

    It inherits from the file `base_config`, if there is one; a called DAG does not inherit handlers. Raises `InvalidInputError`.
    """
    source = f"definition of {task.target}"
    base = read_base(base_config)
    return load_dag(task.definition, source, name=task.target, base=base, called=task.parent is not None)
