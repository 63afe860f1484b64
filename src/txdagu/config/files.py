"""The two YAML files: which settings they give, and where in them each stands."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field

from txdagu import yamltree
from txdagu.config.definitions import BY_KEY, DEFINITIONS, ELSEWHERE, Definition, Elsewhere, Kind
from txdagu.config.nearest import nearest
from txdagu.config.values import FileValue
from txdagu.model.errors import InvalidInputError, Problem


@dataclass(frozen=True, slots=True)
class Given:
    """A value as it was written; `origin` names the place, relative paths in it start from `base_dir`."""

    value: FileValue
    origin: str
    base_dir: str


def _folded(key: str) -> str:
    """What is left of a key when case and the underscores of snake_case do not count."""
    return key.lower().replace("_", "").replace("-", "")


_KNOWN: dict[str, Definition | Elsewhere] = {
    **{_folded(entry.key): entry for entry in ELSEWHERE},
    **{_folded(old): definition for definition in DEFINITIONS for old in definition.old_keys},
    **{_folded(key): definition for key, definition in BY_KEY.items()},
}
_SECTIONS = {head: key.rpartition(".")[0] for known in _KNOWN.values() for key in [known.key]
             for head in [_folded(key.rpartition(".")[0])] if head}
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
            documents = yamltree.parse(text, path)
        except InvalidInputError as error:
            self.problems.extend(error.problems)
            return
        if len(documents) > 1:
            self.problems.append(
                Problem("holds several YAML documents", f"{path}:{documents[1].line}", "a configuration file is one")
            )
        elif documents and documents[0].value is not None:
            self._section(documents[0], "", path, {})

    def _section(self, node: yamltree.Node, prefix: str, path: str, seen: dict[str, str]) -> None:
        if not isinstance(node.value, dict):
            name = prefix.rstrip(".") or "the file"
            self.problems.append(Problem(f"{name} is not a map of settings", f"{path}:{node.line}"))
            return
        for key, child in node.value.items():
            written = prefix + key
            folded = _folded(written)
            where = f"{path}:{child.line}"
            known = _KNOWN.get(folded)
            if child.value is None:
                if known is None and folded not in _SECTIONS:
                    self._unknown(written, where)
            elif known is not None:
                if folded in seen:
                    self.problems.append(
                        Problem(f"{written} is given twice, here and as {seen[folded]}", where, "leave one of them out")
                    )
                seen[folded] = f"{written} in line {child.line}"
                self._take(known, written, child, path)
            elif folded in _SECTIONS:
                self._section(child, f"{written}.", path, seen)
            else:
                self._unknown(written, where)

    def _take(self, known: Definition | Elsewhere, written: str, node: yamltree.Node, path: str) -> None:
        given = Given(_plain(node), f"{path}:{node.line}", posixpath.dirname(path))
        if isinstance(known, Elsewhere):
            self.elsewhere[known.key] = given
            return
        old = _folded(written) != _folded(known.key)
        if old:
            self.warnings.append(f"{given.origin}: {written} is an old name, write {known.key}")
            if known.key in self.given and self.given[known.key].origin.rpartition(":")[0] == path:
                return  # the present name, in the same file, is stronger
        if known.kind is Kind.LABELS and isinstance(node.value, list):
            self.problems.append(
                Problem(f"{known.key} is a list", given.origin, "write a map, or gpu=true,memory=64G")
            )
            return
        self.given[known.key] = given

    def _unknown(self, written: str, where: str) -> None:
        meant = nearest(written, _ALL_NAMES)
        advice = f"did you mean {meant}?" if meant else "it has no effect"
        self.warnings.append(f"{where}: {written} is no setting ({advice})")


def _plain(node: yamltree.Node) -> FileValue:
    """A node as text, as a map of texts, or as a list of such maps."""
    if isinstance(node.value, dict):
        return {key: _text(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [
            {key: _text(child) for key, child in item.value.items()} if isinstance(item.value, dict) else {}
            for item in node.value
        ]
    return _text(node)
