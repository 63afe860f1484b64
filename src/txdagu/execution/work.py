"""What is done for one step: its conditions, its executions, the search in its log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial

from txdagu.execution.conditions import ConditionChecker, dag_checker, step_checker
from txdagu.execution.logsearch import log_has
from txdagu.execution.plan import RunCore, StepEnd, Target, Verdict
from txdagu.execution.preparation import PreparedRun, dag_evaluator, prepare_step
from txdagu.execution.record import RunRecord
from txdagu.execution.sight import Sight
from txdagu.execution.slot import SlotUse
from txdagu.execution.steps.context import StepContext
from txdagu.execution.steps.dispatch import run_step
from txdagu.execution.stop import Stop
from txdagu.model.conditions import Condition
from txdagu.model.dag import Handler, LogOutput, Step
from txdagu.model.errors import DaguError
from txdagu.model.policies import RetryPolicy
from txdagu.model.run import ChildRun
from txdagu.store.interfaces import IRunSink, StepLogs

Verdicts = tuple[Verdict, ...]


class StepWork:
    """
    The jobs of a run's steps and handlers, as coroutines that take a `Stop` and a use of the slot last.

    All raise `DaguError` for what a person can act on, and `StopRequested` when they were stopped before they were through.
    `publish` is called when a node has changed.
    """

    def __init__(
        self,
        core: RunCore,
        prepared: PreparedRun,
        sink: IRunSink,
        record: RunRecord,
        sight: Sight,
        publish: Callable[[], None],
    ) -> None:
        self._core = core
        self._prepared = prepared
        self._sink = sink
        self._record = record
        self._sight = sight
        self._publish = publish
        self._logs: dict[Target, StepLogs] = {}
        self._executions: Counter[Target] = Counter()

    async def execute(self, target: Target, step: Step, told: Mapping[str, str], stop: Stop, use: SlotUse) -> StepEnd:
        """One execution. `told` are variables that only this one is given."""
        context = await self._context(target, step, told, stop, use)
        self._executions[target] += 1
        context = replace(
            context,
            waits=partial(self._waits, target),
            moved=partial(self._moved, target),
            execution=self._executions[target],
        )
        try:
            return await run_step(context)
        finally:
            await context.printer.close()

    async def check(
        self, target: Target | None, conditions: tuple[Condition, ...], stop: Stop, use: SlotUse
    ) -> Verdicts:
        """All conditions, one after the other: each says for itself why it was not met. None stands for the DAG."""
        checker = await (self._dag_checker(stop) if target is None else self._checker(target, stop, use))
        return tuple([await checker.check(condition) for condition in conditions])

    async def retry_numbers(self, target: Target, policy: RetryPolicy, stop: Stop, use: SlotUse) -> tuple[int, int]:
        """Limit and interval of a retry policy that has texts."""
        context = await self._context(target, self._core.node(target).step, {}, stop, use)
        return await _number(context, "limit", policy.limit), await _number(context, "intervalSec", policy.interval)

    async def search(self, target: int, texts: tuple[str, ...], _stop: Stop, _use: SlotUse) -> bool:
        """Whether the step's log has one of the texts; what cannot be looked for is not found."""
        node = self._core.node(target)
        try:
            return await self._prepared.tools.in_thread(partial(log_has, node.stdout, texts))
        except DaguError as error:
            self._record.write("WARN", str(error), step=node.step.name)
            return False

    async def _dag_checker(self, stop: Stop) -> ConditionChecker:
        run = self._prepared
        return await dag_checker(run.request.dag, dag_evaluator(run, stop), run.directory, stop, run.tools)

    async def _checker(self, target: Target, stop: Stop, use: SlotUse) -> ConditionChecker:
        node = self._core.node(target)
        told = {"DAG_RUN_STATUS": self._core.state.label} if isinstance(target, Handler) else {}
        context = await self._context(target, node.step, told, stop, use)
        stronger = {*self._prepared.environment.params, *(text.partition("=")[0] for text in node.step.env)}
        outputs = {name: value for name, value in node.outputs.items() if name not in stronger}
        return await step_checker(context, self._prepared.directory, outputs)

    async def _context(
        self, target: Target, step: Step, told: Mapping[str, str], stop: Stop, use: SlotUse
    ) -> StepContext:
        """What one job of a step works with. Its logs are made with the first, and appended to by all."""
        logs = self._logs.get(target)
        if logs is None:
            merged = (step.log_output or self._prepared.request.dag.log_output) is LogOutput.MERGED
            now = self._prepared.tools.now()
            logs = self._logs[target] = await stop.race(self._sink.step_logs(step.name, now, merged))
            self._core.step_started(target, logs.stdout, logs.stderr)
            self._publish()
            self._record.write("INFO", "Step started", step=step.name)
        outputs, facts = self._sight.outputs_for(target), self._sight.facts
        called = partial(self._called, target)
        rounds = self._core.node(target).done_count
        round_name = f"{self._sink.attempt_id}.{rounds}" if rounds else ""
        return await prepare_step(self._prepared, step, logs, outputs, facts, stop, use, called, round_name, told)

    def _waits(self, target: Target, sentence: str) -> None:
        """Why the step does not begin yet, for whoever looks at the run; an empty sentence: it has begun."""
        self._core.step_waits(target, sentence)
        if sentence:
            self._record.write("INFO", sentence, step=self._core.node(target).step.name)
        self._publish()

    def _moved(self, target: Target, logs: StepLogs) -> None:
        self._core.step_started(target, logs.stdout, logs.stderr)
        self._publish()

    def _called(self, target: Target, children: Iterable[ChildRun]) -> None:
        self._core.step_calls(target, children)
        self._publish()


async def _number(context: StepContext, key: str, written: int | str) -> int:
    """A number of a retry policy, evaluated where it is a text."""
    if isinstance(written, int):
        return written
    text = await context.evaluator.field(written)
    try:
        return int(text)
    except ValueError:
        raise DaguError(f"failed to setup retry policy: {key} {written!r} is {text!r}, which is no number") from None
