"""What the API says, key by key."""

from __future__ import annotations

import calendar
import time
from typing import cast
from unittest import TestCase

from hypothesis import given
from hypothesis import strategies as st

from txdagu.model.health import Health
from txdagu.model.run import RunRef
from txdagu.model.task import RunningTask, WorkerStatus
from txdagu.peers.interfaces import WorkersView
from txdagu.web.documents import error_document, health_document, rfc3339, worker_document, workers_document

AT = 1795456484  # 2026-11-23T17:54:44Z
ROOT = RunRef("ml-pipeline", "01a2098b-c35e")
CHILD = RunRef("train-model", "4EJCN7oEafBs")


def worker(name: str = "worker-gpu-01", **changes: object) -> WorkerStatus:
    values: dict[str, object] = {
        "id": name,
        "labels": {"gpu": "true", "memory": "64G"},
        "health": Health.HEALTHY,
        "slots": 4,
        "busy": 2,
        "heartbeat_age": 1.26,
        "last_heartbeat_at": AT,
    }
    return WorkerStatus(**(values | changes))  # type: ignore[arg-type]


class WorkerTests(TestCase):
    def test_whole(self) -> None:
        """A worker with a child task has the keys of Dagu 1.30.2, those of its guide, and the age; nothing else."""
        task = RunningTask(CHILD, ROOT, ROOT, AT - 3)
        self.assertEqual(
            worker_document(worker(running=(task,)), AT + 1),
            {
                "id": "worker-gpu-01",
                "labels": {"gpu": "true", "memory": "64G"},
                "totalPollers": 4,
                "busyPollers": 2,
                "runningTasks": [
                    {
                        "dagName": "train-model",
                        "dagRunId": "4EJCN7oEafBs",
                        "rootDagRunName": "ml-pipeline",
                        "rootDagRunId": "01a2098b-c35e",
                        "parentDagRunName": "ml-pipeline",
                        "parentDagRunId": "01a2098b-c35e",
                        "startedAt": "2026-11-23T17:54:41Z",
                    }
                ],
                "scheduling": {"state": "schedulable", "since": "", "until": "", "reason": "", "by": ""},
                "lastHeartbeatAt": "2026-11-23T17:54:44Z",
                "healthStatus": "healthy",
                "heartbeatAgeSeconds": 1.3,
                "health_status": "HEALTHY",
                "last_heartbeat": "2026-11-23T17:54:44Z",
                "running_tasks": [
                    {
                        "dag_name": "train-model",
                        "dag_run_id": "4EJCN7oEafBs",
                        "root_dag_run_name": "ml-pipeline",
                        "started_at": "2026-11-23T17:54:41Z",
                    }
                ],
            },
        )

    def test_root_task(self) -> None:
        """A run without parent keeps the parent keys, empty, as Dagu 1.30.2 does."""
        document = worker_document(worker(running=(RunningTask(ROOT, ROOT),)), AT)
        [task] = cast("list[dict[str, str]]", document["runningTasks"])
        self.assertEqual((task["parentDagRunName"], task["parentDagRunId"], task["startedAt"]), ("", "", ""))

    def test_offline(self) -> None:
        """The fourth word of health comes through in both spellings."""
        document = worker_document(worker(health=Health.OFFLINE), AT)
        self.assertEqual((document["healthStatus"], document["health_status"]), ("offline", "OFFLINE"))

    def test_age_of_old_coordinator(self) -> None:
        """Where no age is told the time of day gives it, never below zero; without any heartbeat there is none."""
        ages = [
            worker_document(worker(heartbeat_age=0.0, last_heartbeat_at=beat), AT)["heartbeatAgeSeconds"]
            for beat in (AT - 7, AT + 100, 0)
        ]
        self.assertEqual(ages, [7.0, 0.0, None])


class WorkersTests(TestCase):
    def test_empty(self) -> None:
        """Nobody there: two empty lists, no null."""
        self.assertEqual(workers_document(WorkersView(), AT), {"workers": [], "errors": []})

    def test_sorted_once_each(self) -> None:
        """One row for each worker, by id; of two, the one that was heard of last."""
        view = WorkersView(
            (worker("b"), worker("a", last_heartbeat_at=5, busy=1), worker("a", last_heartbeat_at=9, busy=3)),
            ("no answer",),
        )
        document = workers_document(view, AT)
        rows = [(row["id"], row["busyPollers"]) for row in document["workers"]]  # type: ignore[attr-defined]
        self.assertEqual(rows, [("a", 3), ("b", 2)])
        self.assertEqual(document["errors"], ["no answer"])

    def test_a_thousand(self) -> None:
        """T75: a thousand workers in any order are a thousand rows, always in the same order."""
        workers = [worker(f"w{number:04d}") for number in range(1000)]
        rows = workers_document(WorkersView(tuple(reversed(workers)), ()), AT)
        self.assertEqual(rows, workers_document(WorkersView(tuple(workers), ()), AT))
        self.assertEqual(len(rows["workers"]), 1000)  # type: ignore[arg-type]


class OtherDocumentTests(TestCase):
    def test_health(self) -> None:
        """Four keys, whole seconds."""
        self.assertEqual(
            health_document("1.2", 16.9, AT + 0.7),
            {"status": "healthy", "version": "1.2", "uptime": 16, "timestamp": "2026-11-23T17:54:44Z"},
        )

    def test_errors(self) -> None:
        """Each status has a code that clients of Dagu 1.30.2 know."""
        codes = [error_document(status, "why")["code"] for status in (400, 404, 405, 409, 500, 503)]
        self.assertEqual(
            codes, ["bad_request", "not_found", "bad_request", "already_exists", "internal_error", "bad_gateway"]
        )
        self.assertEqual(error_document(404, "why")["message"], "why")

    @given(st.integers(1, 253402300799))
    def test_time_round_trip(self, seconds: int) -> None:
        """Every second of the calendar is written so that it reads back as itself."""
        self.assertEqual(calendar.timegm(time.strptime(rfc3339(seconds), "%Y-%m-%dT%H:%M:%SZ")), seconds)

    def test_no_time(self) -> None:
        """Not set, before 1970 and beyond the calendar are empty, no error: the numbers come from other programs."""
        self.assertEqual([rfc3339(value) for value in (0, -1, 10**18)], ["", "", ""])
