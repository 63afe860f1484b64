"""From the text of a file to its DAGs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePath

from txdagu.dagfile.commands import read_command, read_shell
from txdagu.dagfile.fields import DAG, Fields, type_name
from txdagu.dagfile.order import arrange
from txdagu.dagfile.report import Report
from txdagu.dagfile.steps import read_steps
from txdagu.dagfile.values import read_env, read_params, read_schedule, read_selector, read_tags
from txdagu.model.dag import (
    DEFAULT_CLEAN_UP_SECONDS,
    DEFAULT_HISTORY_DAYS,
    DEFAULT_MAX_OUTPUT_SIZE,
    Dag,
    Step,
)
from txdagu.model.errors import InvalidInputError, Problem
from txdagu.model.ids import DAG_NAME, MAX_DAG_NAME
from txdagu.yamltree import Document, Node, parse_documents


def load_dag(text: str, source: str, *, location: str = "", name: str = "") -> Dag:
    """
    The DAG that a file describes, with the file's other documents as its `local_dags`.

    `source` names the text in messages, `location` is the file's absolute path, where there is one. The DAG is called `name`,
    else as its document says, else like the file without its ending. Raises `InvalidInputError` with everything that is wrong
    in all documents, each problem at ``source:line:column``.
    """
    documents = parse_documents(text, source)
    if not documents:
        raise InvalidInputError([Problem("no DAGs found in file", source, "write at least one step below steps:")])
    report = Report(source)
    default_name = name or PurePath(location or source).stem
    main = _read_document(documents[0], default_name, bool(name), location, report)
    local_dags: dict[str, Dag] = {}
    lines: dict[str, int] = {}
    for index, document in enumerate(documents[1:], 1):
        dag = _read_document(document, "", False, location, report)
        place = _name_place(document.root)
        if not dag.name:
            message = f"DAG at index {index} must have a name in multi-DAG file"
            report.add(message, place, "add name: to this document")
        elif dag.name in local_dags:
            message = f'duplicate DAG name "{dag.name}" found, as in line {lines[dag.name]}'
            report.field("name", message, place)
        else:
            local_dags[dag.name] = dag
            lines[dag.name] = place.line
    report.check()
    return replace(main, local_dags=local_dags, yaml_text=text)


def _read_document(document: Document, default_name: str, name_is_given: bool, location: str, report: Report) -> Dag:
    root = document.root
    if not isinstance(root.value, dict):
        report.add(f"a DAG must be a mapping of fields, got {type_name(root)}", root, "begin with name: or steps:")
        return Dag(default_name)
    fields = Fields(root, DAG, report)
    written_name = fields.text("name")
    name = default_name if name_is_given else written_name or default_name
    _check_name(name, fields.node("name") or root, report)
    kind = _read_type(fields, report)
    shell, shell_args = read_shell(fields.node("shell"), report)
    return Dag(
        name,
        steps=_read_steps(fields, name, kind, report),
        type=kind,
        group=fields.text("group"),
        description=fields.text("description"),
        tags=read_tags(fields.node("tags"), report),
        schedule=read_schedule(fields.node("schedule"), report),
        params=read_params(fields.node("params"), report, always_quoted=False),
        env=read_env(fields.node("env"), report),
        shell=shell,
        shell_args=shell_args,
        working_dir=fields.text("workingDir"),
        base_dir=str(PurePath(location).parent) if location else "",
        log_dir=fields.text("logDir"),
        queue=fields.text("queue"),
        max_active_runs=fields.number("maxActiveRuns", 1),
        max_active_steps=fields.number("maxActiveSteps", 0, 0),
        hist_retention_days=fields.number("histRetentionDays", DEFAULT_HISTORY_DAYS),
        max_clean_up_seconds=fields.number("maxCleanUpTimeSec", DEFAULT_CLEAN_UP_SECONDS, 0),
        max_output_size=fields.number("maxOutputSize", DEFAULT_MAX_OUTPUT_SIZE, 1),
        worker_selector=read_selector(fields.node("workerSelector"), report),
        yaml_text=document.text,
        location=location,
    )


def _name_place(root: Node) -> Node:
    if isinstance(root.value, dict):
        for key, value in root.value.items():
            if DAG.field_of(key) == "name":
                return value
    return root


def _check_name(name: str, place: Node, report: Report) -> None:
    if len(name) > MAX_DAG_NAME:
        message = f"name must be less than {MAX_DAG_NAME} characters (value: {name})"
        report.field("name", message, place, f"it has {len(name)}")
    if name and not DAG_NAME.fullmatch(name):
        message = f"name must only contain alphanumeric characters, dashes, dots, and underscores (value: {name})"
        report.field("name", message, place)


def _read_type(fields: Fields, report: Report) -> str:
    kind = fields.text("type") or "chain"
    if kind in ("chain", "graph"):
        return kind
    place = fields.node("type") or fields.place
    if kind == "agent":
        report.field("type", "type 'agent' is reserved", place, "write chain or graph")
    else:
        report.field("type", f"invalid type: {kind} (must be one of: graph, chain)", place)
    return "chain"


def _read_steps(fields: Fields, name: str, kind: str, report: Report) -> tuple[Step, ...]:
    """The steps; a document with a command and no steps is one step that is named after the DAG."""
    steps, command = fields.node("steps"), fields.node("command")
    if command is not None and (steps is None or not steps.value):
        commands, script = read_command(command, report)
        return (Step(name, commands=commands, script=script),)
    positions = read_steps(steps, command, report)
    chain = kind == "chain" and steps is not None and isinstance(steps.value, list)
    return arrange(positions, chain, report)
