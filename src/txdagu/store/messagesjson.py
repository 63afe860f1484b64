"""The file with a chat step's conversation (``messages/STEP.json`` in the run's directory). Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from txdagu.model.chat import Answered, ChatMessage
from txdagu.store.policyjson import without_empty
from txdagu.store.stepjson import encode_json


class AnsweredRecord(msgspec.Struct, rename="camel"):
    """Who answered."""

    provider: str = ""
    model: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0


class MessageRecord(msgspec.Struct):
    """One message."""

    role: str = ""
    content: str = ""
    metadata: AnsweredRecord | None = None


_decoder = msgspec.json.Decoder(list[MessageRecord])


def encode_messages(messages: Iterable[ChatMessage]) -> bytes:
    """The file's content."""
    return msgspec.json.format(encode_json([_document(message) for message in messages]), indent=2)


def decode_messages(data: bytes) -> tuple[ChatMessage, ...]:
    """The conversation; `ValueError` for what is no such file."""
    return tuple(
        ChatMessage(record.role, record.content, _answered(record.metadata)) for record in _decoder.decode(data)
    )


def _document(message: ChatMessage) -> dict[str, Any]:
    document: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.answered is not None:
        answered = message.answered
        document["metadata"] = without_empty(
            {
                "provider": answered.provider,
                "model": answered.model,
                "promptTokens": answered.prompt_tokens,
                "completionTokens": answered.completion_tokens,
                "totalTokens": answered.total_tokens,
            }
        )
    return document


def _answered(record: AnsweredRecord | None) -> Answered | None:
    if record is None:
        return None
    return Answered(record.provider, record.model, record.prompt_tokens, record.completion_tokens, record.total_tokens)
