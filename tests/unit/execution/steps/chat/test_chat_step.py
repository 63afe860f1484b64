"""Chat steps against a scripted model server, with real sockets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from txdagu.execution.request import RunRequest
from txdagu.execution.steps.chat import exchange
from txdagu.execution.steps.chat import step as chat_step
from txdagu.model.chat import ChatMessage
from txdagu.model.dag import Dag, Output, Secret, Step
from txdagu.model.policies import RetryPolicy
from txdagu.model.run import NodeStatus, RunRef
from txdagu.model.status import NodeState
from txdagu.testing.modelserver import THOUGHT, WORDS, ModelServer, Reply, document, events
from txdagu.testing.steps import StepHarness

SAID = "".join(WORDS)
KEY = "sk-very-secret"


def chunk(text: str) -> dict[str, Any]:
    """A part of OpenAI's stream."""
    return {"choices": [{"delta": {"content": text}}]}


class Mute(Protocol):
    """Takes a request and says nothing."""

    def __init__(self, asked: list[Mute]) -> None:
        self._asked = asked
        self.closed = False

    def dataReceived(self, data: bytes) -> None:
        """A piece of the request."""
        if self not in self._asked:
            self._asked.append(self)

    def connectionLost(self, reason: object = None) -> None:
        """The step gave up."""
        self.closed = True


class ChatTests(TestCase):
    def setUp(self) -> None:
        """A server, and an engine with the same reactor."""
        from twisted.internet import reactor  # noqa: TID251  # trial's, for real sockets

        self.reactor = cast("Any", reactor)
        directory = mkdtemp()
        self.addCleanup(rmtree, directory)
        self.models = ModelServer()
        port = self.reactor.listenTCP(0, self.models.site, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.base = f"http://127.0.0.1:{port.getHost().port}"
        self.harness = StepHarness(
            directory, reactor, {"OPENAI_API_KEY": KEY, "ANTHROPIC_API_KEY": KEY, "GOOGLE_API_KEY": KEY}
        )

    def step(self, name: str = "a", model: str = "m", provider: str = "openai", **llm: Any) -> Step:
        settings = {"provider": provider, "model": model, "baseURL": self.base, **llm}
        messages = ({"role": "user", "content": "hi ${Q}"},)
        return Step(name, type="chat", llm=settings, messages=messages, output=Output("O"))

    async def ask(self, replies: list[Reply] | None = None, **llm: Any) -> tuple[NodeStatus, str, str]:
        """Node, standard output and standard error of one step."""
        if replies is not None:
            self.models.replies["m"] = replies
        return await self.harness.run_step(self.step(**llm), params="Q=val NAME=m")

    async def test_answer(self) -> None:
        """The answer is printed with a line end and captured; nothing is told on standard error."""
        node, out, err = await self.ask()
        self.assertIs(node.state, NodeState.SUCCEEDED, node.error)
        self.assertEqual((out, err, node.outputs["O"]), (f"{SAID}\n", "", SAID))
        asked = self.models.asked[0]
        self.assertEqual(asked.body["messages"], [{"role": "user", "content": "hi val"}])
        self.assertEqual(
            (asked.headers["content-type"], asked.headers["authorization"]), ("application/json", f"Bearer {KEY}")
        )

    async def test_model_is_evaluated(self) -> None:
        """A reference means the same in every text of llm."""
        await self.ask(model="${NAME}x", baseURL="${NO_SUCH_NAME}" + self.base)
        self.assertEqual(self.models.asked[0].body["model"], "mx")

    async def test_thoughts(self) -> None:
        """What was thought is printed before the answer where that is asked for, and is no part of the conversation."""
        for provider in ("local", "anthropic", "gemini"):
            for stream in (True, False):
                thinking = {"enabled": True, "includeInOutput": True}
                _, out, _ = await self.ask(provider=provider, stream=stream, thinking=thinking)
                self.assertEqual(out, f"{THOUGHT}\n\n{SAID}\n", (provider, stream))
                thinking["includeInOutput"] = False
                _, out, _ = await self.ask(provider=provider, stream=stream, thinking=thinking)
                self.assertEqual(out, f"{SAID}\n", (provider, stream))
        self.assertEqual({talk[-1].content for talk in self.harness.store.messages.values()}, {SAID})

    async def test_tried_again(self) -> None:
        """What may pass is tried again, four times in all, after the time that the server asks for; each failure is told."""
        busy = Reply(429, b"slow down", {"Retry-After": "0"})
        node, out, err = await self.ask([busy, Reply(503, b"", {"Retry-After": "0"}), events(chunk("ok"))])
        self.assertEqual((node.state, out), (NodeState.SUCCEEDED, "ok\n"))
        self.assertEqual(
            err,
            "llm API error (status 429): slow down; trying again in 0 s\n"
            "llm API error (status 503): ; trying again in 0 s\n",
        )
        self.models.asked.clear()
        node, _, _ = await self.ask([busy])
        self.assertEqual(
            node.error, 'failed to execute step "a": chat stream request failed: llm API error (status 429): slow down'
        )
        self.assertEqual(len(self.models.asked), 4)

    async def test_refused(self) -> None:
        """Other refusals are final and told in the provider's words, without our key, in one bounded line."""
        long = b"x" * 100_000
        node, out, err = await self.ask([Reply(401, f'{{"error":\n "no {KEY}"}}'.encode())], stream=False)
        self.assertEqual(
            node.error,
            'failed to execute step "a": chat request failed: llm API error (status 401): {"error": "no *******"}',
        )
        node, _, _ = await self.ask([Reply(400, long)])
        self.assertLess(len(node.error), 2200)
        node, _, _ = await self.ask([Reply(302, b"", {"Location": f"{self.base}/elsewhere"})])
        self.assertIn("status 302", node.error)
        self.assertEqual((len(self.models.asked), out + err), (3, ""))

    async def test_no_answer(self) -> None:
        """What is no answer fails the step with one sentence, whole or in a stream."""
        text = "text/event-stream"
        for reply, stream, expected in (
            (Reply(body=b'{"choices": ['), False, "chat request failed: openai: failed to decode response: "),
            (document([1]), False, "failed to decode response: it is no JSON object"),
            (document({}), False, "openai: no choices in response"),
            (events('{"choices": ['), True, "chat stream error: openai: failed to decode response: "),
            (events({"error": {"message": "overloaded"}}), True, "chat stream error: openai: overloaded"),
            (
                Reply(body=b"data: {} " + b"x" * 50, headers={"Content-Type": text}, cut=5),
                True,
                "the connection ended before",
            ),
            (Reply(body=b'{"choices": []}', cut=5), False, "the connection ended before the answer did"),
        ):
            node, out, _ = await self.ask([reply], stream=stream)
            self.assertIn(expected, node.error)
            self.assertEqual(out, "")
        half = len(events(chunk("He")).body)
        node, out, _ = await self.ask([Reply(body=events(chunk("He"), chunk("llo")).body, cut=half)])
        self.assertEqual((out, node.state), ("He", NodeState.FAILED))

    async def test_answer_without_its_mark(self) -> None:
        """A stream that is complete needs no ``[DONE]``; after it, it does not matter how the connection ends."""
        node, out, _ = await self.ask([events(chunk("a"))])
        self.assertEqual((node.state, out), (NodeState.SUCCEEDED, "a\n"))
        stream = events(chunk("a"), "[DONE]").body
        node, out, _ = await self.ask([Reply(body=stream + b" " * 9, cut=len(stream))])
        self.assertEqual((node.state, out), (NodeState.SUCCEEDED, "a\n"))

    async def test_incremental(self) -> None:
        """A stream is printed while it comes, and a step that waits for more can be stopped."""
        stream = events(chunk("early")).body
        self.models.replies["m"] = [Reply(body=stream + b" " * 9, cut=len(stream), hold=True)]
        done: Deferred[Any] = self.harness.run(Dag("d", (self.step(),)))
        while not self.models.held or not self.printed("early"):
            await deferLater(self.reactor, 0.01)
        sink = self.harness.store.sinks[0]
        assert sink.cancel is not None
        sink.cancel()
        status = await done
        self.assertIs(status.nodes[0].state, NodeState.ABORTED)
        while self.models.held:
            await deferLater(self.reactor, 0.01)

    async def test_stopped_before_an_answer(self) -> None:
        """A step whose server says nothing at all ends when it is stopped; it does not ask again."""
        mute: list[Mute] = []
        port = self.reactor.listenTCP(0, Factory.forProtocol(lambda: Mute(mute)), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        step = self.step(baseURL=f"http://127.0.0.1:{port.getHost().port}", provider="local")
        done: Deferred[Any] = self.harness.run(Dag("d", (step,)))
        while not mute:
            await deferLater(self.reactor, 0.01)
        sink = self.harness.store.sinks[0]
        assert sink.cancel is not None
        sink.cancel()
        status = await done.addTimeout(10, self.reactor)
        self.assertIs(status.nodes[0].state, NodeState.ABORTED)
        self.assertEqual(len(mute), 1)
        while not mute[0].closed:
            await deferLater(self.reactor, 0.01)

    def printed(self, text: str) -> bool:
        """Whether the step's log has the text now."""
        nodes = self.harness.store.sinks[0].statuses[-1].nodes
        return text in Path(nodes[0].stdout).read_text("utf-8")

    async def test_keys(self) -> None:
        """Keys come from the environment, by the provider's name or a chosen one; a missing one is told by name."""
        wrong: tuple[tuple[dict[str, Any], str], ...] = (
            ({"provider": "openrouter"}, "no API key provided: the variable OPENROUTER_API_KEY is not set: set it in"),
            ({"apiKeyName": "NO_KEY"}, "the variable NO_KEY, which apiKeyName names, is not set"),
            ({"baseURL": "localhost:1"}, "baseURL 'localhost:1' is not a URL"),
        )
        for llm, expected in wrong:
            node, _, _ = await self.ask(**llm)
            self.assertIn(expected, node.error)
        step = self.step(apiKeyName="OTHER", provider="local")
        await self.harness.run_step(step, env=("OTHER=sk-other",))
        await self.ask(apiKeyName="${OPENAI_API_KEY}", provider="local")
        await self.ask(apiKeyName="NO_KEY", provider="local")
        keys = [asked.headers.get("authorization") for asked in self.models.asked]
        self.assertEqual(keys, ["Bearer sk-other", f"Bearer {KEY}", None])

    async def test_unreachable(self) -> None:
        """Nobody there is told in one sentence, after all tries."""
        self.patch(exchange, "TRIES", 1)
        node, _, _ = await self.ask(baseURL="http://127.0.0.1:1/v1/")
        self.assertEqual(
            node.error,
            'failed to execute step "a": chat stream request failed: POST http://127.0.0.1:1/v1/chat/completions: '
            "Connection was refused by other side: 111: Connection refused",
        )

    async def test_too_long(self) -> None:
        """An answer that is too long to be kept fails the step."""
        self.patch(chat_step, "LONGEST_ANSWER", 100)
        for stream in (True, False):
            reply = events(chunk("x" * 200)) if stream else document({"choices": [{"message": {"content": "x" * 200}}]})
            node, _, _ = await self.ask([reply], stream=stream)
            self.assertIn("the answer is longer than 100 bytes", node.error)

    async def test_retry_goes_on_with_the_conversation(self) -> None:
        """A second execution of a step has heard what its first one had; so has one of a later attempt of the run."""
        second = replace(self.step("b", "n"), depends=("a",), retry_policy=RetryPolicy(1, 0))
        self.models.replies["n"] = [Reply(400, b"no"), Reply(400, b"no"), events(chunk("ok"))]
        dag = Dag("d", (self.step(), second))
        status = await self.harness.run(dag)
        self.assertIs(status.nodes[1].state, NodeState.FAILED)
        ref = RunRef("d", status.run.id)
        again = await self.harness.engine.start(RunRequest(dag, ref, ref, previous=status)).wait()
        self.assertIs(again.nodes[1].state, NodeState.SUCCEEDED, again.nodes[1].error)
        heard = [[message["content"] for message in asked.body["messages"]] for asked in self.models.asked]
        self.assertEqual(heard, [["hi "], *([["hi ", SAID, "hi "]] * 3)])

    async def test_secrets(self) -> None:
        """Secrets are said to the model, and masked in what is kept and printed."""
        secret = Secret("TOKEN", "env", "OPENAI_API_KEY")
        step = Step(
            "a",
            type="chat",
            llm={"provider": "local", "model": "m", "baseURL": self.base, "system": "${TOKEN}"},
            messages=({"role": "user", "content": "hi"},),
        )
        self.models.replies["m"] = [events(chunk(KEY[:5]), chunk(KEY[5:]))]
        _, out, _ = await self.harness.run_step(step, secrets=(secret,))
        self.assertEqual(out, "*******\n")
        self.assertEqual(self.models.asked[0].body["messages"][0]["content"], KEY)
        (kept,) = self.harness.store.messages.values()
        self.assertEqual([message.content for message in kept], ["*******", "hi", "*******"])
        self.assertIsInstance(kept[0], ChatMessage)
