"""Answers the calls of ``txdagu.v1.ExplainService``: why tasks are where they are, and where others would go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from txdagu.coordinator.dispatcher import Dispatcher
from txdagu.dispatch.explanation import Explanation
from txdagu.dispatch.turn import Turn
from txdagu.grpc.context import CallContext, Handler
from txdagu.model.errors import DaguError
from txdagu.model.run import RunRef
from txdagu.peers.told import HistoryLine, Told
from txdagu.peers.toldmessages import places_to_message, plan_from_message, told_to_message
from txdagu.protocol import explain_pb2 as pb
from txdagu.protocol.services import EXPLAIN, PLAN
from txdagu.wire.method import RpcMethod
from txdagu.wire.status import RpcError, StatusCode

# A verdict costs a few microseconds, and there is one for each worker: these keep a question from holding up all else.
MOST_BELOW = 20
MOST_WISHES = 10
MOST_ADDED = 1000
# So that answers of large clusters stay below what gRPC clients take (4 MiB).
SHOWN_BELOW = 20
SHOWN_IN_PLAN = 200


class ExplainService:
    """
    Questions to the dispatch core and its journal. They change nothing, and tell nothing that is not kept yet.

    The task that is asked for comes with all verdicts, those below it and planned ones with the nearest.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    def handlers(self) -> Mapping[RpcMethod[Any, Any], Handler]:
        """The methods that are served."""
        return {EXPLAIN: self.explain, PLAN: self.plan}

    async def explain(self, request: pb.ExplainRequest, _context: CallContext) -> pb.ExplainResponse:
        """Where a run's task is, why, and all that happened to it."""
        if not request.root_id or not request.run_id:
            raise RpcError(StatusCode.INVALID_ARGUMENT, "root_id and run_id are required")
        dispatcher, root = self._dispatcher, RunRef(request.root_name, request.root_id)
        core, now = dispatcher.core, dispatcher.now
        told_at = dispatcher.wall_time(now).astimezone(UTC)
        unix_now = told_at.timestamp()
        task = core.explanation(root, request.run_id, now, unix_now)
        count = 0
        below: list[Explanation] = []
        if request.run_id == root.id:
            count, below = core.open_below(root, now, min(request.most_below, MOST_BELOW), unix_now)
        await dispatcher.settle(Turn(None))
        try:
            lines = await dispatcher.timeline(root, request.run_id)
        except DaguError as error:
            raise RpcError(StatusCode.UNAVAILABLE, str(error)) from None
        history = [
            HistoryLine(self._wall(line.at), line.state, line.worker_id, line.epoch, line.reason) for line in lines
        ]
        return told_to_message(
            Told(
                "",
                told_at,
                task,
                tuple(history),
                tuple(replace(one, verdicts=one.verdicts[:SHOWN_BELOW]) for one in below),
                count,
            )
        )

    async def plan(self, request: pb.PlanRequest, _context: CallContext) -> pb.PlanResponse:
        """Where tasks would go now, in this cluster or a changed one."""
        if len(request.wishes) > MOST_WISHES or len(request.added) > MOST_ADDED:
            raise RpcError(
                StatusCode.INVALID_ARGUMENT,
                f"at most {MOST_WISHES} wishes and {MOST_ADDED} added workers can be planned",
            )
        wishes, change = plan_from_message(request)
        dispatcher, now = self._dispatcher, self._dispatcher.now
        places = dispatcher.core.plan(wishes, change, now, dispatcher.wall_time(now).timestamp())
        return places_to_message(replace(place, verdicts=place.verdicts[:SHOWN_IN_PLAN]) for place in places)

    def _wall(self, at: float) -> datetime:
        return self._dispatcher.wall_time(at).astimezone(UTC)
