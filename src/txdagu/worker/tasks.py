"""One task from its offer to its reported end."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from txdagu.execution.engine import Engine
from txdagu.execution.guarding import Guard
from txdagu.execution.stop import StopRequested
from txdagu.model.dag import Dag
from txdagu.model.errors import DaguError
from txdagu.model.run import RunStatus
from txdagu.model.status import RunState
from txdagu.model.task import Task
from txdagu.peers.backoff import FullJitter
from txdagu.peers.discovery import Member
from txdagu.protocol import coordinator_pb2 as pb
from txdagu.protocol.conversion import attempt_key, task_from_message
from txdagu.protocol.services import ACK_TASK_CLAIM
from txdagu.store.interfaces import IRunStore
from txdagu.wire.status import RpcError, StatusCode
from txdagu.worker.holding import TaskSlot
from txdagu.worker.reports import Reports
from txdagu.worker.requests import PreparedRun, Requests
from txdagu.worker.running import TaskInHand, TasksInHand
from txdagu.worker.surroundings import Surroundings

ACK_DEADLINE = 5.0
ACK_PAUSE = 0.2
LONGEST_ACK_PAUSE = 2.0


class Tasks:
    """
    Takes offers, confirms them, runs them, and reports their ends.

    Nothing starts before a coordinator that keeps leases has confirmed our confirmation. A task that cannot be started ends as
    failed, in the store and at its owner, with the reason; none ever vanishes. The slot is free the moment the run ends.
    """

    log = Logger()

    def __init__(self, around: Surroundings, store: IRunStore, engine: Engine) -> None:
        self.in_hand = TasksInHand()
        self._around = around
        self._store = store
        self._engine = engine
        self._requests = Requests(around.reactor, store, around.identity.id, around.base_config)
        self._reports = Reports(around)
        self._handling: dict[Deferred[None], None] = {}
        self._closed = ""
        self._count = 0

    @property
    def busy(self) -> bool:
        """Whether any offer, run or report is still under way."""
        return bool(self._handling)

    def close(self, reason: str) -> None:
        """Take no more offers; those that wait for a slot or a confirmation are let go."""
        self._closed = reason

    def accept(self, member: Member, announced: bool, message: pb.Task) -> None:
        """Take an offer of that coordinator. Returns at once, with a slot taken or waited for."""
        try:
            task = task_from_message(message)
        except ValueError as error:
            self.log.error("coordinator {member} offered what is no task: {error}", member=str(member), error=error)
            return
        handling = Deferred.fromCoroutine(self._handle(member, announced, message, task, TaskSlot(self._around.slots)))
        if handling.called:
            handling.addErrback(self._broken, task)
            return
        self._handling[handling] = None
        handling.addErrback(self._broken, task)
        handling.addBoth(self._handled, handling)

    async def abandon(self) -> None:
        """
        Stop everything that is still under way: reports that nobody takes, confirmations that nobody answers, and runs that did
        not end. Those are killed and write nothing more, because they are given to others once we have said good-bye.
        """
        for hand in self.in_hand.running():
            self._around.leases.given_away(hand, self._closed)
        for handling in list(self._handling):
            handling.cancel()

    def _handled(self, _: object, handling: Deferred[None]) -> None:
        self._handling.pop(handling, None)
        self.in_hand.tell()

    def _broken(self, failure: Any, task: Task) -> None:
        if not failure.check(CancelledError):
            self.log.failure("handling the task of run {run} failed", failure, run=str(task.run))

    async def _handle(self, member: Member, announced: bool, message: pb.Task, task: Task, slot: TaskSlot) -> None:
        hand = TaskInHand(
            task=task,
            owner=member,
            ours=announced and bool(message.claim_token),
            attempt_key=message.attempt_key or attempt_key(task.root, task.run, message.attempt_id),
            attempt_name=message.attempt_name,
            epoch=message.epoch,
            owner_id=message.owner_coordinator_id,
        )
        hand.guard = self._guard(hand)
        leases, now = self._around.leases, self._around.now
        held_from, ttl = now(), 0.0
        try:
            if message.claim_token:
                await slot.acquire()
                confirmed = await self._confirm(member, message.claim_token, task)
                if confirmed is None:
                    return
                held_from, ttl = confirmed
            # A peer that asks for no confirmation has forgotten the task by now: it is ours whether we have a slot or not.
            hand.started_at = int(self._around.wall().timestamp())
            leases.hold(hand, held_from, now(), ttl)
            self.in_hand.add(hand)
            if not message.claim_token:
                await self._wait_for_slot(hand, slot)
            status = await self._run(hand, slot)
            hand.ended = True
            leases.release(hand)
            slot.release()
            self.in_hand.tell()
            self.log.info(
                "run {run} {ended}{why}",
                run=str(task.run),
                ended="was handed back" if status.state is RunState.QUEUED else f"ended as {status.state.label}",
                why=f": {status.error}" if status.error else "",
            )
            if hand.ours and not hand.taken_away:
                await self._reports.deliver(hand, status)
        finally:
            hand.ended = True
            leases.release(hand)
            slot.release()
            self.in_hand.discard(hand)

    def _guard(self, hand: TaskInHand) -> Guard:
        """What starts the task's processes only while its lease stands."""
        around = self._around
        self._count += 1
        return Guard(
            f"{around.identity.incarnation}.{self._count}",
            around.reaper,
            around.outer_token,
            valid=lambda: around.leases.valid(hand, around.now()),
            look=lambda: around.leases.tick(around.now()),
        )

    async def _wait_for_slot(self, hand: TaskInHand, slot: TaskSlot) -> None:
        """Returns when the slot is held, or when the task was cancelled."""
        waiting = slot.acquire()
        hand.waits(waiting.cancel)
        try:
            await waiting
        except CancelledError:
            if not (hand.cancel_reason or hand.recalled):
                raise

    # -- confirmation --------------------------------------------------------------------------------------------------

    async def _confirm(self, member: Member, token: str, task: Task) -> tuple[float, float] | None:
        """
        Say that we take the offer. Returns when the confirmation that was accepted was sent, and the seconds of the lease if
        they were told; None if the task is not ours.

        Asked again for the time of a lease when no answer came: the coordinator may be restarting, and if it kept the first
        one, the task is counted as running here. Saying it twice is fine.
        """
        request = pb.AckTaskClaimRequest(worker_id=self._around.identity.id, claim_token=token)
        backoff = FullJitter(self._around.random, ACK_PAUSE, LONGEST_ACK_PAUSE, ACK_PAUSE / 2)
        began = self._around.now()
        reason = ""
        while not reason or self._around.now() - began < self._around.lease_ttl:
            if reason:
                await deferLater(self._around.reactor, backoff.next())
            if self._closed:
                self.log.info("the offer of run {run} is let go: {why}", run=str(task.run), why=self._closed)
                return None
            sent_at = self._around.now()
            try:
                answer = await self._around.directory.channel(member).unary(
                    ACK_TASK_CLAIM, request, timeout=ACK_DEADLINE
                )
            except RpcError as error:
                reason = str(error)
                if error.code in (StatusCode.INVALID_ARGUMENT, StatusCode.NOT_FOUND, StatusCode.UNIMPLEMENTED):
                    break
                continue
            if answer.accepted:
                return sent_at, answer.lease_seconds
            reason = answer.error
            break
        self.log.warn(
            "run {run} is not started: coordinator {member} did not confirm the offer: {why}",
            run=str(task.run),
            member=str(member),
            why=reason,
        )
        return None

    # -- execution -----------------------------------------------------------------------------------------------------

    async def _run(self, hand: TaskInHand, slot: TaskSlot) -> RunStatus:
        """Run the task to its end, whatever that is."""
        task = hand.task
        self.log.info("run {run} begins for coordinator {member}", run=str(task.run), member=str(hand.owner))
        prepared: PreparedRun | None = None
        try:
            prepared = await self._requests.prepare(task, hand.attempt_name, hand.epoch)
            hand.clean_up_seconds = prepared.request.dag.max_clean_up_seconds
            with suppress(StopRequested):
                await hand.guard.passed()
            if hand.guard.ended:
                return await self._unstarted(hand, prepared.request.dag, RunState.FAILED, hand.guard.ended)
            if hand.cancel_reason:
                return await self._unstarted(hand, prepared.request.dag, RunState.ABORTED, hand.cancel_reason)
            if hand.recalled:
                return self._status(hand, RunState.QUEUED, hand.recalled)
            run = self._engine.start(prepared.request, slot=slot, guard=hand.guard)
            hand.started(run)
            return await run.wait()
        except CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the run must end with a reason
            if not isinstance(error, DaguError):
                self.log.failure("starting run {run} broke", run=str(task.run))
            reason = str(error) if isinstance(error, DaguError) else f"internal error: {error!r}"
            dag = prepared.request.dag if prepared is not None else None
            return await self._unstarted(hand, dag, RunState.FAILED, reason)
        finally:
            if prepared is not None:
                await self._requests.clean_up(prepared)

    async def _unstarted(self, hand: TaskInHand, dag: Dag | None, state: RunState, reason: str) -> RunStatus:
        """Write down the end of a run that never began, so that whoever waits for it learns why."""
        self.log.error("run {run} does not start: {why}", run=str(hand.run), why=reason)
        if hand.taken_away:
            return self._status(hand, state, reason)
        if dag is None:
            dag = Dag(name=hand.task.target, yaml_text=hand.task.definition)
        try:
            sink = await self._store.open_attempt(dag, hand.run, hand.task.root, hand.attempt_name)
            status = self._status(hand, state, reason, sink.attempt_id, sink.log)
            sink.write_log(reason)
            await sink.close(status)
        except (DaguError, OSError, ValueError) as error:
            self.log.error("and that cannot be written to its files: {why}", why=str(error))
            return self._status(hand, state, reason)
        return status

    def _status(self, hand: TaskInHand, state: RunState, reason: str, attempt_id: str = "", log: str = "") -> RunStatus:
        now = self._around.wall()
        return RunStatus(
            run=hand.run,
            root=hand.task.root,
            state=state,
            parent=hand.task.parent,
            attempt_id=attempt_id,
            worker_id=self._around.identity.id,
            pid=os.getpid(),
            created_at_ms=int(now.timestamp() * 1000),
            started_at=now,
            finished_at=now,
            log=log,
            error=reason,
        )
