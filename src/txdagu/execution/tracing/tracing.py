"""One run's part in a trace."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from txdagu.execution.evaluation.stages import Evaluator
from txdagu.execution.request import RunRequest
from txdagu.execution.tracing.context import VARIABLE, TraceContext, parse_traceparent, trace_of
from txdagu.execution.tracing.settings import TraceSettings, read_trace_settings
from txdagu.model.errors import DaguError


@dataclass(frozen=True, slots=True)
class Tracing:
    """
    Where a run stands in its trace. `settings` is None for a run that sends none; `caller` is where it was called from.

    A run that sends none passes on to its children what it was given.
    """

    settings: TraceSettings | None
    caller: TraceContext
    attempt_id: str

    @property
    def run(self) -> TraceContext:
        """The run's own span."""
        return self.caller.below(self.attempt_id)

    def step(self, name: str) -> TraceContext:
        """A step's span; for a run that sends none, the place where the run was called from."""
        return self.caller.below(self.attempt_id, name) if self.settings is not None else self.caller

    def environment(self, step_name: str) -> Mapping[str, str]:
        """What a step's processes are told, so that they can go on with the trace; nothing if none is sent."""
        return {VARIABLE: str(self.step(step_name))} if self.settings is not None else {}


async def begin_tracing(
    request: RunRequest,
    attempt_id: str,
    environ: Mapping[str, str],
    evaluator: Evaluator,
    warn: Callable[[str], None],
) -> Tracing:
    """
    Find a run's place: its caller's, that of our own process if nobody called it, else a trace of its own.

    `warn` is told of settings that cannot be used; the run goes on without traces then.
    """
    given = request.trace_parent
    if not given and request.parent is None and request.worker_id == "local":
        given = environ.get(VARIABLE, "")
    caller = parse_traceparent(given) or trace_of(request.root.id)
    settings = None
    if request.dag.otel.get("enabled") is True:
        try:
            settings = await read_trace_settings(request.dag.otel, evaluator)
        except DaguError as error:
            warn(f"no trace of this run is sent: {error}")
    return Tracing(settings, caller, attempt_id)
