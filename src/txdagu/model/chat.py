"""What is said to a language model, and what it says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answered:
    """Who gave an answer, and how many tokens the question and the answer had, as far as the provider told."""

    provider: str
    model: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message. `role` is ``system``, ``user``, ``assistant`` or ``tool``; `answered` is known of a model's answers."""

    role: str
    content: str
    answered: Answered | None = None
