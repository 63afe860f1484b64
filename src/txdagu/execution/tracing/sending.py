"""One trace to one collector. Imported when a trace is sent, with all that takes."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS
from twisted.web.http_headers import Headers

from txdagu.execution.steps.body import read_body
from txdagu.execution.steps.reaching import UNREACHABLE, address, cancelled, reason
from txdagu.execution.tracing.settings import TraceSettings
from txdagu.execution.tracing.spans import trace_message
from txdagu.execution.tracing.tracing import Tracing
from txdagu.grpc.channel import tcp_channel
from txdagu.grpc.tls import ClientTls
from txdagu.model.errors import DaguError
from txdagu.model.run import RunStatus
from txdagu.protocol.services import message_method

EXPORT = message_method(
    "opentelemetry.proto.collector.trace.v1.TraceService",
    "Export",
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


async def send_trace(
    clock: Any, settings: TraceSettings, tracing: Tracing, status: RunStatus, exit_codes: Mapping[str, int]
) -> None:
    """
    Make the trace of a run and send it by gRPC or HTTP, as the settings say. `clock` is the reactor.

    Raises whatever goes wrong with that: `DaguError`, `RpcError`, or what the settings made of headers.
    """
    message = trace_message(tracing, status, exit_codes)
    if settings.url:
        await _limited(clock, settings, _post(clock, settings, message))
    else:
        await _call(clock, settings, message)


async def _call(clock: Any, settings: TraceSettings, message: ExportTraceServiceRequest) -> None:
    """OTLP over gRPC: one call on a channel of our own."""
    tls = None if settings.insecure else ClientTls()
    channel = tcp_channel(clock, settings.host, settings.port, tls=tls)
    try:
        metadata = [(name.lower(), value) for name, value in settings.headers]
        await channel.unary(EXPORT, message, timeout=settings.seconds, metadata=metadata)
    finally:
        await channel.close()


async def _post(clock: Any, settings: TraceSettings, message: ExportTraceServiceRequest) -> None:
    """OTLP over HTTP: one request."""
    agent = Agent(clock, BrowserLikePolicyForHTTPS(), connectTimeout=settings.seconds)
    headers = {"Content-Type": "application/x-protobuf", **dict(settings.headers)}
    try:
        response = await HTTPClient(agent).post(
            address(settings.url),
            headers=Headers({name: [value] for name, value in headers.items()}),
            data=message.SerializeToString(),
            allow_redirects=False,
            unbuffered=True,
        )
        if not 200 <= response.code < 300:
            raise DaguError(f"it answered {response.code} {response.phrase.decode('latin-1')}")
        await read_body(response, _ignore)
    except UNREACHABLE as error:
        if cancelled(error):
            raise CancelledError from error
        raise DaguError(reason(error)) from error


async def _ignore(_data: bytes) -> None:
    """What a collector says besides its status means nothing to us."""


async def _limited(clock: Any, settings: TraceSettings, work: Coroutine[Any, Any, None]) -> None:
    """The work, given up after the time it may take."""
    waiting = Deferred.fromCoroutine(work)
    timer = clock.callLater(settings.seconds, waiting.cancel)
    try:
        await waiting
    except CancelledError:
        raise DaguError(f"no answer within {settings.seconds:g} s") from None
    finally:
        if timer.active():
            timer.cancel()
