"""What all parts of a worker work with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import Any

from txdagu.execution.guarding import IWatcher, Nobody
from txdagu.peers.discovery import CoordinatorDirectory
from txdagu.worker.identity import Identity
from txdagu.worker.leases import WorkerLeases
from txdagu.worker.slots import Slots


@dataclass(frozen=True, slots=True)
class Surroundings:
    """
    One worker's reactor, coordinators, name, places for runs, chance and time.

    `now` is the boot-time clock in seconds, `wall` the time of day. `leases` are those of the tasks in hand, `reaper` watches
    their processes, `outer_token` is one that this process was given itself. `base_config` is the file that DAGs inherit from, if
    there is one. `gone` are earlier incarnations of this worker of which nothing lives any more.
    """

    reactor: Any
    directory: CoordinatorDirectory
    identity: Identity
    slots: Slots
    random: Random
    now: Callable[[], float]
    wall: Callable[[], datetime]
    leases: WorkerLeases
    reaper: IWatcher = field(default_factory=Nobody)
    outer_token: str = ""
    base_config: str = ""
    gone: tuple[str, ...] = ()

    @property
    def lease_ttl(self) -> float:
        """How many seconds a coordinator lets a task go unrenewed."""
        return self.leases.ttl
