"""What ``llm`` says of a step, evaluated, and which key is used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from txdagu.execution.evaluation.stages import Evaluator
from txdagu.model.errors import DaguError

_ALIASES = {"ollama": "local", "vllm": "local", "llama": "local"}
# Address and variable with the key, by provider.
_PLACES = {
    "openai": ("https://api.openai.com/v1", "OPENAI_API_KEY"),
    "anthropic": ("https://api.anthropic.com", "ANTHROPIC_API_KEY"),
    "gemini": ("https://generativelanguage.googleapis.com/v1beta", "GOOGLE_API_KEY"),
    "openrouter": ("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    "local": ("http://localhost:11434/v1", ""),
}
_BUDGETS = {"low": 1024, "medium": 4096, "high": 16384, "xhigh": 32768}
ROOM = 4096
"""Tokens that are left for the answer itself where thinking would use them up."""


@dataclass(frozen=True, slots=True)
class Thinking:
    """How a model is to think: its effort, and the most tokens, 0 where none were said."""

    effort: str = "medium"
    budget: int = 0
    in_output: bool = False

    @property
    def tokens(self) -> int:
        """How many tokens it may think: as said, else by its effort."""
        return self.budget or _BUDGETS[self.effort]

    def limit(self, limit: int) -> int:
        """The limit of an answer; one that leaves no room beside the thinking is raised."""
        return limit if limit > self.tokens else self.tokens + ROOM


@dataclass(frozen=True, slots=True)
class ChatSettings:
    """
    Whom to ask, and how.

    `provider` is no alias; `base_url` does not end in a slash; `key` is empty where none is needed. `system` is the first
    message; None stands for what was not written, in `max_tokens` 0.
    """

    provider: str
    model: str
    base_url: str
    key: str
    system: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int = 0
    stream: bool = True
    thinking: Thinking | None = None

    def shown(self, text: str) -> str:
        """A text from outside without our key, should it be in there."""
        return text.replace(self.key, "*******") if self.key else text


async def read_settings(llm: Mapping[str, Any], evaluator: Evaluator) -> ChatSettings:
    """Evaluate the texts of `llm` and find the key. Raises `DaguError` where something is missing."""
    written = str(llm.get("provider", ""))
    provider = _ALIASES.get(written, written)
    model = await evaluator.field(str(llm.get("model", "")))
    if provider not in _PLACES or not model:
        raise DaguError("provider and model are required: write llm with both into the DAG or the step")
    base_url = await evaluator.field(str(llm.get("baseURL") or "")) or _PLACES[provider][0]
    if not base_url.startswith(("http://", "https://")):
        raise DaguError(f"baseURL {base_url!r} is not a URL: write an http or https URL, for example http://host/v1")
    system = llm.get("system")
    thinking = llm.get("thinking") or {}
    return ChatSettings(
        provider,
        model,
        base_url.rstrip("/"),
        await _key(provider, str(llm.get("apiKeyName") or ""), evaluator),
        await evaluator.field(str(system)) if system else None,
        llm.get("temperature"),
        llm.get("topP"),
        int(llm.get("maxTokens") or 0),
        llm.get("stream") is not False,
        _thinking(thinking) if thinking.get("enabled") else None,
    )


def _thinking(written: Mapping[str, Any]) -> Thinking:
    return Thinking(
        str(written.get("effort") or "medium"),
        int(written.get("budgetTokens") or 0),
        bool(written.get("includeInOutput")),
    )


async def _key(provider: str, written: str, evaluator: Evaluator) -> str:
    """The key: the value of the variable that is named, of the provider's own, or of a reference written in place of a name."""
    if "$" in written:
        return await evaluator.field(written)
    name = written or _PLACES[provider][1]
    key = await evaluator.field(f"${{{name}}}") if name else ""
    if not key and provider != "local":
        named = ", which apiKeyName names," if written else ""
        raise DaguError(
            f"failed to create LLM provider: no API key provided: the variable {name}{named} is not set: set it in the "
            "environment, in env or as a secret"
        )
    return key
