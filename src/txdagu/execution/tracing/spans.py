"""A run's final state as a message of OTLP. Imported when a trace is sent: the messages are those of `opentelemetry-proto`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from txdagu import __version__
from txdagu.execution.tracing.context import TraceContext
from txdagu.execution.tracing.tracing import Tracing
from txdagu.model.run import RunStatus
from txdagu.model.status import NodeState, RunState

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def trace_message(tracing: Tracing, status: RunStatus, exit_codes: Mapping[str, int]) -> ExportTraceServiceRequest:
    """One span for the run, below it one for each step that began. `exit_codes` are by step."""
    settings = tracing.settings
    resource = settings.resource if settings is not None and settings.resource is not None else {}
    return ExportTraceServiceRequest(
        resource_spans=[
            ResourceSpans(
                resource=Resource(attributes=_attributes(resource)),
                scope_spans=[
                    ScopeSpans(
                        scope=InstrumentationScope(name="txdagu", version=__version__),
                        spans=[_run(tracing, status), *_steps(tracing, status, exit_codes)],
                    )
                ],
            )
        ]
    )


def _run(tracing: Tracing, status: RunStatus) -> Span:
    facts: dict[str, str | int] = {
        "dag.name": status.run.name,
        "dag.run_id": status.run.id,
        "dag.status": status.state.label,
    }
    if status.parent is not None:
        facts |= {"dag.parent_run_id": status.parent.id, "dag.parent_name": status.parent.name}
    bad = status.state in (RunState.FAILED, RunState.ABORTED, RunState.REJECTED)
    times = (status.started_at, status.finished_at)
    return _span(f"DAG: {status.run.name}", tracing.run, tracing.caller.span_id, times, facts, status.error, bad=bad)


def _steps(tracing: Tracing, status: RunStatus, exit_codes: Mapping[str, int]) -> list[Span]:
    spans = []
    for node in status.nodes:
        if node.started_at is None:
            continue
        facts: dict[str, str | int] = {"step.name": node.step.name, "step.status": node.state.label}
        if code := exit_codes.get(node.step.name, 0):
            facts["step.exit_code"] = code
        times = (node.started_at, node.finished_at or status.finished_at)
        place = tracing.step(node.step.name)
        bad = node.state is NodeState.FAILED
        spans.append(_span(f"Step: {node.step.name}", place, tracing.run.span_id, times, facts, node.error, bad=bad))
    return spans


def _span(
    name: str,
    place: TraceContext,
    parent: bytes | None,
    times: tuple[datetime | None, datetime | None],
    facts: Mapping[str, str | int],
    error: str,
    *,
    bad: bool,
) -> Span:
    begin, end = (_nanoseconds(at) for at in times)
    return Span(
        trace_id=place.trace_id,
        span_id=place.span_id or b"",
        parent_span_id=parent or b"",
        flags=1,
        name=name,
        kind=Span.SPAN_KIND_INTERNAL,
        start_time_unix_nano=begin,
        end_time_unix_nano=max(begin, end),
        attributes=_attributes(facts),
        status=Status(code=Status.STATUS_CODE_ERROR, message=error) if bad else None,
    )


def _nanoseconds(at: datetime | None) -> int:
    return 0 if at is None else (at - _EPOCH) // timedelta(microseconds=1) * 1000


def _attributes(values: Mapping[str, str | int]) -> list[KeyValue]:
    return [
        KeyValue(key=key, value=AnyValue(string_value=value) if isinstance(value, str) else AnyValue(int_value=value))
        for key, value in values.items()
    ]
