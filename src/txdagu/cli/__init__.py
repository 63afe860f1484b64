"""
The `dagu` command: a table of sub-commands, each a function in a module of its own that is imported only when it is asked for.

A command takes its arguments as a list and returns an exit code (None is 0). What it raises on purpose is shown on standard
error, one line a problem, with exit code 1. To add one: write the module, add a line to `COMMANDS`.

`output` is about the streams of the process, `arguments` parses options, `settings` makes settings of them, `logging` writes the
log lines of services, `reactor` runs a coroutine to its end and turns signals into a wish to stop. `rundag` is what the
commands that begin a run share, `running` runs one in the foreground, `attended` in front of somebody; `following` collects
its states, `progress` and `report` show them, `asking` what people are asked. `cluster` and `demoplan` are the demo's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

COMMANDS: dict[str, tuple[str, str]] = {
    "start-all": ("txdagu.cli.serve:start_all", "Run scheduler, web pages and coordinator in one process"),
    "coordinator": ("txdagu.cli.serve:coordinator", "Run a coordinator: hand tasks to workers"),
    "worker": (
        "txdagu.cli.serve:worker",
        "Run a worker; worker list|cordon|drain|resume: see workers, keep tasks from them",
    ),
    "start": ("txdagu.cli.start:start", "Run a DAG and wait for its end"),
    "retry": ("txdagu.cli.retry:retry", "Run again what of a run did not succeed, or one step of it"),
    "enqueue": ("txdagu.cli.enqueue:enqueue", "Queue a run for the main instance to start"),
    "status": ("txdagu.cli.status:status", "Show what became of a run"),
    "explain": ("txdagu.cli.explaining:explain", "Say where a run is, why, and what to do next"),
    "plan": ("txdagu.cli.planning:plan", "Say where a DAG would run now, and why not elsewhere"),
    "approve": ("txdagu.cli.approve:approve", "Approve a step that waits for a person; its run goes on"),
    "reject": ("txdagu.cli.approve:reject", "Reject a step that waits for a person"),
    "doctor": (
        "txdagu.cli.doctor:doctor",
        "Look for what is wrong: with coordinators (peer), with the journal (journal)",
    ),
    "demo": ("txdagu.cli.demo:demo", "Start a small cluster here and run a pipeline across it"),
    "validate": ("txdagu.cli.validate:validate", "Check DAG files"),
    "schema": ("txdagu.cli.schema:schema", "Print the JSON Schema of DAG files"),
    "version": ("txdagu.cli.version:version", "Print the version"),
}

Command = Callable[[list[str]], int | None]


def main(argv: Sequence[str] | None = None) -> int | None:
    """Run the command that the arguments name; returns the exit code."""
    name, *arguments = (sys.argv[1:] if argv is None else argv) or ["help"]
    if name == "help" and arguments:
        name, arguments = arguments[0], ["--help"]
    if name in ("help", "-h", "--help"):
        sys.stdout.write(usage())
        return 0
    if name == "--version":
        name = "version"
    if name not in COMMANDS:
        return _unknown(name)
    from txdagu.cli.output import give_up, prepare_streams, write_or_drop
    from txdagu.model.errors import DaguError, error_lines

    prepare_streams()
    try:
        code = _load(COMMANDS[name][0])(arguments)
        sys.stdout.flush()
        return code
    except DaguError as error:
        write_or_drop(sys.stderr, f"{error_lines(error)}\n")
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        return give_up(error)


def usage() -> str:
    """The help text."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {summary}" for name, (_, summary) in COMMANDS.items()]
    return "\n".join(
        (
            "Usage: dagu COMMAND [OPTIONS] [ARGUMENTS]",
            "",
            "Workflow DAGs, run here or on workers of a cluster.",
            "",
            "Commands:",
            *lines,
            "",
            "dagu COMMAND --help tells the options of a command.",
            "",
        )
    )


def _load(where: str) -> Command:
    from importlib import import_module

    module, _, function = where.partition(":")
    command: Command = getattr(import_module(module), function)
    return command


def _unknown(name: str) -> int:
    from txdagu.config.nearest import nearest

    meant = nearest(name, COMMANDS, cutoff=0.5)
    advice = f"did you mean {meant}?" if meant else "dagu help lists the commands"
    sys.stderr.write(f'Error: unknown command "{name}" ({advice})\n')
    return 1
