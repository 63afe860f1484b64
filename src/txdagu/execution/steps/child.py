"""Steps that run another DAG: in this process, or on a worker."""

from __future__ import annotations

from dataclasses import dataclass, replace

from txdagu.dagfile import definition_for
from txdagu.dispatch.routing import Place, Route
from txdagu.execution.evaluation.params import evaluate_call
from txdagu.execution.plan import StepEnd
from txdagu.execution.request import RunRequest
from txdagu.execution.steps.context import StepContext
from txdagu.execution.steps.definition import named_definition
from txdagu.execution.steps.remote import RemoteCall, run_remote_child
from txdagu.model.dag import ChildCall, Dag, Step
from txdagu.model.errors import DaguError, NotFoundError
from txdagu.model.ids import child_run_id
from txdagu.model.run import ChildRun, RunRef, RunStatus
from txdagu.model.scalars import json_text
from txdagu.model.status import NodeState, RunState
from txdagu.peers.routing import find_route

_STATES = {
    RunState.SUCCEEDED: NodeState.SUCCEEDED,
    RunState.PARTIALLY_SUCCEEDED: NodeState.PARTIALLY_SUCCEEDED,
    RunState.WAITING: NodeState.WAITING,
}


@dataclass(frozen=True, slots=True)
class Call:
    """
    A child that is to run: the DAG, the run's name, its params, and what the store knows of an earlier attempt.

    `local` says that it is another document of the caller's file.
    """

    dag: Dag
    local: bool
    run: RunRef
    params: str
    previous: RunStatus | None


async def run_child_step(context: StepContext) -> StepEnd:
    """
    Run the called DAG and wait for its end; the result goes to the step's log, and to its output variable.

    A child that already succeeded is not run again: its result is taken, and so is that of one which a person rejected while we
    waited for it. Raises `DaguError` when it cannot be run at all.
    """
    step, call = await _prepare(context)
    context.called(ChildRun(call.run.id, call.params))
    decided = (RunState.SUCCEEDED, RunState.REJECTED) if _waited(context) else (RunState.SUCCEEDED,)
    if call.previous is not None and call.previous.state in decided:
        status = call.previous
    else:
        status = await _execute(context, call)
    return await _report(context, step, status)


def _waited(context: StepContext) -> bool:
    """Whether the run rested because of this step: its child waited for a person."""
    previous = context.request.previous
    return previous is not None and any(
        node.step.name == context.step.name and node.state is NodeState.WAITING for node in previous.nodes
    )


async def _prepare(context: StepContext) -> tuple[Step, Call]:
    written = context.step.child
    if written is None:
        raise DaguError(f"step {context.step.name} calls no DAG")
    name = await context.evaluator.field(written.name)
    params = await evaluate_call(written.params, context.evaluator)
    dag = await _find(context, name)
    run = RunRef(dag.name, child_run_id(context.request.run.id, context.step.name, params))
    previous = await context.stop.race(context.tools.store.read_status(run, context.request.root))
    call = Call(dag, name in context.dag.local_dags, run, params, previous)
    return replace(context.step, child=ChildCall(name, params)), call


async def _find(context: StepContext, name: str) -> Dag:
    """The DAG of that name: a document of the same file, else what `find_dag` finds."""
    local = context.dag.local_dags.get(name)
    if local is not None:
        return replace(local, local_dags=context.dag.local_dags)
    try:
        return await context.stop.race(context.tools.find_dag(name, context.dag.base_dir))
    except NotFoundError as error:
        raise NotFoundError(f'failed to find DAG "{name}": {error}') from error


async def _route(context: StepContext, dag: Dag) -> Route:
    tools = context.tools
    selector = dag.worker_selector.overridden_by(context.step.worker_selector)
    return await context.stop.race(find_route(selector, tools.execution_mode, tools.coordinators))


async def _execute(context: StepContext, call: Call) -> RunStatus:
    way = await _route(context, call.dag)
    if way.place is Place.HERE:
        return await _run_here(context, call)
    if context.tools.coordinators is None:
        raise DaguError(f"DAG {call.dag.name} has to run on a worker ({way.reason}), but no coordinator is known")
    if call.previous is not None and not call.previous.state.at_rest:
        # It seems to run, perhaps for a caller that was lost: asking for its start joins it, and its end is the one we want.
        call = replace(call, previous=None)
    definition = definition_for(context.dag, call.dag.name) if call.local else named_definition(call.dag)
    remote = RemoteCall(call.dag, definition, call.run, call.params, way.selector.labels, call.previous)
    return await run_remote_child(context, context.tools.coordinators, remote)


async def _run_here(context: StepContext, call: Call) -> RunStatus:
    """Run the child with the same engine, in the same slot."""
    request = context.request
    child = context.tools.start(
        RunRequest(
            dag=call.dag,
            run=call.run,
            root=request.root,
            parent=request.run,
            params=call.params,
            worker_id=request.worker_id,
            previous=call.previous,
            working_dir=context.directory,
            inherited_env=context.call_environment,
            inherited_secrets=context.masker.secrets,
            trace_parent=context.trace_parent,
        ),
        context.slot.shared,
    )
    stop = context.stop
    stop.attach(lambda force: child.kill() if force else child.cancel("the calling run was stopped", stop.passed))
    context.slot.leave()  # the child's own steps do the work now
    try:
        return await child.wait()
    finally:
        context.stop.detach()


async def _report(context: StepContext, step: Step, status: RunStatus) -> StepEnd:
    text = result_text(status)
    await context.print(f"{text}\n")
    state = _STATES.get(status.state, NodeState.FAILED)
    error = ""
    if state is NodeState.FAILED:
        error = f'failed to execute step "{step.name}": sub DAG run {status.run.id} failed with status: {status.state.label}'
        error += f": {status.error}" if status.error else ""
    outputs: dict[str, str] = {}
    if step.output is not None:
        limit = context.dag.max_output_size
        if len(text.encode()) <= limit:
            outputs[step.output.name] = text
        elif not error:
            state = NodeState.FAILED
            problem = f"output exceeded maximum size limit of {limit} bytes"
            error = f'failed to execute step "{step.name}": failed to capture output: {problem}'
    return StepEnd(state, error, outputs, step, int(bool(error)))


def result_text(status: RunStatus) -> str:
    """What a calling step prints: name, id, params, all captured variables and the status of the child, as indented JSON."""
    result: dict[str, object] = {"name": status.run.name, "dagRunId": status.run.id}
    if status.params:
        result["params"] = " ".join(status.params)
    outputs = status.outputs
    result["outputs"] = {name: outputs[name] for name in sorted(outputs)}
    result["status"] = status.state.label
    return json_text(result, indent=2)
