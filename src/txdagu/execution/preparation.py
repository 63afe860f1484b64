"""Everything that is settled once before a run's first step: env, params, dotenv files, secrets, working directory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from txdagu.execution import files
from txdagu.execution.backtick import BacktickRunner
from txdagu.execution.conversations import Conversations
from txdagu.execution.envfiles import read_dotenv_files, resolve_secrets
from txdagu.execution.evaluation.environment import RunEnvironment
from txdagu.execution.evaluation.expansion import expand
from txdagu.execution.evaluation.masking import Masker
from txdagu.execution.evaluation.params import (
    evaluate_assignments,
    evaluate_params,
    params_json,
    split_assignment,
)
from txdagu.execution.evaluation.references import Scope, StepFacts
from txdagu.execution.evaluation.stages import Evaluator
from txdagu.execution.fetching import fetch
from txdagu.execution.paramschema import LARGEST, apply_schema, is_url, parse_schema, read_schema_file
from txdagu.execution.request import RunRequest
from txdagu.execution.singlestep import GivenValues, StepInputs, without_secrets
from txdagu.execution.slot import SlotUse
from txdagu.execution.steps.context import StepContext, Tools
from txdagu.execution.steps.printing import StepPrinter, step_tap
from txdagu.execution.stop import Stop
from txdagu.execution.tracing.tracing import Tracing, begin_tracing
from txdagu.model.dag import Dag, Step
from txdagu.model.run import ChildRun
from txdagu.store.interfaces import IRunSink, StepLogs

if TYPE_CHECKING:
    from txdagu.execution.containers.shared import RunContainer


@dataclass(frozen=True)
class PreparedRun:
    """
    A run that is ready for its steps.

    `base` is the part of the processes' environment that all steps share, `evaluation` the engine's own environment with the
    DAG's; `call_environment` is what children in this process inherit of it. `masker` hides the secrets;
    `conversations` are those of chat steps, `tracing` is its place in a trace. `container` is that of the DAG, once it runs.
    `given` is what another run lets its step see, where this is the run of a single step.
    """

    request: RunRequest
    tools: Tools
    directory: str
    environment: RunEnvironment
    base: Mapping[str, str]
    evaluation: Mapping[str, str]
    call_environment: Mapping[str, str]
    masker: Masker
    conversations: Conversations
    tracing: Tracing
    container: RunContainer | None = None
    given: StepInputs | None = None

    @property
    def params(self) -> tuple[str, ...]:
        """``NAME=value`` texts for the run's status."""
        return tuple(f"{name}={value}" for name, value in self.environment.params.items())

    def evaluator(self, stop: Stop) -> Evaluator:
        """Evaluates texts that belong to the run and to no step."""
        limit = self.request.dag.max_output_size
        backticks = BacktickRunner(self.tools, stop, lambda: self.evaluation, self.directory, limit)
        return Evaluator(
            Scope(self.environment.variables({}, {}), self.evaluation, late=self.environment.late()), backticks
        )


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
        params = await evaluate_params(dag.params, request.params, evaluation, backticks(evaluation))
        if dag.params_schema is not None:
            working_dir = files.absolute_directory(
                expand(dag.working_dir, evaluation.get), dag.base_dir, (dag.base_dir,)
            )
            places = (request.working_dir, working_dir, dag.base_dir)
            params = await _checked(params, dag.params_schema.location, places, tools, stop)
    stop.check()
    return Inputs(env, params, evaluation)


async def with_log_directory(request: RunRequest, tools: Tools, stop: Stop, inputs: Inputs) -> Dag:
    """The DAG with the directory of its logs evaluated: `env` counts there, params do not."""
    dag = request.dag
    if not dag.log_dir:
        return dag
    backticks = BacktickRunner(tools, stop, lambda: inputs.evaluation, request.working_dir, dag.max_output_size)
    return replace(dag, log_dir=await Evaluator(Scope(inputs.env, inputs.evaluation), backticks).field(dag.log_dir))


async def _checked(
    params: Mapping[str, str], location: str, places: tuple[str, ...], tools: Tools, stop: Stop
) -> dict[str, str]:
    """The params as the schema completes them."""
    if is_url(location):
        data = await stop.race(fetch(location, LARGEST, tools.clock))
    else:
        data = await tools.in_thread(partial(read_schema_file, location, places))
    schema = await tools.in_thread(partial(parse_schema, data, location))
    return await tools.in_thread(partial(apply_schema, schema, params))


async def prepare_run(
    request: RunRequest,
    tools: Tools,
    stop: Stop,
    sink: IRunSink,
    warn: Callable[[str], None],
    inputs: Inputs | None = None,
) -> PreparedRun:
    """
    Evaluate env, then params, unless `inputs` has them already; find and make the working directory; read dotenv files, then
    secrets.

    `warn` is told of dotenv files that cannot be read. Raises `DaguError` with one sentence for whatever does not work,
    `StopRequested` if the run is stopped meanwhile.
    """
    dag = request.dag
    if request.given is not None:
        return await _prepare_given(request, request.given, tools, stop, sink, warn)
    inputs = inputs or await evaluate_inputs(request, tools, stop)
    written = expand(dag.working_dir, inputs.evaluation.get)
    directory = files.absolute_directory(written, dag.base_dir, (request.working_dir, dag.base_dir))
    await tools.in_thread(partial(files.make_directory, directory))
    built_in = {"DAG_NAME": dag.name, "DAG_RUN_ID": request.run.id, "DAG_RUN_LOG_FILE": sink.log, **_fence(request)}
    places = (directory, dag.base_dir)
    backticks = BacktickRunner(tools, stop, lambda: inputs.evaluation, directory, dag.max_output_size)
    evaluator = Evaluator(Scope(inputs.env, inputs.evaluation), backticks)
    names = [await evaluator.field(name) for name in dag.dotenv]
    dotenv: Mapping[str, str] = {}
    if names:
        dotenv, unread = await tools.in_thread(partial(read_dotenv_files, names, places))
        for problem in unread:
            warn(problem)
    secrets: Mapping[str, str] = {}
    if dag.secrets:
        known = {**inputs.evaluation, **dotenv}
        secrets = await tools.in_thread(partial(resolve_secrets, dag.secrets, known, places))
    dag_env = {**inputs.env, **dotenv}
    environment = RunEnvironment(
        tools.environ,
        dag_env,
        inputs.params,
        built_in,
        params_json(inputs.params, "" if request.parent else request.params) if inputs.params else "",
        secrets,
    )
    masker = Masker({**request.inherited_secrets, **secrets})
    return PreparedRun(
        request,
        tools,
        directory,
        environment,
        environment.base(),
        {**inputs.evaluation, **dotenv},
        {**request.inherited_env, **dag_env, **secrets},
        masker,
        Conversations(sink, masker),
        await begin_tracing(request, sink.attempt_id, tools.environ, evaluator, warn),
    )


def _fence(request: RunRequest) -> dict[str, str]:
    """What steps on a worker can show to what they write to, so that an older attempt's writes can be refused there."""
    return {"DAGU_ATTEMPT_EPOCH": str(request.epoch)} if request.epoch else {}


async def _prepare_given(
    request: RunRequest,
    given: GivenValues,
    tools: Tools,
    stop: Stop,
    sink: IRunSink,
    warn: Callable[[str], None],
) -> PreparedRun:
    """A run whose values another run has evaluated; only its secrets and its directory are this host's."""
    dag = request.dag
    directory = files.absolute_directory(dag.working_dir, dag.base_dir, (request.working_dir, dag.base_dir))
    await tools.in_thread(partial(files.make_directory, directory))
    evaluation = {**tools.environ, **given.calling, **given.env}
    secrets: Mapping[str, str] = {}
    if dag.secrets:
        secrets = await tools.in_thread(partial(resolve_secrets, dag.secrets, evaluation, (directory, dag.base_dir)))
    environment = given.environment(tools.environ, secrets)
    environment = replace(environment, built_in={**environment.built_in, **_fence(request)})
    inputs = StepInputs(environment, given.known_outputs(secrets), given.known_facts(), given.told)
    masker = Masker(secrets)
    backticks = BacktickRunner(tools, stop, lambda: evaluation, directory, dag.max_output_size)
    evaluator = Evaluator(Scope(environment.variables({}, {}), evaluation), backticks)
    return PreparedRun(
        request,
        tools,
        directory,
        environment,
        environment.base(),
        evaluation,
        given.env,
        masker,
        Conversations(sink, masker, given.conversation(secrets)),
        await begin_tracing(request, sink.attempt_id, tools.environ, evaluator, warn),
        given=inputs,
    )


def dag_evaluator(run: PreparedRun, stop: Stop) -> Evaluator:
    """Evaluates the DAG's own texts after env and params, such as its preconditions."""
    backticks = BacktickRunner(run.tools, stop, lambda: run.evaluation, run.directory, run.request.dag.max_output_size)
    return Evaluator(Scope(run.environment.variables({}, {}), run.evaluation, late=run.environment.late()), backticks)


async def prepare_step(
    run: PreparedRun,
    step: Step,
    logs: StepLogs,
    outputs: Mapping[str, str],
    facts: Mapping[str, StepFacts],
    stop: Stop,
    slot: SlotUse,
    called: Callable[[Iterable[ChildRun]], None],
    round_name: str,
    told: Mapping[str, str],
) -> StepContext:
    """
    What one execution of one step works with: its directory, its env, and all that its texts may refer to.

    `told` are variables that only this one is given, as handlers are.
    """
    environment, seen = run.environment, facts
    told = {**run.given.told, **told} if run.given is not None else told
    if step.id:
        facts = {**facts, step.id: replace(facts.get(step.id, StepFacts()), stdout=logs.stdout, stderr=logs.stderr)}
    directory = run.directory
    if step.dir:
        lookup = Scope(environment.variables({}, outputs), run.evaluation, facts).value
        directory = files.absolute_directory(expand(step.dir, lookup), run.directory, ())
        await run.tools.in_thread(partial(files.make_directory, directory, files.SCRIPT_MODE))
    built_in = {
        "DAG_RUN_STEP_NAME": step.name,
        "PWD": directory,
        "DAG_RUN_STEP_STDOUT_FILE": logs.stdout,
        "DAG_RUN_STEP_STDERR_FILE": logs.stderr,
        **run.tracing.environment(step.name),
        **told,
    }
    scope = Scope(environment.variables(built_in, outputs), run.evaluation, facts, environment.late())
    backticks = BacktickRunner(run.tools, stop, lambda: run.evaluation, directory, run.request.dag.max_output_size)
    step_env: Mapping[str, str] = {}
    if step.env:
        step_env = await evaluate_assignments(step.env, scope, backticks, chained=False, where=f"{step.name}: env")
        scope = replace(scope, variables={**scope.variables, **step_env})
    evaluator = Evaluator(scope, backticks)
    copies = [
        str(Path(run.directory, await evaluator.field(written))) if written else ""
        for written in (step.stdout, step.stderr)
    ]
    if any(copies):
        step = replace(step, stdout=copies[0], stderr=copies[1])
    tap = step_tap(step, logs, run.masker, run.request.dag.max_output_size)
    return StepContext(
        request=run.request,
        step=step,
        logs=logs,
        directory=directory,
        evaluator=evaluator,
        environment=environment.process(run.base, built_in, outputs, step_env),
        call_environment=run.call_environment,
        stop=stop,
        slot=slot,
        tools=run.tools,
        called=called,
        round_name=round_name,
        masker=run.masker,
        tap=tap,
        printer=StepPrinter(logs, tap, run.tools.in_thread),
        params=environment.params,
        conversations=run.conversations,
        trace_parent=str(run.tracing.step(step.name)),
        container=run.container,
        inputs=StepInputs(
            environment,
            outputs,
            seen,
            told,
            without_secrets(run.request.inherited_env, run.request.inherited_secrets),
            run.directory if run.request.dag.working_dir else "",
        ),
    )
