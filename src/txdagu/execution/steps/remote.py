"""Children that run on workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from twisted.logger import Logger

from txdagu.execution.remote import RemoteRun
from txdagu.execution.steps.context import StepContext
from txdagu.model.dag import Dag
from txdagu.model.run import RunRef, RunStatus
from txdagu.model.task import Operation, Task
from txdagu.peers.interfaces import ICoordinators

log = Logger()


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
    )


async def run_remote_child(context: StepContext, coordinators: ICoordinators, call: RemoteCall) -> RunStatus:
    """The child's final state, as `RemoteRun.execute` tells; the caller's slot is free for others meanwhile."""
    earlier = call.previous.attempt_id if call.previous is not None else ""
    remote = RemoteRun(
        context.tools.store,
        coordinators,
        context.tools.clock,
        task_for(context, call),
        clean_up_seconds=call.dag.max_clean_up_seconds,
        earlier_attempt=earlier,
        waits=lambda sentence: log.warn("step {step}: {sentence}", step=context.step.name, sentence=sentence),
    )
    context.slot.wait()
    return await remote.execute(context.stop)
