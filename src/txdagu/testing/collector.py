"""A collector of traces that keeps what it is sent, for tests; any program may send to it, by gRPC or HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import Resource
from twisted.web.server import Site

from txdagu.execution.tracing.sending import EXPORT
from txdagu.grpc.context import CallContext, Handler
from txdagu.grpc.server import GrpcServerFactory
from txdagu.wire.method import RpcMethod


@dataclass(frozen=True)
class Seen:
    """A span: ids in hexadecimal digits, `parent` empty without one; `resource` are the attributes of what it belongs to."""

    name: str
    trace: str
    id: str
    parent: str
    attributes: Mapping[str, str | int]
    resource: Mapping[str, str | int]
    error: str
    nanoseconds: int


class TraceCollector:
    """
    Keeps `spans` by name, the headers of each export in `headers`, and of those by HTTP the `paths`.

    `factory` is what to listen with for gRPC, `site` for HTTP; that answers `status`.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self.spans: dict[str, Seen] = {}
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.status = 200
        self.factory = GrpcServerFactory([self], clock)
        self.site = Site(_Intake(self))

    def handlers(self) -> Mapping[RpcMethod[Any, Any], Handler]:
        """The only method."""
        return {EXPORT: self._export}

    async def _export(self, request: ExportTraceServiceRequest, context: CallContext) -> ExportTraceServiceResponse:
        pairs = [(name, value) for name, value in context.metadata.items() if isinstance(value, str)]
        self.take(request, dict(pairs))
        return ExportTraceServiceResponse()

    def take(self, message: ExportTraceServiceRequest, headers: dict[str, str]) -> None:
        """Keep an export."""
        self.headers.append(headers)
        for group in message.resource_spans:
            resource = _attributes(group.resource)
            for spans in group.scope_spans:
                for span in spans.spans:
                    self.spans[span.name] = Seen(
                        span.name,
                        span.trace_id.hex(),
                        span.span_id.hex(),
                        span.parent_span_id.hex(),
                        _attributes(span),
                        resource,
                        span.status.message if span.status.code == span.status.STATUS_CODE_ERROR else "",
                        span.end_time_unix_nano - span.start_time_unix_nano,
                    )


def _attributes(of: Any) -> dict[str, str | int]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in of.attributes}


class _Intake(Resource):
    """OTLP over HTTP."""

    isLeaf = True  # noqa: N815 - twisted.web's name

    def __init__(self, collector: TraceCollector) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._collector = collector

    def render(self, request: Any) -> bytes:
        """One export."""
        collector = self._collector
        headers = {
            name.decode().lower(): values[0].decode() for name, values in request.requestHeaders.getAllRawHeaders()
        }
        collector.paths.append(request.uri.decode())
        request.setResponseCode(collector.status)
        collector.take(ExportTraceServiceRequest.FromString(request.content.read()), headers)
        return b""
