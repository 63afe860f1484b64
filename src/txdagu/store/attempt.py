"""The files that one attempt of a run writes. Blocking; calls must not overlap, whichever threads they come from."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from txdagu.model.chat import ChatMessage
from txdagu.model.dag import Dag
from txdagu.model.run import RunRef, RunStatus
from txdagu.model.status import RunState
from txdagu.store.dagjson import encode_dag, params_list
from txdagu.store.layout import (
    CANCEL_FILE,
    DAG_FILE,
    OUTPUTS_FILE,
    STATUS_FILE,
    step_log_stem,
)
from txdagu.store.liveness import ProcFile
from txdagu.store.messages import read_messages, write_messages
from txdagu.store.outputsjson import encode_outputs
from txdagu.store.statusfile import StatusFile
from txdagu.store.statusjson import StatusEncoder
from txdagu.system.files import make_directories, open_new, write_all, write_file

if TYPE_CHECKING:
    from txdagu.store.interfaces import StepLogs


@dataclass(frozen=True, slots=True)
class AttemptPlace:
    """Where an attempt lies: its directory, its id, the run's log and the directory of its steps' logs."""

    directory: Path
    id: str
    log: Path
    step_logs: Path


class Attempt:
    """
    Writes snapshot, status lines, logs and outputs of one attempt.

    `now` tells the time in the local zone; `pid` is the process that states name as their own where they name none;
    `somewhere` is the working directory told for a DAG that has none; `token` makes names of temporary files unique.
    `liveness` is the run's liveness file, held until `close` or `release`.
    """

    def __init__(
        self,
        place: AttemptPlace,
        dag: Dag,
        run: RunRef,
        now: Callable[[], datetime],
        pid: int,
        somewhere: str,
        token: str,
        liveness: ProcFile | None = None,
        cancelled_before: bool = False,
    ) -> None:
        self.place = place
        self.run = run
        self.liveness = liveness
        self._dag = dag
        self._now = now
        self._pid = pid
        self._somewhere = somewhere
        self._token = token
        self._cancelled_before = cancelled_before
        self._params = params_list(dag.params)
        self._encoder = StatusEncoder()
        self._file = StatusFile(place.directory / STATUS_FILE)

    def begin(self) -> None:
        """Write the snapshot, make the log directory and the run's own log."""
        self._write_dag()
        make_directories(self.place.step_logs)
        self._append_log(b"")

    def append(self, status: RunStatus | None, lines: Sequence[str]) -> int:
        """Keep log lines and a state; the length of the state's line in bytes."""
        if lines:
            self._append_log("".join([line + "\n" for line in lines]).encode("utf-8", "surrogateescape"))
        if status is None:
            return 0
        line = self._encoder.encode(self._completed(status))
        self._file.append(line)
        return len(line)

    def close(self, status: RunStatus, lines: Sequence[str]) -> None:
        """Keep the last log lines, the outputs and the final state, in this order; then the run is no longer alive."""
        try:
            status = self._completed(status)
            self.append(None, lines)
            outputs = encode_outputs(status)
            if outputs is not None:
                write_file(self.place.directory / OUTPUTS_FILE, outputs)
            self._file.finish(self._encoder.encode(status), self._token)
        finally:
            self.release()

    def release(self) -> None:
        """Give the liveness file back."""
        if self.liveness:
            self.liveness.release()

    def step_logs(self, step_name: str, at: datetime, merged: bool = False) -> StepLogs:
        """
        Make a step's two log files, or its one where they are merged.

        Names that exist already (steps named alike) are avoided by going on a millisecond.
        """
        from txdagu.store.interfaces import StepLogs

        at = at.astimezone(self._now().tzinfo)
        while True:
            stem = self.place.step_logs / step_log_stem(step_name, at, self.run.id)
            stdout, stderr = (f"{stem}.log", f"{stem}.log") if merged else (f"{stem}.out", f"{stem}.err")
            try:
                os.close(open_new(Path(stdout)))
                break
            except FileExistsError:
                at += timedelta(milliseconds=1)
            except FileNotFoundError:
                make_directories(self.place.step_logs)
        if not merged:
            os.close(os.open(stderr, os.O_WRONLY | os.O_CREAT, 0o600))
        return StepLogs(stdout, stderr)

    def write_messages(self, step_name: str, messages: Sequence[ChatMessage]) -> None:
        """Keep a step's conversation, in the run's directory."""
        write_messages(self.place.directory.parent, step_name, messages)

    def read_messages(self, step_name: str) -> tuple[ChatMessage, ...]:
        """A step's conversation; empty if there is none that can be read."""
        return read_messages(self.place.directory.parent, step_name)

    def cancel_requested(self) -> bool:
        """Whether somebody asked for this attempt's end, or for the run's end while it was queued."""
        return self._cancelled_before or (self.place.directory / CANCEL_FILE).exists()

    def _completed(self, status: RunStatus) -> RunStatus:
        if status.params and status.params != self._params:
            self._params = status.params
            self._write_dag()
        # A run that is being executed is never shown as not started: who waits for a child would take it for a new one.
        return replace(
            status,
            state=status.state or RunState.RUNNING,
            attempt_id=self.place.id,
            log=str(self.place.log),
            worker_id=status.worker_id or "local",
            pid=status.pid or self._pid,
            created_at_ms=status.created_at_ms or int(self._now().timestamp() * 1000),
        )

    def _write_dag(self) -> None:
        write_file(self.place.directory / DAG_FILE, encode_dag(self._dag, self._params, self._somewhere))

    def _append_log(self, data: bytes) -> None:
        descriptor = os.open(self.place.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            write_all(descriptor, data)
        finally:
            os.close(descriptor)
