"""Showing a run while it runs: a live table on a terminal, one line per change elsewhere."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from functools import partial
from operator import is_
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from txdagu.cli.following import Family
from txdagu.cli.output import visible, write_or_drop
from txdagu.cli.report import duration
from txdagu.model.dag import Handler
from txdagu.model.run import NodeStatus, RunStatus
from txdagu.model.status import NodeState

SIGNS = {
    NodeState.NOT_STARTED: ("·", "dim"),
    NodeState.RUNNING: ("▶", "bold cyan"),
    NodeState.SUCCEEDED: ("✔", "green"),
    NodeState.PARTIALLY_SUCCEEDED: ("✔", "yellow"),
    NodeState.FAILED: ("✘", "bold red"),
    NodeState.ABORTED: ("✘", "magenta"),
    NodeState.SKIPPED: ("-", "dim"),
    NodeState.WAITING: ("…", "yellow"),
    NodeState.REJECTED: ("✘", "red"),
}

MOST_GIVEN = 40  # characters of a called run's params in the lines about its steps

Row = tuple[str, NodeStatus, str]


class ProgressView(Protocol):
    """Shows families as they change."""

    def show(self, family: Family) -> None:
        """Show this state."""

    def note(self, sentence: str) -> None:
        """Show a sentence about what is waited for."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def place_of(status: RunStatus) -> str:
    """Where a run is executed, in a reader's words."""
    return "here" if status.worker_id in ("", "local") else f"worker {status.worker_id}"


def _elsewhere(node: NodeStatus) -> bool:
    """Whether the step alone runs on a worker: it calls no DAG, and asks for one."""
    return node.step.child is None and bool(node.step.worker_selector.labels)


def _rows(family: Family, status: RunStatus, indent: str) -> Iterator[Row]:
    for node in (*status.nodes, *status.handlers_begun):
        children = family.children_of(node)
        where = "" if node.state is NodeState.NOT_STARTED else place_of(status)
        if node.step.child is not None or _elsewhere(node):
            where = "waits" if node.waits else ", ".join(sorted({place_of(child) for child in children}))
        yield indent + node.step.name, node, where
        for child in () if _elsewhere(node) else children:
            yield from _rows(family, child, indent + "  ")


def rows(family: Family) -> list[Row]:
    """One row per step of the whole family, children below the step that called them: name, state, place."""
    return list(_rows(family, family.top, ""))


class _OffScreen:
    """A view that takes nothing of the screen, and so has nothing to give back."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class Silence(_OffScreen):
    """Shows nothing."""

    def show(self, family: Family) -> None:
        """Nothing to do: nobody wants to see it."""

    def note(self, sentence: str) -> None:
        """Nothing to do here either."""


class LiveTable:
    """A table that is drawn over itself; for terminals."""

    def __init__(self, console: Console, now: Callable[[], datetime]) -> None:
        self._now = now
        self._family: Family | None = None
        self._note = ""
        self._live = Live(console=console, get_renderable=self._table, refresh_per_second=8, transient=True)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # the terminal has gone
            self._live.__exit__(kind, error, trace)

    def show(self, family: Family) -> None:
        """Take this state; the next drawing shows it."""
        self._family = family
        self._note = ""

    def note(self, sentence: str) -> None:
        """Keep the sentence below the table until something happens."""
        self._note = sentence

    def _table(self) -> Table:
        waits = [node.waits for node in self._family.top.nodes if node.waits] if self._family is not None else []
        notes = [note for note in (self._note, *waits) if note]
        table = Table(box=None, pad_edge=False, caption=Text(visible("\n".join(notes))) if notes else None)
        for heading in ("", "step", "runs", "took"):
            table.add_column(heading, no_wrap=True)
        if self._family is None:
            return table
        table.title = f"{self._family.top.run.name} · {self._family.top.state.label}"
        for name, node, where in rows(self._family):
            sign, style = SIGNS[node.state]
            took = duration(_whole(node.started_at), _whole(node.finished_at or self._now()))
            table.add_row(Text(sign, style), Text(visible(name)), Text(where, "cyan"), Text(took, "dim"))
        return table


def _whole(time: datetime | None) -> datetime | None:
    """In whole seconds, as states come from files; so that a step never seems to run longer than the one that called it."""
    return None if time is None else time.replace(microsecond=0)


def _all_told(node: NodeStatus, children: list[RunStatus]) -> bool:
    """Whether the ends of all runs that a step started are known."""
    return len(children) == len(node.children) and all(child.state.ended for child in children)


def _cut(text: str) -> str:
    return text if len(text) <= MOST_GIVEN else f"{text[: MOST_GIVEN - 1]}…"


def _given(node: NodeStatus, run_id: str) -> str:
    """What tells a run apart from the others that a parallel step called: its params, shortened."""
    if node.step.parallel is None:
        return ""
    params = next((child.params for child in node.children if child.run_id == run_id), "")
    return f" [{_cut(' '.join(params.split()))}]"


class ChangeLines(_OffScreen):
    """
    One line for each step that starts or ends; for pipes and log files.

    What was told to its end is remembered, and passed over as long as it is the very object: of a thousand steps or children one
    changes at a time.
    """

    def __init__(self, write: Callable[[str], object]) -> None:
        self._out = write
        self._told: dict[tuple[str, str], NodeState] = {}
        self._waits: dict[tuple[str, str], str] = {}
        self._nodes_shown: dict[str, tuple[NodeStatus, ...]] = {}
        self._nodes_open: dict[str, set[int]] = defaultdict(set)
        self._runs_over: dict[str, RunStatus] = {}

    def show(self, family: Family) -> None:
        """Write what has changed since the last call."""
        self._show(family, family.top, "")

    def _write(self, text: str) -> None:
        self._out(visible(text))

    def note(self, sentence: str) -> None:
        """Write the sentence."""
        self._write(f"… {sentence}\n")

    def _show(self, family: Family, status: RunStatus, prefix: str) -> None:
        handlers = (status.handlers[handler] for handler in Handler if handler in status.handlers)
        nodes = (*status.nodes, *handlers)
        pending = self._nodes_open[status.run.id]
        held: set[str] = set()
        for index in self._changed(status.run.id, nodes):
            node = nodes[index]
            pending.discard(index)
            if node.state is NodeState.NOT_STARTED:
                continue
            if not held.isdisjoint(node.step.depends) and not status.state.ended:
                held.add(node.step.name)  # it follows from what has not been told yet
                pending.add(index)
            elif not self._tell(family, status, node, prefix):
                pending.add(index)
                if node.state is NodeState.SUCCEEDED:
                    held.add(node.step.name)
        if status.state.ended and not pending:
            self._runs_over[status.run.id] = status

    def _tell(self, family: Family, status: RunStatus, node: NodeStatus, prefix: str) -> bool:
        """Write what is new of a node and of the runs that it called; whether there is nothing more to come."""
        key = (status.run.id, node.step.name)
        # A short step may have ended before anybody looked; it is told like any other.
        over = node.state.settled or node.state is NodeState.WAITING
        if over and status.kept(node) and key not in self._told:
            self._told[key] = node.state
            return node.state.settled
        children = family.children_of(node)
        if node.waits and self._waits.get(key) != node.waits:
            self._write(f"{prefix}… {node.step.name}: {node.waits}\n")
        self._waits[key] = node.waits
        begun = node.state is NodeState.RUNNING or (node.started_at is not None and over)
        if begun and key not in self._told:
            if _elsewhere(node) and not children and not node.state.settled:
                return False  # no worker has begun it
            self._told[key] = NodeState.RUNNING
            self._write(f"{prefix}{self._start(node, children[-1] if _elsewhere(node) and children else status)}\n")
        for child in () if _elsewhere(node) else children:
            if self._runs_over.get(child.run.id) is not child:
                self._show(family, child, f"{prefix}{node.step.name}{_given(node, child.run.id)} > ")
        all_told = _all_told(node, children)
        if node.state is NodeState.SUCCEEDED and not all_told:
            return False  # its children's last states are on their way, and read better before this
        if self._told.get(key, NodeState.NOT_STARTED) is not node.state:
            self._told[key] = node.state
            again = node.state is NodeState.RUNNING  # after a retry
            self._write(f"{prefix}{self._start(node, status) if again else self._end(node)}\n")
        return node.state.settled and all_told

    def _changed(self, run_id: str, nodes: tuple[NodeStatus, ...]) -> list[int]:
        """The indexes of nodes that are new, and of those of which not all was told."""
        shown = self._nodes_shown.get(run_id, ())
        self._nodes_shown[run_id] = nodes
        if len(shown) != len(nodes):
            self._nodes_open[run_id].clear()  # a run that was given up has no nodes any more
            return list(range(len(nodes)))
        new = [index for index, same in enumerate(map(is_, shown, nodes)) if not same]
        return sorted(self._nodes_open[run_id].union(new))

    def _start(self, node: NodeStatus, status: RunStatus) -> str:
        doing = f"calls {node.step.child.name}" if node.step.child else f"started, {place_of(status)}"
        return f"{SIGNS[NodeState.RUNNING][0]} {node.step.name} {doing}"

    def _end(self, node: NodeStatus) -> str:
        took = duration(node.started_at, node.finished_at)
        reason = f": {node.error.splitlines()[0]}" if node.error else ""
        return f"{SIGNS[node.state][0]} {node.step.name} {node.state.label}{f' after {took}' if took else ''}{reason}"


def progress_view(console: Console, now: Callable[[], datetime]) -> ProgressView:
    """A live table where the console is a terminal, else lines on it."""
    if console.is_terminal:
        return LiveTable(console, now)
    return ChangeLines(partial(write_or_drop, console.file))
