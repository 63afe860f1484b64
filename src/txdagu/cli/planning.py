"""``dagu plan``: where a DAG and its steps would run now, and why not elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from twisted.python.usage import UsageError

from txdagu.cli.arguments import parse
from txdagu.cli.output import harmless
from txdagu.cli.rundag import DagFileOptions, load
from txdagu.cli.settings import settings_from
from txdagu.model.errors import InvalidInputError
from txdagu.model.labels import parse_labels
from txdagu.tap.options import parameters

if TYPE_CHECKING:
    from txdagu.config.settings import Settings
    from txdagu.dispatch.whatif import AddedWorker
    from txdagu.execution.explaining.outlook import Outlook, Row
    from txdagu.model.dag import Dag

OUTPUTS = ("text", "json")
SHOWN_ALTERNATIVES = 3
_COLUMN = 24


class PlanOptions(DagFileOptions):
    """Which DAG to plan, in which cluster."""

    longdesc = (
        "Say where a DAG, its steps and the DAGs that they call would run now, each on its own, and why not elsewhere. Nothing "
        "is started. The coordinators answer by what places tasks when they run."
    )
    optParameters = [
        *parameters("peer.", "worker.coordinator-host", "worker.coordinator-port"),
        ["output", "o", "text", "How to print the plan: text or json."],
    ]

    def __init__(self) -> None:
        super().__init__()
        self["without"] = []
        self["with"] = []

    def opt_without(self, worker_id: str) -> None:
        """Plan as if this worker took nothing; may be repeated."""
        self["without"].append(worker_id)

    def opt_with(self, text: str) -> None:
        """Plan as if there were one more worker, idle: its labels as k=v,k=v, then *SLOTS if not 100; may be repeated."""
        self["with"].append(read_added(text, len(self["with"]) + 1))

    def postOptions(self) -> None:
        """Read what is no setting."""
        if self["output"] not in OUTPUTS:
            raise UsageError(f'--output: "{self["output"]}" is neither of {" and ".join(OUTPUTS)}')


def read_added(text: str, number: int) -> AddedWorker:
    """The worker that ``gpu=true,zone=a*4`` describes, with the id ``new-NUMBER``. Raises `UsageError`."""
    from txdagu.config.settings import WorkerSettings
    from txdagu.dispatch.whatif import AddedWorker

    labels, star, slots = text.rpartition("*")
    if not star:
        labels, slots = text, str(WorkerSettings().max_active_runs)
    if not (slots.isascii() and slots.isdigit() and 0 < int(slots) < 1_000_000):
        raise UsageError(f'--with: "{slots}" is no number of slots; write for example gpu=true*4')
    try:
        return AddedWorker(f"new-{number}", parse_labels(labels, "--with"), int(slots))
    except InvalidInputError as error:
        raise UsageError(str(error)) from None


def plan(arguments: list[str]) -> int:
    """Print where a DAG would run."""
    from txdagu.cli.reactor import run_in_reactor

    options = parse(PlanOptions(), "plan", arguments)
    settings = settings_from(options)
    dag = load(settings, options)
    return run_in_reactor(lambda reactor, interruption: _plan(settings, options, dag, reactor))


async def _plan(settings: Settings, options: PlanOptions, dag: Dag, reactor: Any) -> int:
    import json
    from random import SystemRandom

    from txdagu.dispatch.whatif import FleetChange
    from txdagu.execution.assembly import child_finder
    from txdagu.execution.explaining.outlook import Outlooks
    from txdagu.peers.coordinators import Coordinators
    from txdagu.peers.explaining import Explainer
    from txdagu.system.clock import monotonic

    coordinators = Coordinators(settings, reactor, SystemRandom(), monotonic)
    change = FleetChange(frozenset(options["without"]), tuple(options["with"]))
    find = child_finder(reactor, settings.paths.dags_dir, settings.paths.base_config)
    try:
        outlooks = Outlooks(Explainer(coordinators), coordinators, find, settings.default_execution_mode)
        outlook = await outlooks.of(dag, options.given_params, change)
    finally:
        await coordinators.directory.shut_down()
    if options["output"] == "json":
        sys.stdout.write(json.dumps(plan_document(outlook), indent=2, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write(plan_text(outlook))
    return 0


def plan_text(outlook: Outlook) -> str:
    """A line for each row, with its place, and under it the nearest alternatives; then what the plan assumes and lacks."""
    return "".join(f"{harmless(line).rstrip()}\n" for line in _lines(outlook))


def _lines(outlook: Outlook) -> Iterator[str]:
    width = max([_COLUMN, *(len(_title(row)) + 2 for row in outlook.rows)])
    for row in outlook.rows:
        yield f"{_title(row):<{width}}{_place_text(row, outlook.nobody)}"
        if row.note:
            yield f"{'':<{width}}  {row.note}"
        for line in _alternatives(row):
            yield f"{'':<{width}}  {line}"
    told = list(_remarks(outlook))
    if told:
        yield ""
        yield from told


def _title(row: Row) -> str:
    name = f"{'  ' * row.depth}{row.name}"
    return f"{name} > {row.calls}" if row.calls else name


def _place_text(row: Row, nobody: str) -> str:
    from txdagu.execution.explaining.outlook import names_of

    reason = f": {row.route.reason}" if row.route is not None else ""
    if row.place is None:
        where = f"with {row.beside}" if row.beside else "here"
        return f"{where}{reason}"
    if row.place.worker_ids:
        return f"worker {names_of(row.place.worker_ids)}{reason}"
    if nobody:
        return f"waits for a coordinator{reason}"
    return f"waits for a worker{reason}" + ("" if row.place.verdicts else "; no worker is connected")


def _alternatives(row: Row) -> Iterator[str]:
    if row.place is None:
        return
    others = [one for one in row.place.verdicts if one.worker_id not in row.place.worker_ids]
    for one in others[:SHOWN_ALTERNATIVES]:
        text = "would do as well, but another comes first" if one.reason == "matches" else one.reason
        yield f"{one.worker_id}: {text}"
    if len(others) > SHOWN_ALTERNATIVES:
        yield f"and {len(others) - SHOWN_ALTERNATIVES} more"


def _remarks(outlook: Outlook) -> Iterator[str]:
    for worker_id in sorted(outlook.change.without):
        yield f"Planned as if worker {worker_id} took nothing."
    for added in outlook.change.added:
        labels = ",".join(f"{key}={value}" for key, value in sorted(added.labels.items())) or "no labels"
        yield f"Planned with one more worker {added.id}: {labels}, {added.slots} slots."
    for coordinator in outlook.uncertain:
        yield f"Coordinator {coordinator} does not tell which of the workers that fit it takes."
    for error in outlook.errors:
        yield f"No answer: {error}"
    if outlook.nobody:
        yield f"There is nobody to place tasks: {outlook.nobody}"


def plan_document(outlook: Outlook) -> dict[str, object]:
    """The plan for programs."""
    from txdagu.execution.explaining.document import verdict_documents

    return {
        "dagName": outlook.dag,
        "without": sorted(outlook.change.without),
        "with": [{"id": one.id, "labels": dict(one.labels), "slots": one.slots} for one in outlook.change.added],
        "rows": [
            {
                "name": row.name,
                "depth": row.depth,
                "calls": row.calls or None,
                "place": _place_word(row),
                "workers": list(row.place.worker_ids) if row.place is not None else [],
                "with": row.beside or None,
                "reason": row.route.reason if row.route is not None else None,
                "note": row.note or None,
                "verdicts": verdict_documents(row.place.verdicts) if row.place is not None else [],
            }
            for row in outlook.rows
        ],
        "uncertain": list(outlook.uncertain),
        "unanswered": list(outlook.errors),
        "nobody": outlook.nobody or None,
    }


def _place_word(row: Row) -> str:
    if row.place is None:
        return "with" if row.beside else "here"
    return "worker" if row.place.worker_ids else "waits"
