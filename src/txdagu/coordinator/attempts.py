"""Which attempt a run had before a task for it was handed in, where the dispatcher does not tell."""

from __future__ import annotations

from twisted.logger import Logger

from txdagu.model.errors import DaguError
from txdagu.model.status import RunState
from txdagu.model.task import Operation, Task
from txdagu.store.interfaces import IRunStore

_log = Logger()


async def earlier_attempt(store: IRunStore, task: Task) -> str | None:
    """
    The id of the attempt that the run of a task has already, so that it is not taken for one of the task's own.

    Dagu's dispatchers do not tell it, and only Dagu's workers, which name their attempts themselves, have to be asked about by
    files. None where the run cannot have any, where only our workers may run the task, and where the files cannot be read: then
    clocks have to tell attempts apart.
    """
    if task.needs or not (task.operation is Operation.RETRY or task.parent):
        return None
    try:
        status = await store.read_status(task.run, task.root)
    except (DaguError, OSError, ValueError) as error:
        _log.debug("no earlier attempt of run {run} can be read: {error}", run=str(task.run), error=str(error))
        return None
    if status is None or status.state in (RunState.NOT_STARTED, RunState.QUEUED):
        return None
    return status.attempt_id
