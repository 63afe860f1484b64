"""The items of ``parallel``: how a text is split into them, and what each hands to its child."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from txdagu.execution.evaluation.stages import Evaluator
from txdagu.execution.steps import gojson
from txdagu.model.dag import Parallel
from txdagu.model.errors import DaguError

MOST_ITEMS = 1000

_SEPARATORS = "\t|;,"  # of two that are as frequent, the first one counts
_PIECE = re.compile(r'"([^"]*)"|([^\s"]+)')


def split_items(text: str) -> list[str]:
    """
    The items in one text; the first rule that fits, as in Dagu 1.30.2.

    A JSON array has one for each element, strings as they are and others as JSON. A JSON object is one item. Of several lines
    each is one. Where words stand in double quotes these are kept whole, and all others are items of their own. Else the most
    frequent of tab, bar, semicolon and comma separates items, and if there is none of them, blanks do. Items are trimmed, empty
    ones dropped.
    """
    text = text.strip()
    if text[:1] in ("[", "{"):
        try:
            value = gojson.parse(text)
            return [_element(item) for item in value] if isinstance(value, list) else [text]
        except (ValueError, RecursionError):
            pass  # it only looks like JSON
    if "\n" in text:
        return _trimmed(text.split("\n"))
    if text.count('"') > 1 and ('"' in (text[0], text[-1]) or ' "' in text or '" ' in text):
        return [match[2] or match[1] or "" for match in _PIECE.finditer(text)]
    separator = max(_SEPARATORS, key=text.count)
    return _trimmed(text.split(separator)) if separator in text else text.split()


async def evaluated_items(parallel: Parallel, evaluator: Evaluator) -> list[str]:
    """
    All items as texts: mappings as JSON objects with their values evaluated. Empty ones that are written in a list do not count.

    Raises `DaguError` where there is no item, or more than `MOST_ITEMS`.
    """
    if parallel.variable:
        items = split_items(await evaluator.field(parallel.variable))
    else:
        items = [await _evaluated(item, evaluator) for item in parallel.items if item]
    if not items:
        raise DaguError("parallel execution requires at least one item")
    if len(items) > MOST_ITEMS:
        raise DaguError(f"parallel execution exceeds maximum limit: {len(items)} items (max: {MOST_ITEMS})")
    return items


def _element(item: object) -> str:
    return item if isinstance(item, str) else gojson.dumps(item)


def _trimmed(pieces: Iterable[str]) -> list[str]:
    return [piece for piece in map(str.strip, pieces) if piece]


async def _evaluated(item: str | Mapping[str, str], evaluator: Evaluator) -> str:
    if isinstance(item, str):
        return await evaluator.field(item)
    return gojson.dumps({name: await evaluator.field(value) for name, value in item.items()})
