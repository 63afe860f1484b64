"""From the text of a file to its DAGs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePath

from txdagu.dagfile.base import BaseConfiguration, Written, inherit
from txdagu.dagfile.commands import read_command, read_shell
from txdagu.dagfile.conditions import read_conditions
from txdagu.dagfile.containers import read_container
from txdagu.dagfile.fields import Fields, type_name
from txdagu.dagfile.handlers import read_handlers
from txdagu.dagfile.language import DAG, STEP
from txdagu.dagfile.mail import read_addressing, read_mail_on, read_smtp
from txdagu.dagfile.order import arrange
from txdagu.dagfile.policies import read_worker_lost
from txdagu.dagfile.report import Report
from txdagu.dagfile.secrets import read_secrets
from txdagu.dagfile.settings import read_llm, read_otel, read_registry_auths, read_run_config, read_ssh
from txdagu.dagfile.stepfields import Surroundings, read_log_output
from txdagu.dagfile.steps import read_steps
from txdagu.dagfile.values import read_dag_params, read_dotenv, read_env, read_schedules, read_selector, read_tags
from txdagu.model.dag import Dag, LogOutput, Step
from txdagu.model.errors import InvalidInputError, Problem
from txdagu.model.ids import DAG_NAME, MAX_DAG_NAME
from txdagu.yamltree import Document, Node, parse_documents


def load_dag(
    text: str,
    source: str,
    *,
    location: str = "",
    name: str = "",
    base: BaseConfiguration | None = None,
    called: bool = False,
    warnings: list[Problem] | None = None,
) -> Dag:
    """
    The DAG that a file describes, with the file's other documents as its `local_dags`.

    `source` names the text in messages, `location` is the file's absolute path, where there is one. The DAG is called `name`,
    else as its document says, else like the file without its ending. All its documents inherit from the `base`; a file that is
    `called` by another DAG's step does not take its handlers, and neither do the documents after the first.

    Raises `InvalidInputError` with everything that is wrong in all documents and in the base, each problem at
    ``source:line:column`` with its path of keys. What has no effect is added to `warnings`.
    """
    documents = parse_documents(text, source)
    if not documents:
        raise InvalidInputError([Problem("no DAGs found in file", source, "write at least one step below steps:")])
    above, problems = (None, []) if base is None else _read_base(base, warnings)
    report = Report(source)
    default_name = name or PurePath(location or source).stem
    main = _read_document(documents[0], default_name, bool(name), location, above, report, called=called)
    local_dags: dict[str, Dag] = {}
    lines: dict[str, int] = {}
    for index, document in enumerate(documents[1:], 1):
        dag = _read_document(document, "", False, location, above, report, called=True)
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
    problems += report.problems([document.root for document in documents])
    if warnings is not None:
        warnings += report.warnings
    if problems:
        raise InvalidInputError(problems)
    return replace(main, local_dags=local_dags, yaml_text=text)


def _read_base(base: BaseConfiguration, warnings: list[Problem] | None) -> tuple[Written | None, list[Problem]]:
    """What a base configuration says, or nothing if it is empty, and what is wrong with it."""
    try:
        documents = parse_documents(base.text, base.source)
    except InvalidInputError as error:
        return None, list(error.problems)
    if not documents:
        return None, []
    report = Report(base.source)
    for more in documents[1:]:
        report.add("a base configuration is one document", more.root, "remove what follows ---")
    root = documents[0].root
    written = None
    if isinstance(root.value, dict):
        for name in ("name", "steps", "command"):
            if name in root.value:
                report.warn(f"{name} in a base configuration is ignored", root.keys[name])
        settings = {key: node for key, node in root.value.items() if key not in ("name", "steps", "command")}
        fields = Fields(replace(root, value=settings), DAG, report, others=(STEP,))
        written = Written(_read_fields(fields, "base", "", Surroundings()), frozenset(fields))
    else:
        report.add(f"a base configuration must be a mapping of fields, got {type_name(root)}", root)
    if warnings is not None:
        warnings += report.warnings
    return written, report.problems([root])


def _read_document(
    document: Document,
    default_name: str,
    name_is_given: bool,
    location: str,
    base: Written | None,
    report: Report,
    *,
    called: bool = False,
) -> Dag:
    root = document.root
    if not isinstance(root.value, dict):
        report.add(f"a DAG must be a mapping of fields, got {type_name(root)}", root, "begin with name: or steps:")
        return Dag(default_name)
    fields = Fields(root, DAG, report, others=(STEP,))
    written_name = fields.text("name")
    name = default_name if name_is_given else written_name or default_name
    _check_name(name, fields.at("name"), report)
    step_type = "container" if "container" in fields else "ssh" if fields.node("ssh") else ""
    has_llm = "llm" in fields or (base is not None and bool(base.dag.llm))
    around = Surroundings(fields.node("command"), step_type, has_llm)
    dag = replace(_read_fields(fields, name, location, around), yaml_text=document.text, location=location)
    if base is not None:
        dag = inherit(base, Written(dag, frozenset(fields)), handlers=not called)
    dag = replace(dag, steps=_read_steps(fields, name, dag.type, around))
    if dag.worker_selector.labels and any(step.type == "hitl" for step in dag.steps):
        message = "DAG with HITL steps cannot be dispatched to workers"
        fields.problem("workerSelector", message, "remove workerSelector, or write workerSelector: local")
    return dag


def _read_fields(fields: Fields, name: str, location: str, around: Surroundings) -> Dag:
    """All fields but the steps."""
    report = fields.report
    shell, shell_args = read_shell(fields.node("shell"), report)
    schedule, stop_schedule, restart_schedule = read_schedules(fields)
    params, params_schema = read_dag_params(fields)
    return Dag(
        name,
        type=_read_type(fields),
        group=fields.text("group"),
        description=fields.text("description"),
        tags=read_tags(fields.node("tags"), report),
        schedule=schedule,
        stop_schedule=stop_schedule,
        restart_schedule=restart_schedule,
        skip_if_successful=fields.switch("skipIfSuccessful"),
        params=params,
        params_schema=params_schema,
        env=read_env(fields.node("env"), report),
        shell=shell,
        shell_args=shell_args,
        working_dir=fields.text("workingDir"),
        base_dir=str(PurePath(location).parent) if location else "",
        log_dir=fields.text("logDir"),
        queue=fields.text("queue"),
        max_active_runs=fields.number("maxActiveRuns"),
        max_active_steps=fields.number("maxActiveSteps"),
        hist_retention_days=fields.number("histRetentionDays"),
        max_clean_up_seconds=fields.number("maxCleanUpTimeSec"),
        max_output_size=fields.number("maxOutputSize"),
        worker_selector=read_selector(fields.node("workerSelector"), report),
        on_worker_lost=read_worker_lost(fields.node("onWorkerLost"), report),
        dotenv=read_dotenv(fields.node("dotenv"), report),
        secrets=read_secrets(fields),
        log_output=read_log_output(fields) or LogOutput.SEPARATE,
        timeout_seconds=fields.number("timeoutSec"),
        delay_seconds=fields.number("delaySec"),
        restart_wait_seconds=fields.number("restartWaitSec"),
        preconditions=read_conditions(fields),
        handlers=read_handlers(fields, replace(around, command=None)),
        mail_on=read_mail_on(fields),
        error_mail=read_addressing(fields, "errorMail"),
        info_mail=read_addressing(fields, "infoMail"),
        wait_mail=read_addressing(fields, "waitMail"),
        smtp=read_smtp(fields),
        container=read_container(fields),
        registry_auths=read_registry_auths(fields),
        ssh=read_ssh(fields),
        llm=read_llm(fields),
        otel=read_otel(fields),
        run_config=read_run_config(fields),
    )


def _name_place(root: Node) -> Node:
    if isinstance(root.value, dict):
        for key, value in root.value.items():
            definition = DAG.field_of(key)
            if definition is not None and definition.name == "name":
                return value
    return root


def _check_name(name: str, place: Node, report: Report) -> None:
    if len(name) > MAX_DAG_NAME:
        message = f"name must be less than {MAX_DAG_NAME} characters (value: {name})"
        report.field("name", message, place, f"it has {len(name)}")
    if name and not DAG_NAME.fullmatch(name):
        message = f"name must only contain alphanumeric characters, dashes, dots, and underscores (value: {name})"
        report.field("name", message, place)


def _read_type(fields: Fields) -> str:
    kind = fields.text("type") or "chain"
    if kind in ("chain", "graph"):
        return kind
    if kind == "agent":
        fields.problem("type", "type 'agent' is reserved", "write chain or graph")
    else:
        fields.problem("type", f"invalid type: {kind} (must be one of: graph, chain)")
    return "chain"


def _read_steps(fields: Fields, name: str, kind: str, around: Surroundings) -> tuple[Step, ...]:
    """The steps; a document with a command and no steps is one step that is named after the DAG."""
    steps, command = fields.node("steps"), fields.node("command")
    if command is not None and (steps is None or not steps.value):
        commands, script = read_command(command, fields.report)
        return (Step(name, commands=commands, script=script, type=around.step_type),)
    positions = read_steps(fields, around)
    chain = kind == "chain" and steps is not None and isinstance(steps.value, list)
    return arrange(positions, chain, fields.report)
