"""``dagu worker list|cordon|drain|resume``: the workers of the cluster, and orders for them."""

from __future__ import annotations

import getpass
import json
import socket
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from twisted.python.usage import UsageError

from txdagu.cli.arguments import parse
from txdagu.cli.settings import settings_from
from txdagu.config.values import UnfitError, read_duration
from txdagu.model.errors import NotFoundError
from txdagu.model.labels import format_labels, parse_labels
from txdagu.model.standing import Action, Ordered, Standing, WorkerOrder, standing_word
from txdagu.tap.options import SettingsOptions, parameters

if TYPE_CHECKING:
    from txdagu.cli.reactor import Interruption
    from txdagu.config.settings import Settings
    from txdagu.model.task import WorkerStatus
    from txdagu.peers.coordinators import Coordinators
    from txdagu.peers.interfaces import ICoordinators, WorkersView

OUTPUTS = ("table", "json")
LOOK_EVERY = 1.0


class ListOptions(SettingsOptions):
    """Options of ``dagu worker list``."""

    longdesc = "List the workers that the coordinators know, with what keeps tasks from them."
    optParameters = [
        *parameters("peer.", "worker.coordinator-host", "worker.coordinator-port"),
        ["selector", "l", "", "Only workers with these labels: key=value,…"],
        ["output", "o", "table", "How to print them: table or json."],
    ]

    def postOptions(self) -> None:
        """Read what is no setting."""
        self["labels"] = parse_labels(self["selector"], "--selector")
        if self["output"] not in OUTPUTS:
            raise UsageError(f'--output: "{self["output"]}" is neither of {" and ".join(OUTPUTS)}')


class OrderOptions(SettingsOptions):
    """Options of the orders."""

    operands = "[ID ...]"
    optParameters = [
        *parameters("peer.", "worker.coordinator-host", "worker.coordinator-port"),
        ["selector", "l", "", "All workers with these labels: key=value,…"],
    ]

    def parseArgs(self, *ids: str) -> None:
        """The ids of workers."""
        self["ids"] = ids

    def postOptions(self) -> None:
        """Read what is no setting; somebody has to be meant."""
        self["labels"] = parse_labels(self["selector"], "--selector")
        if not self["ids"] and not self["labels"]:
            raise UsageError("no worker is named: give ids, or --selector key=value")

    def order(self, action: Action) -> WorkerOrder:
        """The order as it was given."""
        return WorkerOrder(
            action,
            tuple(self["ids"]),
            self["labels"],
            reason=self.get("reason") or "",
            by=_who(),
            patience=self.get("seconds"),
        )


class CordonOptions(OrderOptions):
    """Options of ``dagu worker cordon``."""

    longdesc = (
        "Give these workers no new tasks; what they run goes on. It holds until it is taken back (dagu worker resume), also when "
        "workers or coordinators restart."
    )
    optParameters = [["reason", None, "", "Why, for those who see it."]]


class DrainOptions(OrderOptions):
    """Options of ``dagu worker drain``."""

    longdesc = (
        "Give these workers no new tasks, and have them emptied: what still runs at the deadline is stopped, handed back, and "
        "goes on elsewhere with the steps that had ended. It holds until it is taken back (dagu worker resume), also when "
        "workers or coordinators restart."
    )
    optParameters = [
        ["reason", None, "", "Why, for those who see it."],
        ["deadline", None, "", "How long running tasks may take, such as 10m; without it, as long as they want."],
    ]
    optFlags = [["wait", None, "Return when nothing runs on them any more."]]

    def postOptions(self) -> None:
        """The deadline as well."""
        super().postOptions()
        if self["deadline"]:
            try:
                self["seconds"] = read_duration(self["deadline"], zero=True)
            except UnfitError as error:
                raise UsageError(f"--deadline: {error}") from None


class ResumeOptions(OrderOptions):
    """Options of ``dagu worker resume``."""

    longdesc = "Give these workers tasks again."


def list_workers(arguments: list[str]) -> int:
    """Print the workers."""
    from txdagu.cli.reactor import run_in_reactor

    options = parse(ListOptions(), "worker list", arguments)
    settings = settings_from(options)
    return run_in_reactor(lambda reactor, _: _list(settings, options, reactor))


def cordon(arguments: list[str]) -> int:
    """Give workers no new tasks."""
    return _give(CordonOptions(), Action.CORDON, arguments)


def drain(arguments: list[str]) -> int:
    """Have workers emptied."""
    return _give(DrainOptions(), Action.DRAIN, arguments)


def resume(arguments: list[str]) -> int:
    """Give workers tasks again."""
    return _give(ResumeOptions(), Action.RESUME, arguments)


SUBCOMMANDS: dict[str, Callable[[list[str]], int]] = {
    "list": list_workers,
    "cordon": cordon,
    "drain": drain,
    "resume": resume,
}


def _who() -> str:
    """Who runs this, as others can tell: name and host."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = "somebody"
    return f"{name}@{socket.gethostname()}"


def _give(options: OrderOptions, action: Action, arguments: list[str]) -> int:
    from txdagu.cli.reactor import run_in_reactor

    parse(options, f"worker {action.value}", arguments)
    settings = settings_from(options)
    return run_in_reactor(lambda reactor, interruption: _carry_out(settings, options, action, reactor, interruption))


def _coordinators(settings: Settings, reactor: Any) -> Coordinators:
    from random import SystemRandom

    from txdagu.peers.connecting import connector
    from txdagu.peers.coordinators import Coordinators
    from txdagu.system.clock import monotonic

    return Coordinators(settings, reactor, SystemRandom(), monotonic, connector(settings, reactor))


async def _list(settings: Settings, options: ListOptions, reactor: Any) -> int:
    from txdagu.dispatch.matching import matches
    from txdagu.system.clock import unix_now
    from txdagu.web.documents import worker_document

    coordinators = _coordinators(settings, reactor)
    try:
        view = await coordinators.workers()
    finally:
        await coordinators.stopService()
    workers = [worker for worker in view.workers if matches(options["labels"], worker.labels)]
    for error in view.errors:
        sys.stderr.write(f"{error}\n")
    if options["output"] == "json":
        documents = [worker_document(worker, unix_now()) for worker in workers]
        sys.stdout.write(f"{json.dumps(documents, indent=2)}\n")
    elif workers:
        from rich.console import Console

        Console(file=sys.stdout, width=None if sys.stdout.isatty() else 200).print(table(workers))
    else:
        sys.stdout.write("No workers.\n")
    return 1 if view.errors and not view.workers else 0


async def _carry_out(
    settings: Settings, options: OrderOptions, action: Action, reactor: Any, interruption: Interruption
) -> int:
    coordinators = _coordinators(settings, reactor)
    try:
        order = options.order(action)
        reached, code = await give(coordinators, order)
        if options.get("wait"):
            await empty(coordinators, reached, reactor, interruption)
        return code
    finally:
        await coordinators.stopService()


async def give(coordinators: ICoordinators, order: WorkerOrder) -> tuple[tuple[str, ...], int]:
    """
    Give an order and say whom it reached; returns that with the exit code.

    Raises `NotFoundError` where nobody knows a worker that is meant; those that are known have been reached then.
    """
    done: Ordered = await coordinators.order(order)
    for worker_id in done.workers:
        sys.stdout.write(f"{worker_id}: {_DONE[order.action]}\n")
    sys.stdout.flush()
    for error in done.errors:
        sys.stderr.write(f"{error}; it does not know of this: give the order again when it answers\n")
    if done.unknown:
        view: WorkersView = await coordinators.workers()
        known = ", ".join(worker.id for worker in view.workers) or "none"
        raise NotFoundError(f"no such worker: {', '.join(done.unknown)} (known: {known})")
    if not done.workers:
        raise NotFoundError(f"no worker has the labels {format_labels(order.selector)}")
    return done.workers, int(bool(done.errors))


_DONE = {
    Action.CORDON: "cordoned, gets no new tasks",
    Action.DRAIN: "draining, gets no new tasks",
    Action.RESUME: "schedulable, gets tasks again",
}


async def empty(coordinators: ICoordinators, ids: Sequence[str], reactor: Any, interruption: Interruption) -> None:
    """Return when nothing runs on these workers; say so whenever that changes. A signal ends the waiting, not the drain."""
    from twisted.internet.defer import CancelledError
    from twisted.internet.task import deferLater

    pause: list[Any] = []

    def interrupted(_signal: str) -> None:
        for one in pause:
            one.cancel()

    interruption.on(interrupted)
    told = ""
    while True:
        view: WorkersView = await coordinators.workers()
        left = [worker for worker in view.workers if worker.id in ids and worker.running]
        known = bool(view.workers) or not view.errors
        sentence = "; ".join(f"{worker.id} still runs {tasks_of(worker)}" for worker in left)
        sentence = sentence or ("nothing runs any more" if known else "; ".join(view.errors))
        if sentence != told:
            told = sentence
            sys.stdout.write(f"{sentence}\n")
            sys.stdout.flush()
        if known and not left:
            return
        if interruption.signal:
            raise CancelledError
        pause[:] = [deferLater(reactor, LOOK_EVERY)]
        await pause[0]


def tasks_of(worker: WorkerStatus) -> str:
    """The runs of a worker, as people name them."""
    return ", ".join(str(task.run) for task in worker.running)


def state_of(worker: WorkerStatus) -> str:
    """What keeps tasks from a worker, in one phrase with local times: ``draining until 10:52 (disk swap, by ada@host1)``."""
    word = standing_word(worker.standing, worker.running)
    standing = worker.standing
    if standing is None:
        return word
    limit = f" until {_clock(standing.until)}" if standing.until is not None and worker.running else ""
    return f"{word}{limit} since {_clock(standing.since)}{_why(standing)}"


def _why(standing: Standing) -> str:
    parts = [standing.reason, f"by {standing.by}" if standing.by else ""]
    told = ", ".join(part for part in parts if part)
    return f" ({told})" if told else ""


def _clock(at: float) -> str:
    moment = datetime.fromtimestamp(at, UTC).astimezone()
    today = datetime.now(UTC).astimezone().date()
    return f"{moment:%H:%M}" if moment.date() == today else f"{moment:%Y-%m-%d %H:%M}"


def table(workers: Iterable[WorkerStatus]) -> Any:
    """The workers for a terminal."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=box.SIMPLE_HEAD)
    for name in ("WORKER", "LABELS", "HEALTH", "BUSY", "STATE", "TASKS"):
        shown.add_column(name, overflow="fold")
    for worker in workers:
        cells = (
            worker.id,
            format_labels(worker.labels) or "-",
            worker.health.value,
            f"{worker.busy}/{worker.slots}",
            state_of(worker),
            tasks_of(worker) or "-",
        )
        shown.add_row(*map(Text, cells))
    return shown
