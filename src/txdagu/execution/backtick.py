"""Runs what stands in backticks, with the default shell in the engine's environment."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from txdagu.execution import files
from txdagu.execution.groups import run_group
from txdagu.execution.interfaces import ProcessSpec
from txdagu.execution.shells import default_shell
from txdagu.execution.steps.context import Tools
from txdagu.execution.stop import Stop
from txdagu.model.errors import DaguError


class BacktickRunner:
    """
    A `txdagu.execution.evaluation.backticks.RunBackticks`.

    `environment` is asked at each call, since evaluated values add to it; `limit` is the most bytes a command may print.
    """

    def __init__(
        self, tools: Tools, stop: Stop, environment: Callable[[], Mapping[str, str]], directory: str, limit: int
    ) -> None:
        self._tools = tools
        self._stop = stop
        self._environment = environment
        self._directory = directory
        self._limit = limit

    async def __call__(self, command: str) -> str:
        """What the command prints; `DaguError` if it fails."""
        tools = self._tools
        shell = default_shell(tools.default_shell, tools.environ)
        scratch = await tools.in_thread(partial(tempfile.mkdtemp, prefix="dagu_backticks-"))
        stdout, stderr = (str(Path(scratch, name)) for name in ("stdout", "stderr"))
        spec = ProcessSpec(shell.command(command), self._directory, self._environment(), stdout, stderr)
        try:
            status = await run_group(tools.processes, spec, self._stop, tools.clock)
            self._stop.check()
            if not status.ok:
                tail = await tools.in_thread(partial(files.read_tail, stderr, 0))
                raise DaguError(
                    f"the command in backticks `{command}` failed: {status}" + (f": {tail}" if tail else "")
                )
            return await tools.in_thread(partial(files.read_output, stdout, 0, self._limit))
        finally:
            await tools.in_thread(partial(shutil.rmtree, scratch, ignore_errors=True))
