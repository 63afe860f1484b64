"""Readers of tags, schedules, env, params, dotenv and worker selectors."""

from __future__ import annotations

from txdagu.dagfile.cron import schedule_error
from txdagu.dagfile.fields import Field, Fields, Level, type_name, wrong_type
from txdagu.dagfile.report import Report
from txdagu.dagfile.shapes import TEXT, either, list_of
from txdagu.model.dag import ParamsSchema
from txdagu.model.errors import InvalidInputError
from txdagu.model.labels import WorkerSelector
from txdagu.model.params import Param, parse_params, quote_param
from txdagu.yamltree import Node, Position, label_text, plain, scalar_text

_CRON = either(TEXT, list_of(TEXT))
SCHEDULE = Level(
    "schedule",
    "schedule",
    (
        Field("start", _CRON, "When runs start.", for_scheduler=True),
        Field("stop", _CRON, "When a running one is stopped.", for_scheduler=True),
        Field("restart", _CRON, "When a running one is started again.", for_scheduler=True),
    ),
    exact=True,
    unknown='unknown key "{}" (expected start, stop, or restart)',
)
SCHEDULES = either(_CRON, SCHEDULE.reference)
_PARAM_ITEM = either(TEXT, {"type": "object"})
PARAMS = either(_PARAM_ITEM, list_of(_PARAM_ITEM))
PARAMS_SCHEMA = Level(
    "params",
    "params",
    (
        Field("schema", TEXT, "The file or address of a JSON Schema for the params."),
        Field("values", PARAMS, "The params."),
    ),
    exact=True,
    unknown="",
)
DEFAULT_DOTENV = ".env"


def read_strings(field: str, node: Node | None, report: Report) -> tuple[tuple[str, Node], ...]:
    """A string, or a list whose items become strings; each with its place."""
    if node is None:
        return ()
    if isinstance(node.value, str):
        return ((node.value, node),)
    if not isinstance(node.value, list):
        wrong_type(field, "string", node, report)
        return ()
    found = []
    for item in node.value:
        if item.value is None or isinstance(item.value, dict | list):
            report.field(field, f"a list of strings cannot hold a {type_name(item)}", item)
        else:
            found.append((scalar_text(item.value), item))
    return tuple(found)


def read_tags(node: Node | None, report: Report) -> tuple[str, ...]:
    """Tags: each item split at commas, trimmed, in lower case, without empty ones."""
    parts = (part.strip().lower() for text, _ in read_strings("tags", node, report) for part in text.split(","))
    return tuple(part for part in parts if part)


def read_dotenv(node: Node | None, report: Report) -> tuple[str, ...]:
    """The files to read, in order: ``.env``, then those that are named; none for an empty list."""
    if node is not None and node.value == []:
        return ()
    named = [text.strip() for text, _ in read_strings("dotenv", node, report)]
    return tuple(dict.fromkeys([DEFAULT_DOTENV, *filter(None, named)]))


def read_schedules(fields: Fields) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """The cron expressions at which runs start, stop and start again."""
    node = fields.node("schedule")
    if node is None or not isinstance(node.value, dict):
        return _expressions("schedule", node, fields.report), (), ()
    own = Fields(node, SCHEDULE, fields.report, "schedule.")
    start, stop, restart = (
        _expressions(own.path + name, own.node(name), own.report) for name in ("start", "stop", "restart")
    )
    return start, stop, restart


def _expressions(field: str, node: Node | None, report: Report) -> tuple[str, ...]:
    if node is None:
        return ()
    found = []
    for item in node.value if isinstance(node.value, list) else [node]:
        if not isinstance(item.value, str):
            wrong_type(field, "string", item, report)
        elif (text := item.value.strip()) and (error := schedule_error(text)):
            advice = "write minute, hour, day, month and weekday, as in '0 2 * * MON-FRI'"
            report.field(field, f"invalid schedule: {error}", item, advice)
        elif text:
            found.append(text)
    return tuple(found)


def read_env(node: Node | None, report: Report) -> tuple[str, ...]:
    """``NAME=value`` texts in the order in which they are written."""
    if node is None:
        return ()
    if isinstance(node.value, dict):
        return _env_of_map(node, report)
    if not isinstance(node.value, list):
        report.field("env", f"env must be map or array, got {type_name(node)}", node, "write NAME: value")
        return ()
    found: list[str] = []
    for number, item in enumerate(node.value):
        if isinstance(item.value, dict):
            found += _env_of_map(item, report)
            continue
        name, equals, value = (item.value if isinstance(item.value, str) else "").partition("=")
        if not equals or not name.strip():
            shown = scalar_text(plain(item))
            report.field("env", f'env[{number}]: invalid format "{shown}" (expected KEY=value)', item)
        else:
            found.append(f"{name.strip()}={value}")
    return tuple(found)


def _env_of_map(node: Node, report: Report) -> tuple[str, ...]:
    assert isinstance(node.value, dict)
    for name, position in node.keys.items():
        if not name.strip() or "=" in name:
            report.field("env", f"a variable cannot be named {name!r}", position)
    return tuple(f"{name.strip()}={scalar_text(plain(value))}" for name, value in node.value.items())


def read_dag_params(fields: Fields) -> tuple[str, ParamsSchema | None]:
    """A DAG's params, and the JSON Schema for them if ``params`` is a mapping with a text under ``schema``."""
    node = fields.node("params")
    if node is not None and isinstance(node.value, dict):
        schema = node.value.get("schema")
        if schema is not None and isinstance(schema.value, str):
            own = Fields(node, PARAMS_SCHEMA, fields.report, "params.")
            text = read_params(own.node("values"), own.report, always_quoted=False)
            return text, ParamsSchema(schema.value.strip())
    return read_params(node, fields.report, always_quoted=False), None


def read_params(node: Node | None, report: Report, *, always_quoted: bool) -> str:
    """Params in the syntax of the command line: a text, a list of texts and mappings, or a mapping in order of names."""
    if node is None:
        return ""
    written = []
    for item in node.value if isinstance(node.value, list) else [node]:
        for (name, value), place in _params_of(item, report):
            try:
                written.append(quote_param(name, value, always=always_quoted))
            except InvalidInputError as error:
                report.adopt(error, place)
    return " ".join(written)


def _params_of(node: Node, report: Report) -> list[tuple[Param, Node | Position]]:
    if isinstance(node.value, dict):
        return [((name, scalar_text(plain(node.value[name]))), node.keys[name]) for name in sorted(node.value)]
    if isinstance(node.value, str):
        try:
            return [(param, node) for param in parse_params(node.value)]
        except InvalidInputError as error:
            report.adopt(error, node)
            return []
    report.field(
        "params", f"invalid parameter value: {scalar_text(plain(node))}", node, 'write NAME: value, or "value"'
    )
    return []


def read_selector(node: Node | None, report: Report) -> WorkerSelector:
    """Labels that a worker must have, as texts; or the word ``local``."""
    if node is None:
        return WorkerSelector()
    if node.value == "local":
        return WorkerSelector(local=True)
    if not isinstance(node.value, dict):
        message = f"workerSelector must be a map of labels or the word local, got {scalar_text(plain(node))!r}"
        report.field("workerSelector", message, node, 'write for example gpu: "true"')
        return WorkerSelector()
    labels = {}
    for key, value in node.value.items():
        if value.value is None or isinstance(value.value, dict | list):
            message = f"label {key!r} needs a text, got {type_name(value)}"
            report.field("workerSelector", message, value, 'write "" for an empty value')
        elif not key.strip():
            report.field("workerSelector", "a label needs a name", node.keys[key])
        else:
            labels[key.strip()] = label_text(value).strip()
    return WorkerSelector(labels)
