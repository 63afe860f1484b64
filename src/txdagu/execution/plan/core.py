"""
The run core: which step starts when, what ends it before its time, and what becomes of the run.

It is told what happened, with the time, and answers with what to do next, in order. Dependencies are counted down, never
searched again: the whole run costs O(steps + edges), plus a heap that keeps ready steps in the order of the list.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from enum import IntEnum, auto
from heapq import heappop, heappush

from txdagu.execution.plan.alarms import Alarm, Alarms
from txdagu.execution.plan.course import Courses, recorded
from txdagu.execution.plan.effects import CheckConditions, Effect, FinishRun, StepEnd, StopStep, Target, Verdict, WakeAt
from txdagu.execution.plan.graph import StepGraph, check_step
from txdagu.execution.plan.nodes import Nodes
from txdagu.execution.plan.settling import VERDICTS, closing_handlers, lets_go_on, run_state
from txdagu.model.conditions import Condition
from txdagu.model.dag import Dag, Handler, Step
from txdagu.model.run import ChildRun, NodeStatus
from txdagu.model.status import NodeState, RunState

_GONE_WRONG = (NodeState.FAILED, NodeState.ABORTED)


class Stage(IntEnum):
    """How far a run is."""

    NEW = auto()
    CONDITIONS = auto()
    INIT = auto()
    STEPS = auto()
    CLOSING = auto()
    DONE = auto()


class RunCore:
    """
    State of one run of that DAG. `order` are the indexes of all steps, each after its dependencies.

    Raises `InvalidInputError` for unknown dependencies, names given twice, and circles.

    `previous` are the nodes of the attempt that a retry continues: those that ended well (succeeded, skipped, partially
    succeeded) are kept, unless one of their dependencies has to run again; all others start anew. With `only`, all
    that had ended are kept except the step of that name, which starts anew if its dependencies let it; where none has that
    name, that is an `InvalidInputError`. Where the run `resumes` after a rest, all nodes that had settled are kept, however
    they ended.
    """

    def __init__(self, dag: Dag, previous: Iterable[NodeStatus] = (), only: str = "", *, resumes: bool = False) -> None:
        graph = StepGraph(dag.steps)
        self.order = graph.order
        self.cancelled = False
        self.timed_out = False
        self._dag = dag
        self._dependencies = graph.dependencies
        self._dependants = graph.dependants
        self._open = [len(dependencies) for dependencies in graph.dependencies]
        self._stage = Stage.NEW
        self._nodes = Nodes(dag.steps, dag.handlers)
        if only:
            check_step(dag, only)
            self._nodes.keep_all_but(only, previous, graph.dependencies)
        elif resumes:
            self._nodes.resume(previous)
        else:
            self._nodes.keep(previous, graph.order, graph.dependencies)
        self._alarms = Alarms()
        self._effects: list[Effect] = []
        self._courses = Courses(self._nodes, self._alarms, self._effects.append, self._settled, lambda: self.state)
        self._preconditions = dag.preconditions
        self._ready: list[int] = []
        self._closing: deque[Handler] = deque()
        self._launch_pause: Alarm | None = None
        self._time_limit: Alarm | None = None
        self._announced: datetime | None = None
        self._reason = ""
        self._refused = False  # it never came to its steps
        self._killed = False
        self._interrupted: tuple[Target, ...] | None = None  # by handing back
        self._handler_failed = False
        self._handler_stopped = False

    @property
    def nodes(self) -> tuple[NodeStatus, ...]:
        """The nodes of all steps, in the order of the list."""
        return tuple(self._nodes.steps)

    @property
    def handlers(self) -> Mapping[Handler, NodeStatus]:
        """The nodes of the handlers."""
        return dict(self._nodes.handlers)

    @property
    def preconditions(self) -> tuple[Condition, ...]:
        """The conditions of the DAG, with their messages where they were not met."""
        return self._preconditions

    @property
    def running(self) -> frozenset[Target]:
        """Which steps and handlers have begun and not ended."""
        return frozenset(self._courses.active)

    @property
    def finished(self) -> bool:
        """Whether `FinishRun` was said."""
        return self._stage is Stage.DONE

    def node(self, target: Target) -> NodeStatus:
        """The node of one step or handler."""
        return self._nodes[target]

    def dependencies(self, index: int) -> tuple[int, ...]:
        """The steps on which a step depends directly, in the order it names them."""
        return self._dependencies[index]

    def exit_code(self, target: Target) -> int:
        """What the last execution of a step ended with; 0 if there was none."""
        return self._courses.exit_codes.get(target, 0)

    @property
    def state(self) -> RunState:
        """The state of the run now; the first rule that fits."""
        if self.timed_out:
            return RunState.FAILED if self._stage >= Stage.CLOSING else RunState.RUNNING
        stopped = (
            self._handler_stopped
            or self._interrupted is not None
            or (self.cancelled and self._nodes.well < len(self._nodes.steps))
        )
        if self._refused or stopped:
            return RunState.ABORTED
        if self._stage < Stage.CLOSING:
            return RunState.RUNNING
        return run_state(self._nodes.counts, len(self._nodes.excused), self._handler_failed)

    def start(self, now: datetime) -> list[Effect]:
        """Begin, with the conditions of the DAG."""
        if self._dag.timeout_seconds > 0:
            self._time_limit = self._alarms.at(now + timedelta(seconds=self._dag.timeout_seconds), self._over_time)
        if self._dag.preconditions:
            self._stage = Stage.CONDITIONS
            self._effects.append(CheckConditions(None, self._dag.preconditions))
        else:
            self._initialise(now)
        return self._answer(now)

    def step_started(self, target: Target, stdout: str, stderr: str) -> None:
        """Note where a step's output goes."""
        self._nodes[target] = replace(self._nodes[target], stdout=stdout, stderr=stderr)

    def step_calls(self, target: Target, children: Iterable[ChildRun]) -> None:
        """Note the runs that a step calls. A retry calls the same ones again."""
        node = self._nodes[target]
        self._nodes[target] = replace(node, children=tuple(dict.fromkeys((*node.children, *children))))

    def step_waits(self, target: Target, sentence: str) -> None:
        """Note why a step that has its turn does not begin; an empty sentence: it has begun."""
        self._nodes[target] = replace(self._nodes[target], waits=sentence)

    def conditions_checked(self, target: Target | None, verdicts: Sequence[Verdict], now: datetime) -> list[Effect]:
        """Conditions were evaluated, those of the DAG for None."""
        if target is not None:
            self._courses.conditions_checked(target, verdicts, now)
        elif self._courses.ending:
            self._refused = True
            self._close(now)
        elif all(verdict.met for verdict in verdicts):
            self._initialise(now)
        else:
            self._preconditions = recorded(self._preconditions, verdicts)
            self._refused = True
            message = next(verdict.message for verdict in verdicts if not verdict.met)
            self._reason = f"the preconditions do not hold: {message}"
            self._close(now)
        return self._answer(now)

    def retry_evaluated(self, target: int, limit: int, interval: int, now: datetime) -> list[Effect]:
        """The texts of a retry policy are these numbers."""
        self._courses.retry_evaluated(target, limit, interval, now)
        return self._answer(now)

    def step_ended(self, target: Target, end: StepEnd, now: datetime) -> list[Effect]:
        """
        The execution of a step or handler has ended, or what had to come before it went wrong.

        A step that was asked to end counts as aborted, also after a good end: nobody knows how far it came.
        """
        self._courses.step_ended(target, end, now)
        return self._answer(now)

    def log_searched(self, target: int, found: bool, now: datetime) -> list[Effect]:
        """The log of a failed step has a line that excuses it, or none."""
        self._courses.log_searched(target, found, now)
        return self._answer(now)

    def thawed(self, since: datetime, now: datetime) -> list[Effect]:
        """The run was frozen since then, and goes on: time limits and pauses did not run meanwhile."""
        self._alarms.postpone(now - since)
        return self._answer(now)

    def woken(self, now: datetime) -> list[Effect]:
        """The time of the last `WakeAt` has come."""
        self._announced = None  # said again if it was too early
        self._alarms.ring(now)
        return self._answer(now)

    def cancel(self, now: datetime, signal: str = "") -> list[Effect]:
        """
        Stop: nothing more starts but the handlers for this case, what runs is asked to end, the rest stays as it is.

        What still runs when the DAG's time to clean up is over is made to end. `signal` is one to pass on. Only the first call
        counts.
        """
        if self.cancelled or self.finished:
            return []
        self.cancelled = self._courses.ending = True
        self._ready.clear()
        self._end_time_limit()
        if self._stage is Stage.NEW:
            self._refused = True
            self._finish()
            return self._answer(now)
        if self._stage is Stage.CONDITIONS:
            self._effects.append(StopStep(None, signal))
        for target in self._active():
            self._courses.stop(target, now, signal)
        self._alarms.at(now + timedelta(seconds=max(self._dag.max_clean_up_seconds, 0)), self._clean_up_over)
        return self._answer(now)

    def hand_back(self, now: datetime) -> list[Effect]:
        """
        Stop, so that somebody else can go on: as with `cancel`, but no handler follows, and what was interrupted stands at the
        end as if it had not begun.
        """
        if self.cancelled or self.finished:
            return []
        self._interrupted = tuple(self._active())
        self._courses.handing_back = True
        self._closing.clear()
        return self.cancel(now)

    def escalate(self, now: datetime) -> list[Effect]:
        """Whatever runs is made to end now, and no handler follows."""
        if self.finished:
            return []
        self._killed = self.cancelled = self._courses.ending = True
        self._ready.clear()
        self._closing.clear()
        self._end_time_limit()
        if self._stage is Stage.CONDITIONS:
            self._effects.append(StopStep(None, force=True))
        for target in self._active():
            self._courses.stop(target, now, force=True)
        return self._answer(now)

    def _active(self) -> list[Target]:
        """Steps in the order of the list, then handlers: one at most, when no step runs."""
        return sorted(self._courses.active, key=lambda target: target if isinstance(target, int) else len(self.order))

    def _initialise(self, now: datetime) -> None:
        if Handler.INIT in self._dag.handlers:
            self._stage = Stage.INIT
            self._courses.begin(Handler.INIT, now)
        else:
            self._begin_steps(now)

    def _begin_steps(self, now: datetime) -> None:
        self._stage = Stage.STEPS
        for index, count in enumerate(self._open):
            if count == 0 and self._nodes[index].state is NodeState.NOT_STARTED:
                heappush(self._ready, index)
        for index in [index for index, node in enumerate(self._nodes.steps) if node.state.settled]:
            self._spread(index, now)

    def _settled(self, target: Target, now: datetime) -> None:
        if isinstance(target, Handler):
            self._handler_settled(target, now)
        elif not self._courses.ending and self._nodes[target].state.settled:
            self._spread(target, now)

    def _handler_settled(self, handler: Handler, now: datetime) -> None:
        state = self._nodes[handler].state
        if self._stage is Stage.CLOSING:
            self._handler_failed |= state is NodeState.FAILED
            self._handler_stopped |= state is NodeState.ABORTED
            self._next_handler(now)
        elif state in _GONE_WRONG or self._courses.ending:
            self._refused = True
            self._reason = self._reason or f"the init handler {state.label}"
            self._close(now)
        else:
            self._begin_steps(now)

    def _spread(self, settled: int, now: datetime) -> None:
        """Tell the dependants of a settled step, and theirs, what follows for them."""
        pending = [settled]
        while pending:
            index = pending.pop()
            node = self._nodes[index]
            free = lets_go_on(node.state, self._dag.steps[index].continue_on, index in self._nodes.excused)
            for dependant in self._dependants[index]:
                self._open[dependant] -= 1
                other = self._nodes[dependant]
                if other.state is not NodeState.NOT_STARTED:
                    continue
                if free:
                    if self._open[dependant] == 0:
                        heappush(self._ready, dependant)
                    continue
                verdict, error = VERDICTS[node.state]
                self._nodes[dependant] = replace(other, state=verdict, error=error, finished_at=now)
                pending.append(dependant)

    def _start_ready(self, now: datetime) -> None:
        limit = self._dag.max_active_steps
        while self._ready and self._launch_pause is None and (limit <= 0 or len(self._courses.active) < limit):
            self._courses.begin(heappop(self._ready), now)
            if self._dag.delay_seconds > 0:
                self._launch_pause = self._alarms.at(
                    now + timedelta(seconds=self._dag.delay_seconds), self._launch_again
                )

    def _launch_again(self, _now: datetime) -> None:
        self._launch_pause = None

    def _over_time(self, now: datetime) -> None:
        """The time limit of the DAG: what runs is killed, what has not started never will."""
        self.timed_out = self._courses.ending = True
        self._reason = f"the run took longer than its time limit of {self._dag.timeout_seconds} s"
        self._ready.clear()
        if self._stage is Stage.CONDITIONS:
            self._effects.append(StopStep(None, force=True))
        for target in self._active():
            self._courses.stop(target, now, force=True)
        for index, node in enumerate(self._nodes.steps):
            if node.state is NodeState.NOT_STARTED:
                self._nodes[index] = replace(node, state=NodeState.ABORTED, error=self._reason, finished_at=now)

    def _clean_up_over(self, now: datetime) -> None:
        """What was running when the stop came has had its time; handlers that began since have their own."""
        if self._stage is Stage.CONDITIONS:
            self._effects.append(StopStep(None, force=True))
        for target in self._active():
            if isinstance(target, int) or self._courses.active[target].asked:
                self._courses.stop(target, now, force=True)

    def _end_time_limit(self) -> None:
        if self._time_limit is not None:
            self._time_limit.cancel()

    def _close(self, now: datetime) -> None:
        """The steps are over; the handlers for how they ended come."""
        self._stage = Stage.CLOSING
        self._end_time_limit()
        if not self._killed and self._interrupted is None:
            self._closing.extend(handler for handler in closing_handlers(self.state) if handler in self._dag.handlers)
        self._next_handler(now)

    def _next_handler(self, now: datetime) -> None:
        if self._closing:
            self._courses.begin(self._closing.popleft(), now)
        else:
            self._finish()

    def _finish(self) -> None:
        self._stage = Stage.DONE
        for target in self._interrupted or ():
            self._nodes[target] = NodeStatus(self._written(target))
        self._effects.append(FinishRun(self.state, self._reason))

    def _written(self, target: Target) -> Step:
        return self._dag.handlers[target] if isinstance(target, Handler) else self._dag.steps[target]

    @property
    def next_alarm(self) -> datetime | None:
        """The time that the last `WakeAt` named."""
        return self._announced

    def _answer(self, now: datetime) -> list[Effect]:
        if self._stage is Stage.STEPS:
            self._start_ready(now)
            if not self._courses.active and not self._ready:
                self._close(now)
        earliest = None if self.finished else self._alarms.earliest
        if not self.finished and earliest != self._announced:
            self._announced = earliest
            self._effects.append(WakeAt(earliest))
        effects = list(self._effects)
        self._effects.clear()
        return effects
