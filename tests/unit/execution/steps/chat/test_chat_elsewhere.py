"""A conversation that goes on at a worker."""

from __future__ import annotations

from shutil import rmtree
from tempfile import mkdtemp
from typing import Any, cast

from twisted.trial.unittest import TestCase

from txdagu.dagfile import load_dag
from txdagu.execution.evaluation.masking import MASK
from txdagu.model.status import RunState
from txdagu.testing.elsewhere import WorkerBeside
from txdagu.testing.modelserver import WORDS, ModelServer

SAID = "".join(WORDS)
TEXT = """\
name: main
type: graph
params: BASE={base}
secrets: [{{name: S, provider: env, key: KEY}}]
llm: {{provider: local, model: m, baseURL: "${{BASE}}"}}
steps:
  - {{name: a, type: chat, messages: [{{role: user, content: "tell of ${{S}}"}}]}}
  - {{name: far, type: chat, depends: [a], workerSelector: {{gpu: "true"}}, messages: [{{role: user, content: why}}]}}
  - {{name: b, type: chat, depends: [far], messages: [{{role: user, content: so}}]}}
"""


class ElsewhereTests(TestCase):
    def setUp(self) -> None:
        """A server, and a worker beside a caller with the same reactor."""
        from twisted.internet import reactor  # noqa: TID251  # trial's, for real sockets

        self.models = ModelServer()
        port = cast("Any", reactor).listenTCP(0, self.models.site, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.dag = load_dag(TEXT.format(base=f"http://127.0.0.1:{port.getHost().port}/local"), "main.yaml")
        directory = mkdtemp()
        self.addCleanup(rmtree, directory)
        key = {"KEY": "hidden"}
        self.worker = WorkerBeside(directory, here=key, there=key, clock=reactor)

    def heard(self) -> list[list[str]]:
        """What each question consisted of."""
        return [[message["content"] for message in asked.body["messages"]] for asked in self.models.asked]

    async def test_goes_on_there_and_here(self) -> None:
        """The worker's step hears what was said before it, with the secret; the steps after it hear what it said, without."""
        status = await self.worker.caller.start(self.dag).wait()
        self.assertIs(status.state, RunState.SUCCEEDED, status.nodes)
        there = ["tell of hidden", SAID, "why"]
        here = [f"tell of {MASK}", SAID, "why", SAID, "so"]
        self.assertEqual(self.heard(), [["tell of hidden"], there, here])
        self.assertNotIn("hidden", self.worker.tasks[0].single_step)
        kept = self.worker.caller.store.messages[(status.run.id, "far")]
        self.assertEqual([message.content for message in kept], here[:-1])
        self.assertEqual([message.answered.model for message in kept if message.answered], ["m", "m"])
