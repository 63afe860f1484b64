"""How an attempt comes about: run directory, attempt directory, liveness file, logs. Blocking."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from txdagu.config.settings import PathSettings
from txdagu.model.dag import Dag
from txdagu.model.errors import ConflictError, InvalidInputError, NotFoundError, Problem
from txdagu.model.run import NodeStatus, RunRef, RunStatus
from txdagu.model.status import RunState
from txdagu.store.attempt import Attempt, AttemptPlace
from txdagu.store.dagjson import encode_dag, params_list
from txdagu.store.directories import RunDirectories, attempts_of, remove_tree
from txdagu.store.dirlock import RUNS_STALE_SECONDS, DirectoryLocks
from txdagu.store.errors import CorruptRecordError
from txdagu.store.layout import (
    CANCEL_FILE,
    CHILDREN,
    DAG_FILE,
    STATUS_FILE,
    attempt_dir_name,
    child_dir_name,
    day_path,
    parse_attempt_dir,
    run_dir_name,
    run_log_name,
    safe_name,
    single_name,
    step_log_dir_name,
)
from txdagu.store.liveness import ProcFiles
from txdagu.store.statusfile import StatusFile
from txdagu.store.statusjson import encode_status
from txdagu.system.files import make_directories, write_file


@dataclass(frozen=True, slots=True)
class _Made:
    """A new attempt directory, and what the attempt before it left: the run's log, and whether its end was asked for."""

    directory: Path
    attempt_id: str
    earlier_log: str = ""
    cancelled: bool = False


class Opening:
    """
    Makes attempts. Whatever fails on the way, nothing half-made stays behind.

    `latest` reads the state in a run's directory; `randomness` gives so many random bytes.
    """

    def __init__(
        self,
        paths: PathSettings,
        now: Callable[[], datetime],
        randomness: Callable[[int], bytes],
        directories: RunDirectories,
        locks: DirectoryLocks,
        liveness: ProcFiles,
        latest: Callable[[Path], tuple[RunStatus, Path] | None],
    ) -> None:
        self._paths = paths
        self._now = now
        self._randomness = randomness
        self._directories = directories
        self._locks = locks
        self._liveness = liveness
        self._latest = latest
        self._pid = os.getpid()

    def begin(self, dag: Dag, run: RunRef, root: RunRef, attempt_name: str = "", new: bool = False) -> Attempt:
        """See `IRunStore.open_attempt`. The caller must `close` or `release` the attempt, or the run seems alive."""
        self._check(run, root, attempt_name)
        logs = self._log_base(dag)
        is_root = run.id == root.id
        if not is_root:
            dag = replace(dag, location="")
        elif new and self._directories.find(run, locked=True):  # looked at again under the lock
            raise _exists(run)
        held = (
            self._liveness.acquire(dag.queue_name, dag.name, run.id, take_over=bool(attempt_name)) if is_root else None
        )
        try:
            with self._attempt_directory(run, root, attempt_name, new) as made:
                at = self._now()
                log = Path(made.earlier_log or self._new_log(logs, run, at))
                place = AttemptPlace(
                    made.directory, made.attempt_id, log, log.parent / step_log_dir_name(at, made.attempt_id)
                )
                attempt = Attempt(
                    place,
                    dag,
                    run,
                    self._now,
                    self._pid,
                    self._paths.data_dir,
                    self._randomness(6).hex(),
                    held,
                    made.cancelled,
                )
                attempt.begin()
                return attempt
        except BaseException:
            if held:
                held.release()
            raise

    @contextmanager
    def queued(self, dag: Dag, status: RunStatus, queue: str) -> Iterator[None]:
        """
        Make a new run with one attempt in state queued; if the body fails, it is taken away again.

        The snapshot names no file: whoever executes the run later does so by its id.
        """
        run = status.run
        self._check(run, run, "")
        logs = self._log_base(dag)
        dag = replace(dag, location="", queue=dag.queue if queue == dag.queue_name else queue)
        with self._attempt_directory(run, run, "", new=True) as made:
            at = self._now()
            log = self._new_log(logs, run, at)
            make_directories(log.parent)
            params = status.params or params_list(dag.params)
            write_file(made.directory / DAG_FILE, encode_dag(dag, params, self._paths.data_dir))
            StatusFile(made.directory / STATUS_FILE).append(
                encode_status(
                    replace(
                        status,
                        root=run,
                        state=RunState.QUEUED,
                        attempt_id=made.attempt_id,
                        nodes=status.nodes or tuple(NodeStatus(step) for step in dag.steps),
                        handlers=status.handlers
                        or {handler: NodeStatus(step) for handler, step in dag.handlers.items()},
                        queued_at=status.queued_at or at,
                        created_at_ms=status.created_at_ms or int(at.timestamp() * 1000),
                        log=str(log),
                        params=params,
                        worker_id="",
                        pid=0,
                    )
                )
            )
            yield

    def _check(self, run: RunRef, root: RunRef, attempt_name: str) -> None:
        single_name(run.id, "run id")
        single_name(root.id, "run id")
        if attempt_name and not parse_attempt_dir(attempt_name):
            raise InvalidInputError(
                [Problem(f"{attempt_name!r} is not the name of an attempt", "", "attempt_YYYYMMDD_HHMMSS_mmmZ_id")]
            )

    def _log_base(self, dag: Dag) -> Path:
        """Where logs go. A run that nobody could begin may have a directory that is not evaluated: its log goes with others."""
        if not dag.log_dir or "$" in dag.log_dir or "`" in dag.log_dir or dag.log_dir.startswith("~"):
            return Path(self._paths.log_dir)
        return Path(dag.base_dir or self._paths.data_dir, dag.log_dir)

    def _new_log(self, base: Path, run: RunRef, at: datetime) -> Path:
        return base / safe_name(run.name) / run_dir_name(at, run.id) / run_log_name(at, run.id)

    @contextmanager
    def _attempt_directory(self, run: RunRef, root: RunRef, attempt_name: str, new: bool) -> Iterator[_Made]:
        """A new attempt directory, which is removed again if the body fails, and with it the run's if it was made here."""
        if run.id == root.id:
            with self._locks.hold(self._directories.of_dag(run.name), RUNS_STALE_SECONDS):
                run_dir, made_run = self._root_dir(run, new)
                made = self._next_attempt(run, run_dir, made_run, attempt_name)
        else:
            run_dir, made_run = self._child_dir(run, root, new)
            made = self._next_attempt(run, run_dir, made_run, attempt_name)
        try:
            yield made
        except BaseException:
            with suppress(OSError):
                remove_tree(made.directory)
            self._unmake(run, run_dir, made_run)
            raise

    def _root_dir(self, run: RunRef, new: bool) -> tuple[Path, bool]:
        found = self._directories.find(run, locked=True)
        if found:
            if new:
                raise _exists(run)
            return found, False
        at = self._now()
        run_dir = self._directories.of_dag(run.name) / day_path(at) / run_dir_name(at, run.id)
        make_directories(run_dir.parent)
        try:
            run_dir.mkdir(0o750)
        except FileExistsError:
            raise _exists(run) from None
        self._directories.made(run, run_dir)
        return run_dir, True

    def _child_dir(self, run: RunRef, root: RunRef, new: bool) -> tuple[Path, bool]:
        root_dir = self._directories.find(root)
        if not root_dir:
            raise NotFoundError(
                f"run {run} cannot begin because its root run {root} is not under {self._directories.of_dag(root.name)}; "
                "check that all hosts see the same data directory"
            )
        run_dir = root_dir / CHILDREN / child_dir_name(run.id)
        try:
            make_directories(run_dir.parent)
            run_dir.mkdir(0o750)
        except FileExistsError:
            if new and attempts_of(run_dir):
                raise _exists(run) from None
            return run_dir, False
        return run_dir, True

    def _next_attempt(self, run: RunRef, run_dir: Path, made_run: bool, attempt_name: str) -> _Made:
        try:
            attempts = [] if made_run else attempts_of(run_dir)
            last = attempts[0] if attempts else ""
            name = attempt_name or attempt_dir_name(self._now(), self._randomness(3).hex(), last)
            if name <= last:
                raise ConflictError(f"attempt {name} of run {run} cannot begin because {last} came after it")
            directory = run_dir / name
            directory.mkdir(0o750)
            parsed = parse_attempt_dir(name)
            assert parsed
            earlier = self._earlier(run_dir) if attempts else None
            if not earlier:
                return _Made(directory, parsed.id)
            status, place = earlier
            # Asking for the end of a queued run asks whoever executes it.
            cancelled = status.state is RunState.QUEUED and (place / CANCEL_FILE).exists()
            return _Made(directory, parsed.id, status.log if Path(status.log).is_absolute() else "", cancelled)
        except BaseException:
            self._unmake(run, run_dir, made_run)
            raise

    def _earlier(self, run_dir: Path) -> tuple[RunStatus, Path] | None:
        try:
            return self._latest(run_dir)
        except CorruptRecordError:
            return None

    def _unmake(self, run: RunRef, run_dir: Path, made_run: bool) -> None:
        if made_run:
            with suppress(OSError):
                run_dir.rmdir()
                self._directories.forget(run)


def _exists(run: RunRef) -> ConflictError:
    return ConflictError(f"run {run} exists already; choose another run id")
