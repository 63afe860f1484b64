"""What a followed run's end means for the command: exit status and sentence."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txdagu.cli.running import exit_code, failure_sentence
from txdagu.model.dag import Handler, Step
from txdagu.model.run import NodeStatus, RunRef, RunStatus
from txdagu.model.status import NodeState, RunState

RUN = RunRef("d", "r")


def ended(state: RunState, *nodes: NodeState, **handlers: NodeState) -> RunStatus:
    return RunStatus(
        RUN,
        RUN,
        state,
        nodes=tuple(NodeStatus(Step(f"s{number}"), node) for number, node in enumerate(nodes)),
        handlers={
            Handler[name]: NodeStatus(Step(name), node, error="exit status 3") for name, node in handlers.items()
        },
    )


class ExitCodeTests(SynchronousTestCase):
    def test_states(self) -> None:
        """The table of exit statuses; a partial success is 1 where a step failed, and so is a wait."""
        good, bad, partial = NodeState.SUCCEEDED, NodeState.FAILED, NodeState.PARTIALLY_SUCCEEDED
        for status, code in (
            (ended(RunState.SUCCEEDED, good), 0),
            (ended(RunState.WAITING, NodeState.WAITING), 0),
            (ended(RunState.WAITING, NodeState.WAITING, bad), 1),
            (ended(RunState.WAITING, NodeState.WAITING, WAIT=bad), 0),
            (ended(RunState.ABORTED, NodeState.ABORTED), 0),
            (ended(RunState.ABORTED, NodeState.NOT_STARTED, INIT=bad), 1),
            (ended(RunState.ABORTED, NodeState.ABORTED, ABORT=bad), 1),
            (ended(RunState.PARTIALLY_SUCCEEDED, good, bad), 1),
            (ended(RunState.PARTIALLY_SUCCEEDED, partial), 0),
            (ended(RunState.PARTIALLY_SUCCEEDED, partial, SUCCESS=bad), 1),
            (ended(RunState.FAILED, good), 1),
            (ended(RunState.REJECTED, NodeState.REJECTED), 1),
        ):
            self.assertEqual(exit_code(status), code, status)

    def test_sentence(self) -> None:
        """Where no step has an error, that of the handler is told."""
        self.assertEqual(
            failure_sentence(ended(RunState.FAILED, NodeState.SUCCEEDED, EXIT=NodeState.FAILED)), "exit status 3"
        )
