"""Traces on their way to a collector."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from txdagu.execution.steps.body import read_body
from txdagu.execution.steps.reaching import reason
from txdagu.execution.tracing.settings import TraceSettings
from txdagu.execution.tracing.tracing import Tracing
from txdagu.model.errors import DaguError
from txdagu.model.run import RunStatus
from txdagu.system.threads import InThread

if TYPE_CHECKING:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"


class Exports:
    """
    Sends the traces of an engine's runs. Nothing that goes wrong with that concerns a run; it is logged.

    `clock` is the reactor.
    """

    log = Logger()

    def __init__(self, clock: Any, in_thread: InThread) -> None:
        self._clock = clock
        self._in_thread = in_thread
        self._waiting: set[Deferred[None]] = set()

    def send(self, tracing: Tracing, status: RunStatus, exit_codes: Mapping[str, int]) -> None:
        """Begin to send the trace of a run that has ended, if it has one. Returns at once."""
        if tracing.settings is None:
            return
        sending: Deferred[None] = Deferred.fromCoroutine(self._send(tracing, tracing.settings, status, exit_codes))
        self._waiting.add(sending)
        sending.addBoth(lambda _: self._waiting.discard(sending))

    async def sent(self) -> None:
        """Wait until all that was begun has been sent or given up, which each does in its own time."""
        while self._waiting:
            done: Deferred[None] = Deferred()
            next(iter(self._waiting)).addBoth(done.callback)
            await done

    async def _send(
        self, tracing: Tracing, settings: TraceSettings, status: RunStatus, exit_codes: Mapping[str, int]
    ) -> None:
        try:
            make = await self._in_thread(_load)
            message = make(tracing, status, exit_codes)
            if settings.url:
                await self._limited(settings, self._post(settings, message))
            else:
                await self._call(settings, message)
        except Exception as error:  # noqa: BLE001 - whatever it is, the run has ended well without it
            self.log.warn(
                "the trace of run {run} was not sent to {endpoint}: {reason}",
                run=str(status.run),
                endpoint=settings.endpoint,
                reason=reason(error),
            )

    async def _call(self, settings: TraceSettings, message: ExportTraceServiceRequest) -> None:
        """OTLP over gRPC: one call on a channel of our own."""
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
            ExportTraceServiceRequest,
            ExportTraceServiceResponse,
        )

        from txdagu.grpc.channel import tcp_channel
        from txdagu.grpc.tls import ClientTls
        from txdagu.protocol.services import message_method

        method = message_method(SERVICE, "Export", ExportTraceServiceRequest, ExportTraceServiceResponse)
        tls = None if settings.insecure else ClientTls()
        channel = tcp_channel(self._clock, settings.host, settings.port, tls=tls)
        try:
            metadata = [(name.lower(), value) for name, value in settings.headers]
            await channel.unary(method, message, timeout=settings.seconds, metadata=metadata)
        finally:
            await channel.close()

    async def _post(self, settings: TraceSettings, message: ExportTraceServiceRequest) -> None:
        """OTLP over HTTP: one request."""
        from treq.client import HTTPClient
        from twisted.web.client import Agent
        from twisted.web.http_headers import Headers

        headers = {"Content-Type": "application/x-protobuf", **dict(settings.headers)}
        agent = Agent(self._clock, connectTimeout=settings.seconds)
        response = await HTTPClient(agent).post(
            settings.url,
            headers=Headers({name: [value] for name, value in headers.items()}),
            data=message.SerializeToString(),
            allow_redirects=False,
            unbuffered=True,
        )
        if not 200 <= response.code < 300:
            raise DaguError(f"it answered {response.code} {response.phrase.decode('latin-1')}")
        await read_body(response, _ignore)

    async def _limited(self, settings: TraceSettings, work: Coroutine[Any, Any, None]) -> None:
        """The work, given up after the time it may take."""
        waiting = Deferred.fromCoroutine(work)
        timer = self._clock.callLater(settings.seconds, waiting.cancel)
        try:
            await waiting
        except CancelledError:
            raise DaguError(f"no answer within {settings.seconds:g} s") from None
        finally:
            if timer.active():
                timer.cancel()


async def _ignore(_data: bytes) -> None:
    """What a collector says besides its status means nothing to us."""


def _load() -> Callable[[Tracing, RunStatus, Mapping[str, int]], ExportTraceServiceRequest]:
    """What makes messages. Raises `DaguError` if the package is missing."""
    try:
        from txdagu.execution.tracing.spans import trace_message
    except ImportError as error:
        raise DaguError(f"{error}: install it with pip install 'txdagu[otel]'") from error
    return trace_message
