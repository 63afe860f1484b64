"""What is told of tasks and places, as messages of ``txdagu.v1``, and back."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from txdagu.dispatch.explanation import Explanation
from txdagu.dispatch.machine import State
from txdagu.dispatch.matching import Fit, Verdict
from txdagu.dispatch.records import Outcome
from txdagu.dispatch.whatif import AddedWorker, FleetChange, Placed, Wish
from txdagu.model.policies import LostWorkerPolicy, OnWorkerLost
from txdagu.model.run import RunRef
from txdagu.model.status import RunState
from txdagu.peers.told import HistoryLine, Told
from txdagu.protocol import explain_pb2 as pb

_FITS = {fit.value: fit for fit in Fit}
_POLICIES = {policy.value: policy for policy in LostWorkerPolicy}


def told_to_message(told: Told) -> pb.ExplainResponse:
    """What a coordinator answers."""
    return pb.ExplainResponse(
        task=None if told.task is None else _task(told.task),
        history=[_line(line) for line in told.history],
        below=[_task(task) for task in told.below],
        below_count=told.below_count,
        told_at_ms=_milliseconds(told.at),
    )


def told_from_message(message: pb.ExplainResponse, coordinator: str) -> Told:
    """The answer of that coordinator. Raises `ValueError` if a state in it is not known."""
    return Told(
        coordinator,
        _time(message.told_at_ms),
        _task_back(message.task) if message.HasField("task") else None,
        tuple(
            HistoryLine(_time(line.at_ms), State(line.state), line.worker_id, line.epoch, line.reason, coordinator)
            for line in message.history
        ),
        tuple(_task_back(task) for task in message.below),
        message.below_count,
    )


def plan_to_message(wishes: Iterable[Wish], change: FleetChange) -> pb.PlanRequest:
    """The question where tasks would go."""
    return pb.PlanRequest(
        wishes=[pb.TaskWish(selector=wish.selector, needs=wish.needs) for wish in wishes],
        without=sorted(change.without),
        added=[pb.PlannedWorker(id=one.id, labels=one.labels, slots=one.slots) for one in change.added],
    )


def plan_from_message(message: pb.PlanRequest) -> tuple[tuple[Wish, ...], FleetChange]:
    """The wishes and the change of such a question."""
    wishes = tuple(Wish(dict(wish.selector), wish.needs) for wish in message.wishes)
    added = tuple(AddedWorker(one.id, dict(one.labels), one.slots) for one in message.added)
    return wishes, FleetChange(frozenset(message.without), added)


def places_to_message(places: Iterable[Placed]) -> pb.PlanResponse:
    """The answer to it."""
    return pb.PlanResponse(
        places=[pb.TaskPlace(worker_id=one.worker_id, verdicts=_verdicts(one.verdicts)) for one in places]
    )


def places_from_message(message: pb.PlanResponse) -> tuple[Placed, ...]:
    """The places in such an answer."""
    return tuple(Placed(place.worker_id, _verdicts_back(place.verdicts)) for place in message.places)


def _task(task: Explanation) -> pb.TaskExplanation:
    message = pb.TaskExplanation(
        root_name=task.root.name,
        root_id=task.root.id,
        name=task.run.name,
        run_id=task.run.id,
        parent_name=task.parent.name if task.parent else "",
        parent_id=task.parent.id if task.parent else "",
        selector=task.selector,
        needs=task.needs,
        on_worker_lost=task.on_worker_lost.policy.value,
        lost_limit=task.on_worker_lost.limit,
        state=task.state.value,
        age_ms=round(task.age * 1000),
        worker_id=task.worker_id,
        epoch=task.epoch,
        attempt_name=task.attempt_name,
        confirms=task.confirms,
        heard_age_ms=round(task.heard_age * 1000),
        lease_left_ms=None if task.lease_left is None else round(task.lease_left * 1000),
        silent=task.silent,
        adopted=task.adopted,
        lost_workers=task.lost_workers,
        cancel_reason=task.cancel_reason,
        ahead=task.ahead,
        verdicts=_verdicts(task.verdicts),
    )
    if task.outcome is not None:
        state = task.outcome.state
        message.outcome.CopyFrom(
            pb.TaskOutcome(state=None if state is None else state.value, reason=task.outcome.reason)
        )
    return message


def _task_back(message: pb.TaskExplanation) -> Explanation:
    parent = RunRef(message.parent_name, message.parent_id) if message.parent_id else None
    policy = OnWorkerLost(_POLICIES.get(message.on_worker_lost, OnWorkerLost().policy), message.lost_limit)
    return Explanation(
        run=RunRef(message.name, message.run_id),
        root=RunRef(message.root_name, message.root_id),
        state=State(message.state),
        age=message.age_ms / 1000,
        parent=parent,
        selector=dict(message.selector),
        needs=message.needs,
        on_worker_lost=policy,
        worker_id=message.worker_id,
        epoch=message.epoch,
        attempt_name=message.attempt_name,
        confirms=message.confirms,
        heard_age=message.heard_age_ms / 1000,
        lease_left=message.lease_left_ms / 1000 if message.HasField("lease_left_ms") else None,
        silent=message.silent,
        adopted=message.adopted,
        lost_workers=tuple(message.lost_workers),
        cancel_reason=message.cancel_reason,
        ahead=message.ahead,
        verdicts=_verdicts_back(message.verdicts),
        outcome=_outcome_back(message.outcome) if message.HasField("outcome") else None,
    )


def _outcome_back(message: pb.TaskOutcome) -> Outcome:
    return Outcome(RunState(message.state) if message.HasField("state") else None, message.reason)


def _line(line: HistoryLine) -> pb.TaskTransition:
    return pb.TaskTransition(
        at_ms=_milliseconds(line.at),
        state=line.state.value,
        worker_id=line.worker_id,
        epoch=line.epoch,
        reason=line.reason,
    )


def _verdicts(verdicts: Iterable[Verdict]) -> list[pb.WorkerVerdict]:
    return [
        pb.WorkerVerdict(worker_id=one.worker_id, fit=one.fit.value, reason=one.reason, misses=one.misses)
        for one in verdicts
    ]


def _verdicts_back(messages: Iterable[pb.WorkerVerdict]) -> tuple[Verdict, ...]:
    """A kind of verdict that a newer coordinator knows and we do not counts as one that passes by itself."""
    return tuple(Verdict(one.worker_id, _FITS.get(one.fit, Fit.BUSY), one.reason, one.misses) for one in messages)


def _milliseconds(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def _time(unix_ms: int) -> datetime:
    return datetime.fromtimestamp(unix_ms / 1000, UTC)
