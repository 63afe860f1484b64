"""What all parts of a worker work with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any

from txdagu.peers.discovery import CoordinatorDirectory
from txdagu.worker.identity import Identity
from txdagu.worker.slots import Slots


@dataclass(frozen=True, slots=True)
class Surroundings:
    """
    One worker's reactor, coordinators, name, places for runs, chance and time.

    `now` is a monotonic clock in seconds, `wall` the time of day. `lease_ttl` is how many seconds a coordinator lets a task
    go unrenewed. `base_config` is the file that DAGs inherit from, if there is one.
    """

    reactor: Any
    directory: CoordinatorDirectory
    identity: Identity
    slots: Slots
    random: Random
    now: Callable[[], float]
    wall: Callable[[], datetime]
    lease_ttl: float
    base_config: str = ""
