"""Everything that is settled once before a run's first step: env, params, working directory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from txdagu.execution import files
from txdagu.execution.backtick import BacktickRunner
from txdagu.execution.evaluation.environment import RunEnvironment
from txdagu.execution.evaluation.expansion import expand
from txdagu.execution.evaluation.params import (
    evaluate_assignments,
    evaluate_params,
    merge_params,
    params_json,
    split_assignment,
)
from txdagu.execution.evaluation.references import Scope, StepFacts
from txdagu.execution.evaluation.stages import Evaluator
from txdagu.execution.request import RunRequest
from txdagu.execution.slot import SlotUse
from txdagu.execution.steps.context import StepContext, Tools
from txdagu.execution.stop import Stop
from txdagu.model.dag import Step
from txdagu.model.run import ChildRun
from txdagu.store.interfaces import IRunSink, StepLogs


@dataclass(frozen=True)
class PreparedRun:
    """
    A run that is ready for its steps.

    `base` is the part of the processes' environment that all steps share, `evaluation` the engine's own environment with the
    DAG's; `call_environment` is what children in this process inherit of it.
    """

    request: RunRequest
    tools: Tools
    directory: str
    environment: RunEnvironment
    base: Mapping[str, str]
    evaluation: Mapping[str, str]
    call_environment: Mapping[str, str]

    @property
    def params(self) -> tuple[str, ...]:
        """``NAME=value`` texts for the run's status."""
        return tuple(f"{name}={value}" for name, value in self.environment.params.items())

    def evaluator(self, stop: Stop) -> Evaluator:
        """Evaluates texts that belong to the run and to no step."""
        limit = self.request.dag.max_output_size
        backticks = BacktickRunner(self.tools, stop, lambda: self.evaluation, self.directory, limit)
        return Evaluator(Scope(self.environment.variables({}, {}), self.evaluation), backticks)


@dataclass(frozen=True)
class Inputs:
    """
    What a run begins with, evaluated: its DAG's `env`, its `params`, and the environment in which further texts of the run are
    evaluated.
    """

    env: Mapping[str, str]
    params: Mapping[str, str]
    evaluation: Mapping[str, str]


async def evaluate_inputs(request: RunRequest, tools: Tools, stop: Stop) -> Inputs:
    """Evaluate env, then params. Raises `DaguError` with one sentence, `StopRequested` if the run is stopped meanwhile."""
    dag = request.dag
    directory = await tools.in_thread(partial(files.first_directory, (request.working_dir, dag.base_dir)))

    def backticks(environment: Mapping[str, str]) -> BacktickRunner:
        return BacktickRunner(tools, stop, lambda: environment, directory, dag.max_output_size)

    host = {**tools.environ, **request.inherited_env}
    env = await evaluate_assignments(dag.env, Scope({}, host), backticks(host), chained=True, where=f"{dag.name}: env")
    evaluation = {**host, **env}
    if request.previous is not None and request.previous.params:
        params = dict(map(split_assignment, request.previous.params))
    else:
        merged = merge_params(dag.params, request.params)
        params = await evaluate_params(merged, evaluation, backticks(evaluation))
    stop.check()
    return Inputs(env, params, evaluation)


async def prepare_run(request: RunRequest, tools: Tools, stop: Stop, sink: IRunSink) -> PreparedRun:
    """
    Evaluate env, then params; find and make the working directory.

    Raises `DaguError` with one sentence for whatever does not work, `StopRequested` if the run is stopped meanwhile.
    """
    dag = request.dag
    inputs = await evaluate_inputs(request, tools, stop)
    written = expand(dag.working_dir, inputs.evaluation.get)
    directory = files.absolute_directory(written, dag.base_dir, (request.working_dir, dag.base_dir))
    await tools.in_thread(partial(files.make_directory, directory))
    built_in = {"DAG_NAME": dag.name, "DAG_RUN_ID": request.run.id, "DAG_RUN_LOG_FILE": sink.log}
    environment = RunEnvironment(
        tools.environ,
        inputs.env,
        inputs.params,
        built_in,
        params_json(inputs.params, request.params) if inputs.params else "",
    )
    return PreparedRun(
        request,
        tools,
        directory,
        environment,
        environment.base(),
        inputs.evaluation,
        {**request.inherited_env, **inputs.env},
    )


async def prepare_step(
    run: PreparedRun,
    step: Step,
    logs: StepLogs,
    outputs: Mapping[str, str],
    facts: Mapping[str, StepFacts],
    stop: Stop,
    slot: SlotUse,
    called: Callable[[ChildRun], None],
) -> StepContext:
    """What one execution of one step works with: its directory, its env, and all that its texts may refer to."""
    directory = run.directory
    if step.dir:
        written = expand(step.dir, run.evaluation.get)
        directory = files.absolute_directory(written, run.directory, ())
        await run.tools.in_thread(partial(files.make_directory, directory, files.SCRIPT_MODE))
    built_in = {
        "DAG_RUN_STEP_NAME": step.name,
        "PWD": directory,
        "DAG_RUN_STEP_STDOUT_FILE": logs.stdout,
        "DAG_RUN_STEP_STDERR_FILE": logs.stderr,
    }
    environment = run.environment
    scope = Scope(environment.variables(built_in, outputs), run.evaluation, facts)
    backticks = BacktickRunner(run.tools, stop, lambda: run.evaluation, directory, run.request.dag.max_output_size)
    step_env: Mapping[str, str] = {}
    if step.env:
        step_env = await evaluate_assignments(step.env, scope, backticks, chained=False, where=f"{step.name}: env")
        scope = Scope({**scope.variables, **step_env}, run.evaluation, facts)
    return StepContext(
        request=run.request,
        step=step,
        logs=logs,
        directory=directory,
        evaluator=Evaluator(scope, backticks),
        environment=environment.process(run.base, built_in, outputs, step_env),
        call_environment=run.call_environment,
        stop=stop,
        slot=slot,
        tools=run.tools,
        called=called,
        params=environment.params,
    )
