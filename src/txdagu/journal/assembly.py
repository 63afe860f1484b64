"""A coordinator's journal, put together as the settings say."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from txdagu.config.settings import Settings
from txdagu.journal.durable import DurableJournal, Place
from txdagu.system.clock import monotonic, unix_now
from txdagu.system.threads import SingleThread


def journal_place(settings: Settings) -> Place:
    """The directory that the settings name, held in the name of this process."""
    coordinator = settings.coordinator
    return Place(
        Path(coordinator.state_dir),
        whoami=f"process {os.getpid()} on {socket.gethostname()}",
        set_damaged_aside=coordinator.on_damaged_journal == "set-aside",
    )


def durable_journal(settings: Settings, reactor: Any) -> DurableJournal:
    """The journal in `coordinator.stateDir`, written in a thread of its own; times are those of `system.clock.monotonic`."""
    return DurableJournal(journal_place(settings), SingleThread(reactor, "journal"), monotonic, unix_now)
