"""``python -m txdagu.testing.simulation``: simulate many seeds, or tell one from its beginning to its end."""

from __future__ import annotations

import argparse
import sys
import time

from txdagu.testing.simulation.campaign import campaign
from txdagu.testing.simulation.cluster import simulate

ENOUGH = 300
"""Within so many seeds each row of the task's table and each kind of fault has to occur."""


def main(arguments: list[str]) -> int:
    """Exit status 0 if every invariant held in every seed, and, in so many that it must, everything occurred."""
    parser = argparse.ArgumentParser(prog="python -m txdagu.testing.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=300, help="how many (300)")
    parser.add_argument("--start", type=int, default=0, help="the first one (0)")
    parser.add_argument("--seed", type=int, help="only this one, with its timeline")
    options = parser.parse_args(arguments)
    if options.seed is not None:
        result = simulate(options.seed)
        sys.stdout.write(f"{result.story()}\n")
        return int(result.violation is not None)
    began = time.perf_counter()
    done = campaign(range(options.start, options.start + options.seeds))
    seconds = time.perf_counter() - began
    for result in done.failed:
        sys.stdout.write(f"{result.story()}\n\n")
    sys.stdout.write(
        f"{done.seeds} seeds, {len(done.failed)} failed"
        + "".join(f"; again with SEED={result.seed}" for result in done.failed)
        + f"; {done.events} events in {seconds:.1f} s, {done.events / seconds:.0f} a second\n"
    )
    for name in done.missing:
        sys.stdout.write(f"did not occur: {name}\n")
    return int(bool(done.failed) or (done.seeds >= ENOUGH and bool(done.missing)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
