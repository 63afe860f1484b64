"""Each provider's dialect."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from txdagu.execution.steps.chat import anthropic, gemini, openai
from txdagu.execution.steps.chat.pieces import ModelRequest, Piece, UnusableAnswerError
from txdagu.execution.steps.chat.settings import ChatSettings
from txdagu.model.chat import ChatMessage

_Read = Callable[[Mapping[str, Any]], Piece]


@dataclass(frozen=True, slots=True)
class Dialect:
    """Writes requests, and reads the JSON of whole answers and of events of a stream."""

    request: Callable[[ChatSettings, Sequence[ChatMessage]], ModelRequest]
    read_answer: _Read
    read_event: _Read

    def answer(self, data: str | bytes) -> Piece:
        """A whole answer. Raises `UnusableAnswerError`."""
        return self.read_answer(_object(data))

    def event(self, data: str) -> Piece:
        """An event of a stream. Raises `UnusableAnswerError`."""
        if data.strip() == openai.DONE:
            return Piece(last=True)
        return self.read_event(_object(data))


_OPENAI = Dialect(openai.request, openai.answer, openai.event)
DIALECTS: Mapping[str, Dialect] = {
    "openai": _OPENAI,
    "openrouter": _OPENAI,
    "local": _OPENAI,
    "anthropic": Dialect(anthropic.request, anthropic.answer, anthropic.event),
    "gemini": Dialect(gemini.request, gemini.answer, gemini.event),
}


def _object(data: str | bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(data)
    except ValueError as error:
        raise UnusableAnswerError(f"failed to decode response: {error}") from error
    if not isinstance(document, dict):
        raise UnusableAnswerError("failed to decode response: it is no JSON object")
    return document
