"""Who this worker is."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from txdagu.config.settings import Settings


@dataclass(frozen=True, slots=True)
class Identity:
    """
    What a worker says of itself in every call.

    `incarnation` is drawn anew at each start, so that a coordinator can tell a worker from its former life.
    """

    id: str
    labels: Mapping[str, str]
    incarnation: str


def identity(settings: Settings) -> Identity:
    """``worker.id`` or ``<host name>@<pid>`` (Dagu 1.30.2), with the configured labels."""
    worker_id = settings.worker.id or f"{socket.gethostname() or 'unknown'}@{os.getpid()}"
    return Identity(worker_id, dict(settings.worker.labels), str(uuid.uuid4()))
