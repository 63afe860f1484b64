"""Which fault comes when: all of it follows from a seed. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from random import Random

COORDINATOR = "coordinator"
# What a process needs to start again after it was killed, before it is worth another fault. Seconds.
RESTART_TIME = 1.5


class Kind(Enum):
    """What happens to a process."""

    KILL = "killed"
    STOP = "stopped"
    CUT = "cut off"
    UNGUARD = "robbed of its reaper"


_OF_WORKERS = (*(Kind.KILL, Kind.STOP, Kind.CUT) * 2, Kind.UNGUARD)


@dataclass(frozen=True, slots=True)
class Fault:
    """
    One fault. Times are seconds; `at` counts from the beginning.

    After `duration` a killed process is started again, a stopped one goes on, and the network of one that was cut off works. A
    worker whose reaper was killed has to help itself.
    """

    at: float
    kind: Kind
    target: str
    duration: float

    def __str__(self) -> str:
        return f"{self.at:5.1f} s: {self.said}"

    @property
    def said(self) -> str:
        """What happens, without the time."""
        how_long = f" for {self.duration:.1f} s" if self.duration else ""
        return f"{self.target} is {self.kind.value}{how_long}"


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many faults in how many seconds, and the lease that the long ones outlast."""

    faults: int = 10
    seconds: float = 9.0
    lease_ttl: float = 3.0


def schedule(seed: int, workers: Sequence[str], bounds: Bounds = Bounds()) -> tuple[Fault, ...]:
    """
    The faults of that seed, in the order of their times.

    Nothing happens to a process to which something is happening already. Half of all times of silence are shorter than a
    lease, half longer. Every worker and the coordinator can be hit; the coordinator is never cut off, since that is all workers
    cut off at once, which may happen too.
    """
    random = Random(seed)  # noqa: S311 - nothing secret
    times = sorted(random.uniform(0.0, bounds.seconds) for _ in range(bounds.faults))
    busy_until = dict.fromkeys((*workers, COORDINATOR), 0.0)
    faults: list[Fault] = []
    for at in times:
        free = [target for target, until in busy_until.items() if until <= at]
        if not free:
            continue
        # While there is no coordinator nothing is lost, so it is hit half as often as each worker.
        target = random.choice([*free, *(name for name in free if name != COORDINATOR)])
        kind = random.choice((Kind.KILL, Kind.STOP) if target == COORDINATOR else _OF_WORKERS)
        if kind is Kind.KILL:
            duration = random.uniform(0.0, 1.0)
        elif kind is Kind.UNGUARD:
            duration = 0.0
        elif random.random() < 0.5:
            duration = random.uniform(0.2, bounds.lease_ttl * 0.5)
        elif target == COORDINATOR:
            duration = bounds.lease_ttl + random.uniform(0.0, 1.0)
        else:
            duration = bounds.lease_ttl + random.uniform(2.0, 4.0)
        busy_until[target] = at + duration + RESTART_TIME
        faults.append(Fault(round(at, 2), kind, target, round(duration, 2)))
    return tuple(faults)
