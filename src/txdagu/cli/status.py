"""``dagu status``: what became of a run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.python.usage import UsageError

from txdagu.cli.arguments import parse
from txdagu.cli.settings import settings_from
from txdagu.model.errors import NotFoundError
from txdagu.tap.options import SettingsOptions

if TYPE_CHECKING:
    from txdagu.cli.following import Family
    from txdagu.cli.reactor import Interruption
    from txdagu.config.settings import Settings


class Options(SettingsOptions):
    """Which run to tell about."""

    longdesc = "Show the newest run of a DAG, or the one with --run-id, as a tree."
    operands = "DAG"
    optParameters = [["run-id", "r", None, "Id of the run, instead of the newest one."]]
    optFlags = [["wait", None, "Show progress until the run has ended; the exit code is then the run's."]]

    def parseArgs(self, *dags: str) -> None:
        """The DAG's name or file."""
        if len(dags) != 1:
            raise UsageError("exactly one DAG is expected")
        self["dag"] = dags[0]


def status(arguments: list[str]) -> int:
    """Print the report of a run."""
    from txdagu.cli.reactor import run_in_reactor

    options = parse(Options(), "status", arguments)
    settings = settings_from(options)
    return run_in_reactor(lambda reactor, interruption: _status(settings, options, reactor, interruption))


def dag_name(argument: str, settings: Settings) -> str:
    """The name under which the runs of that DAG are kept: its file's, or the argument itself where there is no file."""
    from txdagu.dagfile import name_in
    from txdagu.store.dagfiles import find_dag

    try:
        source = find_dag(argument, str(Path.cwd()), settings.paths.dags_dir)
        return name_in(source.text, Path(source.path).stem)
    except NotFoundError:
        return Path(argument).stem if argument.endswith((".yaml", ".yml")) else argument


async def _status(settings: Settings, options: Options, reactor: Any, interruption: Interruption) -> int:
    from txdagu.cli.report import report
    from txdagu.cli.running import exit_code
    from txdagu.execution.assembly import run_store
    from txdagu.model.run import RunRef

    store = run_store(settings, reactor)
    name = dag_name(options["dag"], settings)
    if options["run-id"]:
        run: RunRef | None = RunRef(name, options["run-id"])
    else:
        run = await store.latest_run(name)
    found = None if run is None else await store.read_status(run, run)
    if run is None or found is None:
        which = f"no run {run.id} of" if run else "no run of"
        raise NotFoundError(f'there is {which} "{name}" in {settings.paths.dag_runs_dir}')
    family = await _follow(store, run, interruption, wait=bool(options["wait"]))
    sys.stdout.write(report(family.top, family.workers()) + family.answers())
    return exit_code(family.top) if options["wait"] else 0


async def _follow(store: Any, run: Any, interruption: Interruption, *, wait: bool) -> Family:
    from rich.console import Console

    from txdagu.cli.following import Follower
    from txdagu.cli.progress import progress_view
    from txdagu.system.clock import local_now

    with progress_view(Console(stderr=True), local_now) as view:
        follower = Follower(store, run, view.show if wait else lambda family: None)
        try:
            follower.watch_top()
            if wait:
                interruption.on(lambda signal: follower.ended.cancel())
                return await follower.ended
            return await follower.finish()
        finally:
            follower.stop()
