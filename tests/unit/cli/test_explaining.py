"""``dagu explain`` and ``dagu plan``: what they print and what they take."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from twisted.trial.unittest import SynchronousTestCase

from txdagu.cli.arguments import parse
from txdagu.cli.explaining import ExplainOptions, explain_text
from txdagu.cli.planning import PlanOptions, plan_document, plan_text
from txdagu.dispatch.explanation import Explanation
from txdagu.dispatch.machine import State
from txdagu.dispatch.matching import Fit, Verdict
from txdagu.dispatch.routing import route
from txdagu.dispatch.whatif import AddedWorker, FleetChange
from txdagu.execution.explaining.account import account
from txdagu.execution.explaining.outlook import Outlook, Row
from txdagu.execution.explaining.situation import Situation
from txdagu.model.errors import InvalidInputError
from txdagu.model.labels import WorkerSelector
from txdagu.model.run import RunRef
from txdagu.peers.told import ClusterWord, HistoryLine, Place, Told

AT = datetime(2026, 11, 24, 10, 42, 24, tzinfo=UTC)
RUN = RunRef("etl", "r1")
MISS = Verdict("w1", Fit.LABELS, "label gpu wanted true, has nothing", 1)


class ExplainTextTests(SynchronousTestCase):
    def test_layout(self) -> None:
        """Headline, what binds, facts, a line for each worker and each transition, the next step."""
        task = Explanation(
            RUN,
            RUN,
            State.QUEUED,
            17,
            selector={"gpu": "true"},
            verdicts=(Verdict("w2", Fit.BUSY, "busy 4 of 4"), MISS),
        )
        line = HistoryLine(
            AT - timedelta(seconds=17, milliseconds=5), State.QUEUED, "", 0, "accepted; waits for a worker"
        )
        offered = HistoryLine(AT - timedelta(seconds=16), State.OFFERED, "w2", 1, "offered to worker w2")
        found = Situation(RUN, RUN, AT, ClusterWord((Told("c@1", AT, task, (line, offered)),)))
        self.assertEqual(
            explain_text(found, account(found)),
            """\
etl (run r1) waits for a worker since 2026-11-24 10:42:07 UTC (17 s)

  binds        the one worker that fits is taken; nearest is w2: busy 4 of 4
  coordinator  c@1
  wants        a worker with gpu=true
  before it    no task that could take the same workers
  workers      w2: busy 4 of 4
               w1: label gpu wanted true, has nothing
  history      2026-11-24 10:42:06.995 UTC  queued: accepted; waits for a worker
               2026-11-24 10:42:08.000 UTC  offered w2, epoch 1: offered to worker w2

Next step: wait for a slot, raise worker.maxActiveRuns of w2, or start another worker: dagu worker --worker.labels=gpu=true
""",
        )

    def test_several_coordinators(self) -> None:
        """Where the history comes from more than one, each line says from which."""
        one, other = (HistoryLine(AT, State.ENDED, "w1", 1, "reported", name) for name in ("a@1", "b@1"))
        found = Situation(RUN, RUN, AT, ClusterWord((Told("a@1", AT, None, (one,)), Told("b@1", AT, None, (other,)))))
        text = explain_text(found, account(found))
        self.assertIn("ended w1, epoch 1: reported (a@1)", text)
        self.assertIn("ended w1, epoch 1: reported (b@1)", text)

    def test_strangers_do_not_steer_the_terminal(self) -> None:
        """Ids and reasons come from anywhere; what is in them is shown, not obeyed."""
        task = Explanation(RUN, RUN, State.QUEUED, 1, verdicts=(Verdict("\x1b[2J", Fit.BUSY, "busy"),))
        found = Situation(RUN, RUN, AT, ClusterWord((Told("c@1", AT, task),)))
        text = explain_text(found, account(found))
        self.assertNotIn("\x1b", text)
        self.assertIn("\\x1b[2J: busy", text)


class PlanTextTests(SynchronousTestCase):
    def outlook(self) -> Outlook:
        """One row of each kind."""
        gpu = route(WorkerSelector({"gpu": "true"}), "local")
        busy = Verdict("w3", Fit.BUSY, "busy 1 of 1")
        others = (Verdict("w2", Fit.MATCHES, "matches"), Verdict("w4", Fit.MATCHES, "matches"), busy, MISS)
        rows = (
            Row("top", 0, route=route(WorkerSelector(), "local")),
            Row("first", 1, beside="top"),
            Row("call", 1, "sub", gpu, Place(("w2",), others)),
            Row("stuck", 1, route=gpu, place=Place((), (MISS,)), note="one run for each item"),
            Row("nobody", 1, route=gpu, place=Place()),
        )
        change = FleetChange(frozenset({"w9"}), (AddedWorker("new-1", {"b": "2", "a": "1"}, 4),))
        return Outlook("top", change, rows, ("d@1 at d:1",), ("coordinator e: refused",))

    def test_layout(self) -> None:
        """Each row has its place with the reason, and under it the nearest alternatives; what was assumed comes last."""
        self.assertEqual(
            plan_text(self.outlook()),
            """\
top                     here: defaultExecutionMode is local
  first                 with top
  call > sub            worker w2: workerSelector asks for gpu=true
                          w4: would do as well, but another comes first
                          w3: busy 1 of 1
                          w1: label gpu wanted true, has nothing
  stuck                 waits for a worker: workerSelector asks for gpu=true
                          one run for each item
                          w1: label gpu wanted true, has nothing
  nobody                waits for a worker: workerSelector asks for gpu=true; no worker is connected

Planned as if worker w9 took nothing.
Planned with one more worker new-1: a=1,b=2, 4 slots.
Coordinator d@1 at d:1 does not tell which of the workers that fit it takes.
No answer: coordinator e: refused
""",
        )

    def test_document(self) -> None:
        """The same for programs: a word for each place, the workers, and every verdict."""
        document = json.loads(json.dumps(plan_document(self.outlook())))
        self.assertEqual([row["place"] for row in document["rows"]], ["here", "with", "worker", "waits", "waits"])
        self.assertEqual(document["rows"][2]["workers"], ["w2"])
        self.assertEqual(len(document["rows"][2]["verdicts"]), 4)
        self.assertEqual((document["without"], document["with"][0]["slots"]), (["w9"], 4))


class OptionTests(SynchronousTestCase):
    def test_changes(self) -> None:
        """Workers are left out and added as often as is said; an added one has a worker's usual slots unless told."""
        words = ["dag", "--without", "a", "--with=gpu=true,zone=*3", "--without=b", "--with", "x=1", "--", "P=1"]
        options = parse(PlanOptions(), "plan", words)
        self.assertEqual(options["without"], ["a", "b"])
        first, second = options["with"]
        self.assertEqual((first.id, first.labels, first.slots), ("new-1", {"gpu": "true", "zone": ""}, 3))
        self.assertEqual((second.id, second.slots), ("new-2", 100))
        self.assertEqual((options["dag"], options.given_params), ("dag", "P=1"))

    def test_refusals(self) -> None:
        """What cannot be understood is told with what would be right."""
        for command, options, words, text in (
            ("plan", PlanOptions(), ["dag", "--with=gpu"], "is not key=value"),
            ("plan", PlanOptions(), ["dag", "--with=gpu=1*many"], "is no number of slots"),
            ("plan", PlanOptions(), ["dag", "--output=xml"], "neither of text and json"),
            ("explain", ExplainOptions(), ["dag"], "a DAG and a run id are expected"),
            ("explain", ExplainOptions(), ["dag", "r", "-o", "xml"], "neither of text and json"),
        ):
            with self.assertRaisesRegex(InvalidInputError, text):
                parse(options, command, words)
