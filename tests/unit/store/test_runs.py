"""Runs on disk: where everything lies, what foreign runs are read as, and what happens when something goes wrong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from unittest import TestCase
from unittest.mock import patch

from txdagu.model.dag import Command, Dag, Output, Step
from txdagu.model.errors import ConflictError, DaguError, InvalidInputError
from txdagu.model.ids import new_run_id
from txdagu.model.run import NodeStatus, RunRef, RunStatus
from txdagu.model.status import NodeState, RunState
from txdagu.store.directories import RunDirectories, attempts_of
from txdagu.store.errors import CorruptRecordError
from txdagu.store.runs import Runs
from txdagu.system.files import names_in
from txdagu.testing.store import paths_under

TOKYO = timezone(timedelta(hours=9))
AT = datetime(2026, 11, 24, 2, 54, 1, 961000, tzinfo=TOKYO)
STEP = Step("step with spaces & / slash", commands=(Command("echo hi", "echo", ("hi",)),), output=Output("ONE_OUT"))
DAG = Dag("basic", (STEP,), base_dir="/srv/dags", location="/srv/dags/basic.yaml", params="FOO=bar")
RUN = RunRef("basic", "run-A_1")


class OnDisk(TestCase):
    """Runs in a directory for each test."""

    def setUp(self) -> None:
        """What each test needs."""
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.home = Path(holder.name)
        self.at = AT
        self.count = 0
        self.runs = self.reader()

    def reader(self) -> Runs:
        """Another process that sees the same directory."""
        return Runs(paths_under(self.home), lambda: self.at, self.randomness)

    def randomness(self, size: int) -> bytes:
        """Numbers, one after the other."""
        self.count += 1
        return self.count.to_bytes(size, "big")

    def files(self, below: str = "") -> dict[str, int]:
        """All files with their modes."""
        top = self.home / below
        return {str(path.relative_to(top)): path.stat().st_mode & 0o777 for path in top.rglob("*") if path.is_file()}

    def foreign(self, line: str | None, run_id: str = "f", name: str = "attempt_20261123_175401_000Z_aaaaaa") -> Path:
        """A run that another program left, with such a status file; its attempt's directory."""
        place = self.home / f"data/dag-runs/foreign/dag-runs/2026/11/23/dag-run_20261123_175401Z_{run_id}" / name
        place.mkdir(parents=True)
        if line is not None:
            (place / "status.jsonl").write_bytes(line.encode())
            os.utime(place / "status.jsonl", (AT.timestamp() - 6, AT.timestamp() - 6))
        return place

    def read(self, run_id: str = "f") -> RunStatus | None:
        """The state of a foreign run."""
        run = RunRef("foreign", run_id)
        return self.runs.read_status(run, run)


def state(name: RunState, run: RunRef = RUN, root: RunRef = RUN) -> RunStatus:
    """A run in that state."""
    node = NodeStatus(STEP, NodeState.SUCCEEDED, outputs={"ONE_OUT": "hi"})
    return RunStatus(run, root, name, nodes=(node,), params=("FOO=bar",))


class TreeTests(OnDisk):
    """Where things lie."""

    def test_whole_run(self) -> None:
        """A run, its logs and a called run's lie where Dagu 1.30.2 puts them, with its modes."""
        attempt = self.runs.begin(DAG, RUN, RUN, new=True)
        attempt.append(state(RunState.RUNNING), ["started"])
        logs = attempt.step_logs(STEP.name, self.at.astimezone(UTC))
        run_dir = "data/dag-runs/basic/dag-runs/2026/11/23/dag-run_20261123_175401Z_run-A_1"
        place = f"{run_dir}/attempt_20261123_175401_961Z_000001"
        log_dir = "logs/basic/dag-run_20261123_175401Z_run-A_1"
        stem = f"{log_dir}/run_20261123_175401Z_000001/step_with_spaces_____slash.20261124.025401.961.run-A_1"
        self.assertEqual(logs.stdout, str(self.home / f"{stem}.out"))
        self.assertEqual(
            self.files(),
            {
                "data/proc/basic/basic/proc_20261123_175401Z_run-A_1.proc": 0o600,
                f"{place}/status.jsonl": 0o600,
                f"{place}/dag.json": 0o600,
                f"{log_dir}/dag-run_20261124.025401.961.run-A_1.log": 0o600,
                f"{stem}.out": 0o600,
                f"{stem}.err": 0o600,
            },
        )
        self.assertEqual((self.home / place).stat().st_mode & 0o777, 0o750)
        self.assertEqual(Path(logs.stdout).parent.stat().st_mode & 0o777, 0o750)
        child = RunRef("sub", "9rav9V5V")
        called = self.runs.begin(Dag("sub", location="/tmp/sub.yaml"), child, RUN)
        called.close(state(RunState.SUCCEEDED, child, RUN), [])
        attempt.close(state(RunState.SUCCEEDED), ["ended"])
        below = f"{run_dir}/children/child_9rav9V5V/attempt_20261123_175401_961Z_000003"
        files = self.files()
        self.assertEqual(
            {name for name in files if name.startswith("data")},
            {f"{where}/{name}" for where in (place, below) for name in ("status.jsonl", "dag.json", "outputs.json")},
        )
        self.assertEqual(
            (self.home / log_dir / "dag-run_20261124.025401.961.run-A_1.log").read_text(), "started\nended\n"
        )
        lines = (self.home / place / "status.jsonl").read_text().splitlines()
        self.assertEqual([json.loads(line)["status"] for line in lines], [1, 4])
        self.assertEqual(json.loads((self.home / place / "dag.json").read_text())["location"], DAG.location)
        self.assertNotIn("location", json.loads((self.home / below / "dag.json").read_text()))

    def test_evaluated_params_reach_the_snapshot(self) -> None:
        """Params given to a run are in its snapshot, from which another program would retry it."""
        attempt = self.runs.begin(DAG, RUN, RUN)
        path = attempt.place.directory / "dag.json"
        self.assertEqual(json.loads(path.read_text())["params"], ["FOO=bar"])
        attempt.append(replace(state(RunState.RUNNING), params=("FOO=other",)), [])
        self.assertEqual(json.loads(path.read_text())["params"], ["FOO=other"])
        self.assertEqual(json.loads(path.read_text())["defaultParams"], "FOO=bar")
        attempt.release()

    def test_log_dir_of_the_dag(self) -> None:
        """A DAG's own log directory replaces the usual one; that of a run that nobody could evaluate does not."""
        attempt = self.runs.begin(replace(DAG, log_dir=str(self.home / "mine")), RUN, RUN)
        self.assertTrue(str(attempt.place.log).startswith(f"{self.home}/mine/basic/"))
        attempt.release()
        attempt = self.runs.begin(replace(DAG, log_dir="$HOME/logs"), RunRef("basic", "r2"), RunRef("basic", "r2"))
        self.assertTrue(str(attempt.place.log).startswith(f"{self.home}/logs/basic/"))
        attempt.release()

    def test_enqueued(self) -> None:
        """A queued attempt has a record without process and start, and no liveness file."""
        self.runs.enqueue(DAG, state(RunState.NOT_STARTED), "basic")
        (path,) = self.home.glob("data/dag-runs/basic/dag-runs/2026/11/23/*/*/status.jsonl")
        record = json.loads(path.read_text())
        self.assertEqual(record["status"], 5)
        self.assertEqual(record["queuedAt"], "2026-11-24T02:54:01+09:00")
        self.assertEqual(record.keys() & {"pid", "startedAt", "workerId"}, set())
        self.assertEqual(
            record.keys() & {"root", "attemptId", "createdAt", "log", "nodes"},
            {"root", "attemptId", "createdAt", "log", "nodes"},
        )
        self.assertTrue(Path(record["log"]).parent.is_dir())
        self.assertFalse(Path(record["log"]).exists())
        self.assertEqual(names_in(self.home / "data" / "proc"), [])

    def test_importable_without_twisted(self) -> None:
        """The command line can ask about runs without loading Twisted."""
        code = "import sys, txdagu.store.runs; sys.exit('twisted' in sys.modules)"
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        self.assertEqual(subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode, 0)


class FailureTests(OnDisk):
    """Nothing half-made stays behind."""

    def test_full_disk(self) -> None:
        """An attempt that cannot be begun leaves neither directories nor a sign of life."""
        with patch("txdagu.store.attempt.write_file", side_effect=OSError(28, "No space left on device")):
            for child in (RUN, RunRef("sub", "c")):
                with self.assertRaises((OSError, DaguError)):
                    self.runs.begin(DAG, child, RUN)
        self.assertEqual(self.files(), {})
        self.assertEqual(names_in(self.home / "data/dag-runs/basic/dag-runs/2026/11/23"), [])
        self.runs.begin(DAG, RUN, RUN, new=True).release()

    def test_full_queue_disk(self) -> None:
        """A run whose queue item cannot be written is not there at all."""
        with patch.object(self.runs.queue, "add", side_effect=OSError(28, "No space")), self.assertRaises(OSError):
            self.runs.enqueue(DAG, state(RunState.QUEUED), "q")
        self.assertIsNone(self.runs.read_status(RUN, RUN))
        self.assertEqual(self.files("data"), {})

    def test_names_that_lead_elsewhere(self) -> None:
        """Ids, queues and attempts from outside cannot reach other directories."""
        evil = RunRef("basic", "../../evil")
        for call in (
            lambda: self.runs.begin(DAG, evil, evil),
            lambda: self.runs.begin(DAG, RUN, RUN, attempt_name="../attempt_20261123_175401_961Z_x"),
            lambda: self.runs.begin(DAG, RUN, RUN, attempt_name="attempt_20261123_175401_961Z_../x"),
            lambda: self.runs.begin(replace(DAG, queue="../q"), RUN, RUN),
            lambda: self.runs.enqueue(DAG, state(RunState.QUEUED), "../q"),
        ):
            with self.assertRaises(InvalidInputError):
                call()
        self.assertEqual(self.files(), {})

    def test_release_after_a_failed_end(self) -> None:
        """A final state that cannot be written does not leave the run alive."""
        attempt = self.runs.begin(DAG, RUN, RUN)
        attempt.append(state(RunState.RUNNING), [])
        shutil.rmtree(attempt.place.directory)
        with self.assertRaises(OSError):
            attempt.close(state(RunState.SUCCEEDED), [])
        self.assertFalse(self.runs.liveness.is_alive("basic", "basic", RUN.id))

    def test_ended_between_two_looks(self) -> None:
        """A run that ends just while its sign of life is looked for is not told as failed."""
        attempt = self.runs.begin(DAG, RUN, RUN)
        attempt.append(state(RunState.RUNNING), [])
        is_alive = self.runs.liveness.is_alive

        def ends(*names: str) -> bool:
            if attempt.liveness:
                attempt.close(state(RunState.SUCCEEDED), [])
                attempt.liveness = None
            return is_alive(*names)

        with patch.object(self.runs.liveness, "is_alive", ends):
            status = self.runs.read_status(RUN, RUN)
        assert status
        self.assertEqual(status.state, RunState.SUCCEEDED)


class ForeignTests(OnDisk):
    """What runs of other programs are read as: experiments with Dagu 1.30.2, repeated with us."""

    def test_records(self) -> None:
        """Foreign records are read as Dagu reads them; states unknown to us are an error instead of a guess."""
        good = '{"name":"foreign","dagRunId":"f","status":4}\n'
        head = '{"name":"foreign","dagRunId":"f",'
        corrupt = CorruptRecordError
        cases: list[tuple[str, RunState | type[Exception]]] = [
            (good, RunState.SUCCEEDED),
            (good.rstrip(), corrupt),
            ("{}\n", RunState.NOT_STARTED),
            (good + '{"name":"foreign","dagRunId"', RunState.SUCCEEDED),
            ("garbage\n" + good + "\n", RunState.SUCCEEDED),
            (head + '"status":4,"version":99,"what":{"ever":[1]}}\n', RunState.SUCCEEDED),
            (head + '"status":99}\n', corrupt),
            (good + head + '"status":99}\n', corrupt),
            (head + '"status":"succeeded"}\n', corrupt),
            (head + '"status":4.0}\n', corrupt),
            (head + '"status":4,"createdAt":1.79e12}\n', corrupt),
            (head + '"status":4,"createdAt":"now"}\n', corrupt),
            (head + '"status":4,"pid":"1"}\n', corrupt),
            (head + '"status":4,"startedAt":7}\n', corrupt),
            (head + '"status":4,"log":null,"paramsList":null,"root":null,"nodes":null}\n', RunState.SUCCEEDED),
            ('{"NAME":"foreign","dagrunid":"f","STATUS":4}\n', RunState.SUCCEEDED),
            (head + '"status":4,"nodes":[{"step":{"name":"s","timeout":"5s"}}]}\n', corrupt),
            (head + '"status":4,"nodes":[{"status":4}]}\n', RunState.SUCCEEDED),
            (head + '"status":4,"nodes":[null]}\n', RunState.SUCCEEDED),
            (head + '"status":4,"nodes":[{"outputVariables":{"A":1,"B":"b"}}]}\n', RunState.SUCCEEDED),
            (head + '"status":4,"onExit":{"step":{"name":"onExit"},"status":4}}\n', RunState.SUCCEEDED),
            ("\ufeff" + good, corrupt),
            (json.dumps(json.loads(good), indent=2) + "\n", corrupt),
            (good.replace("\n", "\r\n"), RunState.SUCCEEDED),
            ("", corrupt),
        ]
        for number, (line, expected) in enumerate(cases):
            run_id = f"f{number}"
            path = self.foreign(line, run_id) / "status.jsonl"
            with self.subTest(line=line):
                if isinstance(expected, RunState):
                    status = self.read(run_id)
                    assert status
                    self.assertEqual(status.state, expected)
                else:
                    with self.assertRaisesRegex(expected, str(path)):
                        self.read(run_id)

    def test_attempts(self) -> None:
        """Malformed and hidden attempts and those without a state are passed over; so is a first state that is being written."""
        good = '{"name":"foreign","dagRunId":"f","status":4}\n'
        self.foreign(good, name="attempt_20261123_175401_000Z_my-own.id")
        self.foreign(good.replace("4", "2"), name="attempt_20261123_175402Z_bbbbbb")
        self.foreign(good.replace("4", "2"), name=".attempt_20261123_175403_000Z_cccccc")
        self.foreign(None, name="attempt_20261123_175404_000Z_dddddd")
        status = self.read()
        assert status
        self.assertEqual(status.state, RunState.SUCCEEDED)
        for content in ("", good.rstrip()):
            place = self.foreign(content, name=f"attempt_20261123_175405_00{len(content) % 10}Z_eeeeee")
            with self.assertRaises(CorruptRecordError):
                self.read()
            os.utime(place / "status.jsonl", (AT.timestamp() - 1, AT.timestamp() - 1))
        status = self.read()
        assert status
        self.assertEqual(status.state, RunState.SUCCEEDED)

    def test_latest_is_not_hidden(self) -> None:
        """A directory of a strange name, and a run without attempts, do not hide the latest run, as they do in Dagu."""
        self.foreign("{}\n", "older")
        day = self.foreign(None, "newest").parent.parent
        (day / "dag-run_20261123_235959_x").mkdir()
        (day / "dag-run_20261123_235958Z_empty").mkdir()
        self.assertEqual(self.runs.latest_run("foreign"), RunRef("foreign", "older"))

    def test_whole_ids_only(self) -> None:
        """Unlike in Dagu, an id finds its own run and not one whose id ends alike."""
        self.foreign('{"name":"foreign","dagRunId":"r1","status":4}\n', "r1")
        self.assertIsNone(self.read("1"))
        run = RunRef("foreign", "1")
        self.runs.begin(Dag("foreign"), run, run, new=True).release()

    def test_dead_foreign_run(self) -> None:
        """A foreign run that says it is running is believed only with a sign of life in the queue that its snapshot names."""
        line = '{"root":{"name":"foreign","id":"f"},"name":"foreign","dagRunId":"f","status":1,"workerId":"wk-1","pid":77}\n'
        place = self.foreign(line)
        status = self.read()
        assert status
        self.assertEqual(status.state, RunState.FAILED)
        self.assertIn("worker wk-1, pid 77", status.error)
        (place / "dag.json").write_text('{"name":"foreign","queue":"q","handlerOn":{"exit":{}}}')
        held = self.runs.liveness.acquire("q", "foreign", "f", take_over=False)
        status = self.read()
        assert status
        self.assertEqual(status.state, RunState.RUNNING)
        self.assertEqual((place / "status.jsonl").read_text(), line)
        held.release()

    def test_retry_goes_on_in_the_same_log(self) -> None:
        """A retry appends to the run's log and puts its step logs beside the earlier ones."""
        log = self.home / "elsewhere" / "dag-run_x.log"
        log.parent.mkdir()
        log.write_text("first\n")
        self.foreign(json.dumps({"name": "foreign", "dagRunId": "f", "status": 2, "log": str(log)}) + "\n")
        self.at += timedelta(seconds=5)
        run = RunRef("foreign", "f")
        attempt = self.runs.begin(Dag("foreign"), run, run)
        attempt.close(state(RunState.SUCCEEDED, run, run), ["second"])
        self.assertEqual(log.read_text(), "first\nsecond\n")
        self.assertEqual(
            Path(attempt.step_logs("s", self.at).stdout).parent, log.parent / f"run_20261123_175406Z_{attempt.place.id}"
        )

    def test_corrupt_attempt_does_not_stop_a_retry(self) -> None:
        """A run whose record is lost can be begun anew."""
        self.foreign("garbage\n")
        run = RunRef("foreign", "f")
        self.runs.begin(Dag("foreign"), run, run).close(state(RunState.SUCCEEDED, run, run), [])
        status = self.read()
        assert status
        self.assertEqual(status.state, RunState.SUCCEEDED)


class DirectoriesTests(OnDisk):
    """Finding runs."""

    def setUp(self) -> None:
        """What each test needs."""
        super().setUp()
        self.root = self.home / "runs"
        self.directories = RunDirectories(self.root, lambda: self.at)

    def run_dir(self, run_id: str, at: datetime) -> Path:
        """A run's directory made by another process at that time."""
        at = at.astimezone(UTC)
        path = self.root / "d" / "dag-runs" / f"{at:%Y/%m/%d}" / f"dag-run_{at:%Y%m%d_%H%M%SZ}_{run_id}"
        path.mkdir(parents=True)
        return path

    def test_newest_wins(self) -> None:
        """Of two runs with one id the newer one is found, across days and within one."""
        for hours in (0, 1, 30):
            path = self.run_dir("r", AT + timedelta(hours=hours))
            self.assertEqual(RunDirectories(self.root, lambda: self.at).find(RunRef("d", "r")), path)

    def test_others_come_and_go(self) -> None:
        """Runs that other processes add or remove are seen at once, in days that were listed before."""
        first = self.run_dir("first", AT)
        self.assertEqual(self.directories.find(RunRef("d", "first")), first)
        self.assertIsNone(self.directories.find(RunRef("d", "second")))
        second = self.run_dir("second", AT)
        self.assertEqual(self.directories.find(RunRef("d", "second")), second)
        shutil.rmtree(second)
        self.assertIsNone(self.directories.find(RunRef("d", "second")))

    def test_own_runs_do_not_list_the_day_again(self) -> None:
        """Making many runs a day lists the day once."""
        for number in range(3):
            run = RunRef("d", new_run_id(int(AT.timestamp() * 1000), b"%010d" % number))
            with patch("txdagu.store.directories.names_in", side_effect=names_in) as listed:
                self.assertIsNone(self.directories.find(run, locked=True))
            days = [call for call in listed.call_args_list if call.args[0].name == "23"]
            self.assertEqual(len(days), 1 if number == 1 else 0, number)
            self.directories.made(run, self.run_dir(run.id, AT))

    def test_ids_with_a_time_are_not_looked_for_before_it(self) -> None:
        """For an id that tells when it was made, no older day is listed."""
        self.run_dir("old", AT - timedelta(days=400))
        self.run_dir("old", AT - timedelta(days=5))
        run = RunRef("d", new_run_id(int(AT.timestamp() * 1000), b"0123456789"))
        path = self.run_dir(run.id, AT)
        with patch("txdagu.store.directories.names_in", side_effect=names_in) as listed:
            self.assertEqual(RunDirectories(self.root, lambda: self.at).find(run), path)
            missing = RunRef("d", new_run_id(int(AT.timestamp() * 1000), b"9876543210"))
            self.assertIsNone(self.directories.find(missing))
        days = {call.args[0].relative_to(self.root / "d" / "dag-runs").as_posix() for call in listed.call_args_list}
        self.assertEqual({day for day in days if day.count("/") == 2}, {"2026/11/23"})

    def test_conflict_between_processes(self) -> None:
        """Two processes cannot make the same new run."""
        self.runs.begin(DAG, RUN, RUN, new=True).release()
        other = self.reader()
        with self.assertRaises(ConflictError):
            other.begin(DAG, RUN, RUN, new=True)


class SimultaneousTests(OnDisk):
    """Several who change one run at the same moment, each as a process of its own would."""

    def test_one_decision_counts(self) -> None:
        """Of many who decide on a step and let the run go on one succeeds; the others are told."""
        attempt = self.runs.begin(DAG, RUN, RUN)
        attempt.close(RunStatus(RUN, RUN, RunState.WAITING, nodes=(NodeStatus(STEP, NodeState.WAITING),)), [])
        readers = [self.reader() for _ in range(8)]
        start = threading.Barrier(len(readers))

        def decide(status: RunStatus) -> RunStatus:
            if status.nodes[0].state is not NodeState.WAITING:
                raise ConflictError("somebody was faster")
            return replace(status, nodes=(replace(status.nodes[0], state=NodeState.SUCCEEDED),))

        def attempted(change: Callable[[], object]) -> bool:
            start.wait()
            try:
                change()
            except ConflictError:
                return False
            return True

        with ThreadPoolExecutor(len(readers)) as pool:
            decided = list(pool.map(lambda runs: attempted(lambda: runs.amend(RUN, RUN, decide)), readers))
            queued = list(pool.map(lambda runs: attempted(lambda: runs.requeue(RUN, True)), readers))
        self.assertEqual((sum(decided), sum(queued)), (1, 1))
        self.assertEqual([run for _, run in self.runs.queue.items()], [RUN])
        self.assertEqual(len(attempts_of(next(self.home.glob("data/dag-runs/*/dag-runs/*/*/*/dag-run_*")))), 2)
