"""``parallel``: the items for each of which a called DAG runs."""

from __future__ import annotations

from collections.abc import Mapping

from txdagu.dagfile.fields import Field, Fields, Level, type_name
from txdagu.dagfile.shapes import AT_LEAST_ONE, SCALAR_MAP, TEXT, either, list_of
from txdagu.model.dag import DEFAULT_MAX_CONCURRENT, Parallel
from txdagu.yamltree import Node, plain, scalar_text

_ITEMS = either(TEXT, list_of(either({"type": ["string", "number"]}, SCALAR_MAP)))
PARALLEL = Level(
    "parallel",
    "parallel",
    (
        Field("items", _ITEMS, "The items, or a text that is evaluated and split into them."),
        Field("maxConcurrent", AT_LEAST_ONE, "How many of them run at once.", DEFAULT_MAX_CONCURRENT),
    ),
    exact=True,
    unknown="",
)
PARALLELS = either(_ITEMS, PARALLEL.reference)


def read_parallel(fields: Fields) -> Parallel | None:
    """A text to evaluate, a list of items, or a mapping with ``items`` and ``maxConcurrent``."""
    node = fields.node("parallel")
    if node is None:
        return None
    items: Node | None = node
    most = DEFAULT_MAX_CONCURRENT
    if isinstance(node.value, dict):
        own = Fields(node, PARALLEL, fields.report, "parallel.")
        items, most = own.node("items"), _most(own)
        if items is not None and not isinstance(items.value, str | list):
            own.problem("items", f"parallel.items must be string or array, got {type_name(items)}")
            return None
    elif not isinstance(node.value, str | list):
        fields.problem("parallel", f"parallel must be string, array, or object, got {type_name(node)}")
        return None
    if items is None or not items.value or (isinstance(items.value, str) and not items.value.strip()):
        message = "parallel must have either items array or variable reference"
        fields.problem("parallel", message, "write items: [a, b], or a text such as ${NAMES}")
        return None
    if isinstance(items.value, str):
        return Parallel(variable=items.value.strip(), max_concurrent=most)
    assert isinstance(items.value, list)
    found = [_item(item, fields) for item in items.value]
    return Parallel(items=tuple(item for item in found if item is not None), max_concurrent=most)


def _most(fields: Fields) -> int:
    node = fields.node("maxConcurrent")
    if node is None:
        return DEFAULT_MAX_CONCURRENT
    value = node.value
    if not isinstance(value, int | float) or isinstance(value, bool) or value != value // 1:
        fields.problem("maxConcurrent", f"parallel.maxConcurrent must be int, got {type_name(node)}")
    elif value <= 0:
        fields.problem("maxConcurrent", f"maxConcurrent must be greater than 0 (value: {node.text})")
    else:
        return int(value)
    return DEFAULT_MAX_CONCURRENT


def _item(item: Node, fields: Fields) -> str | Mapping[str, str] | None:
    if isinstance(item.value, dict):
        for key, value in item.value.items():
            if value.value is None or isinstance(value.value, dict | list):
                message = (
                    f"parameter values must be strings, numbers, or booleans, got {type_name(value)} for key {key}"
                )
                fields.report.field("parallel", message, value)
        return {key: scalar_text(plain(value)) for key, value in item.value.items()}
    if isinstance(item.value, str | int | float) and not isinstance(item.value, bool):
        return scalar_text(item.value)
    message = f"parallel items must be strings, numbers, or objects, got {type_name(item)}"
    fields.report.field("parallel", message, item, f'write "{item.text}"' if item.text else "")
    return None
