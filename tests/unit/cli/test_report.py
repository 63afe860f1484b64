"""The report tree."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from txdagu.cli.report import duration, read_tail, report
from txdagu.model.dag import ChildCall, Command, Handler, Step
from txdagu.model.run import ChildRun, NodeStatus, RunRef, RunStatus
from txdagu.model.status import NodeState, RunState

START = datetime(2026, 11, 23, 18, 1, 18, tzinfo=UTC)

EXPECTED = """\
Failed - 2026-11-23T18:01:18Z

dag: flaky (4.0s)
│
├─ok (0s) [succeeded]
│ ├─echo fine
│ │
│ └─stdout: fine
│
├─boom (2.0s) [failed]
│ ├─echo a
│ ├─exit 3
│ │
│ ├─stdout:
│ │   one
│ │     two
│ ├─stderr: bad thing
│ └─error: failed to execute step "boom": exit status 3
│
├─kid (0s) [succeeded]
│ └─subdag: 4EJ [X="1"] on worker-gpu
│
└─never [aborted]
  └─error: upstream failed

Result: Failed
"""


def node(name: str, state: NodeState, seconds: int | None = 0, **more: object) -> NodeStatus:
    """A node of that state that took so many seconds."""
    commands = tuple(Command(text) for text in more.pop("commands", ()))  # type: ignore[attr-defined]
    child = more.pop("child", None)
    times = (None, None) if seconds is None else (START, START + timedelta(seconds=seconds))
    return NodeStatus(
        Step(name, commands=commands, child=child),  # type: ignore[arg-type]
        state,
        started_at=times[0],
        finished_at=times[1],
        **more,  # type: ignore[arg-type]
    )


class ReportTests(SynchronousTestCase):
    def test_a_failed_run_as_a_tree(self) -> None:
        """Every step shows its state, commands, output, children with their worker, and error."""
        logs = {"out1": ["fine"], "out2": ["one", "  two"], "err2": ["bad thing"]}
        status = RunStatus(
            run=RunRef("flaky", "r1"),
            root=RunRef("flaky", "r1"),
            state=RunState.FAILED,
            started_at=START,
            finished_at=START + timedelta(seconds=4),
            nodes=(
                node("ok", NodeState.SUCCEEDED, commands=["echo fine"], stdout="out1"),
                node(
                    "boom",
                    NodeState.FAILED,
                    2,
                    commands=["echo a", "exit 3"],
                    stdout="out2",
                    stderr="err2",
                    error='failed to execute step "boom": exit status 3\n',
                ),
                node("kid", NodeState.SUCCEEDED, child=ChildCall("kid"), children=(ChildRun("4EJ", 'X="1"'),)),
                node("never", NodeState.ABORTED, None, error="upstream failed"),
            ),
        )
        self.assertEqual(report(status, {"4EJ": "worker-gpu"}, lambda path: logs.get(path, [])), EXPECTED)

    def test_a_step_on_a_worker(self) -> None:
        """One that waits for a worker says why, one that has run says where; neither is shown as a called DAG."""
        ref = RunRef("r", "r")
        far = node("far", NodeState.SUCCEEDED, children=(ChildRun("4EJ"),))
        waits = replace(node("next", NodeState.RUNNING), waits="waiting for a worker")
        status = RunStatus(run=ref, root=ref, state=RunState.RUNNING, started_at=START, nodes=(far, waits))
        shown = report(status, {"4EJ": "gpu-1"}, lambda path: [])
        self.assertIn("└─ran on gpu-1", shown)
        self.assertIn("└─waits: waiting for a worker", shown)
        self.assertNotIn("subdag", shown)

    def test_a_queued_run_shows_no_states(self) -> None:
        """Nothing has happened yet, so the tree is bare and the time is that of queueing."""
        ref = RunRef("q", "r")
        text = report(
            RunStatus(run=ref, root=ref, state=RunState.QUEUED, queued_at=START, nodes=(NodeStatus(Step("a")),))
        )
        self.assertEqual(text, "Queued - 2026-11-23T18:01:18Z\n\ndag: q\n│\n└─a\n\nResult: Queued\n")

    def test_a_run_under_way(self) -> None:
        """What has no result yet is told as a status; a step that printed nothing ends with its command."""
        ref = RunRef("r", "r")
        status = RunStatus(
            run=ref,
            root=ref,
            state=RunState.RUNNING,
            started_at=START,
            nodes=(node("quiet", NodeState.SUCCEEDED, commands=["a", "b"]),),
        )
        tail = "└─quiet (0s) [succeeded]\n  ├─a\n  └─b\n\nStatus: Running\n"
        self.assertEqual(report(status, {}, lambda path: [])[-len(tail) :], tail)


class DurationTests(SynchronousTestCase):
    def test_forms(self) -> None:
        """Short ones read as seconds, long ones as minutes and hours."""
        for seconds, text in ((0, "0s"), (0.4, "0s"), (1, "1.0s"), (59.5, "59.5s"), (125, "2m5s"), (3725, "1h2m5s")):
            self.assertEqual(duration(START, START + timedelta(seconds=seconds)), text)
        self.assertEqual(duration(START, None), "")


class ReadTailTests(SynchronousTestCase):
    def test_a_long_log_is_cut_and_says_so(self) -> None:
        """The report stays readable when a step prints much, and no half line is shown."""
        path = self.mktemp()
        with Path(path).open("w") as log:
            log.writelines(f"line {number:05}\n" for number in range(2000))
        first, second, *_, last = read_tail(path)
        self.assertIn(path, first)
        self.assertRegex(second, r"^line \d{5}$")
        self.assertEqual(last, "line 01999")

    def test_a_log_that_is_no_text(self) -> None:
        """Bytes that are no text are not shown on a terminal: only how many, and where."""
        path = self.mktemp()
        Path(path).write_bytes(b"\x00\x01" * 10_000)
        self.assertEqual(read_tail(path), [f"(binary data, 20000 bytes in {path})"])

    def test_nothing_for_a_terminal_to_act_on(self) -> None:
        """Control characters in names, output and errors are shown, not sent; tabs stay."""
        odd = node("a\x1b[2Jb", NodeState.FAILED, error="bad\x07\x9b", stdout="log", commands=("echo \x1b]0;t",))
        status = RunStatus(RunRef("d", "r"), RunRef("d", "r"), nodes=(odd,))
        text = report(status, read=lambda _: ["\ttab \x1b[31mred\x1b[0m \x7f"])
        for shown in ("a␛[2Jb (0s) [failed]", "echo ␛]0;t", "stdout: \ttab ␛[31mred␛[0m ␡", "error: bad␇\ufffd"):
            self.assertIn(shown, text)

    def test_a_log_that_is_gone_has_no_lines(self) -> None:
        """Old runs may have lost their logs; their report still works."""
        self.assertEqual(read_tail(self.mktemp()), [])

    def test_handlers(self) -> None:
        """Handlers that had their turn stand below the steps."""
        run = RunRef("d", "r")
        status = RunStatus(
            run,
            run,
            RunState.SUCCEEDED,
            nodes=(node("a", NodeState.SUCCEEDED, commands=("x",)),),
            handlers={
                Handler.EXIT: node("onExit", NodeState.FAILED, error="exit status 3"),
                Handler.FAILURE: node("onFailure", NodeState.NOT_STARTED, None),
            },
        )
        lines = report(status).splitlines()
        self.assertIn("└─onExit (0s) [failed]", lines)
        self.assertIn("├─a (0s) [succeeded]", lines)
        self.assertFalse(any("onFailure" in line for line in lines))
