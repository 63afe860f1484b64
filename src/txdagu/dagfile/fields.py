"""
Fields of mappings: what a definition says, by which spellings a field is known, and how its value is taken.

A `Level` is one kind of mapping (a DAG, a step, a retry policy, …) with its `Field` definitions. From these come the reader
`Fields` and the JSON Schema (`txdagu.dagfile.schema`). Each name in camelCase, as in Dagu 1.30.2, has its snake_case spelling
of Dagu 2 besides.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from txdagu.dagfile.report import Report
from txdagu.yamltree import Node, Position

_WORD_STARTS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def snake_case(name: str) -> str:
    """A camelCase name as Dagu 2 spells it: ``skipTLSVerify`` is ``skip_tls_verify``."""
    return _WORD_STARTS.sub("_", name).lower()


@dataclass(frozen=True)
class Field:
    """
    One field.

    `name` is its spelling in Dagu 1.30.2. `schema` says as JSON Schema which values it takes, and `default` which one stands
    for it where it is absent. `era` tells until or since when Dagu had the word, where that is not always; `now` is the word that
    took its place. A field `for_scheduler` says when runs are started, and means nothing to a run that has been.
    """

    name: str
    schema: Mapping[str, Any]
    description: str
    default: Any = None
    era: str = ""
    now: str = ""
    for_scheduler: bool = False

    @property
    def spellings(self) -> tuple[str, ...]:
        """All spellings, that of Dagu 1.30.2 first."""
        return tuple(dict.fromkeys((self.name, snake_case(self.name))))


@dataclass(frozen=True)
class Level:
    """
    What may stand in one kind of mapping.

    `what` names it in messages, `key` in the JSON Schema. Unless `exact`, keys match in any case of letters. `unknown` begins
    the message about a key that is not known, which the message may take up as ``{}``; where it is empty, as in mappings whose
    unknown keys Dagu ignores, such a key is worth a warning only. `required` names the keys that must be there.
    """

    what: str
    key: str
    fields: tuple[Field, ...]
    exact: bool = False
    unknown: str = "has invalid keys: {}"
    required: tuple[str, ...] = ()
    spellings: Mapping[str, Field] = field(init=False, repr=False)
    _by_name: Mapping[str, Field] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        found: dict[str, Field] = {}
        for one in self.fields:
            for spelling in one.spellings:
                found.setdefault(spelling if self.exact else spelling.lower(), one)
        object.__setattr__(self, "spellings", found)
        object.__setattr__(self, "_by_name", {one.name: one for one in self.fields})

    def field_of(self, key: str) -> Field | None:
        """The field that a key means."""
        return self.spellings.get(key if self.exact else key.lower())

    def named(self, name: str) -> Field:
        """The definition of a field by its own name; `KeyError` if there is none."""
        return self._by_name[name]

    @property
    def reference(self) -> dict[str, Any]:
        """How another field's schema refers to this kind of mapping."""
        return {"$ref": f"#/$defs/{self.key}"}


class Fields:
    """
    The fields of one mapping, by their own names.

    Making one reports every key that is unknown or given in two spellings; `others` are levels whose keys may have been meant for
    them. A field without a value counts as absent. The readers report a value of a wrong type and then answer with
    the default. `path` stands in front of a field's name in messages.
    """

    def __init__(self, node: Node, level: Level, report: Report, path: str = "", others: Sequence[Level] = ()) -> None:
        assert isinstance(node.value, dict)
        self.place = node
        self.level = level
        self.path = path
        self.report = report
        self._found: dict[str, Node] = {}
        written: dict[str, str] = {}
        for key, value in node.value.items():
            position = node.keys[key]
            definition = level.field_of(key)
            if definition is None:
                self._unknown(key, position, others)
            elif definition.name in written:
                message = (
                    f"field '{path}{definition.name}' is given twice, as {written[definition.name]!r} and as {key!r}"
                )
                report.add(message, position, "remove one of the two")
            else:
                written[definition.name] = key
                if value.value is not None:
                    self._found[definition.name] = value

    def __contains__(self, name: object) -> bool:
        return name in self._found

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def node(self, name: str) -> Node | None:
        """The value as read."""
        return self._found.get(name)

    def at(self, name: str) -> Node:
        """Where a field stands, or the mapping, if it is absent."""
        return self._found.get(name, self.place)

    def problem(self, name: str, message: str, advice: str = "") -> None:
        """Report a problem with the value of a field."""
        self.report.field(self.path + name, message, self.at(name), advice)

    def text(self, name: str, *, strip: bool = True) -> str:
        """A string, by default without blanks around it."""
        node = self._found.get(name)
        if node is None:
            return self.level.named(name).default or ""
        if isinstance(node.value, str):
            return node.value.strip() if strip else node.value
        self.wrong_type(name, "string")
        return ""

    def scalar(self, name: str) -> str:
        """A string, or a number as it is written."""
        node = self._found.get(name)
        if node is not None and isinstance(node.value, int | float) and not isinstance(node.value, bool):
            return node.text
        return self.text(name)

    def switch(self, name: str) -> bool:
        """True or false."""
        node = self._found.get(name)
        if node is None:
            return bool(self.level.named(name).default)
        if isinstance(node.value, bool):
            return node.value
        self.wrong_type(name, "bool")
        return False

    def number(self, name: str) -> int:
        """A whole number, not below the ``minimum`` of its definition. ``5.0`` is whole, too."""
        definition = self.level.named(name)
        default: int = definition.default or 0
        node = self._found.get(name)
        if node is None:
            return default
        value = node.value
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            self.wrong_type(name, "int")
            return default
        least = definition.schema.get("minimum")
        if least is not None and value < least:
            self.problem(name, f"{name} must be >= {least} (value: {value})")
        return value

    def choice(self, name: str, message: str) -> str:
        """One of the words that the definition lists; `message` is reported for another one and takes it up as ``{}``."""
        definition = self.level.named(name)
        words: Sequence[str] = definition.schema["enum"]
        text = self.text(name)
        if name in self._found and isinstance(self._found[name].value, str) and text not in words:
            self.problem(name, message.format(text), nearest(text, words) or f"write {alternatives(words)}")
            return definition.default or ""
        return text

    def mapping(self, name: str, level: Level) -> Fields | None:
        """A mapping with fields of its own."""
        node = self._found.get(name)
        if node is None:
            return None
        if not isinstance(node.value, dict):
            self.report.field(self.path + name, f"expected a map, got {type_name(node)}", node)
            return None
        return Fields(node, level, self.report, f"{self.path}{name}.")

    def wrong_type(self, name: str, wanted: str) -> None:
        """Report that a field's value is not of the type `wanted`."""
        wrong_type(self.path + name, wanted, self._found[name], self.report)

    def _unknown(self, key: str, position: Position, others: Sequence[Level]) -> None:
        advice = _advice(key, self.level, others)
        if self.level.unknown:
            label = f"field '{self.path.rstrip('.')}': " if self.path else ""
            self.report.add(label + self.level.unknown.format(key), position, advice)
        else:
            self.report.warn(f"{self.path}{key} is not known, and ignored", position, advice)


def wrong_type(field: str, wanted: str, node: Node, report: Report) -> None:
    """Report a value of a type that the field does not take."""
    advice = f'write "{node.text}"' if wanted == "string" and not isinstance(node.value, dict | list) else ""
    if wanted == "int" and isinstance(node.value, str):
        advice = "write the number without quotes"
    if wanted == "bool" and node.value in ("yes", "no", "on", "off"):
        advice = "write true or false: yes, no, on and off are strings"
    report.field(field, f"expected type '{wanted}', got unconvertible type '{type_name(node)}'", node, advice)


def type_name(node: Node) -> str:
    """The word for a value's type in messages."""
    value: Any = node.value
    return {dict: "map", list: "list", str: "string", bool: "bool", float: "float", int: "int"}.get(type(value), "null")


def nearest(word: str, known: Iterable[str]) -> str:
    """Advice that names the known word most like a mistyped one, or nothing."""
    by_lower = {name.lower(): name for name in known if name}
    matches = difflib.get_close_matches(word.lower(), by_lower, n=1)
    return f"did you mean {by_lower[matches[0]]!r}?" if matches else ""


def alternatives(words: Sequence[str]) -> str:
    """``a, b or c``."""
    shown = [word for word in words if word]
    return " or ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else shown[0]


def _advice(key: str, level: Level, others: Sequence[Level]) -> str:
    for other in others:
        elsewhere = other.field_of(key)
        if elsewhere is not None:
            return f"{elsewhere.name!r} belongs to a {other.what}, not to a {level.what}"
    matches = difflib.get_close_matches(key.lower(), [spelling.lower() for spelling in level.spellings], n=1)
    if matches:
        by_lower = {spelling.lower(): one for spelling, one in level.spellings.items()}
        return f"did you mean {by_lower[matches[0]].name!r}?"
    return f"known are {', '.join(one.name for one in level.fields)}" if len(level.fields) < 12 else ""
