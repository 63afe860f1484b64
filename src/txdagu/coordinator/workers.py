"""Answers the calls of ``txdagu.v1.WorkerService``: orders of people for workers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.logger import Logger

from txdagu.coordinator.dispatcher import Dispatcher
from txdagu.grpc.context import CallContext, Handler
from txdagu.model.standing import Ordered
from txdagu.protocol import services
from txdagu.protocol import worker_pb2 as pb
from txdagu.protocol.conversion import order_from_message
from txdagu.wire.method import RpcMethod
from txdagu.wire.status import RpcError, StatusCode


class WorkerService:
    """Carries out orders, once they are in the journal: they hold for workers and coordinators that are restarted, too."""

    log = Logger()

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    def handlers(self) -> Mapping[RpcMethod[Any, Any], Handler]:
        """The methods that are served."""
        return {services.ORDER_WORKERS: self.order}

    async def order(self, request: pb.OrderRequest, context: CallContext) -> pb.OrderResponse:
        """Cordon, drain or resume the workers that are named or selected; says which are not known here."""
        try:
            order = order_from_message(request, context.peer)
        except ValueError as error:
            raise RpcError(StatusCode.INVALID_ARGUMENT, str(error)) from None
        dispatcher = self._dispatcher
        done: Ordered = await dispatcher.settle(dispatcher.core.order(order, dispatcher.now))
        if done.workers:
            self.log.info(
                "{action} {workers}{why}, by {by}",
                action=order.action.value,
                workers=", ".join(done.workers),
                why=f" ({order.reason})" if order.reason else "",
                by=order.by,
            )
        return pb.OrderResponse(worker_ids=done.workers, unknown_ids=done.unknown)
