"""The container of a DAG, in which its steps run their commands; and what all uses of containers begin with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from txdagu.execution.containers.address import engine_address
from txdagu.execution.containers.blueprint import Blueprint, of_container
from txdagu.execution.containers.engine import ContainerEngine
from txdagu.execution.containers.images import WHOLE_JSON
from txdagu.execution.containers.lifecycle import Warn, create, discard, find_running, provide_image, start, wait_ready
from txdagu.execution.containers.transport import Transport
from txdagu.execution.evaluation.params import evaluate_assignments
from txdagu.execution.evaluation.stages import Evaluator
from txdagu.execution.request import RunRequest
from txdagu.execution.steps.config import evaluated
from txdagu.execution.steps.context import Tools
from txdagu.execution.stop import Stop
from txdagu.model.container import Container
from txdagu.model.dag import Dag

if TYPE_CHECKING:
    from txdagu.execution.preparation import PreparedRun

AUTHS_VARIABLE = "DOCKER_AUTH_CONFIG"


async def connect(tools: Tools, environ: Mapping[str, str], stop: Stop) -> ContainerEngine:
    """The engine that an environment names, ready to be asked."""
    engine = ContainerEngine(Transport(engine_address(environ), tools.clock, tools.in_thread))
    await stop.race(engine.connect())
    return engine


async def evaluated_auths(dag: Dag, evaluator: Evaluator) -> Mapping[str, Any]:
    """The DAG's ``registryAuths``, evaluated; without them those of the variable ``DOCKER_AUTH_CONFIG``."""
    if not dag.registry_auths:
        whole = evaluator.scope.environ.get(AUTHS_VARIABLE, "")
        return {WHOLE_JSON: whole} if whole else {}
    auths: Mapping[str, Any] = await evaluated(dag.registry_auths, evaluator)
    return auths


async def evaluated_container(container: Container, evaluator: Evaluator, where: str) -> Container:
    """The container with all its texts evaluated. Each variable of its env sees the earlier ones."""
    field = evaluator.field

    async def fields(texts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple([await field(text) for text in texts])

    env = await evaluate_assignments(
        container.env, evaluator.scope, evaluator.run, chained=True, where=f"{where}: container.env"
    )
    return replace(
        container,
        image=await field(container.image),
        execute_in=await field(container.execute_in),
        name=await field(container.name),
        env=tuple(f"{name}={value}" for name, value in env.items()),
        volumes=await fields(container.volumes),
        user=await field(container.user),
        working_dir=await field(container.working_dir),
        platform=await field(container.platform),
        ports=await fields(container.ports),
        network=await field(container.network),
        command=await fields(container.command),
        log_pattern=container.log_pattern,
        restart_policy=await field(container.restart_policy),
    )


def labels_of(request: RunRequest, step: str = "") -> dict[str, str]:
    """What says of a container whose it is: the DAG, the run's id, the step."""
    labels = {"dagu.dag": request.dag.name, "dagu.run": request.run.id}
    return {**labels, "dagu.step": step} if step else labels


async def begin(
    engine: ContainerEngine, plan: Blueprint, auths: Mapping[str, Any], stop: Stop, tools: Tools, warn: Warn
) -> str:
    """
    Make the container of a plan and wait until commands can be executed in it; its id.

    If that fails, it is removed, whatever the plan says of keeping it.
    """
    await provide_image(engine, plan, auths, stop)
    stop.check()
    container = await create(engine, plan, plan.for_company())
    try:
        await start(engine, plan, container)
        await wait_ready(engine, plan, container, stop, tools.clock, warn)
    except BaseException:
        await discard(engine, container, warn)
        raise
    return container


@dataclass(frozen=True)
class RunContainer:
    """
    The container of a run: its `id`, and the `engine` that has it. `options` are those of the commands in it.

    One that is `ours` ends with the run, and is removed unless `keep`.
    """

    engine: ContainerEngine
    id: str
    plan: Blueprint
    ours: bool

    @property
    def options(self) -> Mapping[str, Any]:
        """What commands are given; what was said at the making of a container holds for them anyway."""
        return {} if self.ours else self.plan.in_running

    async def close(self, *, gently: bool, seconds: int) -> None:
        """
        End it, if it is ours.

        Where it runs something of its own, or is kept, it is given `seconds` to end itself, unless nobody wants to wait.
        """
        if not self.ours:
            return
        if self.plan.keep or (gently and self.plan.mode != "keepalive"):
            await self.engine.stop(self.id, seconds if gently else 0)
        if not self.plan.keep:
            await self.engine.remove(self.id)


async def open_container(prepared: PreparedRun, stop: Stop, warn: Warn) -> RunContainer | None:
    """
    The container of a run's DAG, ready for commands; None if it has none.

    Raises `DaguError` where there can be none, `StopRequested` if the run is stopped meanwhile.
    """
    dag, tools = prepared.request.dag, prepared.tools
    if dag.container is None:
        return None
    evaluator = prepared.evaluator(stop)
    plan = of_container(await evaluated_container(dag.container, evaluator, dag.name), {}, prepared.directory)
    engine = await connect(tools, prepared.evaluation, stop)
    if not plan.image:
        found = await find_running(engine, plan.name, stop, tools.clock, needed=True)
        return RunContainer(engine, found, plan, ours=False)
    plan = plan.labelled(labels_of(prepared.request))
    auths = await evaluated_auths(dag, evaluator)
    return RunContainer(engine, await begin(engine, plan, auths, stop, tools, warn), plan, ours=True)
