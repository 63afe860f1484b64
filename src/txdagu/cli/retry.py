"""``dagu retry``: run again what of a run did not succeed, or one step of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.python.usage import UsageError

from txdagu.cli.arguments import parse
from txdagu.cli.settings import settings_from
from txdagu.cli.status import dag_name
from txdagu.model.errors import ConflictError, InvalidInputError, NotFoundError, Problem
from txdagu.model.ids import check_run_id
from txdagu.model.run import RunRef
from txdagu.model.status import RunState
from txdagu.tap.options import SettingsOptions

if TYPE_CHECKING:
    from txdagu.cli.reactor import Interruption
    from txdagu.config.settings import Settings
    from txdagu.execution.engine import RunRequest
    from txdagu.store.interfaces import IRunStore


class Options(SettingsOptions):
    """Which run to take up again."""

    longdesc = (
        "Run again, under the same id and with the same params, the steps of a run that did not end well and those that follow "
        "them; what had succeeded is kept with its outputs. The DAG is the one that the run began with."
    )
    operands = "DAG"
    optParameters = [
        ["run-id", "r", None, "Id of the run."],
        ["step", None, None, "Run this step alone again, however it ended; all others stay as they are."],
        ["worker-id", None, None, "For tasks of a worker: its id, kept with the run."],
    ]
    optFlags = [["quiet", "q", "Print neither progress nor report."]]

    def parseArgs(self, *dags: str) -> None:
        """The DAG's name or file."""
        if len(dags) != 1:
            raise UsageError("exactly one DAG is expected")
        self["dag"] = dags[0]


def retry(arguments: list[str]) -> int:
    """Run what is to be run again and print the report; 0 if the run succeeded or was stopped, else 1."""
    options = parse(Options(), "retry", arguments)
    if options["run-id"] is None:
        raise InvalidInputError(
            [Problem("it has to be told which run", "--run-id", "dagu status shows the newest one")]
        )
    settings = settings_from(options)
    run = RunRef(dag_name(options["dag"], settings), check_run_id(options["run-id"]))
    from txdagu.cli.reactor import run_in_reactor

    return run_in_reactor(lambda reactor, interruption: _retry(settings, options, run, reactor, interruption))


async def retry_request(store: IRunStore, run: RunRef, step: str, worker_id: str = "local") -> RunRequest:
    """
    What is to be run for a retry of that run, or of one step of it.

    Raises `NotFoundError` if there is no such run, `ConflictError` if it has not ended, `InvalidInputError` for an unknown step.
    """
    from txdagu.execution.engine import RunRequest
    from txdagu.execution.plan import check_step

    previous = await store.read_status(run, run)
    dag = None if previous is None else await store.read_dag(run, run)
    if previous is None or dag is None:
        raise NotFoundError(f'there is no run {run.id} of "{run.name}"; dagu status {run.name} shows the newest')
    if previous.state is RunState.RUNNING:
        raise ConflictError(f"run {run} is running; it can be retried when it has ended")
    if step:
        check_step(dag, step)
    return RunRequest(
        dag=dag, run=run, root=run, worker_id=worker_id, previous=previous, step=step, queued_at=previous.queued_at
    )


async def _retry(settings: Settings, options: Options, run: RunRef, reactor: Any, interruption: Interruption) -> int:
    from txdagu.cli.attended import attend
    from txdagu.cli.running import foreground

    async with foreground(settings, reactor) as parts:
        request = await retry_request(parts.store, run, options["step"] or "", options["worker-id"] or "local")
        return await attend(settings, parts, request, interruption, quiet=bool(options["quiet"]))
