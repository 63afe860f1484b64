"""May this worker take this task? Not yes or no, but a verdict that a person can read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from txdagu.model.health import UNHEALTHY_AFTER
from txdagu.model.labels import Labels
from txdagu.model.task import WorkerStatus


class Fit(Enum):
    """The kinds of verdicts, from the nearest miss to the farthest."""

    MATCHES = "matches"
    BUSY = "busy"
    CORDONED = "cordoned"
    UNHEALTHY = "unhealthy"
    PROGRAM = "program"
    LABELS = "labels"


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    Why one worker may or may not take one task; `reason` is a phrase such as ``busy 4 of 4``.

    `misses` counts the labels that it lacks or has otherwise.
    """

    worker_id: str
    fit: Fit
    reason: str
    misses: int = 0


def matches(selector: Labels, labels: Labels) -> bool:
    """Whether all labels of the selector are there with equal values; a missing label equals nothing, not even ``""``."""
    return all(key in labels and labels[key] == value for key, value in selector.items())


def label_misses(selector: Labels, labels: Labels) -> tuple[str, ...]:
    """One phrase for each label of the selector that the worker lacks or has otherwise, in the order of keys."""
    return tuple(
        f"label {key} wanted {_shown(selector[key])}, has {_shown(labels[key]) if key in labels else 'nothing'}"
        for key in sorted(selector)
        if key not in labels or labels[key] != selector[key]
    )


def verdict(selector: Labels, worker: WorkerStatus, free: int, needs: str = "") -> Verdict:
    """
    The verdict on one worker that would take `free` more tasks now. `needs` is that of the task.

    Labels and program are looked at first, since no waiting heals them, then what people have ordered, then health, then whether
    a slot is free.
    """
    misses = label_misses(selector, worker.labels)
    if misses:
        return Verdict(worker.id, Fit.LABELS, "; ".join(misses), len(misses))
    if needs and not worker.confirms:
        return Verdict(worker.id, Fit.PROGRAM, f"is a worker of Dagu, which does not know {needs}")
    if worker.standing is not None:
        return Verdict(worker.id, Fit.CORDONED, str(worker.standing))
    if worker.heartbeat_age >= UNHEALTHY_AFTER:
        return Verdict(worker.id, Fit.UNHEALTHY, f"{worker.health.value} {worker.heartbeat_age:.0f} s")
    if free > 0:
        return Verdict(worker.id, Fit.MATCHES, "matches")
    if worker.busy >= worker.slots:
        return Verdict(worker.id, Fit.BUSY, f"busy {worker.busy} of {worker.slots}")
    return Verdict(worker.id, Fit.BUSY, f"does not ask for work now, busy {worker.busy} of {worker.slots}")


def nearest_first(verdicts: Iterable[Verdict]) -> tuple[Verdict, ...]:
    """Verdicts in the order in which a person wants them: what nearly fits before what never will, few misses before many."""
    order = list(Fit)
    return tuple(sorted(verdicts, key=lambda one: (order.index(one.fit), one.misses, one.worker_id)))


def _shown(value: str) -> str:
    return value or '""'
