"""From the events of PyYAML's C parser to nodes with positions."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import yaml

from txdagu.model.errors import InvalidInputError, Problem
from txdagu.yamltree.node import Node, Position, Scalar, where
from txdagu.yamltree.scalars import resolve
from txdagu.yamltree.syntax import problem_of

DEEPEST = 100
MOST_VALUES = 1_000_000

_TAG = "tag:yaml.org,2002:"
_COLLECTION_TAGS = {
    yaml.MappingStartEvent: (None, "!", _TAG + "map"),
    yaml.SequenceStartEvent: (None, "!", _TAG + "seq"),
}
_SCALAR_TAGS: dict[str, tuple[type, ...]] = {
    _TAG + "int": (int,),
    _TAG + "float": (float, int),
    _TAG + "bool": (bool,),
    _TAG + "null": (type(None),),
}
_BARE_MARKER = re.compile(r"---[ \t]*\r?\n")


@dataclass(frozen=True, slots=True)
class Document:
    """One document: its `root`, and its own `text`, which gives the same document when it is parsed alone."""

    root: Node
    text: str


def parse(text: str, source: str) -> list[Node]:
    """
    The root of every document that is not empty.

    `source` names the text in messages. Raises `InvalidInputError` with all problems: bad syntax, keys given twice,
    unknown anchors and tags, nesting deeper than 100 levels, aliases that expand to more than a million values.
    """
    return [document.root for document in parse_documents(text, source)]


def parse_documents(text: str, source: str) -> list[Document]:
    """As `parse`, with each document's own text."""
    return _Parser(text.removeprefix("\ufeff"), source).documents()


@dataclass(slots=True)
class _Anchor:
    """A named node; None while it is being built. `size` and `height` count the values and the levels in it."""

    node: Node | None = None
    size: int = 0
    height: int = 0


class _StopError(Exception):
    """Nothing more can be read."""


class _Parser:
    def __init__(self, text: str, source: str) -> None:
        self._text = text
        self._source = source
        self._problems: list[Problem] = []
        self._anchors: dict[str, _Anchor] = {}
        self._size = 0
        self._deepest = 0

    def documents(self) -> list[Document]:
        found: list[Document] = []
        try:
            self._next: Callable[[], Any] = yaml.CSafeLoader(self._text).get_event
            self._read(found)
        except (yaml.YAMLError, UnicodeEncodeError) as error:
            self._problems.append(problem_of(error, self._text, self._source))
        except _StopError:
            pass
        if self._problems:
            raise InvalidInputError(self._problems)
        return found

    def _read(self, found: list[Document]) -> None:
        """All events of the text; libyaml answers None after the last one."""
        start = 0
        while (event := self._next()) is not None:
            kind = type(event)
            if kind is yaml.DocumentStartEvent:
                start = event.start_mark.index if found else 0
                self._anchors = {}
                root = self._node(self._next(), 1)
                end = self._next().start_mark.index
                if root.value is not None:
                    text = self._text[start:end]
                    found.append(Document(root, text[marker.end() :] if (marker := _BARE_MARKER.match(text)) else text))

    def _node(self, event: Any, depth: int) -> Node:
        """The value that begins with `event`; what follows it is consumed up to its end."""
        kind = type(event)
        mark = event.start_mark
        line, column = mark.line + 1, mark.column + 1
        self._size += 1
        self._check_limits(depth, Position(line, column))
        if kind is yaml.AliasEvent:
            return self._alias(event.anchor, depth, Position(line, column))
        anchor = None
        if event.anchor is not None:
            anchor = self._anchors[event.anchor] = _Anchor()
            size, deepest, self._deepest = self._size, self._deepest, depth
        if kind is yaml.ScalarEvent:
            node = Node(self._scalar(event, Position(line, column)), line, column, event.value)
        else:
            if event.tag not in _COLLECTION_TAGS[kind]:
                self._unknown_tag(event.tag, Position(line, column))
            if kind is yaml.MappingStartEvent:
                node = self._mapping(line, column, depth)
            else:
                node = Node(self._items(depth), line, column)
        if anchor is not None:
            anchor.node, anchor.size, anchor.height = node, self._size - size, self._deepest - depth
            self._deepest = max(deepest, self._deepest)
        return node

    def _items(self, depth: int) -> list[Node]:
        items = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            items.append(self._node(event, depth + 1))
        return items

    def _mapping(self, line: int, column: int, depth: int) -> Node:
        children: dict[str, Node] = {}
        keys: dict[str, Position] = {}
        merged: Node | None = None
        merge_line = 0
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            is_merge = isinstance(event, yaml.ScalarEvent) and event.value == "<<" and event.implicit[0]
            key = self._node(event, depth + 1)
            position = Position(event.start_mark.line + 1, event.start_mark.column + 1)
            value = self._node(self._next(), depth if is_merge else depth + 1)  # merged values come up to this level
            if isinstance(key.value, dict | list):
                self._problem("a key must be a word or a number, and this is a mapping or a list", position)
            elif is_merge and merged is None:
                merged, merge_line = value, position.line
            elif key.text in keys or is_merge:
                already = merge_line if is_merge else keys[key.text].line
                self._problem(
                    f'mapping key "{key.text}" already defined at line {already}', position, "remove one of the two"
                )
            else:
                children[key.text] = value
                keys[key.text] = position
        if merged is not None:
            children, keys = self._merge(merged, children, keys)
        return Node(children, line, column, keys=keys)

    def _merge(
        self, merged: Node, children: dict[str, Node], keys: dict[str, Position]
    ) -> tuple[dict[str, Node], dict[str, Position]]:
        """What ``<<`` brings in, under the mapping's own keys; of several mappings the earlier wins."""
        sources = merged.value if isinstance(merged.value, list) else [merged]
        all_children: dict[str, Node] = {}
        all_keys: dict[str, Position] = {}
        for node in reversed(sources):
            if not isinstance(node.value, dict):
                self._problem("<< merges mappings, and this is none", Position(node.line, node.column))
                continue
            self._size += len(node.value)
            all_children.update(node.value)
            all_keys.update(node.keys)
        return all_children | children, all_keys | keys

    def _alias(self, name: str, depth: int, position: Position) -> Node:
        anchor = self._anchors.get(name)
        if anchor is None:
            self._problem(
                f"the anchor &{name} is not defined", position, "anchors hold within one document, from their place on"
            )
        elif anchor.node is None:
            self._problem(f"the anchor &{name} contains itself", position)
        else:
            self._size += anchor.size
            self._check_limits(depth + anchor.height, position)
            return anchor.node
        return Node(None, *position)

    def _check_limits(self, depth: int, position: Position) -> None:
        self._deepest = max(self._deepest, depth)
        if depth > DEEPEST:
            self._stop(f"nested deeper than {DEEPEST} levels", position)
        if self._size > MOST_VALUES:
            self._stop(f"more than {MOST_VALUES} values, counting what aliases repeat", position)

    def _scalar(self, event: Any, position: Position) -> Scalar:
        text: str = event.value
        tag = event.tag
        if tag is None or tag == "!":
            return resolve(text) if event.implicit[0] else text
        if tag == _TAG + "str":
            return text
        if tag not in _SCALAR_TAGS:
            self._unknown_tag(tag, position)
            return text
        value = resolve(text)
        if type(value) not in _SCALAR_TAGS[tag]:
            self._problem(f"{text!r} is no {tag.removeprefix(_TAG)}, as its tag says", position)
        return value

    def _unknown_tag(self, tag: str, position: Position) -> None:
        shown = tag.replace(_TAG, "!!")
        self._problem(f"the tag {shown} is not known here", position, "quote the text if it is meant to begin with !")

    def _problem(self, message: str, position: Position, advice: str = "") -> None:
        self._problems.append(Problem(message, where(self._source, position), advice))

    def _stop(self, message: str, position: Position) -> NoReturn:
        self._problem(message, position)
        raise _StopError
