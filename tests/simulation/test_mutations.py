"""A simulator that cannot fail is worth nothing: with a safeguard taken away, it finds what that was for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from txdagu.coordinator.dispatcher import Dispatcher
from txdagu.dispatch.core import DispatchCore
from txdagu.dispatch.journal import Kept
from txdagu.dispatch.machine import State
from txdagu.dispatch.records import Outcome
from txdagu.dispatch.turn import Acceptance, Cancellation, Turn
from txdagu.model.run import RunRef
from txdagu.model.task import RunningTask
from txdagu.reaper import leases
from txdagu.testing.simulation import Parts, simulate
from txdagu.testing.simulation.campaign import campaign

SEEDS = 300
Answer = TypeVar("Answer")


class Unfenced(DispatchCore):
    """A core that believes whoever reports an end."""

    def report_end(
        self,
        worker_id: str,
        root: RunRef,
        run_id: str,
        epoch: int,
        outcome: Outcome,
        now: float,
        attempt_key: str = "",
    ) -> Turn[Acceptance]:
        """Take the report for that of the worker that has the task."""
        record = self._tasks.open_task(root, run_id)
        if record is not None and record.state is State.RUNNING:
            return super().report_end(record.worker_id, root, run_id, record.epoch, outcome, now)
        return super().report_end(worker_id, root, run_id, epoch, outcome, now, attempt_key)

    def run_heartbeat(
        self, worker_id: str, incarnation: str, running: Iterable[RunningTask], now: float
    ) -> Turn[list[Cancellation]]:
        """Let everybody keep what he has."""
        turn = super().run_heartbeat(worker_id, incarnation, running, now)
        turn.answer = [one for one in turn.answer if not one.lost]
        return turn


class Unconfirmed(DispatchCore):
    """A core to which an offer is as good as its confirmation: any one is accepted."""

    def ack(self, worker_id: str, token: str, now: float) -> Turn[Acceptance]:
        """Accept it."""
        turn = super().ack(worker_id, token, now)
        turn.answer = Acceptance(True)
        return turn


class Heedless(DispatchCore):
    """A core that forgets with a restart which workers were cordoned or drained."""

    def restore(self, kept: Kept, now: float) -> Turn[None]:
        """All but the orders."""
        return super().restore(replace(kept, standings=()), now)


class Hasty(Dispatcher):
    """Answers first, and writes the journal then."""

    async def settle(self, turn: Turn[Answer]) -> Answer:
        """Do it all at once."""
        self._perform(turn)
        effects, turn.effects = turn.effects, []
        Deferred.fromCoroutine(super().settle(turn)).addErrback(lambda _: effects)
        return turn.answer


class MutationTests(SynchronousTestCase):
    """Each safeguard that is taken away is missed within 300 seeds."""

    def found(self, parts: Parts, first: int = 0) -> str:
        """The first violation in 300 seeds; `first` is where it is found soon, so that the test is quick."""
        done = campaign(range(first, first + SEEDS), lambda seed: simulate(seed, parts), most_failures=1)
        self.assertEqual(len(done.failed), 1, f"nothing was found in {done.seeds} seeds")
        return str(done.failed[0].violation)

    def test_without_the_fence(self) -> None:
        """Guards that a stale writer is noticed when nobody refuses it."""
        self.assertRegex(self.found(Parts(core=Unfenced), 12), "^[1234]: ")

    def test_without_the_confirmation(self) -> None:
        """Guards that a task which starts on the word of an offer alone is noticed."""
        self.assertRegex(self.found(Parts(core=Unconfirmed), 4), "^[123]: ")

    def test_without_the_margin_of_the_lease(self) -> None:
        """Guards that a worker which keeps a task beyond its lease is noticed."""
        self.patch(leases, "freeze_after", lambda ttl: ttl + 20.0)
        self.assertRegex(self.found(Parts(), 27), "^2: .* executed twice at once")

    def test_without_orders_in_the_journal(self) -> None:
        """Guards that a worker which is given tasks against an order from before a restart is noticed."""
        self.assertRegex(self.found(Parts(core=Heedless), 8), "^6: .* is offered to .*, which is (cordoned|draining)")

    def test_without_journal_before_answer(self) -> None:
        """Guards that an answer which the journal does not have yet is noticed."""
        self.assertRegex(self.found(Parts(dispatcher=Hasty)), "^[18]: ")
