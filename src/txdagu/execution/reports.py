"""Mails that tell how a run has ended, or that a step has failed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from html import escape

from txdagu.execution.message import Mail
from txdagu.model.dag import Dag
from txdagu.model.mail import MailAddressing
from txdagu.model.run import NodeStatus, RunStatus
from txdagu.model.status import NodeState, RunState

_BAD = frozenset({RunState.FAILED, RunState.REJECTED})
_GOOD = frozenset({RunState.SUCCEEDED, RunState.PARTIALLY_SUCCEEDED})
_STYLE = (
    "body{font-family:sans-serif;color:#222}table{border-collapse:collapse}"
    "th,td{border:1px solid #bbb;padding:4px 8px;text-align:left;vertical-align:top}"
    "th{background:#eee}td.failed{color:#b00;font-weight:bold}pre{margin:0;white-space:pre-wrap}"
)


def end_mail(dag: Dag, status: RunStatus) -> Mail | None:
    """
    The mail that the DAG wants for this end; None if it wants none.

    A failed step makes it an ``errorMail`` also where the run as a whole did not fail.
    """
    if status.state is RunState.WAITING:
        return run_mail(dag, status, dag.wait_mail) if dag.mail_on.wait else None
    failed = any(node.state is NodeState.FAILED for node in status.nodes)
    if status.state in _BAD or (failed and status.state in _GOOD):
        return run_mail(dag, status, dag.error_mail) if dag.mail_on.failure else None
    if status.state in _GOOD and dag.mail_on.success:
        return run_mail(dag, status, dag.info_mail)
    return None


def run_mail(dag: Dag, status: RunStatus, addressing: MailAddressing) -> Mail | None:
    """What a run looks like now, to these addresses; None if there are none."""
    if not addressing.to:
        return None
    subject = f"{addressing.prefix} {dag.name} ({status.state.label})".strip()
    logs = tuple(_logs(status)) if addressing.attach_logs else ()
    return Mail(addressing.sender, addressing.to, subject, "\n".join(_page(dag, status)), logs)


def _logs(status: RunStatus) -> Iterator[str]:
    """The log files of all steps that have begun; a step with one file for both streams has it once."""
    seen = dict.fromkeys(path for node in status.nodes for path in (node.stdout, node.stderr) if path)
    return iter(seen)


def _page(dag: Dag, status: RunStatus) -> Iterator[str]:
    yield f"<!DOCTYPE html><html><head><meta charset='utf-8'><style>{_STYLE}</style></head><body>"
    yield f"<h2>{escape(dag.name)}: {escape(status.state.label)}</h2>"
    if status.error:
        yield f"<p>{escape(status.error)}</p>"
    facts = (
        ("DAG run ID", status.run.id),
        ("Parameters", " ".join(status.params)),
        ("Started at", _time(status.started_at)),
        ("Finished at", _time(status.finished_at)),
    )
    yield "<table>"
    for name, value in facts:
        yield f"<tr><th>{name}</th><td>{escape(value)}</td></tr>"
    yield "</table><p></p><table>"
    heads = ("#", "Step", "Started at", "Finished at", "Status", "Command", "Error")
    yield f"<tr>{''.join(f'<th>{head}</th>' for head in heads)}</tr>"
    for number, node in enumerate(status.nodes, 1):
        yield _row(number, node)
    yield "</table></body></html>"


def _row(number: int, node: NodeStatus) -> str:
    command = "\n".join(command.text or " ".join((command.program, *command.args)) for command in node.step.commands)
    mark = " class='failed'" if node.state is NodeState.FAILED else ""
    return (
        f"<tr><td>{number}</td><td>{escape(node.step.name)}</td><td>{_time(node.started_at)}</td>"
        f"<td>{_time(node.finished_at)}</td><td{mark}>{escape(node.state.label)}</td>"
        f"<td><pre>{escape(command)}</pre></td><td><pre>{escape(node.error)}</pre></td></tr>"
    )


def _time(moment: datetime | None) -> str:
    return moment.isoformat(timespec="seconds") if moment is not None else ""
