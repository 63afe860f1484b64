"""Single steps that run on a worker: handed in as tasks of their own, and ended as if they had run here."""

from __future__ import annotations

from dataclasses import replace

from txdagu.dispatch.routing import Place, Route
from txdagu.execution.hiding import known_outputs
from txdagu.execution.plan import StepEnd
from txdagu.execution.plan.settling import KEPT
from txdagu.execution.singlestep import encode_single_step, refusal, run_name, single_step
from txdagu.execution.steps.context import StepContext
from txdagu.execution.steps.remote import run_remotely
from txdagu.model.dag import Step
from txdagu.model.errors import DaguError
from txdagu.model.ids import child_run_id
from txdagu.model.run import ChildRun, NodeStatus, RunRef, RunStatus
from txdagu.model.status import NodeState, RunState
from txdagu.model.task import Operation, Task
from txdagu.peers.routing import find_route
from txdagu.store.interfaces import StepLogs

# No params of a call begin with these, so that no called DAG has the same id.
_STEP, _HANDLER = "\0step", "\0handler"
NEEDS = "single steps"


async def route_of(context: StepContext) -> Route | None:
    """Where a step that calls no DAG goes by its own selector; None for one that has none: it stays with its run."""
    selector = context.step.worker_selector
    if not selector:
        return None
    tools = context.tools
    return await context.stop.race(find_route(selector, tools.execution_mode, tools.coordinators))


async def run_on_worker(context: StepContext, way: Route) -> StepEnd:
    """
    Let a matching worker execute the step, and wait for the end.

    All executions of a step in one run have one run of their own, an attempt each: so what a lost attempt of the caller has
    handed in is found again, joined while it goes on, and taken where it has succeeded meanwhile.
    """
    assert way.place is Place.WORKER
    step, tools = context.step, context.tools
    if tools.coordinators is None:
        raise DaguError(f"step {step.name} has to run on a worker ({way.reason}), but no coordinator is known")
    kind = _HANDLER if context.inputs.told else _STEP
    run = RunRef(run_name(step.name), child_run_id(context.request.run.id, step.name, kind))
    context.called([ChildRun(run.id)])
    earlier = ""
    status = await context.stop.race(tools.store.read_status(run, context.request.root))
    if status is not None and not status.state.active:
        if _unnoticed(context, status):
            return await _end(context, run, status)
        earlier = status.attempt_id
    heard = await context.stop.race(context.conversations.before(step)) if step.type else ()
    task = Task(
        run=run,
        root=context.request.root,
        operation=Operation.START,
        target=run.name,
        parent=context.request.run,
        selector=way.selector.labels,
        definition=refusal(context.dag, step),
        on_worker_lost=context.dag.on_worker_lost,
        single_step=encode_single_step(single_step(context.dag, step, context.inputs, earlier, heard)),
        needs=NEEDS,
        trace_parent=context.trace_parent,
        earlier_attempt=earlier,
    )
    clean_up = context.dag.max_clean_up_seconds
    status = await run_remotely(context, tools.coordinators, task, clean_up, earlier, _Begun(context, earlier))
    return await _end(context, run, status)


def _unnoticed(context: StepContext, status: RunStatus) -> bool:
    """Whether the step has succeeded after an attempt of the caller had handed it in that did not live to see it."""
    previous = context.request.previous
    if previous is None or context.execution > 1 or status.state is not RunState.SUCCEEDED:
        return False
    known = (node for node in (*previous.nodes, *previous.handlers.values()) if node.step.name == context.step.name)
    return all(node.state not in KEPT for node in known)


class _Begun:
    """Tells where the step's output goes, as soon as a worker has begun it."""

    def __init__(self, context: StepContext, earlier: str) -> None:
        self._context = context
        self._earlier = earlier
        self._told = ("", "")

    def __call__(self, status: RunStatus) -> None:
        """A state of the step's run."""
        if not status.nodes or not status.attempt_id or status.attempt_id == self._earlier:
            return
        node = status.nodes[0]
        if node.stdout and (node.stdout, node.stderr) != self._told:
            self._told = (node.stdout, node.stderr)
            self._context.waits("")
            self._context.moved(StepLogs(*self._told))


async def _end(context: StepContext, run: RunRef, status: RunStatus) -> StepEnd:
    """What the end of the step's run means for the step."""
    step = context.step
    node = status.nodes[0] if len(status.nodes) == 1 else None
    if node is None or node.state is NodeState.NOT_STARTED:
        why = status.error or f"its run ended as {status.state.label}"
        return StepEnd(NodeState.FAILED, f'failed to execute step "{step.name}" on a worker: {why}', exit_code=1)
    _Begun(context, "")(status)
    state, error = node.state, node.error
    if state not in (NodeState.SUCCEEDED, NodeState.PARTIALLY_SUCCEEDED):
        state = NodeState.FAILED
        error = error or f'failed to execute step "{step.name}" on a worker: {status.error or status.state.label}'
    if step.type and state is not NodeState.FAILED:
        said = await context.tools.store.read_messages(run, context.request.root, step.name)
        if said:
            await context.conversations.keep(step, said)
    outputs = dict(known_outputs(node, context.masker))
    return StepEnd(state, error, outputs, _evaluated(step, node), node.exit_code or int(state is NodeState.FAILED))


def _evaluated(step: Step, node: NodeStatus) -> Step:
    """The step as its run evaluated it."""
    done = node.step
    return replace(step, commands=done.commands, script=done.script, stdout=done.stdout, stderr=done.stderr)
