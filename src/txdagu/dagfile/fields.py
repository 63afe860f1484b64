"""
The fields that a DAG and a step can have, by whatever spelling.

One table per level leads from each spelling to the field: camelCase as in Dagu 1.30.2, snake_case as in Dagu 2, both in any
case of letters. A field that Dagu 1.30.2 knows and this version does not act on is refused by name, so that nothing a file asks
for is left out in silence; where its value only says what happens anyway (``false``, ``0``, nothing), it is accepted.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from txdagu.dagfile.report import Report
from txdagu.yamltree import Node, plain

_WORD_STARTS = re.compile(r"(?<!^)(?=[A-Z])")


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _spellings(names: Iterable[str]) -> dict[str, str]:
    return {spelling: name for name in names for spelling in (name.lower(), _WORD_STARTS.sub("_", name).lower())}


@dataclass(frozen=True)
class Level:
    """What may stand in one kind of mapping: the fields that are `read`, and those that are known and `refused`."""

    what: str
    read: tuple[str, ...]
    refused: tuple[str, ...]
    spellings: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "spellings", _spellings(self.read + self.refused))

    def field_of(self, key: str) -> str | None:
        """The field that a key means."""
        return self.spellings.get(key.lower())


DAG = Level(
    "DAG",
    _names(
        "name group description type tags schedule params env workingDir shell logDir queue maxActiveRuns maxActiveSteps"
        " histRetentionDays maxCleanUpTimeSec maxOutputSize workerSelector steps command"
    ),
    _names(
        "skipIfSuccessful dotenv secrets logOutput timeoutSec delaySec restartWaitSec preconditions precondition handlerOn"
        " mailOn errorMail infoMail waitMail smtp container registryAuths ssh llm otel runConfig onWorkerLost"
    ),
)
STEP = Level(
    "step",
    _names(
        "name id description command script shell workingDir dir env output depends call run params workerSelector type"
        " executor config"
    ),
    _names(
        "shellPackages stdout stderr logOutput preconditions precondition continueOn retryPolicy repeatPolicy timeoutSec"
        " signalOnStop mailOnError parallel container llm messages"
    ),
)
_OTHER = {DAG.what: STEP, STEP.what: DAG}


class Fields:
    """
    The fields of one mapping, by their own names.

    Making one reports every key that is unknown, given in two spellings, or not supported. A field without a value counts as
    absent. The readers report a value of a wrong type and then answer with the default.
    """

    def __init__(self, node: Node, level: Level, report: Report) -> None:
        assert isinstance(node.value, dict)
        self.place = node
        self._report = report
        self._found: dict[str, Node] = {}
        written: dict[str, str] = {}
        for key, value in node.value.items():
            position = node.keys[key]
            name = level.field_of(key)
            if name is None:
                report.add(f"has invalid keys: {key}", position, _advice(key, level))
            elif name in written:
                report.add(
                    f"field '{name}' is given twice, as {written[name]!r} and as {key!r}",
                    position,
                    "remove one of the two",
                )
            else:
                written[name] = key
                if name in level.refused:
                    if not _says_default(name, plain(value)):
                        report.add(f"field '{key}' is not supported by this version", position)
                elif value.value is not None:
                    self._found[name] = value

    def __contains__(self, name: object) -> bool:
        return name in self._found

    def node(self, name: str) -> Node | None:
        """The value as read."""
        return self._found.get(name)

    def text(self, name: str) -> str:
        """A string, without blanks around it."""
        node = self._found.get(name)
        if node is None:
            return ""
        if isinstance(node.value, str):
            return node.value.strip()
        wrong_type(name, "string", node, self._report)
        return ""

    def number(self, name: str, default: int, least: int | None = None) -> int:
        """A whole number, not below `least`."""
        node = self._found.get(name)
        if node is None:
            return default
        if not isinstance(node.value, int) or isinstance(node.value, bool):
            wrong_type(name, "int", node, self._report)
            return default
        if least is not None and node.value < least:
            self._report.field(name, f"must be >= {least} (value: {node.value})", node)
        return node.value


def wrong_type(field: str, wanted: str, node: Node, report: Report) -> None:
    """Report a value of a type that the field does not take."""
    advice = f'write "{node.text}"' if wanted == "string" and not isinstance(node.value, dict | list) else ""
    if wanted == "int" and isinstance(node.value, str):
        advice = "write the number without quotes"
    report.field(field, f"expected type '{wanted}', got unconvertible type '{type_name(node)}'", node, advice)


def type_name(node: Node) -> str:
    """The word for a value's type in messages."""
    value: Any = node.value
    return {dict: "map", list: "list", str: "string", bool: "bool", float: "float", int: "int"}.get(type(value), "null")


def unknown_keys(node: Node, known: tuple[str, ...], message: str, report: Report) -> None:
    """Report the keys of a mapping that are not among the `known`, whose case matters; `message` ends with the key."""
    for key, position in node.keys.items():
        if key not in known:
            report.add(f"{message}{key}", position, nearest(key, known) or f"known are {', '.join(known)}")


def nearest(word: str, known: Iterable[str]) -> str:
    """Advice that names the known word most like a mistyped one, or nothing."""
    by_lower = {name.lower(): name for name in known}
    matches = difflib.get_close_matches(word.lower(), by_lower, n=1)
    return f"did you mean {by_lower[matches[0]]!r}?" if matches else ""


def _advice(key: str, level: Level) -> str:
    other = _OTHER[level.what]
    elsewhere = other.field_of(key)
    if elsewhere is not None:
        return f"{elsewhere!r} belongs to a {other.what}, not to a {level.what}"
    matches = difflib.get_close_matches(key.lower(), level.spellings, n=1)
    return f"did you mean {level.spellings[matches[0]]!r}?" if matches else ""


def _says_default(name: str, value: Any) -> bool:
    """Whether the value of a refused field asks for nothing but what happens without it."""
    if name == "logOutput" and isinstance(value, str):
        return value.lower() in ("", "separate")
    if isinstance(value, dict):
        if name == "otel" and not value.get("enabled"):
            return True
        return not any(value.values())
    return not value
