"""An engine without reactor, processes or cluster, for tests: everything it touches is in memory or in one directory."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from twisted.internet.task import Clock

from txdagu.execution.engine import Engine, Run, RunRequest
from txdagu.model.dag import Dag
from txdagu.model.errors import NotFoundError
from txdagu.model.run import RunRef
from txdagu.testing.coordinators import ScriptedCoordinators
from txdagu.testing.processes import Behaviour, MemoryProcessRunner
from txdagu.testing.recording import RecordingStore

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)


class EngineHarness:
    """
    An `Engine` with its surroundings: `clock`, `store`, `processes`, `coordinators`, and `files` for DAGs found by name.

    The time of day follows the clock, which may be a reactor. `directory` takes logs and working directories.
    """

    def __init__(
        self,
        directory: str,
        behaviour: Behaviour | None = None,
        *,
        coordinators: ScriptedCoordinators | None = None,
        environ: Mapping[str, str] | None = None,
        mode: str = "local",
        clock: Any = None,
    ) -> None:
        self.directory = directory
        self.clock: Any = clock or Clock()
        self.store = RecordingStore(directory)
        self.processes = MemoryProcessRunner(behaviour)
        self.coordinators = coordinators
        self.files: dict[str, Dag] = {}
        self.engine = Engine(
            self.store,
            coordinators,
            self.processes,
            self.clock,
            now=lambda: BEGINNING + timedelta(seconds=self.clock.seconds()),
            environ={"PATH": "/bin", "SHELL": "/bin/sh", **(environ or {})},
            execution_mode=mode,
            find_dag=self._find,
        )

    async def _find(self, name: str, base_dir: str) -> Dag:
        try:
            return self.files[name]
        except KeyError:
            raise NotFoundError(f"no file {name}.yaml") from None

    def request(self, dag: Dag, run_id: str = "run-1", params: str = "") -> RunRequest:
        """A root run of that DAG in the harness's directory."""
        run = RunRef(dag.name, run_id)
        return RunRequest(dag, run, run, params=params, working_dir=self.directory)

    def start(self, dag: Dag, run_id: str = "run-1", params: str = "") -> Run:
        """Start a root run."""
        return self.engine.start(self.request(dag, run_id, params))

    def lines(self) -> list[str]:
        """What the shell was given, process by process: the last argument of each."""
        return [process.spec.argv[-1] for process in self.processes.started]
