"""Which attributes of DAGs and steps a field sets, and which of them ask for what the engine of this version does not act on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from txdagu.dagfile.fields import Level, snake_case
from txdagu.dagfile.language import DAG, STEP
from txdagu.dagfile.steptypes import step_type
from txdagu.model.dag import Dag, Step

_NO_ATTRIBUTES = ("name", "steps", "command", "handlerOn")
_OTHER_DAG_ATTRIBUTES = {
    "schedule": ("schedule", "stop_schedule", "restart_schedule"),
    "shell": ("shell", "shell_args"),
    "timeoutSec": ("timeout_seconds",),
    "delaySec": ("delay_seconds",),
    "restartWaitSec": ("restart_wait_seconds",),
    "maxCleanUpTimeSec": ("max_clean_up_seconds",),
    "precondition": ("preconditions",),
}
DAG_ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    one.name: _OTHER_DAG_ATTRIBUTES.get(one.name, (snake_case(one.name),))
    for one in DAG.fields
    if one.name not in _NO_ATTRIBUTES
}
_STEP_ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    one.name: {"timeoutSec": ("timeout_seconds",)}.get(one.name, (snake_case(one.name),))
    for one in STEP.fields
    if not one.acted_on and one.name != "precondition"
}


def unsupported_in(dag: Dag) -> list[str]:
    """What a DAG asks for, and its local DAGs, that the engine of this version does not act on: ``step 'a': retryPolicy``."""
    found = list(_unsupported(dag, DAG, {name: DAG_ATTRIBUTES.get(name, ()) for name in _refused(DAG)}))
    if not DAG.named("handlerOn").acted_on:
        found += [f"handlerOn.{handler.value}" for handler in dag.handlers]
    for step in (*dag.steps, *dag.handlers.values()):
        asked = list(_unsupported(step, STEP, _STEP_ATTRIBUTES))
        if not step_type(step.type).acted_on:
            asked.append(f"type {step.type!r}")
        found += [f"step {step.name!r}: {name}" for name in asked]
    for local in dag.local_dags.values():
        found += [f"{local.name}: {name}" for name in unsupported_in(local)]
    return found


def _refused(level: Level) -> Iterator[str]:
    return (one.name for one in level.fields if not one.acted_on and one.name != "precondition")


def _unsupported(value: Dag | Step, level: Level, attributes: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    defaults = type(value)("")
    for name in _refused(level):
        for attribute in attributes.get(name, ()):
            asked = getattr(value, attribute)
            if isinstance(asked, Mapping):
                asked = asked.get("enabled") if name == "otel" else any(asked.values())
            if asked and asked != getattr(defaults, attribute):
                yield name
