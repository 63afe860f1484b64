"""``dagu doctor``: look for what is wrong. Each subject has a sub-command of its own."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.python.usage import UsageError

from txdagu.cli.arguments import parse
from txdagu.cli.settings import settings_from
from txdagu.config.values import UnfitError, read_duration, read_host
from txdagu.model.addresses import ip_version
from txdagu.model.errors import InvalidInputError, Problem
from txdagu.tap.options import SettingsOptions, parameters

if TYPE_CHECKING:
    from rich.console import Console

    from txdagu.cli.reactor import Interruption
    from txdagu.config.settings import Settings
    from txdagu.model.findings import Examination, Finding
    from txdagu.peers.diagnosis.registered import Target

MISUSED = 2
OUTPUTS = ("text", "json")

USAGE = """\
Usage: dagu doctor SUBJECT [options]

Look for what is wrong, and say what to do about it.

Subjects:
  peer     The connection to coordinators: name, port, TLS, certificates, health, clock
  journal  The journal of this host's coordinator: its place, its file, what is in it; or all that happened to one run

dagu doctor SUBJECT --help tells the options of a subject.
"""


class PeerOptions(SettingsOptions):
    """Options of ``dagu doctor peer``."""

    longdesc = (
        "Dial a coordinator and say what works and what is wrong. Without an address: every coordinator that is configured or "
        "registered, and our own peer settings. Exit code 0 when nothing failed, 1 otherwise, 2 for a wrong call."
    )
    operands = "[HOST[:PORT]]"
    optParameters = [
        *parameters("peer.", "worker.coordinator-host", "worker.coordinator-port"),
        ["timeout", "t", "5s", "How long each step may take."],
        ["output", "o", "text", "How to print what was found: text or json."],
    ]

    def parseArgs(self, *addresses: str) -> None:
        """At most one address."""
        if len(addresses) > 1:
            raise UsageError("at most one address is expected")
        self["address"] = addresses[0] if addresses else ""

    def postOptions(self) -> None:
        """Read what is no setting."""
        try:
            self["seconds"] = read_duration(self["timeout"])
        except UnfitError as error:
            raise UsageError(f"--timeout: {error}") from None
        if self["output"] not in OUTPUTS:
            raise UsageError(f'--output: "{self["output"]}" is neither of {" and ".join(OUTPUTS)}')
        if self["address"]:
            try:
                self["target"] = read_address(self["address"])
            except UnfitError as error:
                raise UsageError(str(error)) from None


def read_address(text: str) -> tuple[str, int | None]:
    """
    Host and port of ``host``, ``host:port``, ``[v6]:port`` or a bare IPv6 address; the port is None where there is none.

    Raises `UnfitError`.
    """
    if ip_version(text) == 6:
        return text, None
    head, colon, tail = text.rpartition(":")
    if not colon or tail.endswith("]"):
        return read_host(text), None
    if not tail.isascii() or not tail.isdigit() or not 0 < int(tail) < 65536:
        raise UnfitError(f'"{tail}" in "{text}" is not a port', "give a number from 1 to 65535")
    if not head:
        raise UnfitError(f'"{text}" has no host', "write it as host:port")
    return read_host(head), int(tail)


SUBJECTS: dict[str, Callable[[list[str]], int]] = {}


def doctor(arguments: list[str]) -> int:
    """Choose the sub-command. Wrong calls and unusable settings end with 2, as nothing was examined then."""
    name, *rest = arguments or [""]
    if name in ("help", "-h", "--help"):
        sys.stdout.write(USAGE)
        return 0
    try:
        if name not in SUBJECTS:
            text = f'"{name}" is nothing that can be examined' if name else "no subject is given"
            raise InvalidInputError([Problem(text, advice=f"one of: {', '.join(SUBJECTS)}")])
        return SUBJECTS[name](rest)
    except InvalidInputError as error:
        error.exit_code = MISUSED
        raise


def peer(arguments: list[str]) -> int:
    """Examine one coordinator, or all there are."""
    from txdagu.cli.reactor import run_in_reactor

    options = parse(PeerOptions(), "doctor peer", arguments)
    settings = settings_from(options)
    return run_in_reactor(lambda reactor, interruption: _peer(settings, options, reactor, interruption))


SUBJECTS["peer"] = peer


class JournalOptions(SettingsOptions):
    """Options of ``dagu doctor journal``."""

    longdesc = (
        "Examine the coordinator's journal on this host, also while the coordinator runs; nothing is changed. With a run's id: "
        "everything that happened to its tasks. Exit code 0 when nothing failed, 1 otherwise, 2 for a wrong call."
    )
    operands = "[RUN-ID]"
    optParameters = [
        *parameters("coordinator.state-dir"),
        ["output", "o", "text", "How to print what was found: text or json."],
    ]

    def parseArgs(self, *run_ids: str) -> None:
        """At most one run."""
        if len(run_ids) > 1:
            raise UsageError("at most one run id is expected")
        self["run_id"] = run_ids[0] if run_ids else ""

    def postOptions(self) -> None:
        """Read what is no setting."""
        if self["output"] not in OUTPUTS:
            raise UsageError(f'--output: "{self["output"]}" is neither of {" and ".join(OUTPUTS)}')


def journal(arguments: list[str]) -> int:
    """Examine the journal, or tell the history of one run."""
    from rich.console import Console

    from txdagu.journal.assembly import journal_place
    from txdagu.journal.inspection import history, inspect
    from txdagu.model.findings import Examination

    options = parse(JournalOptions(), "doctor journal", arguments)
    place = journal_place(settings_from(options))
    report = _Report(Console(highlight=False), live=options["output"] == "text")
    run_id = options["run_id"]
    subject = f"run {run_id} in the journal" if run_id else f"the journal in {place.directory}"
    report.begin(subject)
    found = tuple(history(place, run_id) if run_id else inspect(place))
    for finding in found:
        report.tell(finding)
    report.examinations.append(Examination(subject, found))
    return report.end()


SUBJECTS["journal"] = journal


class _Report:
    """What was found so far, shown as it comes unless one document is wanted at the end."""

    def __init__(self, console: Console, *, live: bool) -> None:
        self.examinations: list[Examination] = []
        self._console = console
        self._live = live
        self._first = True

    def begin(self, subject: str) -> None:
        from txdagu.cli.findings import show_subject

        if self._live:
            show_subject(self._console, subject, first=self._first)
        self._first = False

    def tell(self, finding: Finding) -> None:
        from txdagu.cli.findings import show

        if self._live:
            show(self._console, finding)

    def end(self) -> int:
        from txdagu.cli.findings import as_json, summary

        if self._live:
            self._console.print(f"\n{summary(self.examinations)}", highlight=False)
        else:
            sys.stdout.write(as_json(self.examinations) + "\n")
        return 1 if any(one.failed for one in self.examinations) else 0


async def _peer(settings: Settings, options: PeerOptions, reactor: Any, interruption: Interruption) -> int:
    from twisted.internet.defer import CancelledError, Deferred
    from twisted.internet.error import ConnectingCancelledError

    examined = Deferred.fromCoroutine(_examined(settings, options, reactor))
    interruption.on(lambda _signal: examined.cancel())
    try:
        return await examined
    except ConnectingCancelledError:  # what endpoints say when they are cancelled while they connect
        raise CancelledError from None


async def _examined(settings: Settings, options: PeerOptions, reactor: Any) -> int:
    from rich.console import Console

    from txdagu.model.findings import Examination
    from txdagu.peers.diagnosis.own_side import own_side
    from txdagu.peers.diagnosis.reach import reach
    from txdagu.peers.diagnosis.steps import Diagnosis
    from txdagu.system.clock import unix_now
    from txdagu.system.threads import threads_of

    in_thread = threads_of(reactor)
    report = _Report(Console(highlight=False), live=options["output"] == "text")

    report.begin("our own settings")
    own, findings = await in_thread(partial(own_side, settings, datetime.fromtimestamp(unix_now(), UTC)))
    if options["address"]:
        targets = [_given(options, settings)]
    else:
        targets, about = await _all(settings, in_thread, unix_now())
        findings += about
    for finding in findings:
        report.tell(finding)
    report.examinations.append(Examination("our own settings", tuple(findings)))

    diagnosis = Diagnosis(own, reach(settings, reactor, options["seconds"]), report.tell)
    for target in targets:
        report.begin(f"{target.title} at {target.address}")
        report.examinations.append(await diagnosis.examine(target))
    return report.end()


def _given(options: PeerOptions, settings: Settings) -> Target:
    from txdagu.peers.diagnosis.registered import Target

    host, port = options["target"]
    return Target(host, settings.worker.coordinator_port if port is None else port, "coordinator")


async def _all(settings: Settings, in_thread: Any, unix: float) -> tuple[list[Target], list[Finding]]:
    from txdagu.peers.diagnosis.registered import configured, registered

    targets, findings = configured(settings)
    others, more = await in_thread(partial(registered, settings, unix, socket.gethostname()))
    known = {target.address for target in targets}
    return targets + [other for other in others if other.address not in known], findings + more
