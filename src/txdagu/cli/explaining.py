"""``dagu explain``: why a run is where it is."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from twisted.python.usage import UsageError

from txdagu.cli.arguments import parse
from txdagu.cli.output import harmless
from txdagu.cli.settings import settings_from
from txdagu.cli.status import dag_name
from txdagu.model.run import RunRef
from txdagu.tap.options import SettingsOptions, parameters

if TYPE_CHECKING:
    from txdagu.config.settings import Settings
    from txdagu.execution.explaining.account import Account
    from txdagu.execution.explaining.situation import Situation

OUTPUTS = ("text", "json")
_LABEL_WIDTH = 12


class ExplainOptions(SettingsOptions):
    """Which run to explain, and how."""

    longdesc = (
        "Say where a run is and why, what keeps it there, what happened to it, and what to do next: by its files, its queue, and "
        "all coordinators."
    )
    operands = "DAG RUN-ID"
    optParameters = [
        *parameters("peer.", "worker.coordinator-host", "worker.coordinator-port"),
        ["child", None, "", "Id of a run below that run, which is explained in its place."],
        ["output", "o", "text", "How to print what was found: text or json."],
    ]

    def parseArgs(self, *arguments: str) -> None:
        """The DAG and the run's id."""
        if len(arguments) != 2:
            raise UsageError("a DAG and a run id are expected")
        self["dag"], self["run-id"] = arguments

    def postOptions(self) -> None:
        """Read what is no setting."""
        if self["output"] not in OUTPUTS:
            raise UsageError(f'--output: "{self["output"]}" is neither of {" and ".join(OUTPUTS)}')


def explain(arguments: list[str]) -> int:
    """Print what is known of a run."""
    from txdagu.cli.reactor import run_in_reactor

    options = parse(ExplainOptions(), "explain", arguments)
    settings = settings_from(options)
    return run_in_reactor(lambda reactor, interruption: _explain(settings, options, reactor))


async def _explain(settings: Settings, options: ExplainOptions, reactor: Any) -> int:
    import json
    from random import SystemRandom

    from txdagu.execution.assembly import run_store
    from txdagu.execution.explaining.account import account
    from txdagu.execution.explaining.document import explain_document
    from txdagu.execution.explaining.situation import situations
    from txdagu.peers.coordinators import Coordinators
    from txdagu.system.clock import monotonic

    coordinators = Coordinators(settings, reactor, SystemRandom(), monotonic)
    try:
        gathering = situations(settings, reactor, run_store(settings, reactor), coordinators)
        root = RunRef(dag_name(options["dag"], settings), options["run-id"])
        found = await gathering.of(root, options["child"])
    finally:
        await coordinators.directory.shut_down()
    said = account(found)
    if options["output"] == "json":
        sys.stdout.write(json.dumps(explain_document(found, said), indent=2, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write(explain_text(found, said))
    return 0


def explain_text(found: Situation, said: Account) -> str:
    """The account as text: headline, what binds, facts, workers, history, next step."""
    from txdagu.execution.explaining.wording import precise

    lines = [said.headline, ""]
    if said.binding is not None:
        lines.append(_labelled("binds", said.binding.text))
    lines += [_labelled(label, text) for label, text in said.facts if text]
    for number, one in enumerate(said.verdicts):
        lines.append(_labelled("workers" if number == 0 else "", f"{one.worker_id}: {one.reason}"))
    several = len({line.coordinator for line in found.word.history}) > 1
    for number, line in enumerate(found.word.history):
        who = f" {line.worker_id}" if line.worker_id else ""
        epoch = f", epoch {line.epoch}" if line.epoch else ""
        where = f" ({line.coordinator})" if several else ""
        text = f"{precise(line.at)}  {line.state.value}{who}{epoch}: {line.reason}{where}"
        lines.append(_labelled("history" if number == 0 else "", text))
    if said.next_step:
        lines += ["", f"Next step: {said.next_step}"]
    return "".join(f"{harmless(line).rstrip()}\n" for line in lines)


def _labelled(label: str, text: str) -> str:
    return f"  {label:<{_LABEL_WIDTH}} {text}"
