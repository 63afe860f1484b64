"""The standard health service ``grpc.health.v1.Health``, as every gRPC tool asks for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from twisted.internet.defer import Deferred

from txdagu.grpc.context import CallContext, Handler
from txdagu.protocol import health_pb2 as health
from txdagu.protocol.services import HEALTH_CHECK, HEALTH_LIST, HEALTH_WATCH
from txdagu.wire.method import RpcMethod
from txdagu.wire.status import RpcError, StatusCode

_Status = health.HealthCheckResponse.ServingStatus
_LARGEST_LIST = 100
_UNKNOWN = health.HealthCheckResponse.SERVICE_UNKNOWN


class HealthService:
    """
    Says which services are served. The empty name stands for the whole server and is there from the start.

    `services` are served from the start, too. A name nobody set is answered with NOT_FOUND "unknown service"; watching it is
    allowed and tells SERVICE_UNKNOWN until it is set. `shut_down` is for the start of a graceful stop.
    """

    def __init__(self, services: Iterable[str] = ()) -> None:
        self._statuses: dict[str, _Status] = dict.fromkeys(("", *services), health.HealthCheckResponse.SERVING)
        self._watchers: dict[str, list[Deferred[None]]] = {}
        self._shutting_down = False

    def set(self, service: str, serving: bool) -> None:
        """Change what is said of one service, and tell those who watch it. After `shut_down` nothing changes any more."""
        if self._shutting_down:
            return
        status = health.HealthCheckResponse.SERVING if serving else health.HealthCheckResponse.NOT_SERVING
        if self._statuses.get(service) == status:
            return
        self._statuses[service] = status
        for watcher in self._watchers.pop(service, []):
            watcher.callback(None)

    def set_all(self, serving: bool) -> None:
        """Change all services at once."""
        for service in list(self._statuses):
            self.set(service, serving)

    def shut_down(self) -> None:
        """
        Nothing is served any more, and nothing will be: all services are NOT_SERVING for good.

        Those who watch hear it, then their calls end with UNAVAILABLE: else each of them would hold a draining server up.
        """
        self.set_all(False)
        self._shutting_down = True
        watchers, self._watchers = self._watchers, {}
        for waiting in watchers.values():
            for watcher in waiting:
                watcher.callback(None)

    def handlers(self) -> Mapping[RpcMethod[Any, Any], Handler]:
        """See `GrpcService`."""
        return {HEALTH_CHECK: self.check, HEALTH_WATCH: self.watch, HEALTH_LIST: self.list_services}

    async def check(self, request: health.HealthCheckRequest, _context: CallContext) -> health.HealthCheckResponse:
        """The status of one service now."""
        status = self._statuses.get(request.service)
        if status is None:
            raise RpcError(StatusCode.NOT_FOUND, "unknown service")
        return health.HealthCheckResponse(status=status)

    async def watch(
        self, request: health.HealthCheckRequest, _context: CallContext
    ) -> AsyncIterator[health.HealthCheckResponse]:
        """The status of one service now and after every change; changes that follow too fast are told as one."""
        told = None
        while True:
            status = self._statuses.get(request.service, _UNKNOWN)
            if status != told:
                told = status
                yield health.HealthCheckResponse(status=status)
            elif self._shutting_down:
                raise RpcError(StatusCode.UNAVAILABLE, "the server is shutting down")
            else:
                await self._change(request.service)

    async def list_services(
        self, _request: health.HealthListRequest, _context: CallContext
    ) -> health.HealthListResponse:
        """All services and their statuses. RESOURCE_EXHAUSTED if they are more than 100, as the service's definition asks."""
        if len(self._statuses) > _LARGEST_LIST:
            raise RpcError(
                StatusCode.RESOURCE_EXHAUSTED, f"server health list exceeds maximum capacity: {_LARGEST_LIST}"
            )
        return health.HealthListResponse(
            statuses={name: health.HealthCheckResponse(status=status) for name, status in self._statuses.items()}
        )

    async def _change(self, service: str) -> None:
        changed: Deferred[None] = Deferred()
        watchers = self._watchers.setdefault(service, [])
        watchers.append(changed)
        try:
            await changed
        finally:
            if changed in watchers:
                watchers.remove(changed)
            if not watchers and self._watchers.get(service) is watchers:
                del self._watchers[service]
