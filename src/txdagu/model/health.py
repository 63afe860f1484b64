"""How the age of a worker's last heartbeat becomes a word."""

from __future__ import annotations

from enum import Enum

WARNING_AFTER = 5.0
UNHEALTHY_AFTER = 15.0
OFFLINE_AFTER = 30.0
FORGOTTEN_AFTER = 600.0


class Health(Enum):
    """Health words, best first."""

    HEALTHY = "healthy"
    WARNING = "warning"
    UNHEALTHY = "unhealthy"
    OFFLINE = "offline"


def health_of_age(age: float) -> Health:
    """
    The word for a heartbeat `age` seconds old.

    Healthy below 5 s, warning below 15 s, unhealthy from then on, offline above 30 s.
    """
    if age < WARNING_AFTER:
        return Health.HEALTHY
    if age < UNHEALTHY_AFTER:
        return Health.WARNING
    if age <= OFFLINE_AFTER:
        return Health.UNHEALTHY
    return Health.OFFLINE
