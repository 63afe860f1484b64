"""The tree that `dagu start` and `dagu status` print: a run, its steps, and what they said."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

from txdagu.cli.output import visible
from txdagu.model.run import Decision, NodeStatus, RunStatus
from txdagu.model.status import NodeState, RunState

TAIL_BYTES = 8192


def duration(start: datetime | None, end: datetime | None) -> str:
    """How long something took, as ``0s``, ``4.0s``, ``2m5s``; empty if it has not begun."""
    if start is None or end is None:
        return ""
    seconds = max(0.0, (end - start).total_seconds())
    if seconds < 1:
        return "0s"
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{seconds}s" if hours else f"{minutes}m{seconds}s"


def read_tail(path: str) -> list[str]:
    """
    The last lines of a log file, at most 8 KiB of it, with a note in front where something was left out.

    A file that is gone or was never written has no lines. Of one that holds no text only the size and the place are told.
    """
    if not path:
        return []
    try:
        with Path(path).open("rb") as log:
            size = log.seek(0, 2)
            log.seek(max(0, size - TAIL_BYTES))
            data = log.read(TAIL_BYTES)
    except OSError:
        return []
    if b"\0" in data:
        return [f"(binary data, {size} bytes in {path})"]
    lines = data.decode("utf-8", "replace").rstrip().splitlines()
    if size > TAIL_BYTES:
        return [f"… {size - TAIL_BYTES} bytes before this are in {path}", *lines[1:]]
    return lines


def _block(name: str, lines: list[str]) -> list[str]:
    if not lines:
        return []
    if len(lines) == 1:
        return [f"{name}: {lines[0]}"]
    return [f"{name}:", *(f"  {line}" for line in lines)]


def decision_text(decision: Decision | None) -> str:
    """What a person decided, who and when, and why; empty if nobody did."""
    if decision is None:
        return ""
    text = "approved" if decision.approved else "rejected"
    text += f" by {decision.by}" if decision.by else ""
    if decision.at is not None:
        text += f" at {_stamp(decision.at)}"
    said = [f"{name}={value}" for name, value in decision.inputs.items()]
    return f"{text}: {decision.reason or ' '.join(said)}" if decision.reason or said else text


def _stamp(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


def _commands(node: NodeStatus) -> Iterator[str]:
    for command in node.step.commands:
        yield command.text or " ".join((command.program, *command.args))


def _results(node: NodeStatus, workers: Mapping[str, str], read: Callable[[str], list[str]]) -> Iterator[list[str]]:
    yield _block("stdout", read(node.stdout))
    if node.stderr != node.stdout:
        yield _block("stderr", read(node.stderr))
    for child in (*node.children_repeated, *node.children):
        worker = workers.get(child.run_id, "local")
        place = "" if worker == "local" else f" on {worker}"
        if node.step.child is None:
            yield [f"ran{place}"] if place else []
            continue
        yield [f"subdag: {child.run_id} [{' '.join(child.params.splitlines())}]{place}"]
    yield _block("decision", decision_text(node.decision).splitlines())
    yield _block("waits", [node.waits] if node.waits else [])
    yield _block("error", node.error.rstrip().splitlines())


def _node_lines(
    node: NodeStatus, workers: Mapping[str, str], read: Callable[[str], list[str]], queued: bool
) -> Iterator[str]:
    took = duration(node.started_at, node.finished_at)
    title = node.step.name + (f" ({took})" if took else "")
    if not queued:
        title += f" [{node.state.label}]"
    yield title
    if node.state in (NodeState.NOT_STARTED, NodeState.SKIPPED):
        return
    commands = [line for command in _commands(node) for line in command.splitlines()] if node.started_at else []
    blocks = [block for block in _results(node, workers, read) if block]
    for number, line in enumerate(commands):
        yield ("└─" if number == len(commands) - 1 and not blocks else "├─") + line
    if commands and blocks:
        yield "│"
    for number, block in enumerate(blocks):
        last = number == len(blocks) - 1
        yield ("└─" if last else "├─") + block[0]
        yield from (("  " if last else "│ ") + line for line in block[1:])


def report(
    status: RunStatus,
    workers: Mapping[str, str] | None = None,
    read: Callable[[str], list[str]] = read_tail,
) -> str:
    """
    The whole report as one text, ending in a newline.

    `workers` maps ids of child runs to the worker that executed them, where that is known. `read` gives the lines to
    show of a log file.
    """
    began = status.started_at or status.queued_at
    stamp = "" if began is None else _stamp(began)
    took = duration(status.started_at, status.finished_at)
    lines = [
        status.state.title + (f" - {stamp}" if stamp else ""),
        "",
        f"dag: {status.run.name}" + (f" ({took})" if took else ""),
    ]
    queued = status.state is RunState.QUEUED
    heading = "Status" if status.state is RunState.RUNNING else "Result"
    nodes = (*status.nodes, *status.handlers_begun)
    for number, node in enumerate(nodes):
        last = number == len(nodes) - 1
        head, *rest = _node_lines(node, workers or {}, read, queued)
        lines.append("│" if number == 0 else "│ ")
        lines.append(("└─" if last else "├─") + head)
        lines.extend(("  " if last else "│ ") + line for line in rest)
    lines += ["", *(_block("error", status.error.splitlines())), f"{heading}: {status.state.title}", ""]
    return "\n".join(visible(line.rstrip()) for line in lines)
