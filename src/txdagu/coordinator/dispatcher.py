"""The hands of the dispatch core: journal, waiting calls, timers and questions to the run store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from txdagu.coordinator.attempts import earlier_attempt
from txdagu.coordinator.endings import examined
from txdagu.dispatch.core import DispatchCore
from txdagu.dispatch.journal import Journal
from txdagu.dispatch.records import Poll, Transition
from txdagu.dispatch.turn import Dismissal, Effect, Ending, Inquiry, Offer, Turn
from txdagu.model.errors import DaguError
from txdagu.model.run import RunRef
from txdagu.model.status import RunState
from txdagu.model.task import Task
from txdagu.protocol.services import LEASES, LEASES_STAND
from txdagu.store.interfaces import IRunStore
from txdagu.wire.status import RpcError, StatusCode

Answer = TypeVar("Answer")

ASK_AGAIN_AFTER = 10.0
LOAD_AGAIN_AFTER = 2.0
LEAVING = "the coordinator is shutting down"


class Dispatcher:
    """
    Carries out what the core decides, in this order: commit to the journal, then effects, then the answer.

    `clock` wakes us, `now` measures time for the core in seconds, by default the clock's own; `wall` tells the time of day.
    Without a `store` the files of runs cannot be asked, and a peer that confirms nothing is believed not to have started
    what it does not list.

    While the journal cannot be written, everybody is refused with UNAVAILABLE and the reason, and nothing is decided: no
    offer is taken back and no lease ends. `LEASES` in the trailing metadata tells our workers so.
    """

    log = Logger()

    def __init__(
        self,
        core: DispatchCore,
        journal: Journal,
        clock: IReactorTime,
        wall: Callable[[], datetime],
        store: IRunStore | None = None,
        now: Callable[[], float] | None = None,
    ) -> None:
        self._core = core
        self._journal = journal
        self._clock = clock
        self._wall = wall
        self._store = store
        self._now = now or clock.seconds
        self._waiting: dict[Poll, Deferred[Offer]] = {}
        self._committing = 0
        self._broken = ""
        self._refusal = ""
        self._timer: IDelayedCall | None = None
        self._timer_due = 0.0
        self._loading: IDelayedCall | None = None
        self._stopped = False

    @property
    def core(self) -> DispatchCore:
        """The core. Raises `RpcError` UNAVAILABLE while it must not be used: the journal failed, or we are leaving."""
        if self._refusal:
            raise _refused(self._refusal)
        return self._core

    @property
    def now(self) -> float:
        """The core's time, in seconds."""
        return self._now()

    def wall_time(self, at: float) -> datetime:
        """The time of day of a moment in the core's time."""
        return self._wall() - timedelta(seconds=self.now - at)

    async def start(self) -> None:
        """Take up the tasks that the journal kept."""
        kept = await self._journal.load()
        if kept.open:
            self.log.info("{count} open tasks are taken up from the journal", count=len(kept.open))
        self._perform(self._core.restore(kept, self.now))

    async def timeline(self, root: RunRef, run_id: str) -> Sequence[Transition]:
        """Everything that ever happened to the tasks of a run, as far as the journal still has it; oldest first."""
        return await self._journal.timeline(root, run_id)

    def stop(self) -> None:
        """Answer all waiting calls with UNAVAILABLE, and take nothing in any more."""
        self._stopped = True
        self._refusal = LEAVING
        for timer in (self._timer, self._loading):
            if timer is not None:
                timer.cancel()
        self._timer = self._loading = None
        self._end_waiting(LEAVING)

    async def settle(self, turn: Turn[Answer]) -> Answer:
        """
        Commit, perform, answer.

        A caller that is cancelled meanwhile gets no answer, but what was decided is carried out all the same. Raises
        `RpcError` UNAVAILABLE if the journal cannot be written.
        """
        # An empty commit waits for those before it: nobody may hear of a state that is not kept yet.
        if turn.entries or turn.standings or self._committing:
            await _shielded(Deferred.fromCoroutine(self._commit(turn)))
        else:
            self._perform(turn)
        return turn.answer

    async def offer_for(self, poll: Poll) -> Offer:
        """Wait until the core has something for this call. If the caller is cancelled, nothing meant for it is lost."""
        waiting: Deferred[Offer] = Deferred()
        self._waiting[poll] = waiting
        try:
            try:
                await self.settle(self.core.poll(poll, self.now))
            except BaseException:
                waiting.addErrback(_told_already)
                raise
            return await waiting
        except CancelledError:
            self._withdraw(poll)
            raise
        finally:
            self._waiting.pop(poll, None)

    def _withdraw(self, poll: Poll) -> None:
        if not self._refusal:
            Deferred.fromCoroutine(self.settle(self._core.withdraw(poll, self.now))).addErrback(self._unsettled)

    # -- journal -------------------------------------------------------------------------------------------------------

    async def _commit(self, turn: Turn[Answer]) -> None:
        self._committing += 1
        try:
            await self._journal.commit(turn.entries, turn.standings)
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing that was decided may be told to anybody
            if not self._broken:
                self.log.error("{reason}; all tasks are read back from it", reason=_unwritten(error))
                if not isinstance(error, DaguError):
                    self.log.failure("writing the journal failed")
            self._broken = self._broken or _unwritten(error)
            self._refusal = self._refusal or self._broken
        finally:
            self._committing -= 1
        if not self._broken:
            self._perform(turn)
            return
        # Those who wait for later commits were promised something on top of what is lost: they are refused as well.
        reason = self._broken
        if not self._committing and not self._stopped:
            await self._reload()
        raise _refused(reason)

    async def _reload(self) -> None:
        """Forget what was decided since the last good commit; as long as that does not succeed, everybody is refused."""
        reason = self._broken
        try:
            kept = await self._journal.load()
        except Exception as error:  # noqa: BLE001 - told, and tried again
            if self._stopped:
                return
            if _unwritten(error) != reason:
                self.log.error(
                    "{reason}; trying again every {seconds} s", reason=_unwritten(error), seconds=LOAD_AGAIN_AFTER
                )
            if not isinstance(error, DaguError):
                self.log.failure("reading the journal failed")
            self._broken = self._refusal = _unwritten(error)
            self._end_waiting(self._refusal)
            self._loading = self._clock.callLater(LOAD_AGAIN_AFTER, self._reload_later)
            return
        if self._stopped:
            return
        self._broken = self._refusal = ""
        self._perform(self._core.restore(kept, self.now))
        # Also the calls whose offers were lost with the commit.
        self._end_waiting(reason)
        self.log.info("the journal can be written again; it has {count} open tasks", count=len(kept.open))

    def _reload_later(self) -> None:
        self._loading = None
        Deferred.fromCoroutine(self._reload()).addErrback(self._unsettled)

    # -- effects -------------------------------------------------------------------------------------------------------

    def _perform(self, turn: Turn[Answer]) -> None:
        for effect in turn.effects:
            self._perform_one(effect)
        self._schedule()

    def _perform_one(self, effect: Effect) -> None:
        match effect:
            case Offer():
                waiting = self._waiting.pop(effect.poll, None)
                # A call that was cut while its offer was being committed has withdrawn it by now.
                if waiting is not None:
                    self.log.debug(
                        "offering {run} to worker {worker_id}",
                        run=str(effect.task.run),
                        worker_id=effect.poll.worker_id,
                    )
                    waiting.callback(effect)
            case Dismissal():
                waiting = self._waiting.pop(effect.poll, None)
                if waiting is not None:
                    waiting.errback(_refused(effect.reason))
            case Ending():
                self._tell_ending(effect)
            case Inquiry():
                Deferred.fromCoroutine(self.inquire(effect)).addErrback(self._unsettled)

    def _tell_ending(self, ending: Ending) -> None:
        state = ending.outcome.state
        tell = self.log.warn if state is RunState.FAILED and not ending.outcome.report else self.log.info
        tell(
            "task {run} has ended: {reason}",
            run=str(ending.task.run),
            worker_id=ending.worker_id,
            reason=ending.outcome.reason,
        )

    async def with_earlier_attempt(self, task: Task) -> Task:
        """The task with the attempt that its run has already, where its dispatcher did not tell; see `earlier_attempt`."""
        if task.earlier_attempt is not None or self._store is None:
            return task
        return replace(task, earlier_attempt=await earlier_attempt(self._store, task))

    async def inquire(self, asked: Inquiry) -> None:
        """Look into the run's files and tell the core. Files that cannot be read are asked again: a guess might run it twice."""
        started, outcome = False, None
        if self._store is not None:
            try:
                status = await self._store.read_status(asked.task.run, asked.task.root)
            except (DaguError, OSError, ValueError) as error:
                self.log.warn(
                    "whether run {run} was started cannot be told ({error}); asking again in {seconds} s",
                    run=str(asked.task.run),
                    error=str(error),
                    seconds=ASK_AGAIN_AFTER,
                )
                if not self._stopped:
                    self._clock.callLater(ASK_AGAIN_AFTER, self._perform_one, asked)
                return
            started, outcome = examined(asked, status, self._wall())
        if not self._refusal:
            await self.settle(self._core.inquiry_answered(asked, started, outcome, self.now))

    def _end_waiting(self, reason: str) -> None:
        waiting, self._waiting = self._waiting, {}
        for deferred in waiting.values():
            deferred.errback(_refused(reason))

    def _unsettled(self, failure: Failure) -> None:
        # That the journal cannot be written was told when it was found out.
        if not failure.check(RpcError):
            self.log.failure("a decision could not be carried out", failure)

    # -- time ----------------------------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        """
        Have the core ticked when it wants, not later. A timer that comes too early finds nothing to do and is set again.

        Timers of the reactor are late when somebody sets its clock back; what is overdue is then noticed with the next turn.
        """
        # While everybody is refused nothing is due; the core is asked again when it was restored.
        due = None if self._refusal else self._core.next_deadline()
        if due is None:
            return
        now = self.now
        if self._timer is not None:
            if self._timer_due <= due and now < due:
                return
            self._timer.cancel()
        self._timer_due = due
        self._timer = self._clock.callLater(max(0.0, due - now), self._tick)

    def _tick(self) -> None:
        self._timer = None
        if not self._refusal:
            Deferred.fromCoroutine(self.settle(self._core.tick(self.now))).addErrback(self._unsettled)
        self._schedule()


def _unwritten(error: Exception) -> str:
    return f"the coordinator's journal cannot be written ({error}); nothing was accepted, try again later"


def _refused(reason: str) -> RpcError:
    """UNAVAILABLE, with the word that nothing is given away meanwhile."""
    return RpcError(StatusCode.UNAVAILABLE, reason, trailing_metadata={LEASES: LEASES_STAND})


def _told_already(_refusal: Failure) -> None:
    """A call that is refused anyway needs no second reason."""


def _shielded(inner: Deferred[None]) -> Deferred[None]:
    """The same result, but cancelling the wait for it leaves `inner` alone."""
    outer: Deferred[None] = Deferred()
    inner.chainDeferred(outer)
    return outer
