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
from txdagu.execution.steps.result import failure, node_state, report, result_text
from txdagu.model.dag import ChildCall, Dag, Step
from txdagu.model.errors import DaguError, NotFoundError
from txdagu.model.ids import child_run_id
from txdagu.model.run import ChildRun, RunRef, RunStatus
from txdagu.model.status import NodeState, RunState
from txdagu.peers.routing import find_route


class Callee:
    """The DAG that a step calls, as it was found. `local` says that it is another document of the caller's file."""

    def __init__(self, dag: Dag, local: bool) -> None:
        self.dag = dag
        self.local = local
        self._definition = ""

    def definition(self, caller: Dag) -> str:
        """Its text, for a worker. Raises `DaguError` if there is none to send."""
        if not self._definition:
            self._definition = definition_for(caller, self.dag.name) if self.local else named_definition(self.dag)
        return self._definition


@dataclass(frozen=True, slots=True)
class Call:
    """A child that is to run: the DAG, the run's name, its params, and what the store knows of an earlier attempt."""

    callee: Callee
    run: RunRef
    params: str
    previous: RunStatus | None


async def run_child_step(context: StepContext) -> StepEnd:
    """
    Run the called DAG and wait for its end; the result goes to the step's log, and to its output variable.

    A child that already succeeded is not run again: its result is taken, and so are those of all that ended while we waited for a
    person. Raises `DaguError` when it cannot be run at all.
    """
    written = called_by(context.step)
    callee = await find_callee(context)
    params = await evaluate_call(written.params, context.evaluator)
    child = child_for(context, callee, params)
    context.called([child])
    status = await call_child(context, callee, child)
    step = replace(context.step, child=ChildCall(callee.dag.name, params))
    return await report(context, step, result_text(status), node_state(status), failure(status))


def called_by(step: Step) -> ChildCall:
    """What the step calls."""
    if step.child is None:
        raise DaguError(f"step {step.name} calls no DAG")
    return step.child


async def find_callee(context: StepContext) -> Callee:
    """The DAG that the step names: a document of the same file, else what `find_dag` finds."""
    name = await context.evaluator.field(called_by(context.step).name)
    local = context.dag.local_dags.get(name)
    if local is not None:
        return Callee(replace(local, local_dags=context.dag.local_dags), True)
    try:
        return Callee(await context.stop.race(context.tools.find_dag(name, context.dag.base_dir)), False)
    except NotFoundError as error:
        raise NotFoundError(f'failed to find DAG "{name}": {error}') from error


def child_for(context: StepContext, callee: Callee, params: str) -> ChildRun:
    """The run that this round of the step calls with these params."""
    return ChildRun(child_run_id(context.request.run.id, context.step.name, params, context.round_name), params)


async def call_child(context: StepContext, callee: Callee, child: ChildRun) -> RunStatus:
    """
    The end of a child, here or on a worker: a new run, or an earlier attempt taken up again, unless that succeeded already, or
    ended in any way while the step waited for a person.

    Raises `DaguError` when it cannot be run at all, `StopRequested` when it was not yet begun.
    """
    run = RunRef(callee.dag.name, child.run_id)
    previous = await context.stop.race(context.tools.store.read_status(run, context.request.root))
    if previous is not None and (previous.state is RunState.SUCCEEDED or (previous.state.ended and _waited(context))):
        return previous
    call = Call(callee, run, child.params, previous)
    way = await _route(context, callee.dag)
    if way.place is Place.HERE:
        return await _run_here(context, call)
    if context.tools.coordinators is None:
        raise DaguError(f"DAG {callee.dag.name} has to run on a worker ({way.reason}), but no coordinator is known")
    if previous is not None and not previous.state.at_rest:
        # It seems to run, perhaps for a caller that was lost: asking for its start joins it, and its end is the one we want.
        previous = None
    definition = callee.definition(context.dag)
    remote = RemoteCall(callee.dag, definition, run, child.params, way.selector.labels, previous)
    return await run_remote_child(context, context.tools.coordinators, remote)


def _waited(context: StepContext) -> bool:
    """Whether the run rested because of this step: a child waited for a person."""
    previous = context.request.previous
    return previous is not None and any(
        node.step.name == context.step.name and node.state is NodeState.WAITING for node in previous.nodes
    )


async def _route(context: StepContext, dag: Dag) -> Route:
    tools = context.tools
    selector = dag.worker_selector.overridden_by(context.step.worker_selector)
    return await context.stop.race(find_route(selector, tools.execution_mode, tools.coordinators))


async def _run_here(context: StepContext, call: Call) -> RunStatus:
    """Run the child with the same engine, in the same slot."""
    request = context.request
    child = context.tools.start(
        RunRequest(
            dag=call.callee.dag,
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
            epoch=request.epoch,
        ),
        context.slot.shared,
    )
    stop = context.stop

    def pass_on(force: bool) -> None:
        if stop.let_go:
            child.hand_back("the calling run is handed back")
        if force:
            child.kill()
        elif not stop.let_go:
            child.cancel("the calling run was stopped", stop.passed)

    stop.attach(pass_on)
    context.slot.leave()  # the child's own steps do the work now
    try:
        return await child.wait()
    finally:
        context.stop.detach()
