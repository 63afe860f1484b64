"""A server that answers like a provider of language models, for tests; any program may ask it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

WORDS = ("Hello", " wörld")
THOUGHT = "let me see"


@dataclass(frozen=True)
class Reply:
    """What a model answers; with `cut` the connection ends after so many bytes of the body, with `hold` it stays open then."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    hold: bool = False


@dataclass(frozen=True)
class Asked:
    """One request: where, with what headers (names in lower case) and JSON."""

    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]


class ModelServer(Resource):
    """
    Answers every model's requests with `WORDS`, after `THOUGHT`, in the dialect of their path, as a stream where asked to.

    `replies` has other answers by model, each used once, the last one for ever. `asked` keeps all requests, `held` those that
    are still open on purpose. `site` is what to listen with.
    """

    isLeaf = True  # noqa: N815 - twisted.web's name

    def __init__(self, **replies: list[Reply]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.replies = replies
        self.asked: list[Asked] = []
        self.held: list[Any] = []
        self.site = Site(self)

    def render(self, request: Any) -> int:
        """Answer one request."""
        path = request.uri.decode()
        headers = {
            name.decode().lower(): values[0].decode() for name, values in request.requestHeaders.getAllRawHeaders()
        }
        asked = Asked(path, headers, json.loads(request.content.read() or b"{}"))
        self.asked.append(asked)
        model = asked.body.get("model") or path.rpartition("/")[2].partition(":")[0]
        script = self.replies.get(model)
        reply = usual_reply(asked) if script is None else script.pop(0) if len(script) > 1 else script[0]
        request.setResponseCode(reply.status)
        for name, value in {"Content-Type": "application/json", **reply.headers}.items():
            request.setHeader(name, value)
        request.setHeader("Content-Length", str(len(reply.body)))
        request.write(reply.body[: reply.cut])
        if reply.hold:
            self.held.append(request)
            request.notifyFinish().addErrback(lambda _: self.held.remove(request))
        elif reply.cut is not None:
            request.transport.loseConnection()
        else:
            request.finish()
        return NOT_DONE_YET


def usual_reply(asked: Asked) -> Reply:
    """`WORDS` in the dialect of the request."""
    if asked.path.endswith("/v1/messages"):
        return events(*_anthropic_events()) if asked.body.get("stream") else document(_anthropic())
    if ":streamGenerateContent" in asked.path:
        return events(*(_gemini(part, thought) for part, thought in _parts()))
    if ":generateContent" in asked.path:
        whole = _gemini("", False)
        whole["candidates"][0]["content"]["parts"] = [_gemini_part(part, thought) for part, thought in _parts()]
        return document(whole)
    return events(*_openai_events(), "[DONE]") if asked.body.get("stream") else document(_openai())


def document(value: object) -> Reply:
    """A whole answer."""
    return Reply(body=json.dumps(value).encode())


def events(*values: object) -> Reply:
    """A stream with these values as events; texts are taken as they are."""
    texts = [value if isinstance(value, str) else json.dumps(value) for value in values]
    body = ": comment\n\n" + "".join(f"event: piece\ndata: {text}\n\n" for text in texts)
    return Reply(body=body.encode(), headers={"Content-Type": "text/event-stream"})


def _parts() -> list[tuple[str, bool]]:
    return [(THOUGHT, True), *((word, False) for word in WORDS)]


def _openai() -> dict[str, Any]:
    message = {"role": "assistant", "content": "".join(WORDS), "reasoning_content": THOUGHT}
    return {"choices": [{"index": 0, "message": message}], "usage": _openai_usage()}


def _openai_usage() -> dict[str, int]:
    return {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}


def _openai_events() -> list[dict[str, Any]]:
    deltas = [
        {"role": "assistant", "content": ""},
        {"reasoning_content": THOUGHT},
        *({"content": word} for word in WORDS),
    ]
    chunks: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    return [*chunks, {"choices": [], "usage": _openai_usage()}]


def _anthropic() -> dict[str, Any]:
    blocks = [{"type": "thinking", "thinking": THOUGHT}, *({"type": "text", "text": word} for word in WORDS)]
    return {"type": "message", "content": blocks, "usage": {"input_tokens": 11, "output_tokens": 7}}


def _anthropic_events() -> list[dict[str, Any]]:
    deltas = [
        {"type": "thinking_delta", "thinking": THOUGHT},
        *({"type": "text_delta", "text": word} for word in WORDS),
    ]
    return [
        {"type": "message_start", "message": {"usage": {"input_tokens": 11, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}},
        {"type": "message_stop"},
    ]


def _gemini_part(text: str, thought: bool) -> dict[str, Any]:
    return {"text": text, "thought": True} if thought else {"text": text}


def _gemini(text: str, thought: bool) -> dict[str, Any]:
    return {
        "candidates": [{"content": {"role": "model", "parts": [_gemini_part(text, thought)]}}],
        "usageMetadata": {"promptTokenCount": 11, "candidatesTokenCount": 7, "totalTokenCount": 18},
    }
