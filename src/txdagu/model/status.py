"""The states of runs and steps, with the numbers that status files and the API store."""

from __future__ import annotations

from enum import IntEnum


class RunState(IntEnum):
    """State of a run. The numbers are those of Dagu's status file; `label` is the word its API uses."""

    NOT_STARTED = 0
    RUNNING = 1
    FAILED = 2
    ABORTED = 3
    SUCCEEDED = 4
    QUEUED = 5
    PARTIALLY_SUCCEEDED = 6
    WAITING = 7
    REJECTED = 8

    @property
    def label(self) -> str:
        """The word, as in ``partially_succeeded``."""
        return self.name.lower()

    @property
    def title(self) -> str:
        """The word as reports print it, as in ``Partially Succeeded``."""
        return self.name.replace("_", " ").title()

    @property
    def active(self) -> bool:
        """Whether more is to come: running, queued, or waiting for a person."""
        return self in (RunState.RUNNING, RunState.QUEUED, RunState.WAITING)

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to the run."""
        return self is not RunState.NOT_STARTED and not self.active

    @property
    def at_rest(self) -> bool:
        """Whether nobody works on the run any more: it has ended, or waits for a person."""
        return self.ended or self is RunState.WAITING


class NodeState(IntEnum):
    """State of a step within a run. Number 5 means another thing than for runs."""

    NOT_STARTED = 0
    RUNNING = 1
    FAILED = 2
    ABORTED = 3
    SUCCEEDED = 4
    SKIPPED = 5
    PARTIALLY_SUCCEEDED = 6
    WAITING = 7
    REJECTED = 8

    @property
    def label(self) -> str:
        """The word, as in ``skipped``."""
        return self.name.lower()

    @property
    def settled(self) -> bool:
        """Whether nothing more will happen to the step."""
        return self not in (NodeState.NOT_STARTED, NodeState.RUNNING, NodeState.WAITING)
