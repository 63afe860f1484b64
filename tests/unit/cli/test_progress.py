"""Progress lines for pipes and log files."""

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from rich.console import Console
from twisted.trial.unittest import SynchronousTestCase

from txdagu.cli.following import Family
from txdagu.cli.progress import ChangeLines, LiveTable, rows
from txdagu.model.dag import ChildCall, Handler, Parallel, Step
from txdagu.model.labels import WorkerSelector
from txdagu.model.run import ChildRun, NodeStatus, RunRef, RunStatus
from txdagu.model.status import NodeState, RunState

ROOT = RunRef("main", "r")
CALL = NodeStatus(Step("call", child=ChildCall("kid")), NodeState.RUNNING, children=(ChildRun("k"),))
TOP = RunStatus(ROOT, ROOT, RunState.RUNNING, worker_id="local", nodes=(CALL,))
WORK = NodeStatus(Step("work"), NodeState.RUNNING)
KID = RunStatus(RunRef("kid", "k"), ROOT, RunState.RUNNING, worker_id="gpu-1", nodes=(WORK,))


def top(state: NodeState, error: str = "") -> RunStatus:
    return replace(TOP, nodes=(replace(CALL, state=state, error=error),))


def kid(state: NodeState, run: RunState) -> dict[str, RunStatus]:
    return {"k": replace(KID, state=run, nodes=(replace(WORK, state=state),))}


class ChangeLinesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.lines: list[str] = []
        self.view = ChangeLines(lambda text: self.lines.append(text.rstrip("\n")))

    def test_each_change_once_with_its_place(self) -> None:
        """A step is told when it starts and when it ends, children with the step that called them and their worker."""
        self.view.show(Family(TOP))
        self.view.show(Family(TOP, {"k": KID}))
        self.view.show(Family(TOP, {"k": KID}))
        self.view.show(Family(top(NodeState.SUCCEEDED), kid(NodeState.SUCCEEDED, RunState.SUCCEEDED)))
        self.assertEqual(
            self.lines,
            ["▶ call calls kid", "call > ▶ work started, worker gpu-1", "call > ✔ work succeeded", "✔ call succeeded"],
        )

    def test_kept(self) -> None:
        """A step that a retry keeps is not told as if it had run; one that runs again is."""
        began = datetime(2026, 1, 1, tzinfo=UTC)
        old = NodeStatus(Step("old"), NodeState.SUCCEEDED, started_at=began - timedelta(hours=1))
        new = NodeStatus(Step("new"), NodeState.SUCCEEDED, started_at=began)
        self.view.show(Family(replace(TOP, nodes=(old, new), started_at=began)))
        self.assertEqual(self.lines, ["▶ new started, here", "✔ new succeeded"])

    def test_parallel(self) -> None:
        """Lines about the runs of a parallel step say which of them, however long its params are."""
        step = Step("p", child=ChildCall("kid"), parallel=Parallel(items=("a", "b")))
        runs = (ChildRun("k", "a"), ChildRun("l", '{"long":  "' + "x" * 50 + '"}'))
        node = NodeStatus(step, NodeState.RUNNING, children=runs)
        below = {run: replace(KID, run=RunRef("kid", run)) for run in "kl"}
        self.view.show(Family(replace(TOP, nodes=(node,)), below))
        self.assertEqual(
            self.lines[1:],
            [
                "p [a] > ▶ work started, worker gpu-1",
                'p [{"long": "' + "x" * 29 + "…] > ▶ work started, worker gpu-1",
            ],
        )

    def test_run_given_up(self) -> None:
        """A run whose last state has no nodes, as that of a lost one, is shown like any other."""
        self.view.show(Family(top(NodeState.RUNNING)))
        self.view.show(Family(replace(TOP, nodes=(), state=RunState.FAILED)))
        self.view.show(Family(replace(TOP, nodes=(), state=RunState.FAILED)))
        self.assertEqual(self.lines, ["▶ call calls kid"])

    def test_single_step_on_a_worker(self) -> None:
        """Why it waits is told once for each reason; it has started when a worker has it, and is one line with its place."""
        far = NodeStatus(
            Step("far", worker_selector=WorkerSelector({"gpu": "true"})), NodeState.RUNNING, children=(ChildRun("k"),)
        )
        waits = "waiting for a worker with gpu=true: no worker is connected"
        below = {"k": replace(KID, nodes=(replace(WORK, step=Step("far")),))}
        for node, children in (
            (far, {}),
            (replace(far, waits=waits), {}),
            (replace(far, waits=waits), {}),
            (far, below),
            (replace(far, state=NodeState.SUCCEEDED), {"k": replace(below["k"], state=RunState.SUCCEEDED)}),
        ):
            self.view.show(Family(replace(TOP, nodes=(node,)), children))
        self.assertEqual(self.lines, [f"… far: {waits}", "▶ far started, worker gpu-1", "✔ far succeeded"])
        for node, where in ((replace(far, waits=waits), "waits"), (far, "worker gpu-1")):
            family = Family(replace(TOP, nodes=(node,)), below)
            self.assertEqual([place for _, _, place in rows(family)], [where])

    def test_handlers(self) -> None:
        """A handler is told when it has its turn, like a step."""
        waiting, running = (NodeStatus(Step("onExit"), state) for state in (NodeState.NOT_STARTED, NodeState.RUNNING))
        for handler in (waiting, running):
            self.view.show(Family(replace(TOP, nodes=(), handlers={Handler.EXIT: handler})))
        self.assertEqual(self.lines, ["▶ onExit started, here"])

    def test_taken_up_again(self) -> None:
        """A child that ended and is taken up again is told again, though what has ended is passed over else."""
        failed = top(NodeState.FAILED, "why")
        for family in (Family(failed, kid(NodeState.FAILED, RunState.FAILED)), Family(TOP, {"k": KID})):
            self.view.show(family)
            self.view.show(family)
        self.view.show(Family(top(NodeState.SUCCEEDED), kid(NodeState.SUCCEEDED, RunState.SUCCEEDED)))
        told = [line.split(" work ")[1] for line in self.lines if " work " in line]
        self.assertEqual(told, ["failed", "started, worker gpu-1", "succeeded"])
        self.assertEqual(self.lines[-1], "✔ call succeeded")

    def test_a_caller_s_success_waits_for_the_child_s(self) -> None:
        """The parent may know of a child's end before its files were read; the lines keep the order of things."""
        self.view.show(Family(top(NodeState.SUCCEEDED), {"k": KID}))
        self.assertEqual(self.lines, ["call > ▶ work started, worker gpu-1"])
        self.view.show(Family(top(NodeState.SUCCEEDED), kid(NodeState.SUCCEEDED, RunState.SUCCEEDED)))
        self.assertEqual(self.lines[1:], ["call > ✔ work succeeded", "✔ call succeeded"])

    def test_what_follows_waits_too(self) -> None:
        """The next step may begin before the files of the child that ended were read; it is told after that end."""
        following = NodeStatus(Step("next", depends=("call",)), NodeState.RUNNING)
        both = replace(TOP, nodes=(replace(CALL, state=NodeState.SUCCEEDED), following))
        self.view.show(Family(both, {"k": KID}))
        self.assertEqual(self.lines, ["call > ▶ work started, worker gpu-1"])
        self.view.show(Family(both, kid(NodeState.SUCCEEDED, RunState.SUCCEEDED)))
        self.assertEqual(self.lines[1:], ["call > ✔ work succeeded", "✔ call succeeded", "▶ next started, here"])

    def test_what_is_over_when_first_seen_had_a_start_too(self) -> None:
        """States are read now and then: a step that began and ended in between is told like any other."""
        moment = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
        work = replace(WORK, state=NodeState.SUCCEEDED, started_at=moment, finished_at=moment)
        call = replace(CALL, state=NodeState.SUCCEEDED, started_at=moment, finished_at=moment)
        skipped = NodeStatus(Step("later"), NodeState.SKIPPED, finished_at=moment)
        ended = replace(KID, state=RunState.SUCCEEDED, nodes=(work, skipped))
        self.view.show(Family(replace(TOP, nodes=(call,)), {"k": ended}))
        self.assertEqual(
            self.lines,
            [
                "▶ call calls kid",
                "call > ▶ work started, worker gpu-1",
                "call > ✔ work succeeded after 0s",
                "call > - later skipped",
                "✔ call succeeded after 0s",
            ],
        )

    def test_a_failure_waits_for_nobody(self) -> None:
        """A child lost with its worker seems to run for ever; its caller's failure is told with the reason."""
        self.view.show(Family(top(NodeState.FAILED, "worker gpu-1 was silent"), {"k": KID}))
        self.assertEqual(self.lines[-1], "✘ call failed: worker gpu-1 was silent")


class LiveTableTests(SynchronousTestCase):
    def test_a_child_never_seems_older_than_its_caller(self) -> None:
        """Times read from files are whole seconds, those of a run of our own are not; the table treats both alike."""

        def at(seconds: int, microseconds: int = 0) -> datetime:
            return datetime(2026, 11, 23, 12, 0, seconds, microseconds, UTC)

        caller = replace(CALL, started_at=at(1, 900_000))
        called = replace(KID, nodes=(replace(WORK, started_at=at(1)),))
        screen = io.StringIO()
        with LiveTable(Console(file=screen, force_terminal=True, width=80), lambda: at(4, 700_000)) as view:
            view.show(Family(replace(TOP, nodes=(caller,)), {"k": called}))
        self.assertEqual(screen.getvalue().count("3.0s"), 2, screen.getvalue())
