"""``dagu demo``: a whole cluster on this host, a labelled pipeline through it, and a look at where each step ran."""

from __future__ import annotations

import os
import sys
from typing import Any

from rich.console import Console
from rich.table import Table
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater

from txdagu.cli.arguments import parse
from txdagu.cli.cluster import Cluster
from txdagu.cli.demoplan import PIPELINE, WORKERS, Home, Placement, all_well, members, outputs, placements
from txdagu.cli.following import Family
from txdagu.cli.logging import begin_logging
from txdagu.cli.progress import progress_view
from txdagu.cli.reactor import Interruption, run_in_reactor
from txdagu.cli.running import Foreground, ForegroundRun, foreground
from txdagu.config.loading import load_settings
from txdagu.config.settings import Settings
from txdagu.dagfile import load_dag
from txdagu.execution.engine import RunRequest
from txdagu.execution.processes import PidfdProcessRunner
from txdagu.model.dag import Dag
from txdagu.model.errors import DaguError
from txdagu.model.health import Health
from txdagu.model.ids import new_run_id
from txdagu.model.labels import format_labels
from txdagu.model.run import RunRef
from txdagu.registry.entries import Kind
from txdagu.registry.views import MembershipView
from txdagu.system.clock import local_now, unix_now_ms
from txdagu.tap.options import SettingsOptions

START_SECONDS = 60.0
LOOK_SECONDS = 0.1


class Options(SettingsOptions):
    """How long the cluster lives."""

    longdesc = "Start a main instance and two labelled workers on this host, run a pipeline across them, and show it."
    optFlags = [["keep", None, "Leave the cluster up until Ctrl-C."]]


def demo(arguments: list[str]) -> int:
    """Run the demonstration; 0 if every step ran where its labels said, else 1."""
    options = parse(Options(), "demo", arguments)
    begin_logging(sys.stderr, "text", quiet=True)
    return run_in_reactor(
        lambda reactor, interruption: _demo(Console(), reactor, interruption, keep=bool(options["keep"]))
    )


async def _demo(console: Console, reactor: Any, interruption: Interruption, *, keep: bool) -> int:
    home = Home()
    lost: list[str] = []

    def failed(sentence: str) -> None:
        lost.append(sentence)
        demonstration.abandon()
        showing.cancel()

    def interrupted(signal: str) -> None:
        if not demonstration.end_run(f"{signal} was received"):
            showing.cancel()

    def hurry() -> None:
        demonstration.abandon()
        cluster.kill()

    cluster = Cluster(PidfdProcessRunner(reactor), reactor, home.path, os.environ, failed)
    demonstration = Demonstration(console, home, cluster, reactor, keep=keep)
    showing = Deferred.fromCoroutine(demonstration.show())
    interruption.on(interrupted, hurry)
    try:
        return await showing
    except CancelledError:
        if lost:
            raise DaguError(lost[0]) from None
        console.print("The cluster has ended." if demonstration.shown else "Interrupted.")
        return demonstration.code
    finally:
        await cluster.stop()
        home.remove()


class Demonstration:
    """
    One showing: start, run, judge.

    `code` is the exit code so far: 1 until everything was seen to be well; `shown` says that the run was judged.
    """

    def __init__(self, console: Console, home: Home, cluster: Cluster, reactor: Any, *, keep: bool) -> None:
        self.code = 1
        self.shown = False
        self._console = console
        self._home = home
        self._cluster = cluster
        self._reactor = reactor
        self._keep = keep
        self._running: ForegroundRun | None = None
        self._interrupted = False
        environ = {name: value for name, value in os.environ.items() if not name.startswith("DAGU_")}
        self._settings: Settings = load_settings(
            flags={"dagu-home": home.path},
            environ=environ,
            read_file=lambda path: None,
            home_dir=home.path,
            hostname="localhost",
            pid=os.getpid(),
            cwd=home.path,
            path_exists=os.path.exists,
        )

    def end_run(self, reason: str) -> bool:
        """Ask the run to end, which ends the showing; False if there is none just now."""
        if self._running is None:
            return False
        self._running.cancel(reason)
        self._interrupted = True
        return True

    def abandon(self) -> None:
        """Make the run end by force, if there is one."""
        if self._running is not None:
            self._running.kill()

    async def show(self) -> int:
        """The whole of it; returns the exit code."""
        dag = load_dag(self._home.read(), PIPELINE, location=self._home.pipeline)
        self._console.print(f"Starting a main instance and {len(WORKERS)} workers in {self._home.path}")
        await self._cluster.start(members())
        async with foreground(self._settings, self._reactor) as parts:
            address = await self._ready(parts)
            self._introduce(address)
            family = await self._run(parts, dag)
        found = list(placements(dag, family, WORKERS))
        self._conclude(family, found, address)
        self.code = 0 if all_well(family, found) else 1
        self.shown = True
        if self._keep:
            self._console.print("The cluster stays up; Ctrl-C ends it.")
            await Deferred()
        return self.code

    async def _ready(self, parts: Foreground) -> str:
        """Wait until the web server answers for itself in the registry and both workers beat; its address."""
        directory = self._settings.paths.service_registry_dir
        servers = MembershipView(self._reactor, directory, Kind.SERVER, self._reactor.seconds)
        give_up = self._reactor.seconds() + START_SECONDS
        while True:
            await servers.refresh()
            view = await parts.coordinators.workers()
            beating = {worker.id for worker in view.workers if worker.health is Health.HEALTHY}
            if servers.members() and beating >= set(WORKERS):
                web = servers.members()[0]
                return f"http://{web.host}:{web.port}"
            if self._reactor.seconds() > give_up:
                missing = ", ".join(sorted(set(WORKERS) - beating)) or "the web server"
                raise DaguError(
                    f"{missing} did not appear within {START_SECONDS:.0f} s (logs are in {self._home.path})"
                )
            await deferLater(self._reactor, LOOK_SECONDS)

    def _introduce(self, address: str) -> None:
        lines = [("main", f"scheduler, web pages, coordinator  {address}/workers")]
        lines += [(f"worker {name}", format_labels(labels)) for name, labels in WORKERS.items()]
        width = max(len(name) for name, _ in lines)
        for name, what in lines:  # soft: an address that is cut or torn cannot be clicked
            self._console.print(f"  {name:<{width}}  {what}", soft_wrap=True, highlight=False)
        self._console.print()

    async def _run(self, parts: Foreground, dag: Dag) -> Family:
        run = RunRef(dag.name, new_run_id(unix_now_ms(), os.urandom(10)))
        with progress_view(self._console, local_now) as view:
            self._running = ForegroundRun(parts, RunRequest(dag=dag, run=run, root=run, new=True), view)
            try:
                family = await self._running.follow()
            finally:
                self._running = None
        if self._interrupted:
            raise CancelledError
        return family

    def _conclude(self, family: Family, found: list[Placement], address: str) -> None:
        out = self._console
        out.print(f"\nResult: {family.top.state.title}\n")
        table = Table(box=None, pad_edge=False)
        for heading in ("run", "ran", "asked for", ""):
            table.add_column(heading, no_wrap=True)
        for placement in found:
            verdict = f"[red]✘ {placement.wrong}" if placement.wrong else "[green]✔"
            table.add_row(placement.name, placement.place, placement.asked, verdict)
        out.print(table)
        out.print("\nWhat the steps said:\n")
        for name, lines in outputs(family):
            out.print(f"  {name}", style="bold", highlight=False)
            for line in lines:
                out.print(f"    {line}", markup=False, highlight=False)
        out.print(f"\nWorkers page: {address}/workers", highlight=False)
        if not self._keep:
            out.print("It was served while the cluster was up; dagu demo --keep leaves it up.", style="dim")
