"""The dialect of Anthropic's messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from txdagu.execution.steps.chat.pieces import ModelRequest, Piece, count, mapping, objects, raise_error, text
from txdagu.execution.steps.chat.settings import ROOM, ChatSettings
from txdagu.model.chat import ChatMessage

VERSION = "2023-06-01"
LIMIT = ROOM
"""Tokens of an answer; the interface asks for a number."""


def request(settings: ChatSettings, messages: Sequence[ChatMessage]) -> ModelRequest:
    """``POST /v1/messages``. The message of the system stands apart; there are no roles but two."""
    body: dict[str, Any] = {
        "model": settings.model,
        "messages": [
            {"role": "assistant" if message.role == "assistant" else "user", "content": message.content}
            for message in messages
            if message.role != "system"
        ],
    }
    system = [message.content for message in messages if message.role == "system"]
    if system:
        body["system"] = system[-1]
    body["max_tokens"] = settings.max_tokens or LIMIT
    if settings.temperature is not None:
        body["temperature"] = settings.temperature
    if settings.top_p is not None:
        body["top_p"] = settings.top_p
    if settings.stream:
        body["stream"] = True
    if settings.thinking is not None:
        body["max_tokens"] = settings.thinking.limit(body["max_tokens"])
        body["thinking"] = {"type": "enabled", "budget_tokens": settings.thinking.tokens}
    headers = {"X-Api-Key": settings.key, "Anthropic-Version": VERSION}
    return ModelRequest(f"{settings.base_url}/v1/messages", headers, body)


def answer(document: Mapping[str, Any]) -> Piece:
    """A whole answer: its blocks of text, one after the other."""
    raise_error(document)
    blocks = objects(document.get("content"))
    said = "".join(text(block.get("text")) for block in blocks if block.get("type") == "text")
    thoughts = "".join(text(block.get("thinking")) for block in blocks if block.get("type") == "thinking")
    return _counted(Piece(said, thoughts), document.get("usage"))


def event(document: Mapping[str, Any]) -> Piece:
    """A part of a stream. The question's tokens are told at the start, the answer's at the end."""
    raise_error(document)
    match document.get("type"):
        case "message_start":
            usage = mapping(mapping(document.get("message")).get("usage"))
            return Piece(prompt_tokens=count(usage.get("input_tokens")))
        case "content_block_delta":
            delta = mapping(document.get("delta"))
            return Piece(text(delta.get("text")), text(delta.get("thinking")))
        case "message_delta":
            return _counted(Piece(), document.get("usage"))
        case "message_stop":
            return Piece(last=True)
    return Piece()


def _counted(piece: Piece, usage: object) -> Piece:
    counts = mapping(usage)
    return Piece(piece.text, piece.thoughts, count(counts.get("input_tokens")), count(counts.get("output_tokens")))
