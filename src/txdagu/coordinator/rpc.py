"""Answers the calls of ``coordinator.v1.CoordinatorService``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Mapping
from typing import Any
from urllib.parse import quote

from twisted.logger import Logger

from txdagu import __version__
from txdagu.coordinator.dispatcher import Dispatcher
from txdagu.coordinator.endings import ending_json, open_json, read_report
from txdagu.coordinator.handover import Owner, offered_task
from txdagu.dispatch.core import Beat
from txdagu.dispatch.machine import State
from txdagu.dispatch.records import Poll
from txdagu.dispatch.turn import Cancellation, Turn
from txdagu.grpc.context import CallContext, Handler
from txdagu.model.errors import ConflictError
from txdagu.model.run import RunRef
from txdagu.model.task import Task
from txdagu.protocol import coordinator_pb2 as pb
from txdagu.protocol import services
from txdagu.protocol.conversion import running_task_from_message, task_from_message, worker_to_message
from txdagu.wire.method import RpcMethod
from txdagu.wire.status import RpcError, StatusCode

ANNOUNCED = {services.ANNOUNCEMENT: "1"}
CANCEL_REASON = "asked for by {peer}"

Method = Callable[[Any, CallContext], Coroutine[Any, Any, Any]]


class CoordinatorService:
    """
    The calls of workers and dispatchers, each turned into one input of the dispatch core.

    Codes and texts of refusals are those of Dagu 1.30.2. It refuses a task for which no worker polls; here the task
    waits. Every answer carries `ANNOUNCEMENT`, by which our own workers know that they may rely on our additions.
    Methods that are not here answer UNIMPLEMENTED.
    """

    log = Logger()

    def __init__(self, dispatcher: Dispatcher, owner: Callable[[], Owner]) -> None:
        self._dispatcher = dispatcher
        self._owner = owner

    def handlers(self) -> Mapping[RpcMethod[Any, Any], Handler]:
        """The methods that are served."""
        methods: dict[RpcMethod[Any, Any], Method] = {
            services.POLL: self.poll,
            services.DISPATCH: self.dispatch,
            services.GET_WORKERS: self.get_workers,
            services.HEARTBEAT: self.heartbeat,
            services.ACK_TASK_CLAIM: self.ack_task_claim,
            services.RUN_HEARTBEAT: self.run_heartbeat,
            services.REPORT_STATUS: self.report_status,
            services.GET_DAG_RUN_STATUS: self.get_dag_run_status,
            services.REQUEST_CANCEL: self.request_cancel,
        }
        return {method: _announcing(handler) for method, handler in methods.items()}

    # -- workers -------------------------------------------------------------------------------------------------------

    async def poll(self, request: pb.PollRequest, _context: CallContext) -> pb.PollResponse:
        """Wait without limit until there is a task for this worker."""
        _require(request.poller_id, "poller_id is required")
        _require(request.worker_id, "worker_id is required")
        poll = Poll(
            worker_id=request.worker_id,
            labels=dict(request.labels),
            incarnation=request.incarnation,
            free_slots=request.free_slots if request.incarnation else 1,
            poller_id=request.poller_id,
        )
        del request  # thousands of polls wait here, and a message takes more memory than all else of a parked call
        offer = await _refusing(self._dispatcher.offer_for(poll))
        return pb.PollResponse(task=offered_task(offer, self._owner()))

    async def heartbeat(self, request: pb.HeartbeatRequest, _context: CallContext) -> pb.HeartbeatResponse:
        """Note that a worker lives and what it does; tell it which of its runs to end."""
        _require(request.worker_id, "worker_id is required")
        stats = request.stats
        beat = Beat(
            worker_id=request.worker_id,
            labels=dict(request.labels),
            incarnation=request.incarnation,
            slots=stats.total_pollers,
            busy=stats.busy_pollers,
            running=tuple(running_task_from_message(task) for task in stats.running_tasks),
            drain_left=request.drain_left_ms / 1000 if request.draining else None,
            leaving=request.leaving,
            gone=tuple(request.gone_incarnations),
        )
        dispatcher = self._dispatcher
        try:
            turn = dispatcher.core.heartbeat(beat, dispatcher.now)
        except ConflictError as error:
            raise RpcError(StatusCode.FAILED_PRECONDITION, str(error)) from None
        return pb.HeartbeatResponse(cancelled_runs=_cancelled(await dispatcher.settle(turn)))

    async def ack_task_claim(self, request: pb.AckTaskClaimRequest, _context: CallContext) -> pb.AckTaskClaimResponse:
        """A worker takes an offer; it may start only if this accepts."""
        _require(request.worker_id, "worker_id is required")
        _require(request.claim_token, "claim_token is required")
        dispatcher = self._dispatcher
        answer = await dispatcher.settle(dispatcher.core.ack(request.worker_id, request.claim_token, dispatcher.now))
        return pb.AckTaskClaimResponse(
            accepted=answer.accepted, error=answer.error, lease_seconds=dispatcher.core.lease_ttl
        )

    async def run_heartbeat(self, request: pb.RunHeartbeatRequest, _context: CallContext) -> pb.RunHeartbeatResponse:
        """Renew the leases of a worker's runs; tell it which of them to end, and why."""
        _require(request.worker_id, "worker_id is required")
        dispatcher = self._dispatcher
        running = [running_task_from_message(task) for task in request.running_tasks]
        turn = dispatcher.core.run_heartbeat(request.worker_id, request.incarnation, running, dispatcher.now)
        return pb.RunHeartbeatResponse(cancelled_runs=_cancelled(await dispatcher.settle(turn)))

    async def report_status(self, request: pb.ReportStatusRequest, _context: CallContext) -> pb.ReportStatusResponse:
        """Take note of how a run ended, or of one that is handed back. States in between are in the run's files alone."""
        _require(request.worker_id, "worker_id is required")
        try:
            report = read_report(request.status.json_data)
        except ValueError as error:
            raise RpcError(StatusCode.INVALID_ARGUMENT, str(error)) from None
        dispatcher = self._dispatcher
        worker_id, root, run_id, epoch = request.worker_id, report.root, report.run.id, request.epoch
        key, now = request.attempt_key, dispatcher.now
        if request.handed_back:
            turn = dispatcher.core.hand_back(worker_id, root, run_id, epoch, report.error, now, key)
        elif report.outcome is None:
            return pb.ReportStatusResponse(accepted=True)
        else:
            turn = dispatcher.core.report_end(worker_id, root, run_id, epoch, report.outcome, now, key)
        answer = await dispatcher.settle(turn)
        return pb.ReportStatusResponse(accepted=answer.accepted, error=answer.error)

    # -- dispatchers and viewers ---------------------------------------------------------------------------------------

    async def dispatch(self, request: pb.DispatchRequest, _context: CallContext) -> pb.DispatchResponse:
        """Accept a task. It waits here until a worker takes it, so the answer does not depend on there being one."""
        if not request.HasField("task"):
            raise RpcError(StatusCode.INVALID_ARGUMENT, "task is required")
        try:
            task = task_from_message(request.task)
        except ValueError as error:
            raise RpcError(StatusCode.INVALID_ARGUMENT, str(error)) from None
        if not await self._submit(task):
            # The former attempt may have ended without our knowing yet; then this is not a repetition but the next attempt.
            asked = self._dispatcher.core.inquiry(task.root, task.run.id, self._dispatcher.now)
            if asked is not None and not _is_repetition(task, asked.task):
                await self._dispatcher.inquire(asked)
                await self._submit(task)
        return pb.DispatchResponse()

    async def _submit(self, task: Task) -> bool:
        dispatcher = self._dispatcher
        if dispatcher.core.open_state(task.root, task.run.id) is None:
            task = await dispatcher.with_earlier_attempt(task)
        try:
            turn = dispatcher.core.submit(task, dispatcher.now)
        except ConflictError as error:
            raise RpcError(StatusCode.ALREADY_EXISTS, str(error)) from None
        return await dispatcher.settle(turn)

    async def get_workers(self, _request: pb.GetWorkersRequest, context: CallContext) -> pb.GetWorkersResponse:
        """All workers that were heard of in the last ten minutes. The metadata tells about this coordinator itself."""
        dispatcher = self._dispatcher
        unix_now = dispatcher.wall_time(dispatcher.now).timestamp()
        owner = self._owner()
        context.set_initial_metadata(
            {
                **ANNOUNCED,
                services.PROGRAM: quote(f"txdagu {__version__}", safe=" "),
                services.TIME: str(int(unix_now * 1000)),
                services.ADVERTISED_HOST: quote(owner.host, safe=":"),
                services.ADVERTISED_PORT: str(owner.port),
            }
        )
        return pb.GetWorkersResponse(
            workers=[worker_to_message(worker) for worker in dispatcher.core.workers(dispatcher.now, unix_now)]
        )

    async def get_dag_run_status(
        self, request: pb.GetDAGRunStatusRequest, _context: CallContext
    ) -> pb.GetDAGRunStatusResponse:
        """
        How the latest task of a run ended, or that it is queued or running.

        Not found: no such task is known. Found without a status: it has ended, and only the run's own files can tell how.
        """
        _require(request.dag_run_id, "dag_run_id is required")
        run = RunRef(request.dag_name, request.dag_run_id)
        root = _root(request, run)
        core = self._dispatcher.core
        ending = core.ended(root, run.id)
        state = core.open_state(root, run.id)
        if ending is not None:
            json_data = ending_json(ending, self._dispatcher.wall_time(ending.at))
        elif state is not None:
            json_data = open_json(run, root, running=state is State.RUNNING)
        else:
            return pb.GetDAGRunStatusResponse(found=False)
        answer = pb.GetDAGRunStatusResponse(found=True, status=pb.DAGRunStatusProto(json_data=json_data))
        return await self._dispatcher.settle(Turn(answer))  # an end that is not kept yet is nobody's business

    async def request_cancel(self, request: pb.RequestCancelRequest, context: CallContext) -> pb.RequestCancelResponse:
        """End a run: at once if it waits; else its worker is told with its next heartbeat, at most a second from now."""
        _require(request.dag_run_id, "dag_run_id is required")
        run = RunRef(request.dag_name, request.dag_run_id)
        dispatcher = self._dispatcher
        reason = CANCEL_REASON.format(peer=context.peer)
        answer = await dispatcher.settle(dispatcher.core.cancel(_root(request, run), run.id, reason, dispatcher.now))
        return pb.RequestCancelResponse(accepted=answer.accepted, error=answer.error)


def _announcing(handler: Method) -> Handler:
    @functools.wraps(handler)
    async def announce(request: Any, context: CallContext) -> Any:
        context.set_initial_metadata(ANNOUNCED)
        return await handler(request, context)

    return announce


async def _refusing(waiting: Coroutine[Any, Any, Any]) -> Any:
    """The result; a worker that may not be here is told so with the code that ends its tries."""
    try:
        return await waiting
    except ConflictError as error:
        raise RpcError(StatusCode.FAILED_PRECONDITION, str(error)) from None


def _require(value: str, text: str) -> None:
    if not value:
        raise RpcError(StatusCode.INVALID_ARGUMENT, text)


def _is_repetition(task: Task, taken: Task) -> bool:
    """Whether a dispatcher repeats itself, and does not ask for one more attempt; Dagu's cannot tell."""
    return task.earlier_attempt is not None and task.earlier_attempt == taken.earlier_attempt


def _root(request: pb.GetDAGRunStatusRequest | pb.RequestCancelRequest, run: RunRef) -> RunRef:
    if not request.root_dag_run_id:
        return run
    return RunRef(request.root_dag_run_name, request.root_dag_run_id)


def _cancelled(cancellations: list[Cancellation]) -> list[pb.CancelledRun]:
    return [
        pb.CancelledRun(attempt_key=one.attempt_key, reason=one.reason, lost=one.lost, hand_back=one.hand_back)
        for one in cancellations
    ]
