"""Runs on workers for which a step waits: called DAGs, and single steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from txdagu.dagfile import beyond_dagu
from txdagu.execution.remote import RemoteRun
from txdagu.execution.steps.context import StepContext
from txdagu.model.dag import Dag
from txdagu.model.run import RunRef, RunStatus
from txdagu.model.task import Operation, Task
from txdagu.peers.interfaces import ICoordinators


@dataclass(frozen=True, slots=True)
class RemoteCall:
    """What is to run elsewhere: the DAG and its text, the run's name, params, labels, and the state of an earlier attempt."""

    dag: Dag
    definition: str
    run: RunRef
    params: str
    selector: Mapping[str, str]
    previous: RunStatus | None


def task_for(context: StepContext, call: RemoteCall) -> Task:
    """
    The task to hand in.

    A child that came to rest before is taken up again. One that seems to run, perhaps for an attempt of the caller that was
    lost, is asked for as a start: where it is still open, that joins it instead of running it twice.
    """
    rested = call.previous is not None and call.previous.state.at_rest
    return Task(
        run=call.run,
        root=context.request.root,
        operation=Operation.RETRY if rested else Operation.START,
        target=call.dag.name,
        parent=context.request.run,
        params=call.params,
        selector=call.selector,
        definition=call.definition,
        trace_parent=context.trace_parent,
        on_worker_lost=call.dag.on_worker_lost,
        needs=beyond_dagu(call.dag),
        earlier_attempt=_earlier_attempt(call),
    )


def _earlier_attempt(call: RemoteCall) -> str:
    return call.previous.attempt_id if call.previous is not None else ""


async def run_remote_child(context: StepContext, coordinators: ICoordinators, call: RemoteCall) -> RunStatus:
    """The child's final state, as `RemoteRun.execute` tells; the caller's slot is free for others meanwhile."""
    task = task_for(context, call)
    return await run_remotely(context, coordinators, task, call.dag.max_clean_up_seconds, _earlier_attempt(call))


async def run_remotely(
    context: StepContext,
    coordinators: ICoordinators,
    task: Task,
    clean_up_seconds: float,
    earlier_attempt: str,
    seen: Callable[[RunStatus], None] | None = None,
) -> RunStatus:
    """Hand in a task and wait for its run's end, as `RemoteRun` does; the caller's slot is free for others meanwhile."""
    remote = RemoteRun(
        context.tools.store,
        coordinators,
        context.tools.clock,
        task,
        clean_up_seconds=clean_up_seconds,
        earlier_attempt=earlier_attempt,
        waits=context.waits,
        seen=seen,
    )
    context.slot.wait()
    return await remote.execute(context.stop)
