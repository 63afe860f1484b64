"""Calls for work, parked at one coordinator."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from txdagu.peers.backoff import FullJitter
from txdagu.peers.discovery import Member
from txdagu.protocol import coordinator_pb2 as pb
from txdagu.protocol.services import POLL
from txdagu.wire.status import RpcError
from txdagu.worker.complaints import Complaint
from txdagu.worker.surroundings import Surroundings

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
LEAST_PAUSE = 0.1
# An empty answer that comes sooner than this is no long poll, and asking again at once would be a busy loop.
EARLY_ANSWER = 1.0

Accept = Callable[[Member, bool, pb.Task], None]
"""Takes an offer of that coordinator, which announced our additions or did not."""


class Polling:
    """
    Keeps calls for work parked at one coordinator while there are free slots.

    One that announced our additions gets one call, which stands for all free slots and is taken back when there are none: an
    offer counts only once it is confirmed, so nothing is lost. One that did not gets a call per free slot, and they stay
    until they are answered: it hands a task to a call that is being taken back, and knows nothing of its loss (Dagu
    1.30.2). `accept` takes each offer and returns at once. After a failure, or an empty answer that came at once, all
    calls pause together with full jitter below 1, 2, 4 … 60 s.
    """

    log = Logger()

    def __init__(self, around: Surroundings, member: Member, accept: Accept) -> None:
        self._around = around
        self._member = member
        self._accept = accept
        self._backoff = FullJitter(around.random, FIRST_PAUSE, LONGEST_PAUSE, LEAST_PAUSE)
        self._complaint = Complaint(lambda sentence: self.log.warn("{what}", what=sentence), around.now)
        self._parked: dict[Deferred[None], None] = {}
        self._pause: IDelayedCall | None = None
        self._announced = False
        self._active = False
        self._filling = False

    def start(self, announced: bool) -> None:
        """Park calls, in the way that suits a coordinator which `announced` our additions or did not."""
        self._announced = announced
        if not self._active:
            self._active = True
            self._around.slots.subscribe(self._fill)
            self._fill()

    async def stop(self) -> None:
        """Take all calls back."""
        if not self._active:
            return
        self._active = False
        self._around.slots.unsubscribe(self._fill)
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        for call in list(self._parked):
            call.cancel()

    def _fill(self) -> None:
        if self._filling or not self._active:
            return
        self._filling = True
        try:
            free = self._around.slots.free
            if self._announced and not free:
                for call in list(self._parked):
                    call.cancel()
            while self._active and self._pause is None and len(self._parked) < self._wanted():
                self._park()
        finally:
            self._filling = False

    def _wanted(self) -> int:
        free = self._around.slots.free
        return min(free, 1) if self._announced else free

    def _park(self) -> None:
        call = Deferred.fromCoroutine(self._poll())
        if call.called:
            # Answered or refused before it was parked: only channels in memory are so fast.
            call.addErrback(self._broken)
            return
        self._parked[call] = None
        call.addErrback(self._broken)
        call.addBoth(lambda _: self._ended(call))

    def _ended(self, call: Deferred[None]) -> None:
        self._parked.pop(call, None)
        self._fill()

    def _broken(self, failure: Failure) -> None:
        self.log.failure("a call for work at coordinator {member} broke", failure, member=str(self._member))
        self._hold_off()

    async def _poll(self) -> None:
        began = self._around.now()
        announced = self._announced
        request = pb.PollRequest(
            worker_id=self._around.identity.id,
            poller_id=str(uuid.uuid4()),
            labels=dict(self._around.identity.labels),
            incarnation=self._around.identity.incarnation,
            free_slots=self._around.slots.free,
        )
        try:
            response = await self._around.directory.channel(self._member).unary(POLL, request)
        except CancelledError:
            return
        except RpcError as error:
            if self._active:
                self._complaint.trouble(f"coordinator {self._member} cannot be asked for work: {error}")
                self._hold_off()
            return
        if response.HasField("task"):
            self._backoff.reset()
            self._settled()
            self._accept(self._member, announced, response.task)
        elif self._around.now() - began < EARLY_ANSWER:
            self._complaint.trouble(f"coordinator {self._member} answers calls for work at once and with nothing")
            self._hold_off()
        else:
            self._backoff.reset()
            self._settled()

    def _settled(self) -> None:
        if self._complaint.settled():
            self.log.info("coordinator {member} can be asked for work again", member=str(self._member))

    def _hold_off(self) -> None:
        if self._pause is None and self._active:
            self._pause = self._around.reactor.callLater(self._backoff.next(), self._resume)

    def _resume(self) -> None:
        self._pause = None
        self._fill()
