"""The shared disk on which runs are kept: each attempt in a directory of its own, readers take the greatest name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from txdagu.model.dag import Dag
from txdagu.model.run import RunRef, RunStatus
from txdagu.testing.simulation.world import Process


@dataclass(eq=False)
class Attempt:
    """What one attempt has written, and which worker's incarnation wrote it."""

    name: str
    attempt_id: str
    writer: str
    dag: Dag
    status: RunStatus | None = None
    log: list[str] = field(default_factory=list)


Runs = dict[tuple[RunRef, str], dict[str, Attempt]]


class Files:
    """All runs. `shown` is called with a run and the attempt that readers see, whenever that attempt may have changed."""

    def __init__(self, shown: Callable[[RunRef, str, Attempt], None]) -> None:
        self.runs: Runs = {}
        self._shown = shown

    def visible(self, root: RunRef, run_id: str) -> Attempt | None:
        """The attempt that readers see."""
        attempts = self.runs.get((root, run_id))
        return attempts[max(attempts)] if attempts else None

    def changed(self, root: RunRef, run_id: str) -> None:
        """Something of a run was written."""
        attempt = self.visible(root, run_id)
        if attempt is not None:
            self._shown(root, run_id, attempt)


class Sink:
    """The writer of one attempt, as far as dispatching needs it; a dead process writes nothing."""

    def __init__(self, files: Files, process: Process, run: RunRef, root: RunRef, attempt: Attempt) -> None:
        self.attempt = attempt
        self.attempt_id = attempt.attempt_id
        self.attempt_name = attempt.name
        self.log = f"/logs/{attempt.name}.log"
        self._files = files
        self._process = process
        self._run = run
        self._root = root

    def write_log(self, line: str) -> None:
        """Append a line."""
        if self._process.alive:
            self.attempt.log.append(line)
            self._files.changed(self._root, self._run.id)

    def write_status(self, status: RunStatus) -> None:
        """Keep this state."""
        if self._process.alive:
            self.attempt.status = replace(status, attempt_id=self.attempt_id)
            self._files.changed(self._root, self._run.id)

    async def close(self, status: RunStatus) -> None:
        """Keep the last one."""
        self.write_status(status)


class Store:
    """The shared disk as one process has it: what of `txdagu.store.interfaces.IRunStore` dispatching needs."""

    def __init__(self, files: Files, process: Process, writer: str) -> None:
        self._files = files
        self._process = process
        self._writer = writer

    async def open_attempt(
        self, dag: Dag, run: RunRef, root: RunRef, attempt_name: str = "", new: bool = False
    ) -> Sink:
        """Begin an attempt."""
        attempts = self._files.runs.setdefault((root, run.id), {})
        name = (
            attempt_name
            or f"attempt_{self._process.wall():%Y%m%d_%H%M%S}_000Z_{self._process.random.randbytes(3).hex()}"
        )
        attempt = Attempt(name, name.rpartition("_")[2], self._writer, dag)
        if self._process.alive:
            attempts[name] = attempt
        return Sink(self._files, self._process, run, root, attempt)

    async def read_status(self, run: RunRef, root: RunRef) -> RunStatus | None:
        """The latest state of a run; one that still says running, of a process that is gone, is told as it stands."""
        attempt = self._files.visible(root, run.id)
        return attempt.status if attempt is not None else None

    async def read_dag(self, run: RunRef, root: RunRef) -> Dag | None:
        """The snapshot of the latest attempt."""
        attempt = self._files.visible(root, run.id)
        return attempt.dag if attempt is not None else None
