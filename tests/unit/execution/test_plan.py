"""The run core: order, settling, limits, stopping, retries."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from txdagu.execution.plan import Effect, FinishRun, RunCore, StartStep, StepEnd, StepSettled, StopStep, WakeAt
from txdagu.model.dag import Dag, Step
from txdagu.model.errors import InvalidInputError
from txdagu.model.run import NodeStatus
from txdagu.model.status import NodeState, RunState

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GOOD = StepEnd(NodeState.SUCCEEDED)
BAD = StepEnd(NodeState.FAILED, "exit status 1")


def steps(**depends: str) -> tuple[Step, ...]:
    return tuple(Step(name, depends=tuple(text.split())) for name, text in depends.items())


def orders(effects: list[Effect]) -> list[Effect]:
    """Without what only tells of the past and of times."""
    return [effect for effect in effects if not isinstance(effect, StepSettled | WakeAt)]


def started(effects: list[Effect]) -> list[str]:
    return [effect.step.name for effect in effects if isinstance(effect, StartStep)]


def states(core: RunCore) -> list[tuple[str, NodeState, str]]:
    return [(node.step.name, node.state, node.error) for node in core.nodes]


class OrderTests(SynchronousTestCase):
    def test_list_order(self) -> None:
        """Steps that are free at once start in the order of the list."""
        core = RunCore(Dag("d", steps(c="", a="", b="")))
        self.assertEqual(started(core.start(NOW)), ["c", "a", "b"])
        self.assertIs(core.state, RunState.RUNNING)

    def test_diamond(self) -> None:
        """A step starts when its last dependency has succeeded, and the run finishes with the last step."""
        core = RunCore(Dag("d", steps(a="", b="a", c="a", d="b c")))
        self.assertEqual(started(core.start(NOW)), ["a"])
        self.assertEqual(started(core.step_ended(0, GOOD, NOW)), ["b", "c"])
        self.assertEqual(orders(core.step_ended(2, GOOD, NOW)), [])
        self.assertEqual(started(core.step_ended(1, GOOD, NOW)), ["d"])
        self.assertEqual(orders(core.step_ended(3, GOOD, NOW)), [FinishRun(RunState.SUCCEEDED)])

    def test_max_active_steps(self) -> None:
        """Never more than that many run at once; the next in the list follows."""
        core = RunCore(Dag("d", steps(a="", b="", c="", d=""), max_active_steps=2))
        self.assertEqual(started(core.start(NOW)), ["a", "b"])
        self.assertEqual(started(core.step_ended(1, GOOD, NOW)), ["c"])
        self.assertEqual(started(core.step_ended(0, BAD, NOW)), ["d"])

    def test_no_steps(self) -> None:
        """A run without steps has succeeded when it starts."""
        self.assertEqual(orders(RunCore(Dag("d")).start(NOW)), [FinishRun(RunState.SUCCEEDED)])

    def test_repeated_dependency(self) -> None:
        """Naming a dependency twice changes nothing."""
        core = RunCore(Dag("d", steps(a="", b="a a")))
        core.start(NOW)
        self.assertEqual(started(core.step_ended(0, GOOD, NOW)), ["b"])

    def test_circle(self) -> None:
        """Steps that wait for each other are refused by name."""
        error = self.assertRaises(InvalidInputError, RunCore, Dag("d", steps(a="", b="a c", c="b")))
        self.assertIn("b, c", str(error))

    def test_unknown_and_twice(self) -> None:
        """All problems with names are told at once."""
        error = self.assertRaises(InvalidInputError, RunCore, Dag("d", (*steps(a="x"), *steps(a=""))))
        self.assertEqual(len(error.problems), 2)


class SettleTests(SynchronousTestCase):
    def test_failure_spreads(self) -> None:
        """Below a failed step everything is aborted; only its direct dependants say why. The rest goes on."""
        core = RunCore(Dag("d", steps(a="", b="a", c="b", d="")))
        core.start(NOW)
        self.assertEqual(orders(core.step_ended(0, BAD, NOW)), [])
        self.assertEqual(
            states(core)[1:],
            [("b", NodeState.ABORTED, "upstream failed"), ("c", NodeState.ABORTED, ""), ("d", NodeState.RUNNING, "")],
        )
        self.assertEqual(orders(core.step_ended(3, GOOD, NOW)), [FinishRun(RunState.FAILED)])

    def test_settled_before_others_end(self) -> None:
        """A dependant is settled by the first failed dependency and stays so when the others succeed."""
        core = RunCore(Dag("d", steps(a="", b="", c="a b")))
        core.start(NOW)
        core.step_ended(0, BAD, NOW)
        self.assertEqual(orders(core.step_ended(1, GOOD, NOW)), [FinishRun(RunState.FAILED)])
        self.assertIs(core.nodes[2].state, NodeState.ABORTED)

    def test_verdicts(self) -> None:
        """What the end of a step means for its dependant and for the run."""
        for end, node, error, run in (
            (NodeState.SKIPPED, NodeState.SKIPPED, "upstream skipped", RunState.SUCCEEDED),
            (NodeState.REJECTED, NodeState.ABORTED, "upstream rejected", RunState.REJECTED),
            (NodeState.ABORTED, NodeState.ABORTED, "", RunState.FAILED),
            (NodeState.FAILED, NodeState.ABORTED, "upstream failed", RunState.FAILED),
        ):
            core = RunCore(Dag("d", steps(a="", b="a")))
            core.start(NOW)
            self.assertEqual(orders(core.step_ended(0, StepEnd(end), NOW)), [FinishRun(run)])
            self.assertEqual(states(core)[1], ("b", node, error))

    def test_partial(self) -> None:
        """After a partially succeeded step the others run, and the run is partially succeeded too."""
        core = RunCore(Dag("d", steps(a="", b="a")))
        core.start(NOW)
        self.assertEqual(started(core.step_ended(0, StepEnd(NodeState.PARTIALLY_SUCCEEDED), NOW)), ["b"])
        self.assertEqual(orders(core.step_ended(1, GOOD, NOW)), [FinishRun(RunState.PARTIALLY_SUCCEEDED)])


class StopTests(SynchronousTestCase):
    def test_cancel(self) -> None:
        """Running steps are asked to end and count as aborted; what had not started stays so; later ends start nothing."""
        core = RunCore(Dag("d", steps(a="", b="", c="a")))
        core.start(NOW)
        self.assertEqual(orders(core.cancel(NOW)), [StopStep(0), StopStep(1)])
        self.assertEqual(orders(core.cancel(NOW)), [])
        self.assertEqual(orders(core.step_ended(0, GOOD, NOW)), [])
        self.assertEqual(orders(core.escalate(NOW)), [StopStep(1, force=True)])
        self.assertEqual(orders(core.step_ended(1, BAD, NOW)), [FinishRun(RunState.ABORTED)])
        self.assertEqual(
            [node.state for node in core.nodes], [NodeState.ABORTED, NodeState.ABORTED, NodeState.NOT_STARTED]
        )

    def test_cancel_before_start(self) -> None:
        """Stopped before it began, the run is over at once."""
        self.assertEqual(orders(RunCore(Dag("d", steps(a=""))).cancel(NOW)), [FinishRun(RunState.ABORTED)])

    def test_cancel_after_end(self) -> None:
        """A stop that comes too late changes nothing."""
        core = RunCore(Dag("d", steps(a="")))
        core.start(NOW)
        core.step_ended(0, GOOD, NOW)
        self.assertEqual(orders(core.cancel(NOW)), [])
        self.assertIs(core.state, RunState.SUCCEEDED)


class RetryTests(SynchronousTestCase):
    def test_keeps_what_ended_well(self) -> None:
        """Succeeded steps keep their outputs and times, the rest runs."""
        [a, b, c] = steps(a="", b="a", c="b")
        previous = [
            NodeStatus(a, NodeState.SUCCEEDED, stdout="/log", outputs={"X": "1"}),
            NodeStatus(b, NodeState.RUNNING),
            NodeStatus(c, NodeState.ABORTED, error="upstream failed"),
        ]
        core = RunCore(Dag("d", (a, b, c)), previous=previous)
        self.assertEqual(started(core.start(NOW)), ["b"])
        self.assertEqual(core.nodes[0], previous[0])
        self.assertEqual(core.nodes[2].error, "")

    def test_downstream_of_a_repeated_step(self) -> None:
        """What hangs on a step that runs again runs again too."""
        [a, b] = steps(a="", b="a")
        core = RunCore(Dag("d", (a, b)), previous=[NodeStatus(a, NodeState.FAILED), NodeStatus(b, NodeState.SUCCEEDED)])
        self.assertEqual(started(core.start(NOW)), ["a"])
        self.assertEqual(started(core.step_ended(0, GOOD, NOW)), ["b"])

    def test_all_kept(self) -> None:
        """With nothing left to do the run ends at once."""
        [a, b] = steps(a="", b="a")
        core = RunCore(
            Dag("d", (a, b)), previous=[NodeStatus(a, NodeState.SUCCEEDED), NodeStatus(b, NodeState.SUCCEEDED)]
        )
        self.assertEqual(orders(core.start(NOW)), [FinishRun(RunState.SUCCEEDED)])

    def test_kept_skip_spreads_once(self) -> None:
        """A skipped step that is kept settles new dependants, and theirs, without counting anybody twice."""
        old = [Step("a"), Step("d")]
        [a, b, c, d, e] = steps(a="", b="a", c="b", d="", e="d")
        core = RunCore(
            Dag("d", (a, b, c, d, e)),
            previous=[NodeStatus(old[0], NodeState.SKIPPED), NodeStatus(old[1], NodeState.SUCCEEDED)],
        )
        self.assertEqual(started(core.start(NOW)), ["e"])
        self.assertEqual([node.state for node in core.nodes[1:3]], [NodeState.SKIPPED, NodeState.SKIPPED])


@st.composite
def graphs(draw: st.DrawFn) -> list[Step]:
    """Steps in any order of the list, each depending on some of those before it in a hidden order."""
    count = draw(st.integers(1, 12))
    order = draw(st.permutations(range(count)))
    depends: dict[int, tuple[str, ...]] = {}
    for position, index in enumerate(order):
        chosen = draw(st.sets(st.sampled_from(order[:position]), max_size=4)) if position else set()
        depends[index] = tuple(f"s{other}" for other in sorted(chosen))
    return [Step(f"s{index}", depends=depends[index]) for index in range(count)]


class PropertyTests(SynchronousTestCase):
    @given(graphs(), st.integers(0, 3), st.data())
    def test_any_graph_ends(self, graph: list[Step], limit: int, data: st.DataObject) -> None:
        """
        Whatever ends in whatever order: no step starts before its dependencies succeeded, or twice, or beyond the limit; ready
        steps start in list order; the run finishes exactly once, with every step settled.
        """
        core = RunCore(Dag("d", tuple(graph), max_active_steps=limit))
        running: list[int] = []
        good: set[str] = set()
        begun: set[str] = set()
        finished = 0
        effects = core.start(NOW)
        while True:
            batch = [effect.target for effect in effects if isinstance(effect, StartStep)]
            self.assertEqual(batch, sorted(batch))
            for index in batch:
                step = graph[index]
                self.assertNotIn(step.name, begun)
                self.assertLessEqual(set(step.depends), good)
                begun.add(step.name)
                running.append(index)
            self.assertTrue(limit == 0 or len(running) <= limit)
            finished += sum(isinstance(effect, FinishRun) for effect in effects)
            if not running:
                break
            index = running.pop(data.draw(st.integers(0, len(running) - 1)))
            end = data.draw(st.sampled_from((GOOD, GOOD, BAD, StepEnd(NodeState.SKIPPED))))
            if end is GOOD:
                good.add(graph[index].name)
            effects = core.step_ended(index, end, NOW)
        self.assertEqual(finished, 1)
        self.assertTrue(all(node.state.settled for node in core.nodes))
        self.assertEqual(core.state is RunState.FAILED, any(node.state is NodeState.FAILED for node in core.nodes))

    def test_a_thousand_steps(self) -> None:
        """A long chain with a wide fan settles in linear work: each step starts once, whatever the shape."""
        chain = [Step(f"c{n}", depends=(f"c{n - 1}",) if n else ()) for n in range(1000)]
        fan = [Step(f"f{n}", depends=("c999",)) for n in range(1000)]
        core = RunCore(Dag("d", (*chain, *fan)))
        effects, seen = core.start(NOW), 0
        while not core.finished:
            ready = [effect.target for effect in effects if isinstance(effect, StartStep)]
            seen += len(ready)
            effects = [effect for index in ready for effect in core.step_ended(index, GOOD, NOW)]
        self.assertEqual(seen, 2000)
