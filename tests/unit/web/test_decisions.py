"""Approving and rejecting through the API, over a store in memory."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txdagu.execution.approvals import Approvals
from txdagu.model.dag import ChildCall, Dag, Step
from txdagu.model.run import ChildRun, NodeStatus, RunRef, RunStatus
from txdagu.model.status import NodeState, RunState
from txdagu.peers.interfaces import WorkersView
from txdagu.testing.coordinators import ScriptedCoordinators
from txdagu.testing.store import MemoryStore
from txdagu.web.census import Census
from txdagu.web.decisions import LARGEST_BODY, Decisions
from txdagu.web.explaining import Explanations
from txdagu.web.service import site_resource

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
ROOT = RunRef("job", "r1")
CHILD = RunRef("sub", "k1")
ASK = NodeStatus(Step("ask", type="hitl", config={"input": ["WHO", "WHY"], "required": ["WHO"]}), NodeState.WAITING)
ALSO = NodeStatus(Step("also", type="hitl"), NodeState.WAITING)
CALL = NodeStatus(Step("call", child=ChildCall("sub")), NodeState.WAITING, children=(ChildRun("k1"),))


class DecisionTests(SynchronousTestCase):
    """Answers are those of Dagu 1.30.2 where it gives one."""

    def setUp(self) -> None:
        """A site over a run that waits."""
        self.clock: Any = Clock()
        self.store = MemoryStore(self.clock, lambda: BEGINNING + timedelta(seconds=self.clock.seconds()))
        self.leave(ASK)
        self.serve()

    def leave(self, *nodes: NodeStatus, run: RunRef = ROOT, state: RunState = RunState.WAITING) -> None:
        """A run comes to rest with these nodes."""
        dag = Dag(run.name, tuple(node.step for node in nodes), queue="q")
        sink = self.successResultOf(Deferred.fromCoroutine(self.store.open_attempt(dag, run, ROOT)))
        status = RunStatus(run, ROOT, state, nodes=nodes, parent=None if run == ROOT else ROOT)
        self.successResultOf(Deferred.fromCoroutine(sink.close(status)))

    def serve(self, *, queues_enabled: bool = True) -> None:
        """The whole site, in memory."""
        approvals = Approvals(self.store, lambda: BEGINNING)
        decisions = Decisions(approvals, self.store, queues_enabled=queues_enabled)
        census = Census(ScriptedCoordinators(WorkersView(())), self.clock, self.clock.seconds)
        explanations = cast("Explanations", None)  # test_explaining asks for them
        resource = site_resource("", census, decisions, explanations, self.clock, self.clock.seconds)
        self.client: Any = StubTreq(resource)

    def post(self, path: str, body: object = None, media_type: str = "application/json") -> tuple[int, Any]:
        """Status and document of the answer; `body` is sent as it is if it is bytes."""
        data = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
        answer = self.client.post(
            f"http://localhost/api/v2/dag-runs/{path}", data=data, headers={"Content-Type": [media_type]}
        )
        response: Any = self.successResultOf(answer)
        return response.code, json.loads(self.successResultOf(self.client.content(response)))

    def refused(self, path: str, body: object = None, **more: str) -> tuple[int, str, str]:
        """Status, code and message of a refusal; nothing is queued by it."""
        status, document = self.post(path, body, **more)
        self.assertEqual(self.items(), [])
        return status, document["code"], document["message"]

    def items(self) -> list[tuple[str, RunRef]]:
        """What is queued."""
        return self.successResultOf(Deferred.fromCoroutine(self.store.queue.items()))

    def status(self, run: RunRef = ROOT) -> RunStatus:
        """The run as it is told now."""
        status = self.successResultOf(Deferred.fromCoroutine(self.store.read_status(run, ROOT)))
        assert status is not None
        return status

    def test_approve(self) -> None:
        """The step has succeeded with its inputs, the run is in its queue, and who approves again is told so."""
        answer = self.post("job/r1/steps/ask/approve", {"inputs": {"WHO": "ada"}})
        self.assertEqual(answer, (200, {"dagRunId": "r1", "stepName": "ask", "resumed": True}))
        self.assertEqual((self.items(), self.status().state), ([("q", ROOT)], RunState.QUEUED))
        self.assertEqual(self.status().node("ask").outputs, {"WHO": "ada"})
        status, document = self.post("job/r1/steps/ask/approve", {"inputs": {"WHO": "bob"}})
        self.assertEqual((status, document["code"]), (400, "bad_request"))
        self.assertIn("step ask is not waiting for approval (status: succeeded", document["message"])
        self.assertEqual(len(self.items()), 1)

    def test_others_wait(self) -> None:
        """With several steps that wait the run goes on after the last one."""
        self.leave(ASK, ALSO)
        self.assertIs(self.post("job/r1/steps/also/approve")[1]["resumed"], False)
        self.assertEqual(self.items(), [])
        self.assertIs(self.post("job/r1/steps/ask/approve", {"inputs": {"WHO": "ada"}})[1]["resumed"], True)

    def test_reject(self) -> None:
        """The run has ended as rejected, with the reason; nothing goes on."""
        answer = self.post("job/r1/steps/ask/reject", {"reason": "no way"})
        self.assertEqual(answer, (200, {"dagRunId": "r1", "stepName": "ask"}))
        decision = self.status().node("ask").decision
        assert decision is not None
        self.assertEqual((self.status().state, decision.reason), (RunState.REJECTED, "no way"))
        status, _, message = self.refused("job/r1/steps/ask/approve", {"inputs": {"WHO": "ada"}})
        self.assertEqual(status, 400)
        self.assertIn("(status: rejected", message)

    def test_refusals(self) -> None:
        """What is not there is 404, what does not fit 400 with all reasons."""
        missing = "missing required inputs: [WHO]"
        for path, body, status, message in (
            ("job/r1/steps/ask/approve", {}, 400, missing),
            (
                "job/r1/steps/ask/approve",
                {"inputs": {"X": "1"}},
                400,
                f"{missing}; unknown inputs: [X] (the step asks for",
            ),
            ("job/r1/steps/nope/approve", {}, 404, "step nope not found in DAG job"),
            ("job/nope/steps/ask/approve", {}, 404, "dag-run ID nope not found for DAG job"),
            ("job/nope/steps/ask/reject", {}, 404, "dag-run ID nope not found for DAG job"),
            ("job/r1/sub-dag-runs/k9/steps/ask/approve", {}, 404, "sub DAG-run ID k9 not found"),
        ):
            found = self.refused(path, body)
            self.assertEqual(found[:2], (status, "not_found" if status == 404 else "bad_request"), path)
            self.assertTrue(found[2].startswith(message), found)

    def test_bodies(self) -> None:
        """Bodies that are no JSON of the right kind are refused with the reason, and so are those of other sites' forms."""
        path = "job/r1/steps/ask/approve"
        for body, media_type, phrase in (
            (b"{", "application/json", "the body cannot be read: "),
            (b'{"inputs": {"WHO": 1}}', "application/json", "Expected `str`, got `int`"),
            (b"\xff", "application/json", "the body cannot be read: "),
            (b" " * (LARGEST_BODY + 1), "application/json", f"the body is larger than {LARGEST_BODY} bytes"),
            (b'{"inputs": {"WHO": "x"}}', "text/plain", "Content-Type: the body must be JSON"),
        ):
            status, code, message = self.refused(path, body, media_type=media_type)
            self.assertEqual((status, code), (400, "bad_request"))
            self.assertIn(phrase, message)
        status, _ = self.post("job/r1/steps/ask/reject", b"", "application/json; charset=utf-8")
        self.assertEqual(status, 200)

    def test_called_run(self) -> None:
        """A step of a called run is decided on by that run's id, and the run at the top goes on."""
        self.leave(CALL)
        self.leave(ASK, run=CHILD)
        status, _, message = self.refused("job/r1/steps/call/approve")
        self.assertEqual(status, 400)
        self.assertIn("waits for the run that it called (k1)", message)
        answer = self.post("job/r1/sub-dag-runs/k1/steps/ask/approve", {"inputs": {"WHO": "ada"}})
        self.assertEqual(answer, (200, {"dagRunId": "k1", "stepName": "ask", "resumed": True}))
        self.assertEqual(self.items(), [("q", ROOT)])

    def test_called_run_rejected(self) -> None:
        """Who called the rejected run goes on with that."""
        self.leave(CALL)
        self.leave(ASK, run=CHILD)
        self.assertEqual(self.post("job/r1/sub-dag-runs/k1/steps/ask/reject")[0], 200)
        self.assertEqual((self.items(), self.status(CHILD).state), ([("q", ROOT)], RunState.REJECTED))

    def test_while_it_runs(self) -> None:
        """A run that is being executed is not touched; Dagu overwrites its record, and the run is lost."""
        sink = self.successResultOf(Deferred.fromCoroutine(self.store.open_attempt(Dag("job"), ROOT, ROOT)))
        sink.write_status(replace(self.status(), state=RunState.RUNNING))
        status, code, message = self.refused("job/r1/steps/ask/approve", {"inputs": {"WHO": "x"}})
        self.assertEqual((status, code), (400, "bad_request"))
        self.assertIn("is being executed", message)

    def test_queues_disabled(self) -> None:
        """Where nobody empties the queues nothing is approved, and the command that works is named."""
        self.serve(queues_enabled=False)
        status, _, message = self.refused("job/r1/steps/ask/approve", {"inputs": {"WHO": "x"}})
        self.assertEqual(status, 503)
        self.assertIn("dagu approve job --run-id r1", message)
        self.assertIs(self.status().node("ask").state, NodeState.WAITING)

    def test_at_the_same_moment(self) -> None:
        """Where two decide on the last two steps, the run is queued once and both are told that it goes on."""
        self.leave(ASK, ALSO)
        self.post("job/r1/steps/also/approve")
        requeue = self.store.requeue

        async def late(run: RunRef, queued: bool = True) -> RunStatus:
            await requeue(run, queued)
            return await requeue(run, queued)

        self.store.requeue = late  # type: ignore[method-assign]
        self.assertIs(self.post("job/r1/steps/ask/approve", {"inputs": {"WHO": "ada"}})[1]["resumed"], True)
        self.assertEqual(self.items(), [("q", ROOT)])
