"""Word to the owner of a task about how it ended."""

from __future__ import annotations

from dataclasses import replace

from twisted.internet.task import deferLater
from twisted.logger import Logger

from txdagu.model.run import RunStatus
from txdagu.model.status import RunState
from txdagu.peers.backoff import FullJitter
from txdagu.peers.discovery import Member
from txdagu.peers.statuses import status_to_message
from txdagu.protocol import coordinator_pb2 as pb
from txdagu.protocol.services import REPORT_STATUS
from txdagu.wire.status import RpcError, StatusCode
from txdagu.worker.complaints import Complaint
from txdagu.worker.running import TaskInHand
from txdagu.worker.surroundings import Surroundings

REPORT_DEADLINE = 10.0
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 5.0
FINAL = (StatusCode.INVALID_ARGUMENT, StatusCode.UNIMPLEMENTED, StatusCode.NOT_FOUND, StatusCode.FAILED_PRECONDITION)


class Reports:
    """
    Delivers final states to the coordinators that keep our tasks' leases.

    Tried again with back-off until the owner accepts or refuses: it alone can end the task. Until then the task
    counts as in hand, so that its lease is renewed and nobody runs it again. The state itself is in the store already.
    """

    log = Logger()

    def __init__(self, around: Surroundings) -> None:
        self._around = around

    async def deliver(self, task: TaskInHand, status: RunStatus) -> None:
        """
        Report how the task ended; returns when the owner took note, or will never.

        A run that is queued again was handed back.
        """
        backoff = FullJitter(self._around.random, FIRST_PAUSE, LONGEST_PAUSE, FIRST_PAUSE / 2)
        complaint = Complaint(lambda sentence: self.log.warn("{what}", what=sentence), self._around.now)
        while True:
            owner = self._owner(task)
            request = pb.ReportStatusRequest(
                worker_id=self._around.identity.id,
                status=status_to_message(status),
                owner_coordinator_id=task.owner_id,
                attempt_key=task.attempt_key,
                epoch=task.epoch,
                handed_back=status.state is RunState.QUEUED,
            )
            try:
                response = await self._around.directory.channel(owner).unary(
                    REPORT_STATUS, request, timeout=REPORT_DEADLINE
                )
            except RpcError as error:
                if error.code is StatusCode.RESOURCE_EXHAUSTED and status.nodes:
                    # Too large for one message. The end is what counts; the steps are in the store.
                    status = replace(status, nodes=())
                    continue
                if error.code in FINAL:
                    self._refused(task, owner, str(error))
                    return
                complaint.trouble(f"the end of run {task.run} cannot be reported to coordinator {owner}: {error}")
            else:
                if not response.accepted:
                    self._refused(task, owner, response.error)
                return
            await deferLater(self._around.reactor, backoff.next())

    def _owner(self, task: TaskInHand) -> Member:
        """The owner where it is now: a coordinator that was replaced has its id at another address."""
        return next((member for member in self._around.directory.known() if member.id == task.owner.id), task.owner)

    def _refused(self, task: TaskInHand, owner: Member, why: str) -> None:
        self.log.warn(
            "coordinator {owner} refused the end of run {run}: {why}", owner=str(owner), run=str(task.run), why=why
        )
