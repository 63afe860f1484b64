"""What is to be said of a task that a coordinator knows. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from txdagu.dispatch.explanation import Explanation
from txdagu.dispatch.machine import State
from txdagu.dispatch.matching import Fit
from txdagu.execution.explaining.wording import span, stamp, times
from txdagu.model.labels import format_labels
from txdagu.model.policies import LostWorkerPolicy
from txdagu.peers.told import Told


@dataclass(frozen=True, slots=True)
class Binding:
    """The limit that keeps a run waiting: a word for programs (``labels``, ``slots``, ``queue`` …) and a sentence."""

    kind: str
    text: str


def task_facts(task: Explanation, told: Told) -> Iterator[tuple[str, str]]:
    """What is to be told of a task besides its state: pairs of a label and a sentence."""
    if task.selector:
        yield "wants", f"a worker with {format_labels(task.selector)}"
    if task.needs:
        yield "needs", f"a worker of txdagu, because of {task.needs}"
    if task.state is State.QUEUED:
        yield "before it", _before(task.ahead)
    if task.epoch:
        attempt = f", attempt directory {task.attempt_name}" if task.attempt_name else ""
        yield "epoch", f"{task.epoch}: it was offered {times(task.epoch)}{attempt}"
    if task.state is State.RUNNING and task.lease_left is not None:
        yield "lease", _lease(task)
    if task.adopted:
        yield (
            "adopted",
            "this coordinator found it running and has no definition with which another worker could run it",
        )
    if task.cancel_reason:
        yield "cancelled", f"its end was asked for: {task.cancel_reason}"
    if task.lost_workers:
        policy = task.on_worker_lost
        left = f"; it may lose {policy.limit} in all" if policy.policy is LostWorkerPolicy.REDISTRIBUTE else ""
        yield "lost workers", f"{', '.join(task.lost_workers)}{left}"
    for line in told.history:
        if line.state is State.LOST:
            yield "given away", f"{stamp(line.at)}: {line.reason}"


def _before(ahead: int) -> str:
    if not ahead:
        return "no task that could take the same workers"
    tasks = "1 task has its" if ahead == 1 else f"{ahead} tasks have their"
    return f"{tasks} turn earlier and could take the same workers"


def _lease(task: Explanation) -> str:
    if task.silent:
        return f"its worker has been silent for {span(task.heard_age)}; onWorkerLost is wait, so it is left to it"
    return f"its worker spoke of it {span(task.heard_age)} ago; the lease ends in {span(task.lease_left or 0.0)} without a word"


def running_step(task: Explanation) -> str:
    """What to do about a task that runs; empty where nothing is to be done about the task itself."""
    if task.cancel_reason:
        return "nothing: its worker is told to end it with every heartbeat"
    if task.silent:
        return f"look after worker {task.worker_id}; when it comes back the run goes on, and a later process of that id ends it"
    if task.lease_left is not None and task.heard_age > 5:
        return f"look after worker {task.worker_id}: it is silent, and the task is given away when the lease ends"
    return ""


def binding(task: Explanation) -> Binding:
    """The limit that keeps a waiting task from a worker."""
    verdicts = task.verdicts
    if not verdicts:
        return Binding("no-worker", "no worker is connected to the coordinator that has the task")
    by_fit = {fit: [one for one in verdicts if one.fit is fit] for fit in Fit}
    nearest = verdicts[0]
    if by_fit[Fit.MATCHES]:
        return Binding("turn", f"worker {nearest.worker_id} matches and has a free slot; it is offered next")
    if nearest.fit is Fit.BUSY:
        count = len(by_fit[Fit.BUSY])
        who = "the one worker that fits is" if count == 1 else f"all {count} workers that fit are"
        return Binding("slots", f"{who} taken; nearest is {nearest.worker_id}: {nearest.reason}")
    if nearest.fit is Fit.LABELS:
        return Binding(
            "labels",
            f"no worker has all labels {format_labels(task.selector)}; nearest is {nearest.worker_id}: {nearest.reason}",
        )
    if nearest.fit is Fit.PROGRAM:
        return Binding("program", f"the workers with these labels cannot run it: {nearest.worker_id} {nearest.reason}")
    kind = "health" if nearest.fit is Fit.UNHEALTHY else nearest.fit.value
    return Binding(kind, f"no worker that fits can take a task now; nearest is {nearest.worker_id}: {nearest.reason}")


def way_out(task: Explanation) -> str:
    """What to do about a task that waits."""
    verdicts = task.verdicts
    nearest = verdicts[0] if verdicts else None
    start = "dagu worker"
    if task.selector:
        start += f" --worker.labels={shlex.quote(format_labels(task.selector))}"
    if nearest is None or nearest.fit is Fit.LABELS:
        change = ", or change its workerSelector" if task.selector else ""
        return f"start a worker: {start}{change}; it gets the task within a second"
    if nearest.fit is Fit.MATCHES:
        return "nothing; dagu explain again tells what has become of it"
    if nearest.fit is Fit.PROGRAM:
        return f"start a worker of txdagu with these labels: {start}"
    if nearest.fit is Fit.UNHEALTHY:
        return f"look after worker {nearest.worker_id}, or start another one: {start}"
    if nearest.fit is Fit.BUSY:
        return f"wait for a slot, raise worker.maxActiveRuns of {nearest.worker_id}, or start another worker: {start}"
    return f"wait until worker {nearest.worker_id} takes tasks again, or start another one: {start}"


def below(task: Explanation) -> str:
    """One line about a task of a run below."""
    name = f"{task.run.name} (run {task.run.id})"
    if task.state is State.QUEUED:
        return f"{name} waits for a worker for {span(task.age)}: {binding(task).text}"
    return f"{name} is {task.state.value} at worker {task.worker_id} for {span(task.age)}"
