"""What is to be said of a run to a person: where it is and why, what binds, and what to do next. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from txdagu.dispatch.explanation import Explanation
from txdagu.dispatch.machine import State
from txdagu.dispatch.matching import Verdict
from txdagu.execution.explaining.situation import Situation
from txdagu.execution.explaining.tasks import Binding, below, binding, running_step, task_facts, way_out
from txdagu.execution.explaining.wording import span, stamp
from txdagu.model.run import NodeStatus, RunStatus
from txdagu.model.status import NodeState, RunState
from txdagu.peers.told import Told

_LOOK = "dagu explain again tells what has become of it"
_HERE = ("", "local")


@dataclass(frozen=True, slots=True)
class Account:
    """
    A run in sentences, without full stops.

    `state` is one word. `since` is when it came into that state. `facts` are pairs of a label and a sentence; `verdicts` what is
    to be said of each worker; `next_step` what a person can do, or that nothing needs to be done.
    """

    state: str
    headline: str
    since: datetime | None = None
    binding: Binding | None = None
    facts: tuple[tuple[str, str], ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    next_step: str = ""


def account(found: Situation) -> Account:
    """A coordinator's word counts where the task is open; else the run's files and the queue; else what a coordinator recalls."""
    told, status = found.word.best, found.status
    if told is not None and told.task is not None and told.task.state is not State.ENDED:
        return _open(found, told, told.task)
    if status is None and found.queue is None:
        return _unreadable(found) if told is None or found.unreadable else _remembered(found, told)
    if found.queue is not None and (status is None or status.state is RunState.QUEUED):
        return _queued(found)
    assert status is not None
    if status.state is RunState.WAITING:
        return _asks(found, status)
    if status.state.ended:
        return _ended(found, status, told)
    if told is not None and told.task is not None and told.task.outcome is not None and status.worker_id not in _HERE:
        return _remembered(found, told)
    if status.state is RunState.RUNNING:
        return _running_by_files(found, status)
    return _queued_nowhere(found, status)


# -- a coordinator has it open -----------------------------------------------------------------------------------------


def _open(found: Situation, told: Told, task: Explanation) -> Account:
    since = told.since(task)
    facts = [("coordinator", told.coordinator), *task_facts(task, told), *_inside(found, told)]
    if task.state is State.RUNNING and found.status is not None:
        facts += _steps(found.status)
    name = f"{found.run.name} (run {found.run.id})"
    ago = f"since {stamp(since)} ({span(task.age)})"
    if task.state is State.QUEUED:
        bound = binding(task)
        return Account(
            "waiting",
            f"{name} waits for a worker {ago}",
            since,
            bound,
            tuple(facts),
            task.verdicts,
            way_out(task),
        )
    if task.state is State.OFFERED:
        step = "nothing: without its confirmation the offer returns to the queue by itself"
        if not task.confirms:
            step = "nothing: a worker of Dagu does not confirm; it has taken the task when its heartbeat names the run"
        return Account(
            "offered", f"{name} is offered to worker {task.worker_id} {ago}", since, None, tuple(facts), (), step
        )
    if task.state is State.LOST:
        return Account(
            "lost", f"{name} was lost with worker {task.worker_id} {ago}", since, None, tuple(facts), (), _LOOK
        )
    step = running_step(task) or _next_below(found)
    return Account("running", f"{name} runs at worker {task.worker_id} {ago}", since, None, tuple(facts), (), step)


# -- files and the queue -----------------------------------------------------------------------------------------------


def _queued(found: Situation) -> Account:
    place, status = found.queue, found.status
    assert place is not None
    since = status.queued_at if status is not None else None
    ago = _ago(found, since)
    facts = [("queue", f"position {place.position} of {place.waiting} in {place.queue}")]
    facts.append(("limit", f"{place.alive} of {place.limit} runs of the queue go on now ({place.limit_from})"))
    if place.before:
        hidden = place.position - 1 - len(place.before)
        more = f"{hidden} more, then " if hidden else ""
        facts.append(("before it", more + ", ".join(map(str, place.before))))
    name = f"{found.run.name} (run {found.run.id})"
    headline = f"{name} waits in queue {place.queue}{ago}"
    if not found.queues_enabled:
        bound = Binding("queues-disabled", "queues are disabled in the configuration (queues.enabled)")
        step = "enable the queues, and start dagu start-all"
    elif not place.schedulers:
        bound = Binding("scheduler", "no scheduler leads, so that nobody starts what is queued")
        step = "start one: dagu start-all"
    elif place.alive >= place.limit:
        bound = Binding("queue", f"{place.alive} of {place.limit} runs that queue {place.queue} allows go on already")
        step = f"wait for one to end, or raise the limit ({place.limit_from})"
    elif place.position > place.limit - place.alive:
        bound = Binding("position", f"{place.position - 1} runs before it start first")
        step = "wait for its turn"
    else:
        bound = Binding("turn", f"it is its turn: scheduler {place.schedulers[0]} starts it, or waits for its worker")
        step = f"{_LOOK}; the scheduler's log says why, if it stays"
    return Account("queued", headline, since, bound, (*facts, *_unasked(found)), (), step)


def _queued_nowhere(found: Situation, status: RunStatus) -> Account:
    name = f"{found.run.name} (run {found.run.id})"
    if status.state is RunState.NOT_STARTED:
        return Account("not_started", f"{name} has not begun", None, None, _unasked(found), (), _LOOK)
    headline = (
        f"{name} is written down as queued{_ago(found, status.queued_at)}, but no queue item and no task of it is known"
    )
    if found.word.listed:
        text = f"a coordinator of Dagu may be about to take it: {found.word.listed[0].coordinator}"
        step = "wait for whoever dispatched it; what such a coordinator keeps cannot be asked"
        nearest = found.guesses[0] if found.guesses else None
        if nearest is not None:
            text = (
                f"it is taken only while a worker that fits is idle; nearest is {nearest.worker_id}: {nearest.reason}"
            )
        return Account(
            "queued", headline, status.queued_at, Binding("peer", text), _unasked(found), found.guesses, step
        )
    if found.word.errors or found.word.nobody:
        why = found.word.nobody or "; ".join(found.word.errors)
        step = "start or reach the coordinator: dagu doctor peer says what is wrong"
        return Account("queued", headline, status.queued_at, Binding("coordinator", why), _unasked(found), (), step)
    step = (
        f"whoever dispatched it hands it in again within seconds; if that process is gone: dagu retry {found.root.name} "
        f"--run-id {found.root.id}"
    )
    return Account("queued", headline, status.queued_at, None, _unasked(found), (), step)


def _running_by_files(found: Situation, status: RunStatus) -> Account:
    name = f"{found.run.name} (run {found.run.id})"
    local = status.worker_id in _HERE
    where = f"process {status.pid} of the host that started it" if local else f"worker {status.worker_id}"
    facts = [("attempt", status.attempt_id), *_listing(found), *_steps(status), *_unasked(found)]
    step = _next_below(found)
    if not local and found.word.best is None:
        facts.append(("coordinators", "none of those that answered has it as an open task"))
        step = _LOOK
    began = status.started_at
    for told in found.word.told:
        facts += _inside(found, told)
    text = f"{name} runs in {where}" if local else f"{name} runs at {where}, as its files say"
    return Account("running", text + _ago(found, began), began, None, tuple(facts), (), step)


def _next_below(found: Situation) -> str:
    """What to do about a run that goes on: something if a task below it waits for a worker."""
    for told in found.word.told:
        for task in told.below:
            if task.state is State.QUEUED:
                return f"for {task.run.name}: {way_out(task)}"
    return "nothing: it goes on"


def _listing(found: Situation) -> Iterator[tuple[str, str]]:
    """Which workers say that they run it, where only lists of workers can be had."""
    for listed in found.word.listed:
        for worker in listed.workers:
            if any(one.run.id == found.run.id and one.root == found.root for one in worker.running):
                yield "listed", f"worker {worker.id} names it, says coordinator {listed.coordinator}"


def _asks(found: Situation, status: RunStatus) -> Account:
    waits = [wait.node.step.name for wait in found.waits]
    who = f"step {waits[0]} waits" if len(waits) == 1 else f"steps {', '.join(waits)} wait"
    step = f"dagu status {found.root.name} --run-id {found.root.id} shows what is asked and how to answer"
    name = f"{found.run.name} (run {found.run.id})"
    text = f"{who} for a person to approve" if waits else "a step waits for a person to approve"
    return Account("waiting_for_person", f"{name}: {text}", None, Binding("person", text), (), (), step)


def _ended(found: Situation, status: RunStatus, told: Told | None) -> Account:
    name = f"{found.run.name} (run {found.run.id})"
    where = "" if status.worker_id in _HERE else f" at worker {status.worker_id}"
    at = f" {stamp(status.finished_at)}" if status.finished_at else ""
    facts = [("error", status.error)] if status.error else []
    facts += [("attempt", status.attempt_id)] if status.attempt_id else []
    facts += _steps(status)
    if told is not None and told.task is not None:
        facts += [("coordinator", told.coordinator), *task_facts(told.task, told)]
        if told.task.outcome is not None:
            facts.append(("ended there", told.task.outcome.reason))
    well = status.state in (RunState.SUCCEEDED, RunState.PARTIALLY_SUCCEEDED)
    return Account(
        status.state.label,
        f"{name} ended as {status.state.label}{where}{at}",
        status.finished_at,
        None,
        (*facts, *_unasked(found)),
        (),
        "nothing" if well else _retry(found),
    )


def _remembered(found: Situation, told: Told) -> Account:
    """Its files say nothing, or are those of a worker that was lost: what the coordinator knows has to do."""
    name = f"{found.run.name} (run {found.run.id})"
    last = told.history[-1] if told.history else None
    facts = [("coordinator", told.coordinator)]
    since, state, reason = (last.at, "ended", last.reason) if last else (None, "ended", "")
    if told.task is not None:
        since = told.since(told.task)
        outcome = told.task.outcome
        state = outcome.state.label if outcome is not None and outcome.state is not None else "ended"
        reason = outcome.reason if outcome is not None else reason
        facts += task_facts(told.task, told)
    if found.status is not None:
        facts.append(("files", f"they say {found.status.state.label} at worker {found.status.worker_id}"))
    at = f" {stamp(since)}" if since else ""
    return Account(state, f"{name} has ended{at}: {reason}", since, None, (*facts, *_unasked(found)), (), _retry(found))


def _unreadable(found: Situation) -> Account:
    name = f"{found.run.name} (run {found.run.id})"
    return Account(
        "unreadable",
        f"the files of {name} cannot be read: {found.unreadable}",
        facts=_unasked(found),
        next_step="put back the file, or start the run again under another id",
    )


def _retry(found: Situation) -> str:
    if found.run != found.root:
        return f"dagu retry {found.root.name} --run-id {found.root.id} runs what did not succeed"
    return f"dagu retry {found.run.name} --run-id {found.run.id} runs what did not succeed"


def _steps(status: RunStatus) -> Iterator[tuple[str, str]]:
    """The steps that say why the run is where it is: those that go on or wait, and the first that failed."""
    failed = [node for node in status.nodes if node.state in (NodeState.FAILED, NodeState.REJECTED)]
    for node in status.nodes:
        if node.waits:
            yield "step", f"{node.step.name}: {node.waits}"
        elif node.state is NodeState.RUNNING:
            yield "step", f"{node.step.name} runs"
    if failed and status.state.ended:
        yield "step", _failure(failed[0])


def _failure(node: NodeStatus) -> str:
    why = node.error.strip().splitlines()
    log = f" (log: {node.stderr or node.stdout})" if node.stderr or node.stdout else ""
    return f"{node.step.name} {node.state.label}: {why[0] if why else 'no reason was told'}{log}"


def _inside(found: Situation, told: Told) -> Iterator[tuple[str, str]]:
    """Tasks of runs below, as far as they are told."""
    if found.run != found.root:
        return
    for task in told.below:
        yield "below", below(task)
    hidden = told.below_count - len(told.below)
    if hidden > 0:
        yield "below", f"{hidden} more open tasks"


def _unasked(found: Situation) -> tuple[tuple[str, str], ...]:
    """What could not be asked, so that nobody takes silence for an answer."""
    listed = (
        ("not told", f"coordinator {one.coordinator} tells its workers, but neither its tasks nor why they wait")
        for one in found.word.listed
    )
    return (*(("no answer", error) for error in found.word.errors), *listed)


def _ago(found: Situation, since: datetime | None) -> str:
    if since is None:
        return ""
    return f" since {stamp(since)} ({span(max(0.0, (found.at - since).total_seconds()))})"
