"""The runs of a data directory: read, ask to end, begin. Blocking; may be used by several threads at once; knows no Twisted."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from txdagu.model.chat import ChatMessage
from txdagu.model.dag import Dag
from txdagu.model.run import RunRef, RunStatus
from txdagu.model.status import RunState
from txdagu.store.dagjson import decode_dag, liveness_names
from txdagu.store.directories import RunDirectories, attempts_of, remove_tree
from txdagu.store.dirlock import RUNS_STALE_SECONDS, DirectoryLocks
from txdagu.store.errors import CorruptRecordError, UnfinishedRecordError
from txdagu.store.layout import (
    CANCEL_FILE,
    CHILDREN,
    DAG_FILE,
    STATUS_FILE,
    child_dir_name,
    day_path,
    single_name,
)
from txdagu.store.liveness import ALIVE_SECONDS, ProcFiles
from txdagu.store.messages import read_messages
from txdagu.store.queuefiles import QueueFiles
from txdagu.store.statusfile import read_last
from txdagu.store.statusreading import UnknownStateError, decode_status, told_as_failed
from txdagu.system.places import Place, Places

if TYPE_CHECKING:
    from txdagu.config.settings import PathSettings
    from txdagu.store.amending import Amending, Change
    from txdagu.store.attempt import Attempt
    from txdagu.store.opening import Opening

_WRITING_SECONDS = 5.0


def _read_over(error: CorruptRecordError) -> None:
    """Commands that answer one question say nothing of other things they met."""


class Runs:
    """
    What `IRunStore` offers, for callers that may block.

    `now` tells the time in the local zone and `randomness` gives so many random bytes; both must work in any thread. `warn` takes
    what is wrong with queue items.
    """

    def __init__(
        self,
        paths: PathSettings,
        now: Callable[[], datetime],
        randomness: Callable[[int], bytes] = os.urandom,
        locks: DirectoryLocks | None = None,
        warn: Callable[[CorruptRecordError], None] = _read_over,
    ) -> None:
        self._paths = paths
        self._now = now
        self._randomness = randomness
        locks = locks or DirectoryLocks(now)
        self.directories = RunDirectories(Path(paths.dag_runs_dir), now)
        self._locks = locks
        self.liveness = ProcFiles(Path(paths.proc_dir), now, locks)
        self.queue = QueueFiles(Path(paths.queue_dir), now, warn)

    def begin(self, dag: Dag, run: RunRef, root: RunRef, attempt_name: str = "", new: bool = False) -> Attempt:
        """
        Begin an attempt, as `IRunStore.open_attempt` tells. The caller must `close` or `release` it.

        An `attempt_name` comes from a coordinator, which knows that nobody else executes the run: liveness files of earlier
        owners are then not believed.
        """
        return self._opening.begin(dag, run, root, attempt_name, new)

    def enqueue(self, dag: Dag, status: RunStatus, queue: str) -> None:
        """Write a queued attempt, then its queue item unless `queue` is empty."""
        if queue:
            single_name(queue, "queue")
        with self._opening.queued(dag, status, queue or dag.queue_name):
            if queue:
                self.queue.add(queue, status.run, self._randomness(6).hex())

    def withdraw(self, run: RunRef) -> bool:
        """Take away a queued run that nobody has begun, with all that was written for it; False if it is none."""
        with self._locks.hold(self.directories.of_dag(run.name), RUNS_STALE_SECONDS):
            run_dir = self.directories.find(run, locked=True)
            found = self._latest(run_dir) if run_dir else None
            if not run_dir or not found or found[0].state is not RunState.QUEUED or len(attempts_of(run_dir)) > 1:
                return False
            remove_tree(run_dir)
            self.directories.forget(run)
        with suppress(OSError):
            Path(found[0].log).parent.rmdir()
        return True

    def amend(self, run: RunRef, root: RunRef, change: Change) -> RunStatus:
        """Change the latest record of a run that nobody executes; what `change` raises leaves it as it was."""
        return self._amending.amend(run, root, change)

    def requeue(self, run: RunRef, queued: bool) -> RunStatus:
        """Write a queued attempt of a run that waits for a person, and with `queued` its queue item."""
        return self._amending.requeue(run, queued)

    def read_status(self, run: RunRef, root: RunRef) -> RunStatus | None:
        """The latest state; a running root run that nobody executes any more is told as failed. Nothing is written."""
        found = self._read(run, root)
        if not found or not self._seems_dead(run, root, *found):
            return found[0] if found else None
        found = self._read(run, root)  # it may have ended between the two looks
        if not found or not self._seems_dead(run, root, *found):
            return found[0] if found else None
        status = found[0]
        return told_as_failed(
            status,
            f"the process that executed this run is gone (worker {status.worker_id or 'unknown'}, pid {status.pid}): "
            f"there is no sign of life of the last {ALIVE_SECONDS:.0f} s",
        )

    def read_dag(self, run: RunRef, root: RunRef) -> Dag | None:
        """The snapshot of the newest attempt that has one."""
        for place in self._attempts(run, root):
            path = place / DAG_FILE
            try:
                return decode_dag(path.read_bytes(), str(path))
            except FileNotFoundError:
                continue
        return None

    def read_messages(self, run: RunRef, root: RunRef, step_name: str) -> tuple[ChatMessage, ...]:
        """The conversation of a run's chat step; empty if there is none that can be read."""
        directory = self.run_directory(run, root)
        return read_messages(directory, step_name) if directory else ()

    def latest_run(self, dag_name: str) -> RunRef | None:
        """The newest run of that DAG that has an attempt."""
        for run_id, path in self.directories.latest(dag_name):
            if attempts_of(path):
                return RunRef(dag_name, run_id)
        return None

    def request_cancel(self, run: RunRef, root: RunRef) -> bool:
        """Leave the flag for whoever executes the newest attempt; False if there is none."""
        for place in self._attempts(run, root)[:1]:
            os.close(os.open(place / CANCEL_FILE, os.O_WRONLY | os.O_CREAT, 0o600))
            return True
        return False

    def run_directory(self, run: RunRef, root: RunRef) -> Path | None:
        """The run's directory, None if the run has none. It may vanish at any time."""
        if run.id == root.id:
            return self.directories.find(run)
        root_dir = self.directories.find(root)
        return root_dir / CHILDREN / child_dir_name(single_name(run.id, "run id")) if root_dir else None

    def places(self, run: RunRef, root: RunRef) -> Places:
        """Where changes of the run's state will be seen first."""
        root_dir = self.directories.find(root)
        if not root_dir:
            day = self.directories.of_dag(root.name) / day_path(self._now())
            return Places(
                frozenset([Place(str(day), suffix=f"_{root.id}", structure=True)]) if day.is_dir() else frozenset()
            )
        run_dir = root_dir
        if run.id != root.id:
            run_dir = root_dir / CHILDREN / child_dir_name(run.id)
            if not run_dir.is_dir():
                return Places(
                    frozenset(
                        [
                            Place(str(root_dir), CHILDREN, structure=True),
                            Place(str(run_dir.parent), run_dir.name, structure=True),
                        ]
                    )
                )
        attempts = attempts_of(run_dir)
        places = {Place(str(run_dir), structure=True)}
        places.update(Place(str(run_dir / name), STATUS_FILE) for name in attempts[:1])
        return Places(frozenset(places), complete=bool(attempts))

    def queue_places(self) -> Places:
        """Where items come and go."""
        root, *queues = self.queue.directories()
        places = {Place(str(root), structure=True), *(Place(str(queue), suffix=".json") for queue in queues)}
        return Places(frozenset(places), complete=root.is_dir())

    @cached_property
    def _opening(self) -> Opening:
        # Whoever only asks questions does not wait for all that beginning a run needs to be loaded.
        from txdagu.store.opening import Opening

        return Opening(
            self._paths, self._now, self._randomness, self.directories, self._locks, self.liveness, self._latest
        )

    @cached_property
    def _amending(self) -> Amending:
        from txdagu.store.amending import Amending

        return Amending(
            self._now,
            self._randomness,
            self.directories,
            self._locks,
            self.liveness,
            self.queue,
            self.run_directory,
            self._latest,
        )

    def _attempts(self, run: RunRef, root: RunRef) -> list[Path]:
        run_dir = self.run_directory(run, root)
        return [run_dir / name for name in attempts_of(run_dir)] if run_dir else []

    def _read(self, run: RunRef, root: RunRef) -> tuple[RunStatus, Path] | None:
        run_dir = self.run_directory(run, root)
        return self._latest(run_dir) if run_dir else None

    def _latest(self, run_dir: Path) -> tuple[RunStatus, Path] | None:
        """The state told by the newest attempt that has a status file, and the attempt's directory."""
        zone = self._now().tzinfo
        assert zone
        for name in attempts_of(run_dir):
            path = run_dir / name / STATUS_FILE
            try:
                return read_last(path, lambda line: decode_status(line, zone)), path.parent
            except FileNotFoundError:
                continue
            except UnfinishedRecordError:
                if not self._young(path):
                    raise
            except UnknownStateError as error:
                raise CorruptRecordError(str(path), str(error)) from error
        return None

    def _young(self, path: Path) -> bool:
        """Whether the file's writer may still be at its first record."""
        try:
            return self._now().timestamp() - path.stat().st_mtime < _WRITING_SECONDS
        except FileNotFoundError:
            return True

    def _seems_dead(self, run: RunRef, root: RunRef, status: RunStatus, place: Path) -> bool:
        if status.state is not RunState.RUNNING or run.id != root.id or status.root.id != run.id:
            return False
        path = place / DAG_FILE
        try:
            queue, name = liveness_names(path.read_bytes(), str(path))
        except (FileNotFoundError, CorruptRecordError):
            queue, name = run.name, run.name
        return not self.liveness.is_alive(queue or run.name, name or run.name, run.id)
