"""A run in front of somebody: progress while it runs, its report at the end, signals that stop it."""

from __future__ import annotations

import sys

from rich.console import Console

from txdagu.cli.logging import StandardError, begin_logging
from txdagu.cli.output import visible
from txdagu.cli.progress import Silence, progress_view
from txdagu.cli.reactor import Interruption
from txdagu.cli.report import report
from txdagu.cli.running import Foreground, ForegroundRun, exit_code, failure_sentence
from txdagu.config.settings import Settings
from txdagu.execution.engine import RunRequest
from txdagu.system.clock import local_now


async def attend(
    settings: Settings, parts: Foreground, request: RunRequest, interruption: Interruption, *, quiet: bool
) -> int:
    """Run it to its end, or its wait for a person, and print its report; the exit code. With `quiet`, only what went wrong."""
    console = Console(stderr=True)
    begin_logging(StandardError(), settings.log_format, debug=settings.debug, quiet=quiet or console.is_terminal)
    view = Silence() if quiet else progress_view(console, local_now)
    running = ForegroundRun(parts, request, view)
    interruption.on(lambda signal: running.cancel(f"{signal} was received", signal), running.kill)
    with view:
        family = await running.follow()
    if not quiet:
        sys.stdout.write(report(family.top, family.workers()) + family.answers())
    code = exit_code(family.top)
    if code:
        sys.stderr.write(f"Error: {request.run.name} (run {request.run.id}): {visible(failure_sentence(family.top))}\n")
    return code
