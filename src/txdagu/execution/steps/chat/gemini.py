"""The dialect of Google's Gemini."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from txdagu.execution.steps.chat.pieces import ModelRequest, Piece, count, mapping, objects, raise_error, text
from txdagu.execution.steps.chat.settings import ROOM, ChatSettings, Thinking
from txdagu.model.chat import ChatMessage


def request(settings: ChatSettings, messages: Sequence[ChatMessage]) -> ModelRequest:
    """``POST /models/MODEL:generateContent``, or for a stream ``:streamGenerateContent``."""
    body: dict[str, Any] = {
        "contents": [
            {"role": "model" if message.role == "assistant" else "user", "parts": [{"text": message.content}]}
            for message in messages
            if message.role != "system"
        ]
    }
    system = [message.content for message in messages if message.role == "system"]
    if system:
        body["systemInstruction"] = {"parts": [{"text": system[-1]}]}
    options = _options(settings)
    if options:
        body["generationConfig"] = options
    method = "streamGenerateContent?alt=sse" if settings.stream else "generateContent"
    url = f"{settings.base_url}/models/{quote(settings.model, safe='/')}:{method}"
    return ModelRequest(url, {"X-Goog-Api-Key": settings.key}, body)


def _options(settings: ChatSettings) -> dict[str, Any]:
    found = {
        "temperature": settings.temperature,
        "topP": settings.top_p,
        "maxOutputTokens": settings.max_tokens or None,
    }
    thinking = settings.thinking
    if thinking is not None:
        how: dict[str, Any] = {}
        if thinking.budget:
            how["thinkingBudget"] = thinking.budget
            found["maxOutputTokens"] = thinking.limit(settings.max_tokens)
        else:
            level = "high" if thinking.effort == "xhigh" else thinking.effort  # the most that it knows
            how["thinkingLevel"] = level
            found["maxOutputTokens"] = settings.max_tokens or Thinking(level).tokens + ROOM
        if thinking.in_output:
            how["includeThoughts"] = True
        return {**{key: value for key, value in found.items() if value is not None}, "thinkingConfig": how}
    return {key: value for key, value in found.items() if value is not None}


def answer(document: Mapping[str, Any]) -> Piece:
    """A whole answer, or a part of a stream: the parts of the first candidate."""
    raise_error(document)
    candidates = objects(document.get("candidates"))
    parts = objects(mapping(candidates[0].get("content")).get("parts")) if candidates else []
    usage = mapping(document.get("usageMetadata"))
    return Piece(
        "".join(text(part.get("text")) for part in parts if not part.get("thought")),
        "".join(text(part.get("text")) for part in parts if part.get("thought")),
        count(usage.get("promptTokenCount")),
        count(usage.get("candidatesTokenCount")),
        count(usage.get("totalTokenCount")),
        last=bool(candidates and candidates[0].get("finishReason")),
    )


event = answer
