"""What dialects make of requests and answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from txdagu.model.errors import DaguError


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """A request: where it goes, with what headers and JSON."""

    url: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of an answer, or all of it: text, thoughts, counts of tokens (0 where not told), and whether it is the last."""

    text: str = ""
    thoughts: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    last: bool = False


class UnusableAnswerError(DaguError):
    """The provider answered with something that is no answer."""


def mapping(value: object) -> Mapping[str, Any]:
    """The value if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def objects(value: object) -> list[Mapping[str, Any]]:
    """The objects in a JSON array."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def text(value: object) -> str:
    """The value if it is a text, else an empty one."""
    return value if isinstance(value, str) else ""


def count(value: object) -> int:
    """The value if it is a whole number, else 0."""
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def raise_error(document: Mapping[str, Any]) -> None:
    """Raise `UnusableAnswerError` if the provider reports an error where an answer should be."""
    error = document.get("error")
    if error:
        raise UnusableAnswerError(text(mapping(error).get("message")) or str(error))
