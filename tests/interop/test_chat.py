"""
Chat steps through Dagu 1.30.2 and through us, against a scripted server: the same questions, answers and conversations.

`TXDAGU_REFERENCE` names the released program; without it these tests are skipped.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any, cast
from unittest import skipUnless

import pytest
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import TestCase

from txdagu.dagfile import load_dag
from txdagu.testing.modelserver import Asked, ModelServer, Reply
from txdagu.testing.steps import StepHarness

REFERENCE = os.environ.get("TXDAGU_REFERENCE", "")
KEYS = {f"{name}_API_KEY": f"sk-{name}" for name in ("OPENAI", "ANTHROPIC", "GOOGLE", "OPENROUTER", "OTHER")}
# Without thinking, with effort, with a budget, with both and a limit that leaves no room.
OPTIONS = {
    "plain": "temperature: 0.5, topP: 0.25, maxTokens: 100",
    "bare": "system: 's ${Q} $E'",
    "effort": "maxTokens: 30000, temperature: 1, thinking: {enabled: true, effort: high}",
    "budget": "thinking: {enabled: true, budgetTokens: 2048}",
    "tight": "maxTokens: 3000, thinking: {enabled: true, effort: xhigh, budgetTokens: 3000}",
    "unsaid": "thinking: {enabled: true}",
    "off": "thinking: {effort: high}",
}
PROVIDERS = ("openai", "anthropic", "gemini", "openrouter", "local", "ollama")
CONVERSATION = """\
  - {name: a, id: aid, type: chat, depends: [],
     messages: [{role: system, content: old}, {role: system, content: own}, {role: user, content: "qa `echo t` $(x)"}]}
  - {name: b, type: chat, depends: [], llm: {provider: local, model: mb, baseURL: "${BASE}/b", stream: false},
     messages: [{role: user, content: " qb\\n"}, {role: system, content: late}]}
  - {name: between, depends: [a], command: echo between}
  - {name: c, type: chat, depends: [b, a], output: OUT, messages: [{role: user, content: qc}]}
  - {name: d, type: chat, depends: [between], messages: [{role: user, content: qd}]}
  - {name: e, type: chat, depends: [b, a], env: [K: sk-step],
     llm: {provider: openai, model: me, baseURL: "${BASE}/e", apiKeyName: K},
     messages: [{role: user, content: "qe ${OUT}"}, {role: tool, content: result}, {role: assistant, content: said}]}
  - {name: f, type: chat, depends: [c], llm: {provider: local, model: mf, baseURL: "${BASE}/f", apiKeyName: "${OTHER_API_KEY}"},
     messages: [{role: user, content: "qf ${OUT}"}]}
  - {name: bad key, type: chat, depends: [], llm: {provider: local, model: denied, baseURL: "${BASE}/denied"},
     messages: [{role: user, content: q}]}
  - {name: broken, type: chat, depends: [], llm: {provider: local, model: broken, baseURL: "${BASE}/x", stream: false},
     messages: [{role: user, content: q}]}
  - {name: cut, type: chat, depends: [], llm: {provider: local, model: cut, baseURL: "${BASE}/cut"},
     messages: [{role: user, content: q}]}
"""


def dag_text(base: str) -> str:
    """One step for each provider and set of options, and some that talk with each other."""
    lines = [
        "type: graph",
        f"params: BASE={base} Q=val",
        'env: [E: "a b"]',
        'llm: {provider: local, model: of-dag, baseURL: "${BASE}/dag", system: sys}',
        "steps:",
    ]
    for number, provider in enumerate(PROVIDERS):
        for index, (name, options) in enumerate(OPTIONS.items()):
            stream = "" if (number + index) % 2 else "stream: false, "
            llm = f'provider: {provider}, model: m, baseURL: "${{BASE}}/{provider}-{name}", {stream}{options}'
            lines.append(
                f"  - {{name: {provider}-{name}, type: chat, depends: [], llm: {{{llm}}}, "
                "messages: [{role: user, content: hi}, {role: assistant, content: yo}, {role: tool, content: t}]}"
            )
    return "\n".join(lines) + f"\n{CONVERSATION}"


def server() -> ModelServer:
    """Two models that do not answer well, and one that hangs up."""
    stream = b'data: {"choices":[{"delta":{"content":"Hel"}}]}\n\ndata: {"choi'
    return ModelServer(
        denied=[Reply(401, b'{"error": "bad key"}')],
        broken=[Reply(200, b'{"choices": [')],
        cut=[Reply(200, stream + b" " * 50, {"Content-Type": "text/event-stream"}, cut=len(stream))],
    )


def question(asked: Asked) -> dict[str, Any]:
    """What is compared of a request."""
    names = ("authorization", "x-api-key", "anthropic-version", "x-goog-api-key", "http-referer", "x-title")
    return {"body": asked.body, **{name: asked.headers[name] for name in names if name in asked.headers}}


def corrected(provider: str, body: dict[str, Any]) -> dict[str, Any]:
    """What Dagu asks, with the names that the providers' interfaces have for thinking."""
    body = json.loads(json.dumps(body))
    if provider == "openai" and "reasoning" in body:
        body["reasoning_effort"] = body.pop("reasoning")["effort"]
    config = body.get("generationConfig", {})
    thinking = {key: config.pop(key) for key in ("thinkingBudget", "thinkingLevel") if key in config}
    if thinking:
        config["thinkingConfig"] = thinking
    return body


Result = tuple[dict[str, tuple[str, str]], dict[str, Any], dict[str, Any]]


@pytest.mark.reference
@skipUnless(REFERENCE, "TXDAGU_REFERENCE does not name the released program")
class SameTalkTests(TestCase):
    maxDiff = None

    def setUp(self) -> None:
        """A reactor for both."""
        from twisted.internet import reactor  # noqa: TID251  # trial's, for real sockets

        self.reactor = cast("Any", reactor)

    def listen(self) -> tuple[ModelServer, str]:
        """A server and its address."""
        models = server()
        port = self.reactor.listenTCP(0, models.site, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return models, f"http://127.0.0.1:{port.getHost().port}"

    async def theirs(self) -> Result:
        """Ends and outputs by step, requests by path, conversations by step; of the released program."""
        models, base = self.listen()
        home = Path(mkdtemp())
        self.addCleanup(rmtree, home)
        file = home / "d.yaml"
        file.write_text(dag_text(base))
        env = {"PATH": os.environ["PATH"], "HOME": str(home), "DAGU_HOME": str(home), **KEYS}
        await getProcessOutputAndValue(REFERENCE, ["start", str(file)], env)
        (run,) = home.glob("data/dag-runs/d/dag-runs/*/*/*/*")  # noqa: ASYNC240
        (status,) = run.glob("attempt_*/status.jsonl")
        nodes = json.loads(status.read_text().splitlines()[-1])["nodes"]
        words = {2: "failed", 4: "succeeded"}
        ends = {node["step"]["name"]: (words[node["status"]], printed(node["stdout"])) for node in nodes}
        talks = {path.stem: json.loads(path.read_text()) for path in run.glob("messages/*.json")}
        return ends, {asked.path.replace("//", "/"): question(asked) for asked in models.asked}, talks

    async def ours(self) -> Result:
        """The same, of ours."""
        models, base = self.listen()
        logs = mkdtemp()
        self.addCleanup(rmtree, logs)
        harness = StepHarness(logs, self.reactor, KEYS)
        status = await harness.run(load_dag(dag_text(base), "d.yaml", name="d"))
        ends = {node.step.name: (node.state.label, printed(node.stdout)) for node in status.nodes}
        talks = {
            step: [
                {"role": one.role, "content": one.content, **({"metadata": one.answered} if one.answered else {})}
                for one in messages
            ]
            for (_, step), messages in harness.store.messages.items()
        }
        return ends, {asked.path: question(asked) for asked in models.asked}, talks

    async def test_same(self) -> None:
        """Every step asks the same, ends in the same state, prints the same and leaves the same conversation."""
        their_ends, their_questions, their_talks = await self.theirs()
        ends, questions, talks = await self.ours()
        for name, (state, text) in their_ends.items():
            # Dagu takes Gemini's thoughts for a part of its answer.
            wanted = text.removeprefix("let me see") if name.startswith("gemini") else text
            self.assertEqual(ends[name], (state, wanted), name)
        self.assertEqual(questions.keys(), their_questions.keys())
        for path, theirs in their_questions.items():
            provider = path.removeprefix("/").partition("-")[0]
            self.assertEqual(questions[path], {**theirs, "body": corrected(provider, theirs["body"])}, path)
        self.assertEqual(talks.keys(), their_talks.keys())
        for name, talk in their_talks.items():
            if not name.startswith("gemini"):
                self.assertEqual(said(talks[name]), said(talk), name)
        answered = talks["a"][-1]["metadata"]
        self.assertEqual(
            their_talks["a"][-1]["metadata"],
            {
                "provider": answered.provider,
                "model": answered.model,
                "promptTokens": answered.prompt_tokens,
                "completionTokens": answered.completion_tokens,
                "totalTokens": answered.total_tokens,
            },
        )


def printed(path: str) -> str:
    """What is in a log file."""
    return Path(path).read_text("utf-8")


def said(talk: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Roles and texts."""
    return [(message["role"], message["content"]) for message in talk]
