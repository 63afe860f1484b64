"""Status lines: what Dagu 1.30.2 writes is read, and what we write is what it writes."""

from __future__ import annotations

import json
import string
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from unittest import TestCase

from hypothesis import given
from hypothesis import strategies as st

from txdagu.model.conditions import Condition
from txdagu.model.dag import ChildCall, Command, Handler, Output, Step
from txdagu.model.labels import WorkerSelector
from txdagu.model.run import ChildRun, Decision, NodeStatus, RunRef, RunStatus
from txdagu.model.status import NodeState, RunState
from txdagu.store.statusjson import StatusEncoder, encode_status, format_time
from txdagu.store.statusreading import UnknownStateError, decode_status, parse_time, told_as_failed

LOGS = "/srv/dagu/logs/basic/dag-run_20261123_175401Z_run-A_1"
REAL = {
    "root": {"name": "basic", "id": "run-A_1"},
    "name": "basic",
    "dagRunId": "run-A_1",
    "attemptId": "c5c766",
    "status": 4,
    "workerId": "local",
    "pid": 13363,
    "nodes": [
        {
            "step": {
                "name": "one",
                "commands": [
                    {
                        "command": "echo",
                        "args": ["out-one;", "echo", "err-one", ">&2"],
                        "cmdWithArgs": "echo out-one; echo err-one >&2",
                    }
                ],
                "output": "ONE_OUT",
            },
            "stdout": f"{LOGS}/run_20261123_175401Z_c5c766/one.20261124.025401.965.run-A_1.out",
            "stderr": f"{LOGS}/run_20261123_175401Z_c5c766/one.20261124.025401.965.run-A_1.err",
            "startedAt": "2026-11-24T02:54:01+09:00",
            "finishedAt": "2026-11-24T02:54:01+09:00",
            "status": 4,
            "doneCount": 1,
            "outputVariables": {"ONE_OUT": "ONE_OUT=out-one"},
        },
        {
            "step": {
                "name": "sub",
                "executorConfig": {"type": "dag"},
                "depends": ["one"],
                "childDag": {"name": "sub", "params": 'X="5"'},
            },
            "stdout": "",
            "stderr": "",
            "startedAt": "2026-11-24T02:54:01+09:00",
            "finishedAt": "",
            "status": 1,
            "children": [{"dagRunId": "9rav9V5V779vCYqfRg6HFQmUviPzu9GdewDNeJx2vx9G", "params": 'X="5"'}],
        },
    ],
    "createdAt": 1795456441978,
    "startedAt": "2026-11-24T02:54:01+09:00",
    "finishedAt": "2026-11-24T02:54:01+09:00",
    "log": f"{LOGS}/dag-run_20261124.025401.961.run-A_1.log",
    "params": "FOO=bar NUM=2",
    "paramsList": ["FOO=bar", "NUM=2"],
}

# Dagu's record of a run whose DAG has two handlers and a condition, shortened.
HANDLED = {
    "root": {"name": "h1", "id": "r"},
    "name": "h1",
    "dagRunId": "r",
    "attemptId": "7d7318",
    "status": 3,
    "nodes": [
        {
            "step": {
                "name": "again",
                "preconditions": [{"condition": "false", "error": "condition was not met: exit status 1"}],
            },
            "stdout": "/l/again.out",
            "stderr": "/l/again.err",
            "startedAt": "2026-11-23T23:54:26Z",
            "finishedAt": "2026-11-23T23:54:26Z",
            "status": 2,
            "retriedAt": "2026-11-23T23:54:26Z",
            "retryCount": 1,
            "doneCount": 3,
            "repeated": True,
            "error": "exit status 1",
            "childrenRepeated": [{"dagRunId": "c1"}],
        }
    ],
    "onInit": {"step": {"name": "onInit"}, "stdout": "", "stderr": "", "startedAt": "", "finishedAt": "", "status": 0},
    "onCancel": {
        "step": {"name": "onCancel"},
        "stdout": "/l/onCancel.out",
        "stderr": "/l/onCancel.err",
        "startedAt": "2026-11-23T23:54:26Z",
        "finishedAt": "2026-11-23T23:54:26Z",
        "status": 4,
    },
    "createdAt": 1795478066245,
    "startedAt": "2026-11-23T23:54:26Z",
    "finishedAt": "2026-11-23T23:54:26Z",
    "preconditions": [
        {"condition": "true", "error": "other condition was not met"},
        {"condition": "`date`", "expected": "x", "negate": True, "error": "condition was not met: expected"},
    ],
}

words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
names = st.text(string.ascii_letters + "_", min_size=1, max_size=8)
texts = st.lists(words, max_size=3).map(tuple)
zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
times = st.none() | st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1), timezones=zones).map(
    lambda at: at.replace(microsecond=0)
)
conditions = st.lists(st.builds(Condition, words, words, st.booleans(), words), max_size=2).map(tuple)
commands = st.builds(Command, text=words.filter(bool), program=words, args=texts)
steps = st.builds(
    Step,
    name=words,
    id=words,
    description=words,
    commands=st.lists(commands, max_size=2).map(tuple),
    script=words,
    shell=words,
    shell_args=texts,
    dir=words,
    env=texts,
    output=st.none() | st.builds(Output, name=names, key=words, omit=st.booleans()),
    depends=texts,
    preconditions=conditions,
    child=st.none() | st.builds(ChildCall, name=names, params=words),
    worker_selector=st.builds(WorkerSelector, labels=st.dictionaries(words, words, max_size=2), local=st.just(False))
    | st.just(WorkerSelector(local=True)),
)
children = st.lists(st.builds(ChildRun, run_id=names, params=words), max_size=2).map(tuple)
moments = times.filter(lambda at: at is not None)
decisions = st.builds(Decision, st.just(True), moments, words, st.dictionaries(names, words, max_size=2)) | st.builds(
    Decision, st.just(False), moments, words, reason=words
)
nodes = st.builds(
    NodeStatus,
    step=steps,
    state=st.sampled_from(NodeState),
    stdout=words,
    stderr=words,
    started_at=times,
    finished_at=times,
    error=words,
    retry_count=st.integers(0, 9),
    retried_at=times,
    done_count=st.integers(0, 9),
    repeated=st.booleans(),
    children=children,
    children_repeated=children,
    outputs=st.dictionaries(names, words, max_size=3),
    excused=st.booleans(),
    decision=st.none() | decisions,
    exit_code=st.integers(-1, 255),
    waits=words,
)
refs = st.builds(RunRef, name=names, id=names)
statuses = st.builds(
    RunStatus,
    run=refs,
    root=refs,
    state=st.sampled_from(RunState),
    parent=st.none() | refs,
    attempt_id=words,
    worker_id=words,
    pid=st.integers(0, 2**22),
    nodes=st.lists(nodes, max_size=3).map(tuple),
    created_at_ms=st.integers(0, 2**53),
    queued_at=times,
    started_at=times,
    finished_at=times,
    log=words,
    error=words,
    params=texts,
    handlers=st.dictionaries(st.sampled_from(Handler), nodes, max_size=2),
    preconditions=conditions,
)


class LinesTests(TestCase):
    """Encoding and decoding."""

    def test_real_record(self) -> None:
        """A real record is read, and written again key for key, in order, on one line."""
        line = json.dumps(REAL, separators=(",", ":")).encode() + b"\n"
        self.assertEqual(encode_status(decode_status(line)), line)

    def test_handlers_and_conditions(self) -> None:
        """Handlers' nodes, repetitions and conditions of a real record survive being read and written, in Dagu's order."""
        line = json.dumps(HANDLED, separators=(",", ":")).encode() + b"\n"
        status = decode_status(line)
        self.assertEqual(encode_status(status), line)
        self.assertEqual([node.step.name for node in status.handlers_begun], ["onCancel"])

    def test_decisions(self) -> None:
        """Decisions of a person in real records survive being read and written, in Dagu's order of keys."""
        for keys in (
            '"outputVariables":{"WHO":"WHO=me"},"approvedAt":"2026-11-24T02:16:56Z","approvalInputs":{"who":"me"}',
            '"rejectedAt":"2026-11-24T02:16:56Z","rejectionReason":"no way"',
        ):
            node = (
                f'{{"step":{{"name":"gate"}},"stdout":"","stderr":"","startedAt":"","finishedAt":"","status":8,{keys}}}'
            )
            line = f'{{"root":{{"name":"h","id":"r"}},"name":"h","dagRunId":"r","attemptId":"a","status":8,"nodes":[{node}]}}\n'
            self.assertEqual(encode_status(decode_status(line.encode())), line.encode())

    @given(statuses)
    def test_round_trip(self, status: RunStatus) -> None:
        """Every state comes back as it was written, from one line."""
        line = encode_status(status)
        self.assertEqual(line.count(b"\n"), 1)
        self.assertEqual(decode_status(line), status)

    @given(st.lists(statuses, min_size=2, max_size=2))
    def test_encoder_remembers_rightly(self, written: list[RunStatus]) -> None:
        """Lines written one after the other by one encoder are those that fresh encoders write."""
        encoder = StatusEncoder()
        for status in [*written, *written]:
            self.assertEqual(encoder.encode(status), encode_status(status))

    def test_unchanged_nodes_are_not_encoded_again(self) -> None:
        """Of a thousand nodes, only the changed one is encoded for the next line."""
        encoder = StatusEncoder()
        status = RunStatus(
            RunRef("d", "r"),
            RunRef("d", "r"),
            RunState.RUNNING,
            nodes=tuple(NodeStatus(Step(f"s{number}")) for number in range(1000)),
        )
        encoder.encode(status)
        encoded: list[str] = []
        encode_node = encoder._node

        def counting(node: NodeStatus, missing: str) -> bytes:
            encoded.append(node.step.name)
            return encode_node(node, missing)

        encoder._node = counting  # type: ignore[method-assign]
        changed = list(status.nodes)
        changed[7] = replace(changed[7], state=NodeState.RUNNING)
        encoder.encode(replace(status, nodes=tuple(changed)))
        self.assertEqual(encoded, ["s7"])

    def test_queued(self) -> None:
        """In a queued record, nodes have ``-`` for times; in others an empty text; the run has no key for a missing one."""
        status = RunStatus(RunRef("d", "r"), RunRef("d", "r"), RunState.QUEUED, nodes=(NodeStatus(Step("s")),))
        queued = json.loads(encode_status(status))
        self.assertEqual((queued["nodes"][0]["startedAt"], queued["nodes"][0]["finishedAt"]), ("-", "-"))
        self.assertNotIn("startedAt", queued)
        started = json.loads(encode_status(replace(status, state=RunState.RUNNING)))
        self.assertEqual(started["nodes"][0]["startedAt"], "")

    def test_hidden_and_nameless_outputs(self) -> None:
        """Values without their name, and Dagu's notes to itself, are no outputs."""
        status = decode_status(
            b'{"name":"d","dagRunId":"r","status":4,"nodes":[{"outputVariables":'
            b'{"A":"A=1=2","B":"2","C":3,"DAGU_CONTINUE_ON.s":"DAGU_CONTINUE_ON.s=true"}}]}'
        )
        self.assertEqual(status.outputs, {"A": "1=2"})

    def test_unknown_states(self) -> None:
        """Numbers of a later version are an error of their own: an older line must not be taken instead."""
        for line in (b'{"name":"d","dagRunId":"r","status":99}', b'{"status":4,"nodes":[{"status":17}]}'):
            with self.assertRaisesRegex(UnknownStateError, "99|17"):
                decode_status(line)

    def test_text_that_is_not_unicode(self) -> None:
        """A file name of odd bytes in a record does not stop the record."""
        status = RunStatus(RunRef("d", "r"), RunRef("d", "r"), nodes=(NodeStatus(Step("s"), stdout="/l/\udcff"),))
        self.assertEqual(decode_status(encode_status(status)).nodes[0].stdout, "/l/?")

    def test_times(self) -> None:
        """All forms that records have had are read; whole seconds with an offset are written."""
        tokyo = timezone(timedelta(hours=9))
        at = datetime(2026, 11, 24, 2, 54, 1, tzinfo=tokyo)
        for text in ("2026-11-24T02:54:01+09:00", "2026-11-23T17:54:01Z", "2026-11-24 02:54:01"):
            self.assertEqual(parse_time(text, tokyo), at)
        self.assertEqual(parse_time("2026-11-24T02:54:01.5+09:00"), at.replace(microsecond=500_000))
        for missing in ("-", "", "yesterday", None):
            self.assertIsNone(parse_time(missing))
        self.assertEqual(format_time(at), "2026-11-24T02:54:01+09:00")
        self.assertEqual(format_time(at.astimezone(UTC)), "2026-11-23T17:54:01Z")
        uneven = at.astimezone(timezone(timedelta(hours=9, seconds=30)))
        self.assertEqual(format_time(uneven), "2026-11-23T17:54:01Z")

    def test_told_as_failed(self) -> None:
        """What a dead process was doing has failed with the run; what was over stays as it was."""
        run = RunRef("d", "r")
        done, doing = NodeStatus(Step("a"), NodeState.SUCCEEDED), NodeStatus(Step("b"), NodeState.RUNNING)
        handlers = {Handler.EXIT: NodeStatus(Step("onExit"), NodeState.RUNNING)}
        status = told_as_failed(RunStatus(run, run, RunState.RUNNING, nodes=(done, doing), handlers=handlers), "gone")
        self.assertEqual(status.handlers[Handler.EXIT].error, "gone")
        self.assertEqual((status.state, status.error), (RunState.FAILED, "gone"))
        self.assertIs(status.nodes[0], done)
        self.assertEqual((status.nodes[1].state, status.nodes[1].error), (NodeState.FAILED, "gone"))
