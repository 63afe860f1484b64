"""
``python -m txdagu.testing.faults``: random faults for real processes, seed by seed.

A seed always gives the same faults at the same times; what processes do in between is theirs. Exit code 1 if anything was
found, with the story of the runs that it is about.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from txdagu.testing.faults.network import Namespaces, Network, Proxies
from txdagu.testing.faults.schedule import Bounds, schedule
from txdagu.testing.faults.suite import Size, Suite, worker_names


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the seeds that the arguments ask for; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m txdagu.testing.faults", description=__doc__)
    parser.add_argument("--start", type=int, default=1, help="first seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many, one after the other")
    parser.add_argument("--tasks", type=int, default=Size().tasks)
    parser.add_argument("--faults", type=int, default=Bounds().faults)
    parser.add_argument("--seconds", type=float, default=Bounds().seconds, help="time in which the faults come")
    parser.add_argument("--proxies", action="store_true", help="cut with proxies also where namespaces are allowed")
    parser.add_argument("--show", action="store_true", help="only show the faults of the seeds")
    options = parser.parse_args(arguments)
    size = Size(tasks=options.tasks, seconds=options.seconds * 0.8)
    bounds = Bounds(options.faults, options.seconds)
    seeds = range(options.start, options.start + options.seeds)
    if options.show:
        for seed in seeds:
            _say(f"seed {seed}", *map(str, schedule(seed, worker_names(size), bounds)))
        return 0
    network = None if options.proxies else _namespaces(worker_names(size))
    return _in_reactor(network, size, bounds, seeds)


def _namespaces(workers: Sequence[str]) -> Network | None:
    try:
        return Namespaces(workers)
    except OSError as error:
        _say(f"no network namespaces here: {error}")
        return None


def _in_reactor(network: Network | None, size: Size, bounds: Bounds, seeds: Sequence[int]) -> int:
    failed: list[int] = []

    async def all_seeds(reactor: Any) -> None:
        for seed in seeds:
            found = await _one(reactor, network or Proxies(reactor, worker_names(size)), size, bounds, seed)
            failed.extend([seed] * found)

    try:
        react(lambda reactor: Deferred.fromCoroutine(all_seeds(reactor)))
    except SystemExit as end:
        if end.code:
            return 1
    finally:
        if network is not None:
            network.close()
    _say(f"{len(seeds)} seeds, {len(failed)} with findings" + (f": {', '.join(map(str, failed))}" if failed else ""))
    return 1 if failed else 0


async def _one(reactor: Any, network: Network, size: Size, bounds: Bounds, seed: int) -> bool:
    """Whether something was found."""
    home = Path(tempfile.mkdtemp(prefix="faults-"))
    try:
        _say(f"seed {seed}: {size.tasks} tasks on {size.workers} workers, {network.description}")
        suite = Suite(reactor, home, network, size, bounds, _say)
        findings = await suite.run(seed)
        for finding in findings:
            _say(f"FOUND {finding}")
        for run_id in sorted(set(re.findall(r"run-\d+", " ".join(map(str, findings))))):
            _say(*suite.story(run_id))
        if findings:
            _say(*suite.cluster.said)
            _say(f"seed {seed}: {len(findings)} findings; again: {_again(seed, size, bounds, network)}")
        else:
            _say(f"seed {seed}: nothing missed, nothing extra, nothing left running")
        return bool(findings)
    finally:
        if isinstance(network, Proxies):
            network.close()
        shutil.rmtree(home, ignore_errors=True)


def _again(seed: int, size: Size, bounds: Bounds, network: Network) -> str:
    proxies = " --proxies" if isinstance(network, Proxies) else ""
    numbers = f"--tasks {size.tasks} --faults {bounds.faults} --seconds {bounds.seconds:g}"
    return f"python -m txdagu.testing.faults --start {seed} {numbers}{proxies}"


def _say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
