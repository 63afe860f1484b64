"""What a calling step says of its children: the JSON that it prints, its state, and its error."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from txdagu.execution.plan import StepEnd
from txdagu.execution.steps.context import StepContext
from txdagu.model.dag import Step
from txdagu.model.run import ChildRun, RunStatus
from txdagu.model.scalars import json_text
from txdagu.model.status import NodeState, RunState

_STATES = {
    RunState.SUCCEEDED: NodeState.SUCCEEDED,
    RunState.PARTIALLY_SUCCEEDED: NodeState.PARTIALLY_SUCCEEDED,
    RunState.WAITING: NodeState.WAITING,
}
_FIRST = (NodeState.WAITING, NodeState.FAILED, NodeState.PARTIALLY_SUCCEEDED)
_NAMED = 5  # failed children that an error names; there may be a thousand


@dataclass(frozen=True, slots=True)
class ChildResult:
    """What is kept of one of many children: its result for the step's JSON, its state, and an error, empty for none."""

    child: ChildRun
    document: dict[str, object]
    state: NodeState
    error: str


def node_state(status: RunStatus) -> NodeState:
    """What the end of its child makes of a calling step."""
    return _STATES.get(status.state, NodeState.FAILED)


def failure(status: RunStatus) -> str:
    """Why a child fails its caller; empty if it does not."""
    if node_state(status) is not NodeState.FAILED:
        return ""
    reason = f": {status.error}" if status.error else ""
    return f"sub DAG run {status.run.id} failed with status: {status.state.label}{reason}"


def result_document(status: RunStatus) -> dict[str, object]:
    """Name, id, params (unless there are none), all captured variables and the status of a child."""
    result: dict[str, object] = {"name": status.run.name, "dagRunId": status.run.id}
    if status.params:
        result["params"] = " ".join(status.params)
    outputs = status.outputs
    result["outputs"] = {name: outputs[name] for name in sorted(outputs)}
    result["status"] = status.state.label
    return result


def result_text(status: RunStatus) -> str:
    """What a step with one child prints, as indented JSON."""
    return json_text(result_document(status), indent=2)


def child_result(child: ChildRun, status: RunStatus) -> ChildResult:
    """What is kept of a child that has ended."""
    return ChildResult(child, result_document(status), node_state(status), failure(status))


def results_text(total: int, results: Sequence[ChildResult]) -> str:
    """What a step with a child for each of `total` items prints: a summary, the results, and the outputs of good ones."""
    good = [result for result in results if result.state is not NodeState.FAILED]
    summary = {"total": total, "succeeded": len(good), "failed": len(results) - len(good)}
    documents = [result.document for result in results]
    outputs = [result.document["outputs"] for result in good]
    return json_text({"summary": summary, "results": documents, "outputs": outputs}, indent=2)


def common_state(results: Sequence[ChildResult]) -> NodeState:
    """What its children make of a calling step: it waits while one does, else the worst of their ends counts."""
    counts = Counter(result.state for result in results)
    return next((state for state in _FIRST if counts[state]), NodeState.SUCCEEDED)


def failures(total: int, results: Sequence[ChildResult]) -> str:
    """Why children fail their caller, the first ones with their params; empty if all ended well."""
    failed = [result for result in results if result.error]
    if not failed:
        return ""
    told = [f"{result.error} (params: {result.child.params})" for result in failed[:_NAMED]]
    if len(failed) > _NAMED:
        told.append(f"and {len(failed) - _NAMED} more")
    return f"{len(failed)} of {total} sub DAG runs failed: {'; '.join(told)}"


async def report(context: StepContext, step: Step, text: str, state: NodeState, error: str) -> StepEnd:
    """Print the result, and capture it if the step has an output; that fails the step where it is too long."""
    await context.print(f"{text}\n")
    outputs: dict[str, str] = {}
    if step.output is not None:
        limit = context.dag.max_output_size
        if len(text.encode("utf-8", "surrogateescape")) <= limit:
            outputs[step.output.name] = text
        elif not error:
            state = NodeState.FAILED
            error = f"failed to capture output: output exceeded maximum size limit of {limit} bytes"
    error = f'failed to execute step "{step.name}": {error}' if error else ""
    return StepEnd(state, error, outputs, step, int(bool(error)))
