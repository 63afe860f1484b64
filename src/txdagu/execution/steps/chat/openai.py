"""The dialect of OpenAI's chat completions, which OpenRouter and programs that serve models at home speak too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from txdagu.execution.steps.chat.pieces import (
    ModelRequest,
    Piece,
    UnusableAnswerError,
    count,
    mapping,
    objects,
    raise_error,
    text,
)
from txdagu.execution.steps.chat.settings import ChatSettings
from txdagu.model.chat import ChatMessage

DONE = "[DONE]"


def request(settings: ChatSettings, messages: Sequence[ChatMessage]) -> ModelRequest:
    """
    ``POST /chat/completions``.

    Of OpenAI's own models those that think take neither temperature nor top_p, and have another word for the limit.
    """
    headers = {"Authorization": f"Bearer {settings.key}"} if settings.key else {}
    body: dict[str, Any] = {
        "model": settings.model,
        "messages": [{"role": message.role, "content": message.content} for message in messages],
    }
    limit = settings.max_tokens
    thinking = settings.thinking
    if settings.provider == "openrouter":
        headers |= {"HTTP-Referer": "https://github.com/dagu-org/dagu", "X-Title": "Dagu Workflow Engine"}
        if thinking is not None:
            body["reasoning"] = {"effort": thinking.effort}
            if thinking.budget:
                body["reasoning"]["max_tokens"] = thinking.budget
                limit = thinking.limit(limit)
    reasons = settings.provider == "openai" and thinking is not None
    if reasons and thinking is not None:
        body["reasoning_effort"] = thinking.effort
    else:
        if settings.temperature is not None:
            body["temperature"] = settings.temperature
        if settings.top_p is not None:
            body["top_p"] = settings.top_p
    if limit:
        body["max_completion_tokens" if reasons else "max_tokens"] = limit
    if settings.stream:
        body["stream"] = True
        if settings.provider == "openai":
            body["stream_options"] = {"include_usage": True}
    return ModelRequest(f"{settings.base_url}/chat/completions", headers, body)


def answer(document: Mapping[str, Any]) -> Piece:
    """A whole answer."""
    raise_error(document)
    choices = objects(document.get("choices"))
    if not choices:
        raise UnusableAnswerError("no choices in response")
    return _piece(mapping(choices[0].get("message")), document)


def event(document: Mapping[str, Any]) -> Piece:
    """A part of a stream; the last one but ``[DONE]`` has no choices, only counts."""
    raise_error(document)
    choices = objects(document.get("choices"))
    return _piece(mapping(choices[0].get("delta")) if choices else {}, document)


def _piece(message: Mapping[str, Any], document: Mapping[str, Any]) -> Piece:
    usage = mapping(document.get("usage"))
    return Piece(
        text(message.get("content")),
        text(message.get("reasoning_content")) or text(message.get("reasoning")),
        count(usage.get("prompt_tokens")),
        count(usage.get("completion_tokens")),
        count(usage.get("total_tokens")),
    )
