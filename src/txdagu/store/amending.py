"""Changes to runs that nobody executes: their latest record amended, or a new one so that they go on. Blocking."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from txdagu.model.errors import ConflictError, NotFoundError
from txdagu.model.run import RunRef, RunStatus
from txdagu.model.status import RunState
from txdagu.store.dagjson import liveness_names
from txdagu.store.directories import RunDirectories, attempts_of, remove_tree
from txdagu.store.dirlock import RUNS_STALE_SECONDS, DirectoryLocks
from txdagu.store.errors import CorruptRecordError
from txdagu.store.layout import DAG_FILE, STATUS_FILE, attempt_dir_name, parse_attempt_dir
from txdagu.store.liveness import ProcFiles
from txdagu.store.queuefiles import QueueFiles
from txdagu.store.statusfile import StatusFile
from txdagu.store.statusjson import encode_status
from txdagu.system.files import write_file

Change = Callable[[RunStatus], RunStatus]


class Amending:
    """
    Changes runs under the lock of their root run's DAG, so that of several who want to change the same, one does.

    `find` gives the directory of a run, given its root; `latest` reads the state in it.
    """

    def __init__(
        self,
        now: Callable[[], datetime],
        randomness: Callable[[int], bytes],
        directories: RunDirectories,
        locks: DirectoryLocks,
        liveness: ProcFiles,
        queue: QueueFiles,
        find: Callable[[RunRef, RunRef], Path | None],
        latest: Callable[[Path], tuple[RunStatus, Path] | None],
    ) -> None:
        self._now = now
        self._randomness = randomness
        self._directories = directories
        self._locks = locks
        self._liveness = liveness
        self._queue = queue
        self._find = find
        self._latest = latest

    def amend(self, run: RunRef, root: RunRef, change: Change) -> RunStatus:
        """See `IRunStore.amend`."""
        with self._locks.hold(self._directories.of_dag(root.name), RUNS_STALE_SECONDS):
            found = self._at_rest(run, root)
            status = change(found[0])
            StatusFile(found[1] / STATUS_FILE).append(encode_status(status))
            return status

    def requeue(self, run: RunRef, queued: bool) -> RunStatus:
        """See `IRunStore.requeue`."""
        with self._locks.hold(self._directories.of_dag(run.name), RUNS_STALE_SECONDS):
            status, place = self._at_rest(run, run)
            if status.state is not RunState.WAITING:
                raise ConflictError(f"run {run} is {status.state.label} and waits for nobody any more")
            dag = (place / DAG_FILE).read_bytes()
            queue = liveness_names(dag, str(place / DAG_FILE))[0] or run.name
            at = self._now()
            name = attempt_dir_name(at, self._randomness(3).hex(), attempts_of(place.parent)[0])
            parsed = parse_attempt_dir(name)
            assert parsed
            status = replace(
                status,
                state=RunState.QUEUED,
                attempt_id=parsed.id,
                queued_at=at,
                started_at=None,
                finished_at=None,
                worker_id="",
                pid=0,
            )
            directory = place.parent / name
            directory.mkdir(0o750)
            try:
                write_file(directory / DAG_FILE, dag)
                StatusFile(directory / STATUS_FILE).append(encode_status(status))
                if queued:
                    self._queue.add(queue, run, self._randomness(6).hex())
            except BaseException:
                with suppress(OSError):
                    remove_tree(directory)
                raise
            return status

    def _at_rest(self, run: RunRef, root: RunRef) -> tuple[RunStatus, Path]:
        """The latest state of the run and its place, while nobody executes it or the run that called it."""
        directory = self._find(run, root)
        found = self._latest(directory) if directory else None
        if not found:
            raise NotFoundError(f"there is no run {run}" + (f" below {root}" if run != root else ""))
        if self._alive(root):
            raise ConflictError(f"run {root} is being executed: wait until it has come to rest")
        return found

    def _alive(self, root: RunRef) -> bool:
        """Whether anybody executes a root run, even one that has not written a state yet."""
        directory = self._find(root, root)
        attempts = attempts_of(directory) if directory else []
        if not directory or not attempts:
            return False
        path = directory / attempts[0] / DAG_FILE
        try:
            queue, name = liveness_names(path.read_bytes(), str(path))
        except (FileNotFoundError, CorruptRecordError):
            queue, name = root.name, root.name
        return self._liveness.is_alive(queue or root.name, name or root.name, root.id)
