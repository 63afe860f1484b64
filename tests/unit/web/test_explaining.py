"""Why runs are where they are, through the API."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, cast

from treq.testing import StubTreq
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txdagu.config.settings import PathSettings, Settings
from txdagu.dispatch.explanation import Explanation
from txdagu.dispatch.machine import State
from txdagu.execution.explaining.situation import Situations, Sources
from txdagu.model.run import RunRef
from txdagu.peers.told import ClusterWord, HistoryLine, Told
from txdagu.testing.coordinators import ScriptedCoordinators, ScriptedExplainer
from txdagu.testing.store import MemoryStore
from txdagu.web.census import Census
from txdagu.web.decisions import Decisions
from txdagu.web.explaining import Explanations
from txdagu.web.service import site_resource

AT = datetime(2026, 11, 24, 10, 42, 24, tzinfo=UTC)
ROOT = RunRef("job", "r1")


class ExplanationTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A site whose coordinators know one waiting task of run ``job:r1``."""
        clock: Any = Clock()
        store: Any = MemoryStore(clock, lambda: AT)
        task = Explanation(ROOT, ROOT, State.QUEUED, 17, selector={"gpu": "true"})
        line = HistoryLine(AT, State.QUEUED, "", 0, "accepted; waits for a worker")
        self.explainer = ScriptedExplainer(ClusterWord((Told("c@1", AT, task, (line,)),)))

        async def schedulers() -> tuple[str, ...]:
            return ()

        settings = Settings(PathSettings(*["/nowhere"] * 10))
        sources = Sources(store, store.queue, self.explainer, schedulers, settings, lambda: AT)
        census = Census(ScriptedCoordinators(), clock, clock.seconds)
        decisions = cast("Decisions", None)  # test_decisions asks for them
        explanations = Explanations(Situations(sources))
        self.client: Any = StubTreq(site_resource("", census, decisions, explanations, clock, clock.seconds))

    def get(self, path: str) -> tuple[int, Any]:
        """Status and document of the answer."""
        response = self.successResultOf(self.client.get(f"http://localhost/api/v2/dag-runs/{path}"))
        return response.code, json.loads(self.successResultOf(self.client.content(response)))

    def test_explain(self) -> None:
        """The facts as fields, with the sentence and the next step."""
        code, document = self.get("job/r1/explain")
        self.assertEqual((code, document["state"], document["binding"]["kind"]), (200, "waiting", "no-worker"))
        self.assertEqual(document["task"]["selector"], {"gpu": "true"})
        self.assertIn("waits for a worker since 2026-11-24 10:42:07 UTC", document["summary"])

    def test_timeline(self) -> None:
        """Every transition, with its time of day in UTC."""
        code, document = self.get("job/r1/timeline")
        self.assertEqual((code, document["coordinator"]), (200, "c@1"))
        (line,) = document["history"]
        self.assertEqual((line["at"], line["state"]), ("2026-11-24T10:42:24.000Z", "queued"))

    def test_runs_below(self) -> None:
        """A run that another one called is asked for with its root."""
        for what in ("explain", "timeline"):
            self.assertEqual(self.get(f"job/r1/sub-dag-runs/k1/{what}")[0], 200)
        self.assertEqual(self.explainer.asked, [(RunRef("job", "k1"), ROOT)] * 2)

    def test_unknown(self) -> None:
        """A run that nobody knows is not found, and all that was looked at is told."""
        self.explainer.word = ClusterWord(nobody="no coordinator is registered")
        code, document = self.get("job/r9/explain")
        self.assertEqual((code, document["code"]), (404, "not_found"))
        self.assertIn("/nowhere", document["message"])
        self.assertIn("no coordinator is registered", document["message"])
