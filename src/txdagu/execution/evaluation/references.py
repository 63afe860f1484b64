"""Stages 1 to 3 of evaluation: references to known variables, replaced in the text before any shell sees it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from txdagu.execution.evaluation.jsonpath import PathError, query
from txdagu.model.errors import InvalidInputError, Problem
from txdagu.model.scalars import scalar_text

_QUOTED = re.compile(r'"\$\{(\w+)(\.[^{}"]+)?\}"', re.ASCII)
_WITH_PATH = re.compile(r"\$\{(\w+)(\.[^{}]+)\}|\$(\w+)(\.\S+)", re.ASCII)
_PLAIN = re.compile(r"'?\$(?:\{([^}]+)\}|(\w+))'?", re.ASCII)  # what stands in braces is a name, with dashes too
_BRACED_PATH = re.compile(r"\$\{(\w+)(\.[^{}]+)\}", re.ASCII)
_PROPERTY = re.compile(r"\.(stdout|stderr|exitCode|exit_code)(?::(\d+)(?::(\d+))?)?")


@dataclass(frozen=True, slots=True)
class StepFacts:
    """What ``${id.…}`` can ask of a step: the paths of its log files, empty before its start, and its exit status."""

    stdout: str = ""
    stderr: str = ""
    exit_code: int = 0


@dataclass(frozen=True)
class Scope:
    """
    What a text can refer to.

    `variables` are replaced by name. `environ` is asked after them, and only by references with a path and by the last stage.
    `steps` maps ids of steps to their facts. `late` are known only where all stages are gone through: no shell is given them as
    text.
    """

    variables: Mapping[str, str]
    environ: Mapping[str, str] = field(default_factory=dict)
    steps: Mapping[str, StepFacts] = field(default_factory=dict)
    late: Mapping[str, str] = field(default_factory=dict)

    def value(self, name: str) -> str | None:
        """A variable, else an environment variable, else None."""
        found = self.variables.get(name)
        return self.environ.get(name) if found is None else found

    @cached_property
    def whole(self) -> Scope:
        """The scope for texts that go through all stages: the `late` ones are replaced by name as well."""
        return replace(self, variables={**self.late, **self.variables}, late={}) if self.late else self

    def expanded(self, name: str) -> str | None:
        """A variable, else one of the `late` ones, else an environment variable, else None: what the last stage knows."""
        found = self.whole.variables.get(name)
        return self.environ.get(name) if found is None else found


def replace_references(text: str, scope: Scope) -> str:
    """All three stages. Raises `InvalidInputError` for an expression that only the package jq could answer."""
    if "$" not in text:
        return text
    text = _QUOTED.sub(lambda match: _quoted(match, scope), text)
    text = _WITH_PATH.sub(lambda match: _with_path(match, scope), text)
    return _PLAIN.sub(lambda match: _plain(match, scope.variables), text)


def replace_braced_paths(text: str, scope: Scope) -> str:
    """``${NAME.path}`` alone. Raises `InvalidInputError` as `replace_references` does."""
    return _BRACED_PATH.sub(lambda match: _with_path(match, scope), text)


def _quoted(match: re.Match[str], scope: Scope) -> str:
    name, path = match.groups()
    value = _at_path(name, path, scope) if path else scope.variables.get(name)
    if value is None:
        return match[0]
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _with_path(match: re.Match[str], scope: Scope) -> str:
    name, path = (match[1], match[2]) if match[1] else (match[3], match[4])
    value = _at_path(name, path, scope, braced=bool(match[1]))
    return match[0] if value is None else value


def _plain(match: re.Match[str], variables: Mapping[str, str]) -> str:
    """A reference that touches a single quote stays; that quote then protects no other one behind it."""
    if match[0].startswith("'") or match[0].endswith("'"):
        return match[0]
    return variables.get(match[1] or match[2], match[0])


def _at_path(name: str, path: str, scope: Scope, *, braced: bool = True) -> str | None:
    """The value of ``name.path``, None if there is nothing to be found."""
    facts = scope.steps.get(name)
    if facts is not None and (match := _PROPERTY.fullmatch(path)) is not None:
        return _step_property(facts, match)
    text = scope.value(name)
    if text is None:
        return None
    try:
        return scalar_text(query(text, path))
    except PathError as error:
        if not braced:
            return None  # more likely the end of a sentence than an expression
        raise InvalidInputError([Problem(f"${{{name}{path}}} cannot be answered: {error}")]) from None
    except (ValueError, LookupError):
        return None


def _step_property(facts: StepFacts, match: re.Match[str]) -> str | None:
    name, offset, length = match.groups()
    text = facts.stdout if name == "stdout" else facts.stderr if name == "stderr" else str(facts.exit_code)
    if not text:
        return None
    if offset is None:
        return text
    start = int(offset)
    return text[start : start + int(length)] if length is not None else text[start:]
