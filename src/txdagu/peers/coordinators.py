"""The coordinators as one: whoever answers is asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.logger import Logger
from zope.interface import implementer

from txdagu.config.settings import Settings
from txdagu.model.errors import ConflictError, InvalidInputError, Problem, UnavailableError
from txdagu.model.run import RunRef, RunStatus
from txdagu.model.standing import Ordered, WorkerOrder
from txdagu.model.task import Task, WorkerStatus
from txdagu.peers.backoff import FullJitter
from txdagu.peers.connecting import Connect, RpcChannel
from txdagu.peers.discovery import CoordinatorDirectory, Member
from txdagu.peers.interfaces import ICoordinators, WorkersView
from txdagu.peers.merging import merge_workers
from txdagu.peers.statuses import status_from_message
from txdagu.protocol import coordinator_pb2 as pb
from txdagu.protocol.conversion import order_to_message, run_names, task_to_message, worker_from_message
from txdagu.protocol.services import (
    ANNOUNCEMENT,
    DISPATCH,
    GET_DAG_RUN_STATUS,
    GET_WORKERS,
    ORDER_WORKERS,
    REQUEST_CANCEL,
)
from txdagu.wire.status import RpcError, StatusCode

DISPATCH_DEADLINE = 10.0
DISPATCH_TRIES = 12
QUESTION_DEADLINE = 2.0

Answer = TypeVar("Answer")


@implementer(ICoordinators)
class Coordinators(Service):
    """
    Provides `ICoordinators` over the coordinators that a `CoordinatorDirectory` knows.

    `random` shuffles them and spreads the waiting; `now` is a monotonic clock in seconds. Works without being started: then each
    question looks into the registry first. `tries` bounds how often `dispatch` goes round before it gives up.
    """

    log = Logger()

    def __init__(
        self,
        settings: Settings,
        reactor: Any,
        random: Random,
        now: Callable[[], float],
        connect: Connect | None = None,
        tries: int = DISPATCH_TRIES,
    ) -> None:
        self.directory = CoordinatorDirectory(settings, reactor, now, connect)
        self._reactor = reactor
        self._random = random
        self._tries = tries

    def startService(self) -> None:
        """Follow the registry."""
        Service.startService(self)
        self.directory.startService()

    def stopService(self) -> Deferred[None]:
        """Close all channels."""
        Service.stopService(self)
        return self.directory.stopService()

    async def members(self) -> tuple[Member, ...]:
        """The coordinators that are there now."""
        return await self.directory.members()

    def channel(self, member: Member) -> RpcChannel:
        """The channel to one of them."""
        return self.directory.channel(member)

    async def dispatch(self, task: Task, tries: int | None = None) -> None:
        """
        Hand in a task at any coordinator that takes it.

        Goes round all of them in shuffled order, each with a deadline of 10 s, then waits (full jitter below 1, 2, 4 … 30 s)
        and goes round again. A coordinator of Dagu 1.30.2 keeps no tasks and refuses while no matching worker is idle;
        that is waited out alike. Raises `InvalidInputError` or `ConflictError` at once when a coordinator says that the
        task itself cannot be, and `UnavailableError` with every address and its reason when the tries are used up.
        """
        request = pb.DispatchRequest(task=task_to_message(task))
        waiting = FullJitter(self._random)
        told = ""
        reasons: dict[str, str] = {}
        rounds = self._tries if tries is None else tries
        for attempt in range(rounds):
            if attempt:
                await deferLater(self._reactor, waiting.next())
            members = list(await self.members())
            self._random.shuffle(members)
            reasons = {}
            for member in members:
                refusal = await self._offer(member, request)
                if not refusal:
                    return
                reasons[str(member)] = refusal
            summary = _summary(reasons, self.directory.nobody)
            if summary != told:
                told = summary
                self.log.info("run {run} waits to be dispatched: {why}", run=str(task.run), why=summary)
        raise UnavailableError(
            f"run {task.run} was not accepted in {rounds} tries: {_summary(reasons, self.directory.nobody)}"
        )

    async def _offer(self, member: Member, request: pb.DispatchRequest) -> str:
        """The reason why this coordinator did not take the task; empty if it did."""
        try:
            await self.channel(member).unary(DISPATCH, request, timeout=DISPATCH_DEADLINE)
        except RpcError as error:
            if error.code is StatusCode.INVALID_ARGUMENT:
                raise InvalidInputError([Problem(error.message, f"coordinator {member}")]) from error
            if error.code is StatusCode.ALREADY_EXISTS:
                raise ConflictError(f"coordinator {member}: {error.message}") from error
            if error.code is StatusCode.FAILED_PRECONDITION:
                return f"no matching worker is idle ({error.message})"
            return str(error)
        self.directory.answered(member)
        return ""

    async def task_status(self, run: RunRef, root: RunRef) -> RunStatus | None:
        """How the task ended, by the first coordinator that knows."""
        return next((status for status in await self._statuses(run, root) if not _goes_on(status)), None)

    async def holds(self, run: RunRef, root: RunRef) -> bool:
        """Whether any coordinator says that the task waits or runs."""
        return any(_goes_on(status) for status in await self._statuses(run, root))

    async def _statuses(self, run: RunRef, root: RunRef) -> list[RunStatus]:
        """What the coordinators that know the task say of its state."""
        request = pb.GetDAGRunStatusRequest(**run_names(run, root))

        async def ask(member: Member) -> RunStatus | None:
            answer = await self.channel(member).unary(GET_DAG_RUN_STATUS, request, timeout=QUESTION_DEADLINE)
            if not answer.found or not answer.status.json_data:
                return None
            try:
                return status_from_message(answer.status)
            except ValueError as error:
                self.log.warn(
                    "coordinator {member} told a state of run {run} that cannot be read: {error}",
                    member=str(member),
                    run=str(run),
                    error=error,
                )
                return None

        answers, _ = await self._ask_all(ask)
        return [status for status in answers if status is not None]

    async def forgotten(self, run: RunRef, root: RunRef) -> bool:
        """Whether all coordinators, each of ours, answer that they know no such task."""
        request = pb.GetDAGRunStatusRequest(**run_names(run, root))

        async def ask(member: Member) -> bool:
            reply = await self.channel(member).unary_call(GET_DAG_RUN_STATUS, request, timeout=QUESTION_DEADLINE)
            return ANNOUNCEMENT in reply.initial_metadata and not reply.message.found

        answers, errors = await self._ask_all(ask)
        return bool(answers) and all(answers) and not errors

    async def cancel(self, run: RunRef, root: RunRef) -> None:
        """
        Ask all coordinators to end the task, because any of them may have it.

        Raises `UnavailableError` if there are coordinators and none could be asked.
        """
        request = pb.RequestCancelRequest(**run_names(run, root))

        async def ask(member: Member) -> bool:
            try:
                answer = await self.channel(member).unary(REQUEST_CANCEL, request, timeout=QUESTION_DEADLINE)
            except RpcError as error:
                if error.code in (StatusCode.UNIMPLEMENTED, StatusCode.NOT_FOUND):
                    return False
                raise
            return answer.accepted

        answers, errors = await self._ask_all(ask)
        if errors and not answers:
            raise UnavailableError(f"no coordinator could be asked to cancel run {run}: {'; '.join(errors)}")

    async def order(self, order: WorkerOrder) -> Ordered:
        """Give all coordinators an order for workers. One of Dagu cannot carry it out, and is told among the errors."""
        request = order_to_message(order)

        async def give(member: Member) -> tuple[str, ...]:
            try:
                answer = await self.channel(member).unary(ORDER_WORKERS, request, timeout=DISPATCH_DEADLINE)
            except RpcError as error:
                if error.code is StatusCode.UNIMPLEMENTED:
                    raise RpcError(error.code, "it cannot keep tasks from workers: it is not of this program") from None
                raise
            return tuple(answer.worker_ids)

        answers, errors = await self._ask_all(give)
        if not answers:
            raise UnavailableError(f"no coordinator could be told: {'; '.join(errors) or self.directory.nobody}")
        reached = {worker_id for answer in answers for worker_id in answer}
        unknown = tuple(worker_id for worker_id in dict.fromkeys(order.ids) if worker_id not in reached)
        return Ordered(tuple(sorted(reached)), unknown, tuple(errors))

    async def workers(self) -> WorkersView:
        """All workers, each as the coordinator sees it that heard of it last."""

        async def ask(member: Member) -> list[WorkerStatus]:
            answer = await self.channel(member).unary(GET_WORKERS, pb.GetWorkersRequest(), timeout=QUESTION_DEADLINE)
            return [worker_from_message(worker) for worker in answer.workers]

        answers, errors = await self._ask_all(ask)
        return WorkersView(merge_workers(answers), tuple(errors))

    async def _ask_all(
        self,
        ask: Callable[[Member], Awaitable[Answer]],
    ) -> tuple[list[Answer], list[str]]:
        """Ask every coordinator at once: their answers, and who failed and why."""
        errors: list[str] = []
        answers: list[Answer] = []

        async def one(member: Member) -> None:
            try:
                answers.append(await ask(member))
            except RpcError as error:
                errors.append(f"coordinator {member}: {error}")

        members = await self.members()
        await gatherResults([Deferred.fromCoroutine(one(member)) for member in members], consumeErrors=True)
        return answers, sorted(errors)


def _goes_on(status: RunStatus) -> bool:
    return not status.state.at_rest


def _summary(reasons: dict[str, str], nobody: str) -> str:
    if not reasons:
        return nobody
    return "; ".join(f"coordinator {address}: {reason}" for address, reason in sorted(reasons.items()))
