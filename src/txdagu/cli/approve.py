"""``dagu approve`` and ``dagu reject``: a person's word to a step that waits for it, after which the run goes on."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from txdagu.cli.arguments import parse
from txdagu.cli.settings import settings_from
from txdagu.cli.status import dag_name
from txdagu.model.errors import DaguError, InvalidInputError, NotFoundError, Problem
from txdagu.model.run import RunRef
from txdagu.tap.options import SettingsOptions

if TYPE_CHECKING:
    from txdagu.cli.reactor import Interruption
    from txdagu.config.settings import Settings
    from txdagu.execution.approvals import Approvals, Decided
    from txdagu.execution.plan.approval import Wait


class _Options(SettingsOptions):
    """Which step is decided on."""

    optParameters = [
        ["run-id", "r", None, "Id of the run."],
        ["step", None, None, "Name of the step; may be left out where only one waits."],
        ["child", None, None, "Id of the child run that the step belongs to."],
    ]
    optFlags = [
        ["enqueue", None, "Leave the rest of the run to the main instance, instead of following it here."],
        ["quiet", "q", "Print neither progress nor report."],
    ]

    def parseArgs(self, *arguments: str) -> None:
        """The DAG, then what else there is."""
        self["dag"] = arguments[0] if arguments else ""
        self["words"] = arguments[1:]

    def check(self, problems: Sequence[Problem] = ()) -> None:
        """Raise `InvalidInputError` with these problems, and for what has to be there."""
        found = list(problems)
        if not self["dag"]:
            found.append(Problem("the DAG is missing", advice=self.synopsis.removeprefix("Usage: ")))
        if not self["run-id"]:
            found.append(Problem("the run is not named", "--run-id", "dagu status DAG shows it"))
        if found:
            raise InvalidInputError(found)


class ApproveOptions(_Options):
    """Which step is approved, with which values."""

    longdesc = "Approve a step that waits, with the values it asks for; the run then goes on, here or on a worker."
    operands = "DAG [NAME=value ...]"

    def inputs(self) -> dict[str, str]:
        """The values by name. Raises `InvalidInputError`."""
        pairs = [word.partition("=") for word in self["words"]]
        self.check(
            [
                Problem(f'"{name}" is no input', advice="write NAME=value")
                for name, equals, _ in pairs
                if not (name and equals)
            ]
        )
        return {name: value for name, _, value in pairs}


class RejectOptions(_Options):
    """Which step is rejected, and why."""

    longdesc = "Reject a step that waits; the run ends as rejected, and steps that depend on it never start."
    operands = "DAG"
    optParameters = [["reason", None, "", "Why, for those who read about the run."]]

    def check(self, problems: Sequence[Problem] = ()) -> None:
        """There are no further words."""
        super().check([*problems, *(Problem(f'"{word}" is not expected here') for word in self["words"])])


def approve(arguments: list[str]) -> int:
    """Approve a step and let the run go on; the exit code is then the run's."""
    options = parse(ApproveOptions(), "approve", arguments)
    inputs = options.inputs()

    async def decide(approvals: Approvals, root: RunRef, wait: Wait) -> Decided:
        return await approvals.approve(wait.run, root, wait.node.step.name, inputs, _who())

    return _run(options, decide, "Approved")


def reject(arguments: list[str]) -> int:
    """Reject a step; a run that called the rejected one goes on with that."""
    options = parse(RejectOptions(), "reject", arguments)
    options.check()

    async def decide(approvals: Approvals, root: RunRef, wait: Wait) -> Decided:
        return await approvals.reject(wait.run, root, wait.node.step.name, options["reason"], _who())

    return _run(options, decide, "Rejected")


def _who() -> str:
    """The name of whoever runs this, empty where the system has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def _run(options: _Options, decide: Any, done: str) -> int:
    from txdagu.cli.reactor import run_in_reactor

    settings = settings_from(options)
    root = RunRef(dag_name(options["dag"], settings), options["run-id"])
    return run_in_reactor(
        lambda reactor, interruption: _decide(settings, options, root, decide, done, reactor, interruption)
    )


async def _decide(
    settings: Settings,
    options: _Options,
    root: RunRef,
    decide: Any,
    done: str,
    reactor: Any,
    interruption: Interruption,
) -> int:
    from txdagu.cli.asking import answers
    from txdagu.cli.running import foreground
    from txdagu.execution.approvals import Approvals
    from txdagu.model.status import RunState
    from txdagu.system.clock import local_now

    async with foreground(settings, reactor) as parts:
        approvals = Approvals(parts.store, local_now)
        status, waits = await approvals.waits(root)
        if status.state is RunState.WAITING and not waits and options["step"] is None:
            sys.stdout.write(f"All steps of {root.name} (run {root.id}) are decided on; the run goes on.\n")
        else:
            wait = await chosen(approvals, root, waits, options)
            decided = await decide(approvals, root, wait)
            sys.stdout.write(f"{done} step {wait.node.step.name} of {wait.run.name} (run {wait.run.id}).\n")
            if decided.status.state.ended:
                sys.stdout.write(f"Run {wait.run.id} of {wait.run.name} is {decided.status.state.label}.\n")
            if not decided.goes_on:
                sys.stdout.write(answers(root, decided.waits))
                return 0
        if options["enqueue"]:
            await parts.store.requeue(root)
            sys.stdout.write(f"The rest of {root.name} (run {root.id}) is queued; the main instance starts it.\n")
            return 0
        sys.stdout.flush()
        return await _go_on(settings, parts, root, interruption, quiet=bool(options["quiet"]))


async def chosen(approvals: Approvals, root: RunRef, waits: Sequence[Wait], options: _Options) -> Wait:
    """The step that is meant: the one that is named, or the only one that waits."""
    from txdagu.execution.plan.approval import NotWaitingError, Wait
    from txdagu.model.dag import Step
    from txdagu.model.run import NodeStatus

    fitting = [
        wait
        for wait in waits
        if options["step"] in (None, wait.node.step.name) and options["child"] in (None, wait.run.id)
    ]
    if len(fitting) == 1:
        return fitting[0]
    if len(fitting) > 1:
        raise InvalidInputError(
            [
                Problem(f"several steps wait, one is {wait.node.step.name}", advice=_named(wait, root))
                for wait in fitting
            ]
        )
    if options["step"] is None:
        raise NotWaitingError(f"no step of run {root} waits for approval")
    # The one that was named does not wait: whoever decides on it says why.
    run = root if options["child"] is None else await approvals.find_child(root, options["child"])
    return Wait(run, NodeStatus(Step(options["step"])))


def _named(wait: Wait, root: RunRef) -> str:
    """The options that name one step."""
    return f"--step {wait.node.step.name}" + ("" if wait.run == root else f" --child {wait.run.id}")


async def _go_on(settings: Settings, parts: Any, root: RunRef, interruption: Interruption, *, quiet: bool) -> int:
    """Execute what is left of the run, as ``dagu start`` does."""
    from txdagu.cli.attended import attend
    from txdagu.execution.engine import RunRequest

    dag = await parts.store.read_dag(root, root)
    if dag is None:
        raise NotFoundError(f"run {root} has no snapshot of its DAG to go on with")
    queued = await parts.store.requeue(root, queued=False)
    request = RunRequest(dag=dag, run=root, root=root, previous=queued, queued_at=queued.queued_at)
    try:
        return await attend(settings, parts, request, interruption, quiet=quiet)
    except DaguError as error:
        raise DaguError(
            f"{error} (the decision is kept; dagu approve {root.name} --run-id {root.id} tries again)"
        ) from error
