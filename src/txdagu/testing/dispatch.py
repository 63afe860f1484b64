"""Tools for tests of the dispatch core: names without chance, and short ways to say what workers and dispatchers say."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txdagu.dispatch.core import DispatchCore
from txdagu.dispatch.machine import State
from txdagu.dispatch.records import Outcome, Poll
from txdagu.dispatch.turn import Ending, Offer, Turn
from txdagu.model.labels import Labels
from txdagu.model.policies import OnWorkerLost
from txdagu.model.run import RunRef
from txdagu.model.status import RunState
from txdagu.model.task import Operation, RunningTask, Task


class CountedNames:
    """Tokens and attempts numbered from 1."""

    def __init__(self) -> None:
        self._tokens = 0
        self._attempts = 0

    def token(self) -> str:
        """``token-1``, ``token-2``, …"""
        self._tokens += 1
        return f"token-{self._tokens}"

    def attempt(self, after: str) -> tuple[str, str]:
        """``000001`` and a directory name that counts up in the place of milliseconds."""
        self._attempts += 1
        attempt_id = f"{self._attempts:06x}"
        name = f"attempt_20260101_{self._attempts:06d}_000Z_{attempt_id}"
        assert name > after, "an attempt must sort after all earlier ones of its run"
        return attempt_id, name


def make_task(
    run_id: str,
    selector: Labels | None = None,
    operation: Operation = Operation.START,
    parent: RunRef | None = None,
    root: RunRef | None = None,
    lost: OnWorkerLost = OnWorkerLost(),
    needs: str = "",
) -> Task:
    """A task for DAG ``job``; its own root unless one is given."""
    run = RunRef("job", run_id)
    return Task(
        run=run,
        root=root or run,
        parent=parent,
        operation=operation,
        target="job",
        selector=dict(selector or {}),
        definition="steps:\n  - echo hi\n",
        on_worker_lost=lost,
        needs=needs,
    )


def make_poll(worker_id: str, labels: Labels | None = None, incarnation: str = "one", free_slots: int = 1) -> Poll:
    """A waiting call; with an empty `incarnation` that of a peer which confirms nothing."""
    return Poll(worker_id, dict(labels or {}), incarnation, free_slots, poller_id=f"{worker_id}-poll")


def running(task: Task, epoch: int = 0, attempt_key: str = "") -> RunningTask:
    """The task as its worker lists it."""
    return RunningTask(task.run, task.root, task.parent, 1_700_000_000, attempt_key, epoch)


DONE = Outcome(RunState.SUCCEEDED, "succeeded", '{"status":4}')


def offers(turn: Turn[Any]) -> list[Offer]:
    """The offers among a turn's effects."""
    return [effect for effect in turn.effects if isinstance(effect, Offer)]


def endings(turn: Turn[Any]) -> list[Ending]:
    """The endings among a turn's effects."""
    return [effect for effect in turn.effects if isinstance(effect, Ending)]


class CoreTestCase(SynchronousTestCase):
    """A core and the shortest ways to talk to it."""

    def setUp(self) -> None:
        """A fresh core."""
        self.core = DispatchCore(CountedNames())

    def offered(
        self,
        run_id: str = "r1",
        worker: str = "w1",
        now: float = 0.0,
        lost: OnWorkerLost = OnWorkerLost(),
        **poll: object,
    ) -> Offer:
        """Submit a task and let a worker poll for it."""
        self.core.submit(make_task(run_id, lost=lost), now)
        (offer,) = offers(self.core.poll(make_poll(worker, **poll), now))  # type: ignore[arg-type]
        return offer

    def started(
        self, run_id: str = "r1", worker: str = "w1", now: float = 0.0, lost: OnWorkerLost = OnWorkerLost()
    ) -> Offer:
        """The same, confirmed."""
        offer = self.offered(run_id, worker, now, lost)
        assert self.core.ack(worker, offer.token, now).answer.accepted
        return offer

    def state(self, run_id: str) -> State:
        """The latest state in the run's timeline."""
        run = RunRef("job", run_id)
        return self.core.timeline(run, run_id)[-1].state

    def why(self, run_id: str) -> str:
        """The latest reason in the run's timeline."""
        return self.core.timeline(RunRef("job", run_id), run_id)[-1].reason

    def step_to(self, start: float, end: float) -> list[Turn[None]]:
        """Tick once a second, as a process does that is awake."""
        return [self.core.tick(start + second) for second in range(1, int(end - start) + 1)]
