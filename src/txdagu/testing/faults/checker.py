"""
What was handed in, against what processes wrote and what the coordinator's journal says. Pure.

After the checker of Jepsen's tests of Chronos: every submission and every start and end of a process is on disk, and afterwards
misses and extras are counted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from txdagu.dispatch.machine import State
from txdagu.model.policies import LostWorkerPolicy
from txdagu.model.status import RunState

BEGIN, GOING, END = "begin", "going", "end"


@dataclass(frozen=True, slots=True)
class Line:
    """What a step's process wrote: `BEGIN`, `GOING` now and then, `END`; its run, its step, the task's epoch, its own id."""

    event: str
    run_id: str
    step: str
    epoch: int
    pid: int

    @classmethod
    def parse(cls, text: str) -> Line:
        """From five words. Raises `ValueError` for anything else."""
        event, run_id, step, epoch, pid = text.split()
        if event not in (BEGIN, GOING, END):
            raise ValueError(f"{event!r} is no event")
        return cls(event, run_id, step, int(epoch), int(pid))


@dataclass(frozen=True, slots=True)
class Judged:
    """
    One run that was handed in: its policy, how its coordinator and its files say it ended (None: not at all), and its
    transitions in the journal: state and epoch, in order.
    """

    run_id: str
    policy: LostWorkerPolicy
    told: RunState | None
    stored: RunState | None
    transitions: Sequence[tuple[State, int]]


def check(runs: Mapping[str, Judged], lines: Sequence[Line], last_step: str, alive: Collection[str]) -> Iterator[str]:
    """
    One sentence for each thing that is not as it must be; none if all is well.

    `lines` are in the order in which they were written, by all processes of all hosts. `last_step` is the one with which a
    run has done its work. `alive` describes processes of steps that are there although every run has ended.
    """
    written: dict[str, list[Line]] = {run_id: [] for run_id in runs}
    for line in lines:
        if line.run_id in written:
            written[line.run_id].append(line)
        else:
            yield f"{line.run_id}: a process ran for a run that nobody handed in: {line}"
    for run_id, run in runs.items():
        for sentence in (
            *_ends(run, written[run_id], last_step),
            *_starts(run, written[run_id]),
            *_overlaps(written[run_id]),
        ):
            yield f"{run_id}: {sentence}"
    for process in alive:
        yield f"left running: {process}"


def _ends(run: Judged, lines: Sequence[Line], last_step: str) -> Iterator[str]:
    if run.told is None:
        yield "missed: it has not ended"
        return
    ends = [state for state, _ in run.transitions].count(State.ENDED)
    if ends != 1:
        yield f"it has ended {ends} times in the journal"
    done = any(line.event == END and line.step == last_step for line in lines)
    if run.told is RunState.SUCCEEDED and not done:
        yield "missed: it is told as succeeded, but its last step never came to its end"
    if run.told is not RunState.SUCCEEDED and run.policy is LostWorkerPolicy.REDISTRIBUTE:
        yield f"missed: it was to be done again until it is done, but ended as {run.told.label}"
    if run.told is RunState.SUCCEEDED and run.stored is not RunState.SUCCEEDED:
        yield f"its files say {run.stored.label if run.stored else 'nothing'}, its coordinator succeeded"


def _starts(run: Judged, lines: Sequence[Line]) -> Iterator[str]:
    begun = [(line.step, line.epoch) for line in lines if line.event == BEGIN]
    for step, epoch in sorted({one for one in begun if begun.count(one) > 1}):
        yield f"extra: step {step} was started {begun.count((step, epoch))} times in epoch {epoch}"
    epochs = sorted({line.epoch for line in lines})
    confirmed = {epoch for state, epoch in run.transitions if state is State.RUNNING}
    lost = {epoch for state, epoch in run.transitions if state is State.LOST}
    for epoch in epochs:
        if epoch not in confirmed:
            yield f"extra: it ran in epoch {epoch}, which nobody had confirmed"
        elif epoch != epochs[-1] and epoch not in lost:
            yield f"extra: it ran again after epoch {epoch}, which was not lost"
    if run.policy is not LostWorkerPolicy.REDISTRIBUTE and len(epochs) > 1:
        yield f"extra: its policy is {run.policy.value}, but it ran in epochs {', '.join(map(str, epochs))}"


def _overlaps(lines: Sequence[Line]) -> Iterator[str]:
    """Whoever writes after a later epoch has begun was not fenced."""
    latest = 0
    told = set()
    for line in lines:
        if line.epoch < latest and line.epoch not in told:
            told.add(line.epoch)
            yield f"twice: process {line.pid} of epoch {line.epoch} wrote {line.event!r} after epoch {latest} had begun"
        latest = max(latest, line.epoch)
