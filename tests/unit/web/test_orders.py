"""Orders for workers through the API."""

from __future__ import annotations

import json
from typing import Any, cast

from treq.testing import StubTreq
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txdagu.model.errors import UnavailableError
from txdagu.model.health import Health
from txdagu.model.standing import Action, Mode, Standing
from txdagu.model.task import WorkerStatus
from txdagu.peers.interfaces import WorkersView
from txdagu.testing.coordinators import ScriptedCoordinators
from txdagu.web.census import Census
from txdagu.web.decisions import Decisions
from txdagu.web.explaining import Explanations
from txdagu.web.service import site_resource


class OrderTests(SynchronousTestCase):
    """Bodies, answers, refusals."""

    def setUp(self) -> None:
        """A site whose coordinators know one worker."""
        clock: Any = Clock()
        self.worker = WorkerStatus("w@1", {}, Health.HEALTHY, 2, 0, last_heartbeat_at=1000)
        self.coordinators = ScriptedCoordinators(WorkersView((self.worker,)))
        census = Census(self.coordinators, clock, lambda: 1000.0)
        self.client: Any = StubTreq(
            site_resource("", census, cast("Decisions", None), cast("Explanations", None), clock, lambda: 1000.0)
        )

    def ask(self, method: str, path: str, body: Any = None, media: str = "application/json") -> tuple[int, Any]:
        """Status and document of the answer."""
        answer = self.client.request(
            method,
            f"http://localhost/api/v2/workers{path}",
            data=json.dumps(body or {}).encode() if method == "POST" else None,
            headers={"Content-Type": [media]},
        )
        response: Any = self.successResultOf(answer)
        return response.code, json.loads(self.successResultOf(self.client.content(response)))

    def test_orders(self) -> None:
        """Each word is an order for the worker in the path, with reason and deadline, in the name of the caller's address."""
        body = {"reason": "disk swap", "deadlineSeconds": 90}
        self.assertEqual((200, {"workers": ["w@1"], "errors": []}), self.ask("POST", "/w%401/drain", body))
        self.ask("POST", "/w%401/cordon")
        self.ask("POST", "/w%401/resume")
        first, second, third = self.coordinators.orders
        self.assertEqual(
            (Action.DRAIN, ("w@1",), "disk swap", 90.0), (first.action, first.ids, first.reason, first.patience)
        )
        self.assertTrue(first.by.startswith("web page, "), first.by)
        self.assertEqual((Action.CORDON, Action.RESUME, None), (second.action, third.action, third.patience))

    def test_seen_at_once(self) -> None:
        """Who asks for the workers right after an order sees what it led to, not what was known before."""
        self.assertEqual("schedulable", self.ask("GET", "")[1]["workers"][0]["scheduling"]["state"])
        standing = Standing(Mode.DRAINING, 1000.0, 1600.0, "disk swap", "ada")
        self.ask("POST", "/w%401/drain")
        self.coordinators.view = WorkersView(
            (WorkerStatus("w@1", {}, Health.HEALTHY, 2, 0, last_heartbeat_at=1000, standing=standing),)
        )
        (shown,) = self.ask("GET", "")[1]["workers"]
        times = {"since": "1970-01-01T00:16:40Z", "until": "1970-01-01T00:26:40Z"}
        self.assertEqual(shown["scheduling"], {"state": "drained", "reason": "disk swap", "by": "ada", **times})

    def test_refused(self) -> None:
        """What cannot be is refused with the reason, and nobody is told."""
        for path, body, media, code, text in (
            ("/w9/cordon", None, "application/json", 404, "no coordinator knows a worker w9"),
            ("/w%401/stop", None, "application/json", 404, ""),
            ("/w%401/cordon", None, "text/plain", 400, "send application/json"),
            ("/w%401/cordon", {"deadlineSeconds": 5}, "application/json", 400, "deadlineSeconds is for drain"),
            ("/w%401/drain", {"deadlineSeconds": -1}, "application/json", 400, "not below 0"),
            (
                "/w%401/drain",
                {"deadlineSeconds": None, "reason": 5},
                "application/json",
                400,
                "the body cannot be read",
            ),
        ):
            status, document = self.ask("POST", path, body, media)
            self.assertEqual((code, True), (status, text in document["message"]), document)
        self.assertEqual(["w9"], [order.ids[0] for order in self.coordinators.orders])
        self.coordinators.view = UnavailableError("no coordinator could be told")
        self.assertEqual(503, self.ask("POST", "/w%401/cordon")[0])
