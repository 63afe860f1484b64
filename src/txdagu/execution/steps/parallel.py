"""Steps that run a DAG once for each of many items."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger
from twisted.python.failure import Failure

from txdagu.execution.evaluation.params import evaluate_call
from txdagu.execution.evaluation.stages import Evaluator
from txdagu.execution.plan import StepEnd
from txdagu.execution.steps.child import Callee, call_child, called_by, child_for, find_callee
from txdagu.execution.steps.context import StepContext
from txdagu.execution.steps.items import evaluated_items
from txdagu.execution.steps.result import ChildResult, child_result, common_state, failures, report, results_text
from txdagu.execution.stop import Stop, StopRequested
from txdagu.model.dag import ChildCall, Parallel
from txdagu.model.errors import DaguError
from txdagu.model.run import ChildRun, RunRef, RunStatus
from txdagu.model.status import NodeState, RunState


async def run_parallel_step(context: StepContext) -> StepEnd:
    """
    Run the called DAG for each item, so many at once as `Parallel.max_concurrent` says, and wait for all ends.

    Items that make the same params are one child. A child that fails does not keep the others from running; after a stop no
    more of them begin. Results stand in the order of the items. Raises `DaguError` when there is nothing to run.
    """
    parallel = context.step.parallel or Parallel()
    callee = await find_callee(context)
    texts = [await _params(context, item) for item in await evaluated_items(parallel, context.evaluator)]
    children = [child_for(context, callee, params) for params in dict.fromkeys(texts)]
    context.called(children)
    results = await FanOut(context, callee, children).run(parallel.max_concurrent)
    step = replace(context.step, child=ChildCall(callee.dag.name, called_by(context.step).params))
    total = len(children)
    state = common_state(results)
    error = "" if state is NodeState.WAITING else failures(total, results)
    return await report(context, step, results_text(total, results), state, error)


async def _params(context: StepContext, item: str) -> str:
    """The params text of one item: the item itself, or the step's ``params`` with ``${ITEM}`` in them."""
    written = called_by(context.step).params
    if not written:
        return item
    scope = context.evaluator.scope
    scope = replace(scope, variables={**scope.variables, "ITEM": item})
    return await evaluate_call(written, Evaluator(scope, context.evaluator.run))


class FanOut:
    """
    The children of one step, each with a `Stop` and a use of the slot of its own.

    A request to stop the step goes to all that run, and the step waits for their ends.
    """

    log = Logger()

    def __init__(self, context: StepContext, callee: Callee, children: Sequence[ChildRun]) -> None:
        self._context = context
        self._callee = callee
        self._children = children
        self._results: dict[int, ChildResult] = {}
        self._stops: set[Stop] = set()
        self._reasons: dict[str, str] = {}

    async def run(self, most: int) -> list[ChildResult]:
        """Run all, at most so many at once; the results of those that were begun."""
        waiting = iter(enumerate(self._children))
        self._context.stop.attach(self._stop)
        self._context.slot.leave()  # each child has a use of its own
        try:
            lanes = min(most, len(self._children))
            await gatherResults([Deferred.fromCoroutine(self._lane(waiting)) for _ in range(lanes)])
        finally:
            self._context.stop.detach()
        return [self._results[index] for index in sorted(self._results)]

    def _stop(self, force: bool) -> None:
        for stop in list(self._stops):
            stop.request(force, self._context.stop.passed)

    async def _lane(self, waiting: Iterator[tuple[int, ChildRun]]) -> None:
        """One child after the other, as long as there are any."""
        for index, child in waiting:
            if self._context.stop.requested:
                return
            status = await self._call(child)
            if status is not None:
                self._results[index] = child_result(child, status)

    async def _call(self, child: ChildRun) -> RunStatus | None:
        """The child's end, also where it could not even begin; None if it was stopped before that."""
        stop, use = Stop(), self._context.slot.shared.use()
        self._stops.add(stop)
        try:
            waits = partial(self._waits, child)
            return await call_child(replace(self._context, stop=stop, slot=use, waits=waits), self._callee, child)
        except StopRequested:
            return None
        except DaguError as error:
            return self._failed(child, str(error))
        except Exception as error:  # noqa: BLE001 - the others go on, and the step has to wait for their ends
            self.log.failure("a child of step {step} broke", Failure(), step=self._context.step.name)
            return self._failed(child, f"internal error: {type(error).__name__}: {error}")
        finally:
            use.leave()
            self._stops.discard(stop)

    def _waits(self, child: ChildRun, sentence: str) -> None:
        """Tell why the first of those children waits that have no worker yet."""
        if sentence:
            self._reasons[child.run_id] = sentence
        else:
            self._reasons.pop(child.run_id, None)
        self._context.waits(next(iter(self._reasons.values()), ""))

    def _failed(self, child: ChildRun, reason: str) -> RunStatus:
        run = RunRef(self._callee.dag.name, child.run_id)
        return RunStatus(run, self._context.request.root, RunState.FAILED, error=reason)
