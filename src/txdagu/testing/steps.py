"""An engine with real processes, threads and sockets, for tests of step types: states in memory, files in one directory."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from txdagu.execution.engine import Engine
from txdagu.execution.processes import PidfdProcessRunner
from txdagu.execution.request import RunRequest
from txdagu.model.dag import Dag, Step
from txdagu.model.errors import NotFoundError
from txdagu.model.run import NodeStatus, RunRef, RunStatus
from txdagu.system.clock import local_now
from txdagu.testing.recording import RecordingStore


class StepHarness:
    """Runs DAGs on `reactor`; `directory` takes logs and is the working directory, `environ` is added to that of this process."""

    def __init__(self, directory: str, reactor: Any, environ: Mapping[str, str] | None = None) -> None:
        self.directory = directory
        self.store = RecordingStore(directory)
        self.engine = Engine(
            self.store,
            None,
            PidfdProcessRunner(reactor),
            reactor,
            now=local_now,
            environ={**os.environ, "SHELL": "/bin/sh", **(environ or {})},
            execution_mode="local",
            find_dag=self._find,
        )

    async def _find(self, name: str, base_dir: str) -> Dag:
        raise NotFoundError(f"no file {name}.yaml")

    def run(self, dag: Dag, params: str = "") -> Deferred[RunStatus]:
        """Run a DAG; fires with its end."""
        ref = RunRef(dag.name, f"run-{len(self.store.sinks)}")
        return self.engine.start(RunRequest(dag, ref, ref, params=params, working_dir=self.directory)).wait()

    async def run_step(self, step: Step, **dag: Any) -> tuple[NodeStatus, str, str]:
        """Run a DAG of that one step; its node, and what it printed on both streams."""
        status = await self.run(Dag("d", (step,), **dag))
        node = status.nodes[0]
        return node, _text(node.stdout), _text(node.stderr)


def _text(path: str) -> str:
    """What is in a log file, line ends as they are; nothing if the step came to none."""
    return Path(path).read_bytes().decode("utf-8", "replace") if path else ""
