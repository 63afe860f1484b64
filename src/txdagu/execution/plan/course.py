"""
One step or handler from its turn to its end: conditions, executions, pauses between them, and the question whether to go on.

A course waits for exactly one answer or alarm at a time, which its phase names. Handlers have no retries, no repetition and
nothing that excuses them; all else is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, auto
from functools import partial

from txdagu.execution.plan.alarms import Alarm, Alarms
from txdagu.execution.plan.effects import (
    CheckConditions,
    Effect,
    EvaluateRetry,
    RunHandler,
    SearchLog,
    StartStep,
    StepEnd,
    StepSettled,
    StopStep,
    Target,
    Verdict,
)
from txdagu.execution.plan.nodes import Nodes
from txdagu.execution.plan.policies import Again, after_round, goes_on, may_retry, pause
from txdagu.execution.plan.settling import excuses
from txdagu.model.conditions import Condition
from txdagu.model.dag import Handler, Step
from txdagu.model.run import NodeStatus
from txdagu.model.status import NodeState, RunState

TIMED_OUT_CODE = 124
_NO_END = StepEnd(NodeState.ABORTED)
_NO_ANSWER = "a handler cannot wait for a person: nothing follows that could wait with it; ask in a step"
_MAY_REPEAT = (NodeState.SUCCEEDED, NodeState.PARTIALLY_SUCCEEDED, NodeState.FAILED)


class Phase(Enum):
    """What a course waits for."""

    CHECKING = auto()  # the conditions of the step
    SETTING_UP = auto()  # the texts of its retry policy
    WORKING = auto()  # an execution
    PAUSING = auto()  # the time for the next execution
    ASKING = auto()  # the condition of its repeat policy
    SEARCHING = auto()  # its log


@dataclass(slots=True)
class Course:
    """
    One target on its way. `step` is as written; `end` tells how the last execution ended. `asked` says that its end was asked
    for, so that it counts as aborted however it ends; `repeating` that the pause is one between rounds.
    """

    target: Target
    step: Step
    phase: Phase = Phase.CHECKING
    retry_limit: int = 0
    retry_interval: int = 0
    end: StepEnd = _NO_END
    alarm: Alarm | None = None
    timed_out: bool = False
    asked: bool = False
    repeating: bool = False

    def quiet(self) -> None:
        """Wait for no time any more."""
        if self.alarm is not None:
            self.alarm.cancel()
            self.alarm = None


def recorded(conditions: Sequence[Condition], verdicts: Sequence[Verdict]) -> tuple[Condition, ...]:
    """Conditions of which some were not met, each with its message."""
    return tuple(
        replace(condition, error="other condition was not met" if verdict.met else verdict.message)
        for condition, verdict in zip(conditions, verdicts, strict=True)
    )


class Courses:
    """
    All courses that have begun and not ended: `active`. `exit_codes` are those of the last executions.

    Effects go to `out`. `settled` is called when one has ended, `state` tells handlers the state of the run. With `ending`, the
    run is coming to its end before its time: nothing is tried again or repeated. `handing_back` says that it ends here only.
    """

    def __init__(
        self,
        nodes: Nodes,
        alarms: Alarms,
        out: Callable[[Effect], None],
        settled: Callable[[Target, datetime], None],
        state: Callable[[], RunState],
    ) -> None:
        self.active: dict[Target, Course] = {}
        self.ending = False
        self.handing_back = False
        self.exit_codes: dict[Target, int] = {}
        self._nodes = nodes
        self._alarms = alarms
        self._out = out
        self._settled = settled
        self._state = state

    def begin(self, target: Target, now: datetime) -> None:
        """It is this one's turn."""
        node = self._nodes[target]
        self._nodes[target] = replace(
            node, state=NodeState.RUNNING, started_at=now, finished_at=None, error="", exit_code=0, children=()
        )
        course = self.active[target] = Course(target, node.step)
        if node.step.preconditions:
            self._out(CheckConditions(target, node.step.preconditions))
        else:
            self._set_up(course, now)

    def conditions_checked(self, target: Target, verdicts: Sequence[Verdict], now: datetime) -> None:
        """The conditions of a step, or that of its repeat policy, were evaluated."""
        course = self.active[target]
        met = all(verdict.met for verdict in verdicts)
        if course.asked:
            self._abort(course, now)
        elif course.phase is Phase.ASKING:
            self._repeat_or_conclude(course, met, now)
        elif met:
            self._set_up(course, now)
        else:
            node = self._nodes[target]
            step = replace(node.step, preconditions=recorded(node.step.preconditions, verdicts))
            error = next((verdict.message for verdict in verdicts if verdict.broken), "")
            self._settle(course, replace(node, step=step, state=NodeState.SKIPPED, error=error), now)

    def retry_evaluated(self, target: int, limit: int, interval: int, now: datetime) -> None:
        """The texts of a retry policy are these numbers."""
        course = self.active[target]
        course.retry_limit, course.retry_interval = limit, interval
        if course.asked:
            self._abort(course, now)
        else:
            self._work(course, now)

    def step_ended(self, target: Target, end: StepEnd, now: datetime) -> None:
        """An execution has ended, or could not even be prepared."""
        course = self.active[target]
        course.quiet()
        if course.phase is Phase.WORKING:
            self._round_ended(course, end, now)
        elif course.asked:
            self._abort(course, now)
        elif course.phase is Phase.ASKING and self.ending:
            self._conclude(course, now)
        else:
            self._nodes[target] = replace(self._nodes[target], error=end.error)
            self._note_end(course, end)
            self._conclude(course, now)

    def log_searched(self, target: int, found: bool, now: datetime) -> None:
        """The log of a failed step has a line that excuses it, or none."""
        self._fail(self.active[target], found, now)

    def stop(self, target: Target, now: datetime, signal: str = "", force: bool = False) -> None:
        """
        End this one before its time.

        A step with a repeat policy is not asked to end: its round may finish, and the next does not come. Force takes no such
        care.
        """
        course = self.active[target]
        if course.phase is Phase.PAUSING:
            course.quiet()
            if course.repeating and not force:
                self._conclude(course, now)
            else:
                self._abort(course, now)
            return
        if course.phase is Phase.SEARCHING:
            return  # a moment's work, and the step itself is over
        if not force and course.step.repeat_policy is not None and not isinstance(target, Handler):
            if course.phase is Phase.WORKING:
                return
            course.asked = course.phase is not Phase.ASKING
        else:
            course.asked = True
        self._out(StopStep(target, signal, force, self.handing_back))

    def _set_up(self, course: Course, now: datetime) -> None:
        policy = course.step.retry_policy
        if policy is None or isinstance(course.target, Handler):
            self._work(course, now)
        elif isinstance(policy.limit, int) and isinstance(policy.interval, int):
            course.retry_limit, course.retry_interval = policy.limit, policy.interval
            self._work(course, now)
        else:
            course.phase = Phase.SETTING_UP
            self._out(EvaluateRetry(course.target, policy))

    def _work(self, course: Course, now: datetime) -> None:
        course.phase = Phase.WORKING
        course.repeating = course.timed_out = False
        if course.step.timeout_seconds > 0:
            at = now + timedelta(seconds=course.step.timeout_seconds)
            course.alarm = self._alarms.at(at, partial(self._over_time, course))
        if isinstance(course.target, Handler):
            self._out(RunHandler(course.target, course.step, self._state()))
        else:
            self._out(StartStep(course.target, course.step))

    def _over_time(self, course: Course, _now: datetime) -> None:
        course.timed_out = True
        self._out(StopStep(course.target, force=True))

    def _round_ended(self, course: Course, end: StepEnd, now: datetime) -> None:
        seconds = course.step.timeout_seconds
        if course.asked:
            end = replace(end, state=NodeState.ABORTED)
        elif course.timed_out:
            error = f"step timed out after {seconds}s (timeout: {seconds}s)"
            end = replace(end, state=NodeState.FAILED, error=error, exit_code=TIMED_OUT_CODE)
        elif end.state is NodeState.WAITING and isinstance(course.target, Handler):
            end = replace(end, state=NodeState.FAILED, error=_NO_ANSWER, exit_code=1)
        self._note_end(course, end)
        node = self._nodes[course.target]
        node = replace(
            node,
            step=end.step or node.step,
            error=end.error,
            outputs=dict(end.outputs),
            exit_code=end.exit_code,
            waits="",
        )
        if end.state is NodeState.ABORTED:
            self._settle(course, replace(node, state=NodeState.ABORTED), now)
        elif self._retries(course, node, now):
            return
        elif isinstance(course.target, Handler):
            self._nodes[course.target] = node
            self._conclude(course, now)
        else:
            self._nodes[course.target] = replace(node, done_count=node.done_count + 1)
            self._after_round(course, now)

    def _note_end(self, course: Course, end: StepEnd) -> None:
        course.end = end
        self.exit_codes[course.target] = end.exit_code

    def _retries(self, course: Course, node: NodeStatus, now: datetime) -> bool:
        policy = course.step.retry_policy
        if policy is None or isinstance(course.target, Handler) or self.ending or course.timed_out:
            return False
        if not may_retry(policy, course.retry_limit, node.retry_count, course.end):
            return False
        self._nodes[course.target] = replace(node, retry_count=node.retry_count + 1, retried_at=now)
        self._rest(course, pause(course.retry_interval, policy.backoff, node.retry_count, policy.max_interval), now)
        return True

    def _after_round(self, course: Course, now: datetime) -> None:
        policy, again = course.step.repeat_policy, Again.NO
        if policy is not None and not self.ending and course.end.state in _MAY_REPEAT:
            again = after_round(policy, self._nodes[course.target].done_count, course.end)
        if again is Again.ASK and policy is not None and policy.condition is not None:
            course.phase = Phase.ASKING
            self._out(CheckConditions(course.target, (policy.condition,)))
        elif again is Again.YES:
            self._repeat(course, now)
        else:
            self._conclude(course, now)

    def _repeat_or_conclude(self, course: Course, met: bool, now: datetime) -> None:
        policy = course.step.repeat_policy
        if policy is not None and not self.ending and goes_on(policy, met) is Again.YES:
            self._repeat(course, now)
        else:
            self._conclude(course, now)

    def _repeat(self, course: Course, now: datetime) -> None:
        policy, node = course.step.repeat_policy, self._nodes[course.target]
        if policy is None:
            return
        earlier = (*node.children_repeated, *node.children)
        self._nodes[course.target] = replace(node, repeated=True, children=(), children_repeated=earlier)
        course.repeating = True
        self._rest(course, pause(policy.interval, policy.backoff, node.done_count, policy.max_interval), now)

    def _rest(self, course: Course, time: timedelta, now: datetime) -> None:
        if time:
            course.phase = Phase.PAUSING
            course.alarm = self._alarms.at(now + time, partial(self._work, course))
        else:
            self._work(course, now)

    def _conclude(self, course: Course, now: datetime) -> None:
        """The last execution was the last indeed."""
        end, policy = course.end, course.step.continue_on
        if end.state is not NodeState.FAILED or isinstance(course.target, Handler):
            self._settle(course, replace(self._nodes[course.target], state=end.state), now)
        elif policy.outputs and not excuses(policy, end):
            course.phase = Phase.SEARCHING
            self._out(SearchLog(course.target, policy.outputs))
        else:
            self._fail(course, excuses(policy, end), now)

    def _fail(self, course: Course, excused: bool, now: datetime) -> None:
        state = NodeState.FAILED
        if excused and course.step.continue_on.mark_success:
            state = NodeState.SUCCEEDED
        elif excused and isinstance(course.target, int):
            self._nodes.excused.add(course.target)
        node = replace(self._nodes[course.target], state=state, excused=excused and state is NodeState.FAILED)
        self._settle(course, node, now)

    def _abort(self, course: Course, now: datetime) -> None:
        self._settle(course, replace(self._nodes[course.target], state=NodeState.ABORTED), now)

    def _settle(self, course: Course, node: NodeStatus, now: datetime) -> None:
        course.quiet()
        del self.active[course.target]
        self._nodes[course.target] = replace(node, finished_at=now, waits="")
        self._out(StepSettled(course.target))
        self._settled(course.target, now)
