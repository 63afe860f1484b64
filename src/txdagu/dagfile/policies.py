"""What follows from how a step ended: ``continueOn``, ``retryPolicy``, ``repeatPolicy``; and ``onWorkerLost``."""

from __future__ import annotations

import math
import re

from txdagu.dagfile.fields import Field, Fields, Level, nearest, type_name
from txdagu.dagfile.report import Report
from txdagu.dagfile.shapes import (
    AT_LEAST_ONE,
    AT_LEAST_ZERO,
    BACKOFF,
    EXIT_CODES,
    SWITCH,
    TEXT,
    WHOLE_LIST,
    any_case,
    either,
    list_of,
    words,
)
from txdagu.model.conditions import Condition
from txdagu.model.policies import ContinueOn, LostWorkerPolicy, OnWorkerLost, RepeatMode, RepeatPolicy, RetryPolicy
from txdagu.yamltree import Node

_NUMBER = re.compile(r"[-+]?[0-9]+")
_TRUE_BACKOFF = 2.0
_COUNT = either(AT_LEAST_ZERO, TEXT)
_BACKOFF_FIELD = Field(
    "backoff", BACKOFF, "Factor by which the interval grows each time, above 1.0; `true` is 2.0.", False
)
_LONGEST = Field("maxIntervalSec", AT_LEAST_ZERO, "The longest interval in seconds; 0 is no limit.", 0)

CONTINUE_ON = Level(
    "continueOn",
    "continueOn",
    (
        Field("failure", SWITCH, "Steps that depend on this one run although it failed.", False),
        Field("failed", SWITCH, "The same as `failure`.", False, now="failure"),
        Field("skipped", SWITCH, "Steps that depend on this one run although it was skipped.", False),
        Field("exitCode", EXIT_CODES, "Exit codes that are no reason to stop."),
        Field(
            "output",
            either(TEXT, list_of(TEXT)),
            "A failure is no reason to stop if a line of the output contains this; `re:` begins a regular expression.",
        ),
        Field("markSuccess", SWITCH, "A failure that is no reason to stop becomes a success.", False),
    ),
    exact=True,
    unknown='unknown key "{}"',
)
CONTINUE = either(any_case("skipped", "failed"), CONTINUE_ON.reference)

RETRY = Level(
    "retryPolicy",
    "retryPolicy",
    (
        Field("limit", _COUNT, "How often the step is tried again; a text is evaluated at start."),
        Field("intervalSec", _COUNT, "Seconds before it is tried again; a text is evaluated at start."),
        Field("exitCode", WHOLE_LIST, "Only these exit codes are tried again."),
        _BACKOFF_FIELD,
        _LONGEST,
    ),
    required=("limit", "intervalSec"),
)

REPEAT = Level(
    "repeatPolicy",
    "repeatPolicy",
    (
        Field(
            "repeat",
            either(SWITCH, words("while", "until")),
            "`while` or `until` the condition holds; `true`: as long as the step succeeds.",
        ),
        Field("condition", TEXT, "A command that must end with 0, or, with `expected`, a text to compare."),
        Field("expected", TEXT, "What a line of the condition's text must equal; after `re:`, a regular expression."),
        Field("exitCode", WHOLE_LIST, "Exit codes that count as the condition."),
        Field("limit", AT_LEAST_ZERO, "How many rounds at most; 0 is no limit.", 0),
        Field("intervalSec", AT_LEAST_ZERO, "Seconds between rounds.", 0),
        _BACKOFF_FIELD,
        _LONGEST,
    ),
)

WORKER_LOST = Level(
    "onWorkerLost",
    "onWorkerLost",
    (
        Field(
            "policy",
            words("redistribute", "fail", "wait"),
            "Whether the run goes on elsewhere, fails, or waits for its worker.",
            "redistribute",
        ),
        Field("limit", AT_LEAST_ONE, "How many workers a run may lose before it fails.", OnWorkerLost().limit),
    ),
)
LOST = either(words("redistribute", "fail", "wait"), WORKER_LOST.reference)


def read_continue_on(fields: Fields) -> ContinueOn:
    """``skipped`` or ``failed``, or a mapping."""
    node = fields.node("continueOn")
    if node is None:
        return ContinueOn()
    if isinstance(node.value, str):
        word = node.value.strip().lower()
        if word not in ("skipped", "failed"):
            fields.problem("continueOn", f"expected 'skipped' or 'failed', got \"{node.value}\"")
        return ContinueOn(failure=word == "failed", skipped=word == "skipped")
    if not isinstance(node.value, dict):
        fields.problem("continueOn", f"continueOn must be string or map, got {type_name(node)}")
        return ContinueOn()
    own = Fields(node, CONTINUE_ON, fields.report, f"{fields.path}continueOn.")
    return ContinueOn(
        failure=_boolean(own, "failure") | _boolean(own, "failed"),
        skipped=_boolean(own, "skipped"),
        exit_codes=_exit_codes(own),
        outputs=_outputs(own),
        mark_success=_boolean(own, "markSuccess"),
    )


def _boolean(fields: Fields, name: str) -> bool:
    node = fields.node(name)
    if node is not None and not isinstance(node.value, bool):
        advice = "write true or false: yes, no, on and off are strings" if isinstance(node.value, str) else ""
        fields.problem(name, f"expected boolean, got {type_name(node)}", advice)
        return False
    return bool(node and node.value)


def _exit_codes(fields: Fields) -> tuple[int, ...]:
    """Numbers, or texts of numbers, one or several; fractions are cut off."""
    node = fields.node("exitCode")
    if node is None:
        return ()
    found = []
    for item in node.value if isinstance(node.value, list) else [node]:
        value = item.value
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if is_number or (isinstance(value, str) and _NUMBER.fullmatch(value.strip())):
            assert isinstance(value, str | int | float)
            found.append(int(value))
        else:
            shown = f'"{value}"' if isinstance(value, str) else f"a {type_name(item)}"
            fields.report.field(f"{fields.path}exitCode", f"cannot parse {shown} as int", item)
    return tuple(found)


def _outputs(fields: Fields) -> tuple[str, ...]:
    node = fields.node("output")
    if node is None:
        return ()
    if not isinstance(node.value, str | list):
        fields.problem("output", f"expected string or array of strings, got {type_name(node)}")
        return ()
    items = node.value if isinstance(node.value, list) else [node]
    for item in items:
        if not isinstance(item.value, str):
            fields.report.field(f"{fields.path}output", f"expected string, got {type_name(item)}", item)
    return tuple(item.value for item in items if isinstance(item.value, str) and item.value)


def read_retry(fields: Fields) -> RetryPolicy | None:
    """The retry policy; ``limit`` and ``intervalSec`` must both be there."""
    own = fields.mapping("retryPolicy", RETRY)
    if own is None:
        return None
    limit, interval = _count(own, "limit"), _count(own, "intervalSec")
    return RetryPolicy(limit, interval, _codes(own), backoff=_backoff(own), max_interval=own.number("maxIntervalSec"))


def _count(fields: Fields, name: str) -> int | str:
    node = fields.node(name)
    if node is None:
        fields.problem(name, f"{name} is required when retryPolicy is specified")
    elif isinstance(node.value, str):
        text = node.value.strip()
        return int(text) if text.isascii() and text.isdigit() else text
    elif not isinstance(node.value, int) or isinstance(node.value, bool):
        fields.problem(name, f"invalid type: {type_name(node)}", "write a whole number, or a text to evaluate")
    elif node.value < 0:
        fields.problem(name, f"{name} must be >= 0 (value: {node.value})")
    else:
        return node.value
    return 0


def _codes(fields: Fields) -> tuple[int, ...]:
    """A list of whole numbers."""
    node = fields.node("exitCode")
    if node is None:
        return ()
    if not isinstance(node.value, list):
        fields.problem("exitCode", f"source data must be an array or slice, got {type_name(node)}", "write it in [ ]")
        return ()
    found = []
    for item in node.value:
        if isinstance(item.value, int) and not isinstance(item.value, bool):
            found.append(item.value)
        else:
            message = f"expected type 'int', got unconvertible type '{type_name(item)}'"
            fields.report.field(f"{fields.path}exitCode", message, item, "write the number without quotes")
    return tuple(found)


def _backoff(fields: Fields) -> float:
    """``true`` is 2.0, and whole numbers are taken, too; 0 and ``false`` leave the interval as it is."""
    node = fields.node("backoff")
    if node is None or node.value is False:
        return 0.0
    if node.value is True:
        return _TRUE_BACKOFF
    if not isinstance(node.value, int | float):
        fields.problem("backoff", f"invalid type: {type_name(node)}", "write true, or a number above 1.0")
        return 0.0
    if node.value and not 1 < node.value < math.inf:
        fields.problem("backoff", f"backoff must be greater than 1.0 for exponential growth, got: {node.text}")
        return 0.0
    return float(node.value)


def read_repeat(fields: Fields) -> RepeatPolicy | None:
    """The repeat policy; None where it asks for no repetition."""
    own = fields.mapping("repeatPolicy", REPEAT)
    if own is None:
        return None
    text = own.text("condition", strip=False)
    condition = Condition(text, own.text("expected", strip=False)) if text.strip() else None
    codes = _codes(own)
    limit, interval, backoff = own.number("limit"), own.number("intervalSec"), _backoff(own)
    longest = own.number("maxIntervalSec")
    mode = _mode(own, condition, codes)
    return RepeatPolicy(mode, condition, codes, limit, interval, backoff, longest) if mode else None


def _mode(fields: Fields, condition: Condition | None, codes: tuple[int, ...]) -> RepeatMode | None:
    node = fields.node("repeat")
    if node is not None and node.value is True:
        return RepeatMode.WHILE
    if node is None or node.value is False:
        if condition is not None:
            return RepeatMode.UNTIL if condition.expected else RepeatMode.WHILE
        return RepeatMode.WHILE if codes else None
    if node.value not in ("while", "until"):
        message = f"invalid value for repeat: '{node.text}'. It must be 'while', 'until', or a boolean"
        fields.problem("repeat", message, nearest(node.text, ("while", "until")))
        return None
    if condition is None and not codes and "condition" not in fields and "exitCode" not in fields:
        message = f"repeat mode '{node.value}' requires either 'condition' or 'exitCode' to be specified"
        fields.problem("repeat", message, "write repeat: true to repeat as long as the step succeeds")
    return RepeatMode(node.value)


def read_worker_lost(node: Node | None, report: Report) -> OnWorkerLost:
    """A policy's word, or a mapping with ``policy`` and ``limit``."""
    if node is None:
        return OnWorkerLost()
    known = [policy.value for policy in LostWorkerPolicy]
    if isinstance(node.value, str):
        if node.value in known:
            return OnWorkerLost(LostWorkerPolicy(node.value))
        message = f"invalid policy: {node.value} (must be one of: {', '.join(known)})"
        report.field("onWorkerLost", message, node, nearest(node.value, known))
        return OnWorkerLost()
    if not isinstance(node.value, dict):
        report.field("onWorkerLost", f"onWorkerLost must be a word or a map, got {type_name(node)}", node)
        return OnWorkerLost()
    own = Fields(node, WORKER_LOST, report, "onWorkerLost.")
    word = own.choice("policy", f"invalid policy: {{}} (must be one of: {', '.join(known)})")
    return OnWorkerLost(LostWorkerPolicy(word), own.number("limit"))
