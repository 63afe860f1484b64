"""What a run tells others: its state to the store and to whoever listens, its story to its log."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from twisted.logger import Logger
from twisted.python.failure import Failure

from txdagu.execution.evaluation.masking import Masker
from txdagu.execution.hiding import HiddenSecrets
from txdagu.execution.request import RunRequest
from txdagu.execution.runlog import log_line
from txdagu.execution.steps.context import Tools
from txdagu.model.errors import DaguError
from txdagu.model.run import RunStatus
from txdagu.model.status import RunState
from txdagu.store.interfaces import IRunSink

OnStatus = Callable[[RunStatus], None]


def sentence(failure: Failure) -> str:
    """A failure for people: what we raise on purpose and what the system says as it is, else the kind of error with it."""
    error = failure.value
    if isinstance(error, DaguError):
        return str(error)
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return f"internal error: {type(error).__name__}: {error}"


class RunRecord:
    """
    The state of a run as it was last told. A listener or store that fails does not end the run; that is logged. Of a task that
    was given to somebody else nothing is written any more.
    """

    log = Logger()

    def __init__(self, request: RunRequest, tools: Tools, on_status: OnStatus | None) -> None:
        self._tools = tools
        self._on_status = on_status
        self._sink: IRunSink | None = None
        self._hidden: HiddenSecrets | None = None
        earlier = request.previous
        self._created_at_ms = (
            earlier.created_at_ms if earlier is not None else 0
        )  # listings keep a retried run at its place
        self.status = RunStatus(
            request.run,
            request.root,
            parent=request.parent,
            worker_id=request.worker_id,
            pid=os.getpid(),
            queued_at=request.queued_at or (earlier.queued_at if earlier is not None else None),
        )

    def open(self, sink: IRunSink) -> None:
        """From now on there is a place to write to."""
        self._sink = sink
        self.change(attempt_id=sink.attempt_id, log=sink.log)

    def hide(self, masker: Masker) -> None:
        """From now on secrets are masked in all that is told."""
        self._hidden = HiddenSecrets(masker) if masker else None

    def change(self, **changes: Any) -> RunStatus:
        """Note fields of `RunStatus` that have changed, without telling anybody yet."""
        if self._hidden is not None:
            if "nodes" in changes:
                changes["nodes"] = self._hidden.nodes(changes["nodes"])
            if "handlers" in changes:
                changes["handlers"] = self._hidden.handlers(changes["handlers"])
            if "preconditions" in changes:
                changes["preconditions"] = self._hidden.conditions(changes["preconditions"])
            if "error" in changes:
                changes["error"] = self._hidden.text(changes["error"])
        now_ms = self._created_at_ms or int(self._tools.now().timestamp() * 1000)
        self.status = replace(self.status, created_at_ms=now_ms, **changes)
        return self.status

    def publish(self, **changes: Any) -> None:
        """Note what has changed, and tell the store and the listener."""
        status = self.change(**changes)
        if self._sink is not None and not self._tools.guard.fenced:
            try:
                self._sink.write_status(status)
            except Exception as error:  # noqa: BLE001 - the end of the run writes the state again
                self.log.failure("could not write the state of {run}: {error}", run=str(status.run), error=str(error))
        self.tell()

    def tell(self) -> None:
        """Tell the listener only."""
        if self._on_status is not None:
            try:
                self._on_status(self.status)
            except Exception:  # noqa: BLE001 - somebody else's code
                self.log.failure("a listener to run {run} broke", run=str(self.status.run))

    def write(self, level: str, message: str, **fields: object) -> None:
        """A line in the run's log."""
        if self._sink is not None and not self._tools.guard.fenced:
            line = log_line(self._tools.now(), level, message, **fields)
            self._sink.write_log(self._hidden.text(line) if self._hidden is not None else line)

    def hand_back(self, reason: str) -> RunStatus:
        """Note that the run is queued again, for somebody else. Nothing is written by us from then on."""
        self.write("INFO", "DAG run handed back", reason=reason)
        self._sink = None
        return self.change(state=RunState.QUEUED, error=reason, queued_at=self._tools.now(), worker_id="", pid=0)

    def finish(self, state: RunState, error: str = "") -> RunStatus:
        """Note the end. Nothing is written by us from then on; the attempt is closed with what this returns."""
        good = state in (RunState.SUCCEEDED, RunState.PARTIALLY_SUCCEEDED)
        self.write("INFO" if good else "ERROR", "DAG run finished", status=state.label, error=error)
        self._sink = None
        return self.change(state=state, error=error, finished_at=self._tools.now())
