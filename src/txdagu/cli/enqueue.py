"""``dagu enqueue``: put a run into its queue, for the main instance to start."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from txdagu.cli.arguments import parse
from txdagu.cli.rundag import RunDagOptions, load, run_id
from txdagu.cli.settings import settings_from
from txdagu.model.errors import DaguError
from txdagu.model.run import RunRef

if TYPE_CHECKING:
    from txdagu.config.settings import Settings
    from txdagu.model.dag import Dag


class Options(RunDagOptions):
    """What to queue, and where."""

    longdesc = "Put a run of a DAG into its queue; the main instance starts it when there is room."
    optParameters = [["queue", "u", None, "Queue, instead of the DAG's own."]]


def enqueue(arguments: list[str]) -> int:
    """Queue a run and say so."""
    options = parse(Options(), "enqueue", arguments)
    settings = settings_from(options)
    if not settings.queues.enabled:
        where = settings.origins.get("queues.enabled", "the configuration")
        raise DaguError(f"queues are disabled in configuration (queues.enabled from {where})")
    dag = load(settings, options)
    from txdagu.cli.reactor import run_in_reactor
    from txdagu.system.clock import unix_now_ms

    run = RunRef(dag.name, run_id(options, unix_now_ms()))
    queue = options["queue"] or dag.queue_name
    params = options.given_params
    run_in_reactor(lambda reactor, interruption: _enqueue(settings, dag, run, params, queue, reactor))
    sys.stdout.write(f"Enqueued {run.name} (run {run.id}) in queue {queue}\n")
    return 0


async def _enqueue(settings: Settings, dag: Dag, run: RunRef, params: str, queue: str, reactor: Any) -> int:
    from txdagu.cli.running import foreground, queued
    from txdagu.execution.engine import RunRequest

    async with foreground(settings, reactor) as parts:
        request = RunRequest(dag=dag, run=run, root=run, params=params)
        await parts.store.enqueue(*await queued(parts.engine, request), queue)
    return 0
