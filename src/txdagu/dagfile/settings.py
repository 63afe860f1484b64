"""Settings of a DAG that are kept as written for those who use them: ssh, registries, telemetry, forms, language models."""

from __future__ import annotations

import json
from typing import Any

from txdagu.dagfile.fields import Field, Fields, Level, alternatives, nearest, type_name
from txdagu.dagfile.shapes import (
    NUMBER_OR_TEXT,
    SWITCH,
    TEXT,
    WHOLE,
    either,
    list_of,
    words,
)
from txdagu.model.durations import DURATION
from txdagu.yamltree import plain

PROVIDERS = ("openai", "anthropic", "gemini", "openrouter", "local")
_ALIASES = ("ollama", "vllm", "llama")
_ROLES = ("system", "user", "assistant", "tool")
_EFFORTS = ("low", "medium", "high", "xhigh")
_WHOLE_JSON = "_json"

RUN_CONFIG = Level(
    "runConfig",
    "runConfig",
    (
        Field("disableParamEdit", SWITCH, "Params cannot be changed when a run is started from a page.", False),
        Field("disableRunIdEdit", SWITCH, "The run id cannot be chosen when a run is started from a page.", False),
    ),
)
SSH = Level(
    "ssh",
    "ssh",
    (
        Field("user", TEXT, "The user to log in as."),
        Field("host", TEXT, "The host to log in to."),
        Field("ip", TEXT, "The same as `host`.", now="host"),
        Field("port", NUMBER_OR_TEXT, "The port of its SSH server.", "22"),
        Field("key", TEXT, "The file with the private key."),
        Field("password", TEXT, "The password."),
        Field("strictHostKey", SWITCH, "The host's key must be known.", True),
        Field("knownHostFile", TEXT, "The file with the keys of known hosts."),
        Field("shell", either(TEXT, list_of(TEXT)), "The shell that runs commands there."),
    ),
)
OTEL = Level(
    "otel",
    "otel",
    (
        Field("enabled", {}, "Traces of runs are sent.", False),
        Field("endpoint", {}, "Where traces are sent to."),
        Field("headers", {}, "Headers of what is sent."),
        Field("insecure", {}, "Without TLS.", False),
        Field("timeout", {}, "How long sending may take, as `30s`."),
        Field("resource", {}, "Attributes of the resource."),
    ),
    unknown="",
)
REGISTRY_AUTHS = either(TEXT, {"type": "object", "additionalProperties": {}})
THINKING = Level(
    "thinking",
    "thinking",
    (
        Field("enabled", SWITCH, "The model thinks before it answers.", False),
        Field("effort", words(*_EFFORTS), "How much it thinks."),
        Field("budgetTokens", WHOLE, "How many tokens it may think."),
        Field("includeInOutput", SWITCH, "What it thought is part of the output.", False),
    ),
)
LLM = Level(
    "llm",
    "llm",
    (
        Field("provider", words(*PROVIDERS, *_ALIASES), "Who runs the model."),
        Field("model", TEXT, "The model's name."),
        Field("system", TEXT, "The first message, from the system."),
        Field("temperature", {"type": "number", "minimum": 0, "maximum": 2}, "How far answers vary, 0 to 2."),
        Field("maxTokens", {"type": "integer", "minimum": 1}, "How long an answer may be."),
        Field("topP", {"type": "number", "minimum": 0, "maximum": 1}, "The share of likely words to choose from."),
        Field("baseURL", TEXT, "The address of the provider's interface."),
        Field("apiKeyName", TEXT, "The variable with the key."),
        Field("stream", SWITCH, "Answers are printed while they come.", True),
        Field("thinking", THINKING.reference, "Thinking before the answer."),
    ),
)
MESSAGE = Level(
    "message",
    "message",
    (
        Field("role", words(*_ROLES), "Who says it."),
        Field("content", TEXT, "What is said."),
    ),
    required=("role", "content"),
)
MESSAGES = list_of(MESSAGE.reference)


def read_run_config(fields: Fields) -> dict[str, bool]:
    """The switches that are written."""
    own = fields.mapping("runConfig", RUN_CONFIG)
    return {name: own.switch(name) for name in own} if own else {}


def read_ssh(fields: Fields) -> dict[str, Any]:
    """How ssh steps log in."""
    own = fields.mapping("ssh", SSH)
    if own is None:
        return {}
    kept: dict[str, Any] = {}
    for name in own:
        if name == "shell":
            kept[name] = plain(own.at(name))
        else:
            kept[name] = (
                own.switch(name) if name == "strictHostKey" else own.scalar(name) if name == "port" else own.text(name)
            )
    return kept


def read_otel(fields: Fields) -> dict[str, Any]:
    """Telemetry settings as written."""
    node = fields.node("otel")
    if node is None:
        return {}
    if not isinstance(node.value, dict):
        fields.problem("otel", f"otel must be a map, got {type_name(node)}")
        return {}
    own = Fields(node, OTEL, fields.report, "otel.")
    timeout = own.node("timeout")
    if timeout is not None and isinstance(timeout.value, str) and not DURATION.fullmatch(timeout.value):
        own.problem("timeout", f'time: invalid duration "{timeout.value}"', "write it as 30s or 5m")
    return {name: plain(own.at(name)) for name in own}


def read_registry_auths(fields: Fields) -> dict[str, Any]:
    """
    Credentials by registry: a text, or a mapping with ``username``, ``password`` and ``auth``.

    One text for all is JSON, or a reference to it that is only known at start: it is kept under ``_json``.
    """
    node = fields.node("registryAuths")
    if node is None:
        return {}
    if isinstance(node.value, str):
        try:
            found = json.loads(node.value)
        except ValueError:
            return {_WHOLE_JSON: node.value}
        return found if isinstance(found, dict) else {_WHOLE_JSON: node.value}
    if isinstance(node.value, dict):
        found = plain(node)
        return {str(name): auth for name, auth in found.items()}
    fields.problem("registryAuths", f"invalid type: {type_name(node)}", "write each registry with its credentials")
    return {}


def read_llm(fields: Fields, *, complete: bool = False) -> dict[str, Any]:
    """The language model; one that is `complete` names provider and model."""
    own = fields.mapping("llm", LLM)
    if own is None:
        return {}
    known = (*PROVIDERS, *_ALIASES)
    own.choice(
        "provider", f"invalid provider: {{}} (must be one of {', '.join(PROVIDERS)}, or aliases: {', '.join(_ALIASES)})"
    )
    for name in ("model", "system", "baseURL", "apiKeyName"):
        own.text(name)
    own.switch("stream")
    _within(own, "temperature", "temperature must be between 0.0 and 2.0")
    _within(own, "topP", "topP must be between 0.0 and 1.0")
    _within(own, "maxTokens", "maxTokens must be at least 1")
    if complete and "provider" not in own:
        own.problem("provider", "provider is required (set at DAG or step level)", f"write {alternatives(known)}")
    if complete and "model" not in own:
        own.problem("model", "model must be specified when llm config is provided")
    kept = {name: plain(own.at(name)) for name in own}
    thinking = own.mapping("thinking", THINKING)
    if thinking is not None:
        efforts = ", ".join(_EFFORTS)
        thinking.choice("effort", f'invalid thinking effort "{{}}": must be one of: {efforts}')
        thinking.switch("enabled")
        thinking.switch("includeInOutput")
        thinking.number("budgetTokens")
        kept["thinking"] = {name: plain(thinking.at(name)) for name in thinking}
    return kept


def _within(fields: Fields, name: str, message: str) -> None:
    node = fields.node(name)
    if node is None:
        return
    if name == "maxTokens" and not isinstance(node.value, int):
        fields.number(name)
        return
    schema = fields.level.named(name).schema
    if not isinstance(node.value, int | float) or isinstance(node.value, bool):
        fields.wrong_type(name, "int" if name == "maxTokens" else "float64")
    elif not schema["minimum"] <= node.value <= schema.get("maximum", node.value):
        fields.problem(name, f"{message} (value: {node.text})")


def read_messages(fields: Fields) -> tuple[dict[str, str], ...]:
    """What is said to the model, in order."""
    node = fields.node("messages")
    if node is None:
        return ()
    if not isinstance(node.value, list):
        fields.problem("messages", f"source data must be an array or slice, got {type_name(node)}")
        return ()
    found = []
    for index, item in enumerate(node.value):
        if not isinstance(item.value, dict):
            fields.report.field(f"messages[{index}]", f"expected a map, got {type_name(item)}", item)
            continue
        own = Fields(item, MESSAGE, fields.report, f"messages[{index}].")
        role = own.text("role")
        if role not in _ROLES and (not role or isinstance(own.at("role").value, str)):
            own.problem("role", f'invalid role "{role}": must be one of: {", ".join(_ROLES)}', nearest(role, _ROLES))
        content = own.text("content", strip=False)
        if not content.strip() and ("content" not in own or isinstance(own.at("content").value, str)):
            own.problem("content", "content is required")
        found.append({"role": role, "content": content})
    return tuple(found)
