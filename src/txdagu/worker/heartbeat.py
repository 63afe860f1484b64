"""The word that this worker lives, every second, and the renewal of leases."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from txdagu.peers.discovery import Member
from txdagu.protocol import coordinator_pb2 as pb
from txdagu.protocol.conversion import running_task_to_message
from txdagu.protocol.services import ANNOUNCEMENT, HEARTBEAT, LEASES, LEASES_STAND, RUN_HEARTBEAT
from txdagu.system.repeating import Repeating
from txdagu.wire.metadata import ReceivedMetadata
from txdagu.wire.status import RpcError, StatusCode
from txdagu.worker.complaints import Complaint
from txdagu.worker.running import TaskInHand, TasksInHand
from txdagu.worker.surroundings import Surroundings

BEAT_INTERVAL = 1.0
BEAT_DEADLINE = 3.0
# After so many beats in a row without any answer the connection is taken for dead and made anew.
SILENT_BEATS = 3


def lets_leases_stand(error: RpcError) -> bool:
    """Whether a coordinator that refuses us says that it gives nothing away meanwhile."""
    return error.trailing_metadata.get(LEASES) == LEASES_STAND


def announces(metadata: ReceivedMetadata) -> bool:
    """Whether a coordinator says that it knows our additions to the protocol, version 1."""
    return metadata.get(ANNOUNCEMENT) == "1"


class Heartbeat:
    """
    Beats at one coordinator every second, 3 s at most for each call.

    `answered` is called after each answered beat with whether the coordinator announced our additions. To one that did, the
    tasks it owns are named in a second call that renews their leases; what follows where that fails, `WorkerLeases` knows. A
    coordinator that says that it cannot write its journal gives nothing away meanwhile, so that counts as a renewal. That its
    address refuses connections proves nothing: something between us may refuse them while others reach it.
    """

    log = Logger()

    def __init__(
        self, around: Surroundings, member: Member, tasks: TasksInHand, answered: Callable[[bool], None]
    ) -> None:
        self.reachable = False
        self._around = around
        self._member = member
        self._tasks = tasks
        self._answered = answered
        self._announced = False
        self._greeted = False
        self._silent = 0
        self._ends_at: float | None = None
        self._complaint = Complaint(lambda sentence: self.log.warn("{what}", what=sentence), around.now)
        self._beating: Deferred[None] | None = None
        self._loop = Repeating(around.reactor, BEAT_INTERVAL, self._beat, f"a beat at coordinator {member}")

    def start(self) -> None:
        """Beat now and every second."""
        self._loop.start()

    def drain(self, ends_at: float) -> None:
        """Say from now on, and at once, that we take nothing new, and when we end."""
        self._ends_at = ends_at
        if self.reachable:
            Deferred.fromCoroutine(self._send(leaving=False)).addErrback(
                lambda failure: self.log.failure(
                    "a beat at coordinator {member} broke", failure, member=str(self._member)
                )
            )

    async def stop(self, leaving: bool) -> None:
        """Stop beating; if `leaving`, say so in a last beat to a coordinator that answers."""
        self._loop.stop()
        if self._beating is not None:
            self._beating.cancel()
        if leaving and self.reachable:
            await self._send(leaving=True)

    def _beat(self) -> Deferred[None]:
        self._beating = Deferred.fromCoroutine(self._once())
        return self._beating

    async def _once(self) -> None:
        if await self._send(leaving=False):
            owned = self._tasks.owned_by(self._member)
            if owned and self._announced:
                await self._renew(owned)

    async def _send(self, leaving: bool) -> bool:
        named = self._tasks.named_to(self._member)
        request = pb.HeartbeatRequest(
            worker_id=self._around.identity.id,
            labels=dict(self._around.identity.labels),
            stats=pb.WorkerStats(
                total_pollers=self._around.slots.total,
                busy_pollers=self._around.slots.busy,
                running_tasks=[running_task_to_message(task.as_running()) for task in named],
            ),
            incarnation=self._around.identity.incarnation,
            leaving=leaving,
            draining=self._ends_at is not None,
            drain_left_ms=0 if self._ends_at is None else round(max(self._ends_at - self._around.now(), 0.0) * 1000),
            gone_incarnations=self._around.gone,
        )
        sent_at = self._around.now()
        try:
            reply = await self._around.directory.channel(self._member).unary_call(
                HEARTBEAT, request, timeout=BEAT_DEADLINE
            )
        except RpcError as error:
            self._unanswered(error, sent_at)
            return False
        self._silent = 0
        self._around.directory.answered(self._member)
        announced = announces(reply.initial_metadata)
        if self._complaint.settled() or not self._greeted or announced != self._announced:
            self.log.info(
                "coordinator {member} answers, {generation}",
                member=str(self._member),
                generation="with leases and confirmed offers" if announced else "as Dagu 1.30.2 does",
            )
        self._greeted = self.reachable = True
        self._announced = announced
        self._cancel(reply.message.cancelled_runs)
        if not leaving:
            self._answered(announced)
        return True

    def _unanswered(self, error: RpcError, sent_at: float) -> None:
        self.reachable = False
        if lets_leases_stand(error):
            self._around.leases.renewed(self._tasks.owned_by(self._member), sent_at, self._around.now())
        self._complaint.trouble(f"coordinator {self._member} does not answer heartbeats: {error}")
        self._around.directory.review()
        if error.code is not StatusCode.DEADLINE_EXCEEDED:
            self._silent = 0
            return
        self._silent += 1
        if self._silent >= SILENT_BEATS:
            # A peer that vanished without a word keeps its connection open for hours, and our parked calls with it.
            self._silent = 0
            self._around.directory.redial(self._member)

    async def _renew(self, owned: list[TaskInHand]) -> None:
        sent_at = self._around.now()
        request = pb.RunHeartbeatRequest(
            worker_id=self._around.identity.id,
            owner_coordinator_id=owned[0].owner_id,
            running_tasks=[running_task_to_message(task.as_running()) for task in owned],
            incarnation=self._around.identity.incarnation,
        )
        try:
            response = await self._around.directory.channel(self._member).unary(
                RUN_HEARTBEAT, request, timeout=BEAT_DEADLINE
            )
        except RpcError as error:
            if lets_leases_stand(error):
                self._around.leases.renewed(owned, sent_at, self._around.now())
            self._complaint.trouble(f"coordinator {self._member} does not renew leases: {error}")
            return
        lost = {cancelled.attempt_key: cancelled.reason for cancelled in response.cancelled_runs if cancelled.lost}
        self._around.leases.renewed(
            [task for task in owned if task.attempt_key not in lost], sent_at, self._around.now()
        )
        for task in owned:
            if task.attempt_key in lost:
                self._around.leases.given_away(task, f"coordinator {self._member} says: {lost[task.attempt_key]}")
        self._cancel(cancelled for cancelled in response.cancelled_runs if not cancelled.lost)

    def _cancel(self, cancelled: Iterable[pb.CancelledRun]) -> None:
        orders = {run.attempt_key: run for run in cancelled if run.attempt_key}
        if not orders:
            return
        for task in self._tasks.owned_by(self._member):
            order = orders.get(task.attempt_key)
            if order is None:
                continue
            if order.hand_back:
                if task.hand_back(order.reason):
                    self.log.info("run {run} is handed back: {reason}", run=str(task.run), reason=order.reason)
            elif task.cancel(order.reason or f"coordinator {self._member} asked for its end"):
                self.log.info("run {run} is cancelled: {reason}", run=str(task.run), reason=task.cancel_reason)
