"""``handlerOn``: steps that run at certain points of a run."""

from __future__ import annotations

from dataclasses import replace

from txdagu.dagfile.fields import Fields, type_name
from txdagu.dagfile.language import HANDLERS
from txdagu.dagfile.stepfields import Surroundings, read_step
from txdagu.model.dag import Handler, Step

_NAMES = {
    Handler.INIT: ("init",),
    Handler.SUCCESS: ("success",),
    Handler.FAILURE: ("failure",),
    Handler.ABORT: ("abort", "cancel"),
    Handler.EXIT: ("exit",),
    Handler.WAIT: ("wait",),
}


def read_handlers(fields: Fields, around: Surroundings) -> dict[Handler, Step]:
    """The handlers by the point at which they run; each is named like its node in Dagu's records, and waits for no step."""
    own = fields.mapping("handlerOn", HANDLERS)
    if own is None:
        return {}
    if "abort" in own and "cancel" in own:
        own.report.field(
            "handlers", "cannot specify both 'abort' and 'cancel' in handlerOn", own.at("cancel"), "keep abort"
        )
    found: dict[Handler, Step] = {}
    for handler, names in _NAMES.items():
        for name in names:
            node = own.node(name)
            if node is None or node.value == {}:
                continue
            if not isinstance(node.value, dict):
                advice = f"write {name}: {{command: …}}"
                own.problem(name, f'expected a map or struct, got "{type_name(node)}"', advice)
                continue
            step = read_step(node, around, own.report).step
            found.setdefault(handler, replace(step, name=handler_name(handler)))
    return found


def handler_name(handler: Handler) -> str:
    """The name of a handler's node: ``onExit``."""
    return "on" + handler.value.capitalize()
