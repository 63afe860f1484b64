"""The two YAML files: which settings they give, and where in them each stands."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field, replace

from txdagu.config.definitions import BY_KEY, DEFINITIONS, ELSEWHERE, Definition, Elsewhere
from txdagu.config.nearest import nearest
from txdagu.config.values import FileValue
from txdagu.model.errors import InvalidInputError, Problem
from txdagu.yamltree import Node, label_text, parse


@dataclass(frozen=True, slots=True)
class Given:
    """A value as it was written; `origin` names the place, relative paths in it start from `base_dir`."""

    value: FileValue
    origin: str
    base_dir: str


def _folded(key: str) -> str:
    """What is left of a key when case and the underscores of snake_case do not count."""
    return key.lower().replace("_", "").replace("-", "")


def _sections() -> set[str]:
    """Every key that holds settings below it: ``auth``, ``auth.token``, …"""
    keys = [key.split(".") for key in (*BY_KEY, *(entry.key for entry in ELSEWHERE))]
    return {".".join(parts[:depth]) for parts in keys for depth in range(1, len(parts))}


_KNOWN: dict[str, Definition | Elsewhere] = {
    **{_folded(entry.key): entry for entry in ELSEWHERE},
    **{_folded(old): definition for definition in DEFINITIONS for old in definition.old_keys},
    **{_folded(key): definition for key, definition in BY_KEY.items()},
}
_SECTIONS = {_folded(section): section for section in _sections()}
_ALL_NAMES = [*_SECTIONS.values(), *(known.key for known in _KNOWN.values())]


@dataclass(slots=True)
class FileSettings:
    """Collects what the files give, key by key; what a later file says replaces what an earlier one said."""

    given: dict[str, Given] = field(default_factory=dict)
    elsewhere: dict[str, Given] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def add(self, text: str, path: str) -> None:
        """Lay one file's text over what is there. Mistakes go to `problems`, unknown keys to `warnings`."""
        try:
            documents = parse(text, path)
        except InvalidInputError as error:
            self.problems.extend(error.problems)
            return
        if len(documents) > 1:
            self.problems.append(
                Problem("holds several YAML documents", f"{path}:{documents[1].line}", "a configuration file is one")
            )
        elif documents:
            self._section(documents[0], "", path, {})

    def _section(self, node: Node, prefix: str, path: str, seen: dict[str, str]) -> None:
        if not isinstance(node.value, dict):
            self.problems.append(
                Problem(f"{prefix.rstrip('.') or 'the file'} is not a map of settings", f"{path}:{node.line}")
            )
            return
        for key, child in node.value.items():
            written = prefix + key
            folded = _folded(written)
            line = node.keys[key].line
            known = _KNOWN.get(folded)
            if known is None and folded not in _SECTIONS:
                self._unknown(written, f"{path}:{line}")
            elif known is None and child.value is not None:
                self._section(child, f"{written}.", path, seen)
            elif known is not None and folded in seen:
                self.problems.append(
                    Problem(f"{written} is given twice, as {seen[folded]} before", f"{path}:{line}", "keep one of them")
                )
            elif known is not None and child.value is not None:
                seen[folded] = f"{written} in line {line}"
                self._take(known, written, child, Given("", f"{path}:{line}", posixpath.dirname(path)))

    def _take(self, known: Definition | Elsewhere, written: str, node: Node, given: Given) -> None:
        if isinstance(known, Elsewhere):
            self._elsewhere(known, node, given)
            return
        if _folded(written) != _folded(known.key):
            self.warnings.append(f"{given.origin}: {written} is an old name, write {known.key}")
            present = self.given.get(known.key)
            if present is not None and present.origin.rpartition(":")[0] == given.origin.rpartition(":")[0]:
                return  # the present name, in the same file, is stronger
        try:
            self.given[known.key] = replace(given, value=_plain(node))
        except TypeError:
            self.problems.append(
                Problem("holds a map or a list where a text is due", f"{known.key} from {given.origin}")
            )

    def _elsewhere(self, known: Elsewhere, node: Node, given: Given) -> None:
        text = label_text(node) if not isinstance(node.value, dict | list) else "a structure"
        self.elsewhere[known.key] = replace(given, value=text)

    def _unknown(self, written: str, where: str) -> None:
        meant = nearest(written, _ALL_NAMES)
        advice = f"did you mean {meant}?" if meant else "it has no effect"
        self.warnings.append(f"{where}: {written} is no setting ({advice})")


def _plain(node: Node) -> FileValue:
    """A node as text, as a map of texts, or as a list of such maps; `TypeError` if it is nested otherwise."""
    if isinstance(node.value, list):
        return [_texts(item) for item in node.value]
    return _texts(node) if isinstance(node.value, dict) else label_text(node)


def _texts(node: Node) -> dict[str, str]:
    if not isinstance(node.value, dict) or any(isinstance(child.value, dict | list) for child in node.value.values()):
        raise TypeError("not a map of texts")
    return {key: label_text(child) for key, child in node.value.items()}
