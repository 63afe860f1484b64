"""Runs put into sentences: what binds, and the next step."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txdagu.dispatch.explanation import Explanation
from txdagu.dispatch.machine import State
from txdagu.dispatch.matching import Fit, Verdict
from txdagu.dispatch.records import Outcome
from txdagu.execution.explaining.account import Account, account
from txdagu.execution.explaining.document import explain_document, timeline_document
from txdagu.execution.explaining.situation import QueuePlace, Situation
from txdagu.execution.explaining.tasks import binding
from txdagu.execution.explaining.wording import span
from txdagu.execution.plan.approval import Wait
from txdagu.model.dag import Step
from txdagu.model.health import Health
from txdagu.model.policies import LostWorkerPolicy, OnWorkerLost
from txdagu.model.run import NodeStatus, RunRef, RunStatus
from txdagu.model.status import NodeState, RunState
from txdagu.model.task import RunningTask, WorkerStatus
from txdagu.peers.told import ClusterWord, HistoryLine, Listed, Told

AT = datetime(2026, 11, 24, 10, 42, 24, tzinfo=UTC)
RUN = RunRef("etl", "r1")
SILENCE = ClusterWord()
GPU = {"gpu": "true"}
WAITING = Explanation(RUN, RUN, State.QUEUED, 17.0, selector=GPU)
RUNS = Explanation(RUN, RUN, State.RUNNING, 90.0, worker_id="w2", epoch=2, heard_age=0.4, lease_left=29.6)
STATUS = RunStatus(
    RUN, RUN, RunState.RUNNING, attempt_id="abc123", worker_id="w2", started_at=AT - timedelta(minutes=5)
)
PLACE = QueuePlace("q", 1, 1, (), 0, 2, "queues.config", ("s@1",))


def lines(*told: tuple[int, State, str, int, str]) -> tuple[HistoryLine, ...]:
    """A history; the first of each is how many seconds ago."""
    return tuple(HistoryLine(AT - timedelta(seconds=ago), *rest) for ago, *rest in told)  # type: ignore[arg-type]


def known(task: Explanation | None, history: tuple[HistoryLine, ...] = (), **more: Any) -> ClusterWord:
    """What the cluster says where one coordinator knows the run."""
    return ClusterWord((Told("c@1", AT, task, history, **more),))


def said(word: ClusterWord = SILENCE, **more: Any) -> Account:
    """The account of a run."""
    return account(Situation(RUN, RUN, AT, word, **more))


def fact(of: Account, label: str) -> list[str]:
    """What it says under that label."""
    return [text for name, text in of.facts if name == label]


class WaitingTests(SynchronousTestCase):
    """At a coordinator, for a worker."""

    def waits(self, *verdicts: Verdict, **more: Any) -> Account:
        """The account of a task with these verdicts."""
        return said(known(replace(WAITING, verdicts=verdicts, **more)))

    def test_what_binds(self) -> None:
        """The nearest miss decides what is said to bind and what to do; each kind has a sentence and a way out."""
        labels = Verdict("w1", Fit.LABELS, "label gpu wanted true, has nothing", 1)
        busy = Verdict("w2", Fit.BUSY, "busy 4 of 4")
        for verdicts, kind, text, step in (
            ((), "no-worker", "no worker is connected", "start a worker: dagu worker --worker.labels=gpu=true"),
            ((labels,), "labels", "nearest is w1: label gpu wanted true, has nothing", "or change its workerSelector"),
            (
                (busy, labels),
                "slots",
                "the one worker that fits is taken; nearest is w2: busy 4 of 4",
                "maxActiveRuns of w2",
            ),
            ((busy, busy), "slots", "all 2 workers that fit are taken", "wait for a slot"),
            (
                (Verdict("w3", Fit.UNHEALTHY, "unhealthy 17 s"), labels),
                "health",
                "w3: unhealthy 17 s",
                "look after worker w3",
            ),
            (
                (Verdict("d", Fit.PROGRAM, "is a worker of Dagu"),),
                "program",
                "cannot run it: d is a",
                "a worker of txdagu",
            ),
            ((Verdict("w4", Fit.MATCHES, "matches"), busy), "turn", "w4 matches and has a free slot", "nothing"),
        ):
            account = self.waits(*verdicts)
            assert account.binding is not None
            self.assertEqual(account.binding.kind, kind)
            self.assertIn(text, account.binding.text)
            self.assertIn(step, account.next_step)
            self.assertEqual(account.verdicts, verdicts)

    def test_since_when_and_behind_whom(self) -> None:
        """The headline says since when, by the coordinator's clock; how many come first is told, and none too."""
        account = self.waits()
        self.assertEqual(account.headline, "etl (run r1) waits for a worker since 2026-11-24 10:42:07 UTC (17 s)")
        self.assertEqual(account.since, AT - timedelta(seconds=17))
        self.assertEqual(fact(account, "before it"), ["no task that could take the same workers"])
        self.assertIn("3 tasks have their turn earlier", fact(self.waits(ahead=3), "before it")[0])
        self.assertIn("1 task has its turn earlier", fact(self.waits(ahead=1), "before it")[0])

    def test_any_worker(self) -> None:
        """Without a selector there is nothing to change about it."""
        account = self.waits(selector={})
        self.assertEqual(account.next_step, "start a worker: dagu worker; it gets the task within a second")

    def test_given_away(self) -> None:
        """Of a task that lost its worker it is told which, when and why, and how many more it may lose."""
        history = lines(
            (40, State.RUNNING, "w1", 1, "confirmed"), (10, State.LOST, "w1", 1, "worker w1 was silent for 30 s")
        )
        task = replace(
            WAITING, lost_workers=("w1",), epoch=1, on_worker_lost=OnWorkerLost(LostWorkerPolicy.REDISTRIBUTE, 3)
        )
        account = said(known(task, history))
        self.assertEqual(fact(account, "given away"), ["2026-11-24 10:42:14 UTC: worker w1 was silent for 30 s"])
        self.assertEqual(fact(account, "lost workers"), ["w1; it may lose 3 in all"])
        self.assertEqual(fact(account, "epoch"), ["1: it was offered once"])


class HeldTests(SynchronousTestCase):
    """At a coordinator, with a worker."""

    def test_offered(self) -> None:
        """An offer waits for its confirmation, of a worker of Dagu for its heartbeat."""
        task = replace(WAITING, state=State.OFFERED, worker_id="w1", epoch=1, age=3.0)
        account = said(known(task))
        self.assertIn("is offered to worker w1 since 2026-11-24 10:42:21 UTC (3.0 s)", account.headline)
        self.assertIn("returns to the queue", account.next_step)
        self.assertIn("heartbeat names the run", said(known(replace(task, confirms=False))).next_step)

    def test_running(self) -> None:
        """Worker, epoch, lease and the steps that go on or wait are told."""
        nodes = (
            NodeStatus(Step("load"), NodeState.SUCCEEDED),
            NodeStatus(Step("train"), NodeState.RUNNING, waits="waiting for a worker with gpu=true"),
            NodeStatus(Step("other"), NodeState.RUNNING),
        )
        account = said(known(RUNS), status=replace(STATUS, nodes=nodes))
        self.assertEqual(account.headline, "etl (run r1) runs at worker w2 since 2026-11-24 10:40:54 UTC (90 s)")
        self.assertEqual(
            fact(account, "lease"), ["its worker spoke of it 0.4 s ago; the lease ends in 30 s without a word"]
        )
        self.assertEqual(fact(account, "step"), ["train: waiting for a worker with gpu=true", "other runs"])
        self.assertEqual(account.next_step, "nothing: it goes on")

    def test_running_in_trouble(self) -> None:
        """A worker that falls silent, one that is waited for, and an end that was asked for each have their next step."""
        for change, label, text, step in (
            ({"heard_age": 12.0, "lease_left": 18.0}, "lease", "12 s ago", "is given away when the lease ends"),
            (
                {"silent": True, "heard_age": 300.0},
                "lease",
                "silent for 5 min; onWorkerLost is wait",
                "look after worker w2",
            ),
            (
                {"cancel_reason": "asked for by me"},
                "cancelled",
                "its end was asked for: asked for by me",
                "every heartbeat",
            ),
            ({"adopted": True}, "adopted", "found it running", "nothing"),
        ):
            account = said(known(replace(RUNS, **change)))
            self.assertIn(text, fact(account, label)[0])
            self.assertIn(step, account.next_step)

    def test_lost(self) -> None:
        """The instant between loss and what follows has a word, too."""
        self.assertEqual(said(known(replace(RUNS, state=State.LOST))).state, "lost")

    def test_tasks_below(self) -> None:
        """A run that goes on here is explained by what waits below it; what is left out is counted."""
        child = replace(WAITING, run=RunRef("sub", "k1"), age=130.0)
        other = replace(RUNS, run=RunRef("sub", "k2"))
        word = known(None, below=(child, other), below_count=5)
        account = said(word, status=replace(STATUS, worker_id="local", pid=77))
        self.assertIn("runs in process 77", account.headline)
        first, second, third = fact(account, "below")
        self.assertIn("sub (run k1) waits for a worker for 2 min: no worker is connected", first)
        self.assertEqual(second, "sub (run k2) is running at worker w2 for 90 s")
        self.assertEqual(third, "3 more open tasks")
        for found in (account, said(known(RUNS, below=(other, child)))):
            self.assertIn("for sub: start a worker: dagu worker", found.next_step)


class EndTests(SynchronousTestCase):
    """Runs that are over."""

    def test_by_its_files(self) -> None:
        """State, place, time, the first failure with its log; the next step is a retry, and nothing after success."""
        node = NodeStatus(Step("train"), NodeState.FAILED, stderr="/l/train.err", error="exit status 3\nmore")
        status = replace(STATUS, state=RunState.FAILED, finished_at=AT, nodes=(node,), error="some steps failed")
        account = said(status=status)
        self.assertEqual(account.headline, "etl (run r1) ended as failed at worker w2 2026-11-24 10:42:24 UTC")
        self.assertEqual(fact(account, "step"), ["train failed: exit status 3 (log: /l/train.err)"])
        self.assertEqual(account.next_step, "dagu retry etl --run-id r1 runs what did not succeed")
        self.assertEqual(said(status=replace(status, state=RunState.SUCCEEDED)).next_step, "nothing")

    def test_with_the_coordinators_word(self) -> None:
        """The losses that led to an end are told with it."""
        history = lines(
            (10, State.LOST, "w1", 1, "worker w1 left"), (5, State.ENDED, "w2", 2, "worker w2 reported: failed")
        )
        outcome = Outcome(RunState.FAILED, "failed: exit status 3")
        task = replace(RUNS, state=State.ENDED, outcome=outcome, lost_workers=("w1",))
        account = said(known(task, history), status=replace(STATUS, state=RunState.FAILED, finished_at=AT))
        self.assertEqual(fact(account, "ended there"), ["failed: exit status 3"])
        self.assertEqual(fact(account, "given away"), ["2026-11-24 10:42:14 UTC: worker w1 left"])

    def test_files_of_a_lost_worker(self) -> None:
        """Files that still say running do not count against a coordinator that has ended the task."""
        outcome = Outcome(RunState.FAILED, "worker w2 was silent for 30 s")
        account = said(known(replace(RUNS, state=State.ENDED, outcome=outcome)), status=STATUS)
        self.assertEqual((account.state, fact(account, "files")), ("failed", ["they say running at worker w2"]))
        self.assertIn("has ended 2026-11-24 10:40:54 UTC: worker w2 was silent", account.headline)

    def test_remembered_by_the_journal_only(self) -> None:
        """Where files are gone, the last line of the history has to do."""
        account = said(known(None, lines((60, State.ENDED, "w1", 1, "worker w1 reported: succeeded"))))
        self.assertIn("has ended 2026-11-24 10:41:24 UTC: worker w1 reported: succeeded", account.headline)


class FileTests(SynchronousTestCase):
    """Runs that no coordinator has."""

    def test_queue(self) -> None:
        """Position, limit, who comes first; and what binds: the settings, nobody at work, the limit, others, or nothing."""
        status = replace(STATUS, state=RunState.QUEUED, queued_at=AT - timedelta(seconds=65))
        far = replace(PLACE, position=9, waiting=12, before=(RunRef("a", "1"), RunRef("b", "2")))
        for place, enabled, kind, step in (
            (PLACE, False, "queues-disabled", "enable the queues"),
            (replace(PLACE, schedulers=()), True, "scheduler", "dagu start-all"),
            (replace(PLACE, alive=2), True, "queue", "raise the limit (queues.config)"),
            (far, True, "position", "wait for its turn"),
            (PLACE, True, "turn", "the scheduler's log"),
        ):
            account = said(status=status, queue=place, queues_enabled=enabled)
            assert account.binding is not None
            self.assertEqual(account.binding.kind, kind)
            self.assertIn(step, account.next_step)
        account = said(status=status, queue=far)
        self.assertEqual(account.headline, "etl (run r1) waits in queue q since 2026-11-24 10:41:19 UTC (65 s)")
        self.assertEqual(fact(account, "queue"), ["position 9 of 12 in q"])
        self.assertEqual(fact(account, "limit"), ["0 of 2 runs of the queue go on now (queues.config)"])
        self.assertEqual(fact(account, "before it"), ["6 more, then a:1, b:2"])

    def test_queued_with_nobody(self) -> None:
        """A run that was written down as queued and is nowhere: no coordinator, a silent one, one of Dagu, or forgotten."""
        status = replace(STATUS, state=RunState.QUEUED)
        busy = (Verdict("d1", Fit.BUSY, "busy 1 of 1"),)
        dagu = ClusterWord(listed=(Listed("d@1", ()),))
        for word, guesses, text, step in (
            (
                ClusterWord(nobody="no coordinator is registered"),
                (),
                "no coordinator is registered",
                "dagu doctor peer",
            ),
            (ClusterWord(errors=("coordinator c: refused",)), (), "coordinator c: refused", "dagu doctor peer"),
            (dagu, busy, "nearest is d1: busy 1 of 1", "cannot be asked"),
            (dagu, (), "a coordinator of Dagu may be about to take it: d@1", "cannot be asked"),
        ):
            account = said(word, status=status, guesses=guesses)
            assert account.binding is not None
            self.assertIn(text, account.binding.text)
            self.assertIn(step, account.next_step)
        self.assertIn("dagu retry etl --run-id r1", said(known(None), status=status).next_step)

    def test_running_by_its_files(self) -> None:
        """What nobody has as an open task is told as its files say; a list of workers that names it is told, too."""
        running = (RunningTask(RUN, RUN),)
        worker = WorkerStatus("w2", {}, Health.HEALTHY, 2, 1, running)
        account = said(ClusterWord(listed=(Listed("d@1", (worker,)),)), status=STATUS)
        self.assertIn("runs at worker w2, as its files say", account.headline)
        self.assertEqual(fact(account, "listed"), ["worker w2 names it, says coordinator d@1"])
        self.assertEqual(len(fact(account, "coordinators")), 1)
        self.assertIn("tells its workers, but neither its tasks", fact(account, "not told")[0])

    def test_waits_for_a_person(self) -> None:
        """The steps that wait are named, with the command that shows what they ask."""
        waits = (
            Wait(RUN, NodeStatus(Step("ask"), NodeState.WAITING)),
            Wait(RUN, NodeStatus(Step("b"), NodeState.WAITING)),
        )
        account = said(status=replace(STATUS, state=RunState.WAITING), waits=waits)
        self.assertEqual(account.headline, "etl (run r1): steps ask, b wait for a person to approve")
        self.assertIn("dagu status etl --run-id r1", account.next_step)

    def test_the_rest(self) -> None:
        """Files that cannot be read, and a run that has not begun."""
        account = said(unreadable="/d/status.jsonl: line 3 is damaged")
        self.assertIn("cannot be read: /d/status.jsonl", account.headline)
        self.assertEqual(said(status=replace(STATUS, state=RunState.NOT_STARTED)).state, "not_started")


class DocumentTests(SynchronousTestCase):
    def test_the_same_facts_as_fields(self) -> None:
        """What the sentences say is there as values, and all of it is JSON."""
        verdict = Verdict("w1", Fit.LABELS, "label gpu wanted true, has nothing", 1)
        history = lines((17, State.QUEUED, "", 0, "accepted; waits for a worker"))
        task = replace(WAITING, verdicts=(verdict,), ahead=2)
        found = Situation(RUN, RUN, AT, known(task, history), replace(STATUS, state=RunState.QUEUED), queue=PLACE)
        document: Any = json.loads(json.dumps(explain_document(found, account(found))))
        self.assertEqual((document["state"], document["since"]), ("waiting", "2026-11-24T10:42:07.000Z"))
        self.assertEqual(document["binding"]["kind"], "labels")
        self.assertEqual(
            document["workers"],
            [{"workerId": "w1", "verdict": "labels", "reason": "label gpu wanted true, has nothing"}],
        )
        self.assertEqual((document["task"]["ahead"], document["task"]["stateSeconds"]), (2, 17.0))
        self.assertEqual(document["queue"]["limit"], 2)
        line = {"state": "queued", "workerId": "", "epoch": 0, "reason": "accepted; waits for a worker"}
        self.assertEqual(document["history"], [{"at": "2026-11-24T10:42:07.000Z", "coordinator": "", **line}])
        self.assertEqual(timeline_document(found)["history"], document["history"])
        self.assertEqual(binding(task).text, document["task"]["binding"]["text"])


class WordingTests(SynchronousTestCase):
    def test_spans(self) -> None:
        """Ages are short and never more exact than anybody needs."""
        for seconds, text in (
            (0.44, "0.4 s"),
            (17, "17 s"),
            (119, "119 s"),
            (250, "4 min"),
            (7500, "2 h 5 min"),
            (1e5, "1 d 3 h"),
        ):
            self.assertEqual(span(seconds), text)
