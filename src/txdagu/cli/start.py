"""``dagu start``: run a DAG in the foreground."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from txdagu.cli.arguments import parse
from txdagu.cli.rundag import RunDagOptions, load, run_id
from txdagu.cli.settings import settings_from
from txdagu.model.errors import InvalidInputError, Problem
from txdagu.model.run import RunRef

if TYPE_CHECKING:
    from txdagu.cli.reactor import Interruption
    from txdagu.cli.running import Foreground
    from txdagu.config.settings import Settings
    from txdagu.execution.engine import RunRequest


class Options(RunDagOptions):
    """What to run, and for whom."""

    longdesc = "Run a DAG here or on a worker, as its workerSelector says, and wait for its end."
    optParameters = [
        ["default-working-dir", None, None, "Working directory of a DAG that names none."],
        ["root", None, None, "For child runs: the topmost run, as NAME:ID."],
        ["parent", None, None, "For child runs: the calling run, as NAME:ID."],
        ["worker-id", None, None, "For tasks of a worker: its id, kept with the run."],
    ]


def start(arguments: list[str]) -> int:
    """Run a DAG and print its report; 0 if it succeeded or was stopped, else 1."""
    options = parse(Options(), "start", arguments)
    settings = settings_from(options)
    request = run_request(settings, options)
    from txdagu.cli.reactor import run_in_reactor

    return run_in_reactor(
        lambda reactor, interruption: _start(settings, request, reactor, interruption, quiet=bool(options["quiet"]))
    )


def run_request(settings: Settings, options: Options) -> RunRequest:
    """The run that the options ask for. Raises `DaguError` with everything that is wrong with the DAG or the options."""
    dag = load(settings, options)
    from txdagu.execution.engine import RunRequest
    from txdagu.system.clock import unix_now_ms

    run = RunRef(dag.name, run_id(options, unix_now_ms()))
    root, parent = _family(options, run)
    return RunRequest(
        dag=dag,
        run=run,
        root=root,
        parent=parent,
        params=options.given_params,
        worker_id=options["worker-id"] or "local",
        working_dir=options["default-working-dir"] or "",
        new=parent is None,
    )


def _family(options: Options, run: RunRef) -> tuple[RunRef, RunRef | None]:
    refs: dict[str, RunRef] = {}
    problems = []
    for name in ("root", "parent"):
        text = options[name]
        if text is None:
            continue
        dag_name, colon, identifier = text.partition(":")
        if not (dag_name and colon and identifier):
            problems.append(Problem(f'"{text}" is not NAME:ID', f"--{name}"))
        refs[name] = RunRef(dag_name, identifier)
    if refs and not options["run-id"]:
        problems.append(Problem("a child run needs its id", "--parent", "give --run-id too"))
    if problems:
        raise InvalidInputError(problems)
    return refs.get("root", run), refs.get("parent")


async def _start(
    settings: Settings, request: RunRequest, reactor: Any, interruption: Interruption, *, quiet: bool
) -> int:
    from txdagu.cli.running import foreground

    async with foreground(settings, reactor) as parts:
        return await follow(settings, parts, request, interruption, quiet=quiet)


async def follow(
    settings: Settings, parts: Foreground, request: RunRequest, interruption: Interruption, *, quiet: bool
) -> int:
    """Run it to its end, or to its wait for a person, showing progress and the report; the exit code."""
    from rich.console import Console

    from txdagu.cli.logging import StandardError, begin_logging
    from txdagu.cli.progress import Silence, progress_view
    from txdagu.cli.report import report
    from txdagu.cli.running import ForegroundRun, exit_code, failure_sentence
    from txdagu.system.clock import local_now

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
        sys.stderr.write(f"Error: {request.run.name} (run {request.run.id}): {failure_sentence(family.top)}\n")
    return code
