"""Asking all coordinators why, and where."""

from __future__ import annotations

from collections.abc import Coroutine
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from txdagu.config.settings import PathSettings, Settings
from txdagu.dispatch.whatif import FleetChange, Wish
from txdagu.model.run import RunRef
from txdagu.peers.coordinators import Coordinators
from txdagu.peers.explaining import Explainer
from txdagu.peers.interfaces import IExplainer
from txdagu.protocol import coordinator_pb2, explain_pb2
from txdagu.registry.entries import ServiceEntry, entry_to_json
from txdagu.registry.files import write_entry
from txdagu.testing.scripted import ScriptedChannel
from txdagu.wire.status import RpcError, StatusCode

RUN = RunRef("etl", "run1")
UNKNOWN = RpcError(StatusCode.UNIMPLEMENTED, "unknown service txdagu.v1.ExplainService")


class ExplainerTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A registry without coordinators, and scripted channels by address."""
        self.reactor = MemoryReactorClock()
        self.registry = self.mktemp()
        self.channels: dict[tuple[str, int], ScriptedChannel] = {}
        paths = PathSettings("/d", "/d", "/l", "/a", "/s", "/b", "/r", "/q", "/p", self.registry)
        coordinators = Coordinators(Settings(paths), self.reactor, Random(7), self.reactor.seconds, self.connect)
        self.explainer = Explainer(coordinators)

    def connect(self, host: str, port: int) -> ScriptedChannel:
        """The channel to that address."""
        return self.channels.setdefault((host, port), ScriptedChannel(self.reactor))

    def register(self, name: str) -> ScriptedChannel:
        """A coordinator."""
        entry = entry_to_json(ServiceEntry(f"{name}@1", name, 1, 1))
        write_entry(Path(self.registry, "coordinator", f"{name}.json"), entry)
        return self.connect(name, 1)

    def ask(self, question: Coroutine[Any, Any, Any]) -> Any:
        """The answer."""
        asking = Deferred.fromCoroutine(question)
        self.reactor.advance(3)
        return self.successResultOf(asking)

    def test_interface(self) -> None:
        """It provides what those who explain use."""
        verifyObject(IExplainer, self.explainer)

    def test_several(self) -> None:
        """Of ours, the one that knows counts; of Dagu's, the workers are told; who is silent is named with the reason."""
        self.register("a").answers["Explain"] = explain_pb2.ExplainResponse()
        known = explain_pb2.TaskExplanation(name="etl", run_id="run1", state="queued", age_ms=2500)
        self.register("b").answers["Explain"] = explain_pb2.ExplainResponse(task=known)
        dagu = self.register("c")
        dagu.answers["Explain"] = UNKNOWN
        info = coordinator_pb2.WorkerInfo(worker_id="w1", total_pollers=2)
        dagu.answers["GetWorkers"] = coordinator_pb2.GetWorkersResponse(workers=[info])
        self.register("d").hanging = True
        word = self.ask(self.explainer.explain(RUN, RUN))
        self.assertEqual((word.best.coordinator, word.best.task.age), ("b@1 at b:1", 2.5))
        self.assertEqual([(one.coordinator, one.workers[0].id) for one in word.listed], [("c@1 at c:1", "w1")])
        self.assertEqual(word.errors, ("coordinator d@1 at d:1: DEADLINE_EXCEEDED: no answer within 2 s",))
        self.assertEqual((word.nobody, len(word.asked)), ("", 3))

    def test_nobody(self) -> None:
        """Without any coordinator there is the sentence that says where was looked."""
        word = self.ask(self.explainer.explain(RUN, RUN))
        self.assertIn(str(Path(self.registry, "coordinator")), word.nobody)
        self.assertIsNone(word.best)
        planned = self.ask(self.explainer.plan([Wish()], FleetChange()))
        self.assertEqual((planned.nobody, planned.places[0].worker_ids), (word.nobody, ()))

    def test_answer_that_cannot_be_read(self) -> None:
        """A coordinator that tells of a state nobody knows is named like one that gives no answer."""
        odd = explain_pb2.TaskExplanation(name="etl", run_id="run1", state="dreaming")
        self.register("a").answers["Explain"] = explain_pb2.ExplainResponse(task=odd)
        (error,) = self.ask(self.explainer.explain(RUN, RUN)).errors
        self.assertIn("dreaming", error)

    def test_many_wishes(self) -> None:
        """A thousand equal wishes are one; many different ones go in several questions; each gets its own place."""

        def answer(request: explain_pb2.PlanRequest) -> explain_pb2.PlanResponse:
            places = [explain_pb2.TaskPlace(worker_id=f"w{wish.selector['n']}") for wish in request.wishes]
            return explain_pb2.PlanResponse(places=places)

        channel = self.register("a")
        channel.answers["Plan"] = answer
        wishes = [Wish({"n": str(number % 45)}) for number in range(1000)]
        planned = self.ask(self.explainer.plan(wishes, FleetChange()))
        self.assertEqual([place.worker_ids for place in planned.places], [(f"w{n % 45}",) for n in range(1000)])
        self.assertEqual([len(request.wishes) for request in channel.requests("Plan")], [10, 10, 10, 10, 5])

    def test_plan(self) -> None:
        """A coordinator of Dagu is named as one that does not tell which of the workers it takes."""
        place = explain_pb2.TaskPlace(worker_id="w2")
        self.register("a").answers["Plan"] = explain_pb2.PlanResponse(places=[place])
        dagu = self.register("b")
        dagu.answers["Plan"] = UNKNOWN
        healthy = coordinator_pb2.WORKER_HEALTH_STATUS_HEALTHY
        info = coordinator_pb2.WorkerInfo(worker_id="w1", total_pollers=2, health_status=healthy)
        dagu.answers["GetWorkers"] = coordinator_pb2.GetWorkersResponse(workers=[info])
        planned = self.ask(self.explainer.plan([Wish()], FleetChange()))
        self.assertEqual(planned.places[0].worker_ids, ("w2", "w1"))
        self.assertEqual(planned.uncertain, ("b@1 at b:1",))
