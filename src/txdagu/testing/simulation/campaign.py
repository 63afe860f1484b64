"""Many seeds: what was found, what occurred, and what did not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from txdagu.dispatch.machine import TABLE
from txdagu.testing.simulation.cluster import Result, simulate
from txdagu.testing.simulation.faults import FOLLOWING, KINDS
from txdagu.testing.simulation.invariants import Edge


@dataclass
class Campaign:
    """What several seeds have shown together."""

    seeds: int = 0
    events: int = 0
    edges: set[Edge] = field(default_factory=set)
    faults: set[str] = field(default_factory=set)
    failed: list[Result] = field(default_factory=list)

    def add(self, result: Result) -> None:
        """One more."""
        self.seeds += 1
        self.events += result.events
        self.edges |= result.edges
        self.faults |= result.faults
        if result.violation is not None:
            self.failed.append(result)

    @property
    def missing(self) -> list[str]:
        """Rows of the table and kinds of faults that did not occur."""
        edges = sorted(f"{state.value}, {happened.value}" for state, happened in set(TABLE) - self.edges)
        return edges + [kind for kind in (*KINDS, *FOLLOWING) if kind not in self.faults]


def campaign(seeds: Iterable[int], run: Callable[[int], Result] = simulate, most_failures: int = 0) -> Campaign:
    """Run these seeds; with `most_failures`, end after so many that failed."""
    done = Campaign()
    for seed in seeds:
        done.add(run(seed))
        if most_failures and len(done.failed) >= most_failures:
            break
    return done
