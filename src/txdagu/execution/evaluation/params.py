"""Params of a run: written defaults, laid over by what the starter gave, evaluated one after the other."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace

from txdagu.execution.evaluation.backticks import RunBackticks
from txdagu.execution.evaluation.references import Scope
from txdagu.execution.evaluation.stages import Evaluator
from txdagu.model.errors import InvalidInputError, Problem
from txdagu.model.params import Param, parse_params, quote_param
from txdagu.model.scalars import json_text

NamedParam = tuple[str, str]


def number_params(params: Iterable[Param]) -> list[NamedParam]:
    """Give unnamed params their position in the whole list, from 1, as their name."""
    return [(str(position) if name is None else name, value) for position, (name, value) in enumerate(params, 1)]


def merge_params(defaults: str, overrides: str) -> list[NamedParam]:
    """
    The params of a run, not yet evaluated.

    A named override replaces the param of that name, a positional one the param whose generated name is its number; others are
    appended. A name given twice keeps its first place and its last value.
    """
    merged = dict(number_params(parse_params(defaults)))
    merged.update(number_params(parse_params(overrides, "--params")))
    return list(merged.items())


async def evaluate_params(
    defaults: str, overrides: str, environ: Mapping[str, str], run: RunBackticks
) -> dict[str, str]:
    """
    The params of a run, evaluated; which override takes whose place is said at `merge_params`.

    A default sees the defaults before it, an override the overrides before it, both the environment: that one is overridden
    does not change the others. A default is evaluated also when it is overridden.
    """
    values = await _evaluated(number_params(parse_params(defaults)), environ, run)
    values.update(await _evaluated(number_params(parse_params(overrides, "--params")), environ, run))
    return values


async def _evaluated(params: Iterable[NamedParam], environ: Mapping[str, str], run: RunBackticks) -> dict[str, str]:
    values: dict[str, str] = {}
    evaluator = Evaluator(Scope(values, environ), run)
    for name, value in params:
        values[name] = await evaluator.field(value)
    return values


def split_assignment(text: str) -> NamedParam:
    """Name and value of ``NAME=value``."""
    name, _, value = text.partition("=")
    return name, value


def params_json(params: Mapping[str, str], overrides: str) -> str:
    """``DAGU_PARAMS_JSON``: all params as an object, sorted; overrides that were JSON themselves are passed on as they are."""
    given = overrides.strip()
    if given[:1] in ("{", "["):
        try:
            json.loads(given)
        except (ValueError, RecursionError):
            pass  # not JSON after all, so it was read as words
        else:
            return given
    return json_text(dict(sorted(params.items())))


async def evaluate_call(params: str, evaluator: Evaluator) -> str:
    """The params text that a calling step hands to its child: each value evaluated, then quoted so that it arrives whole."""
    values = [(name, await evaluator.field(value)) for name, value in parse_params(params)]
    return " ".join(quote_param(name, value) for name, value in values)


async def evaluate_assignments(
    entries: Iterable[str], scope: Scope, run: RunBackticks, *, chained: bool, where: str
) -> dict[str, str]:
    """
    Evaluate ``NAME=value`` texts in order.

    With `chained` each value sees the earlier ones (``env`` of a DAG), without it none does (``env`` of a step).
    """
    values: dict[str, str] = {}
    known = {**scope.variables}
    evaluator = Evaluator(replace(scope, variables=known), run)
    for entry in entries:
        name, equals, value = entry.partition("=")
        if not equals or not name:
            raise InvalidInputError([Problem(f"{entry!r} is not NAME=value", where)])
        values[name] = await evaluator.field(value)
        if chained:
            known[name] = values[name]
    return values
