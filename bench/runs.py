"""
What a step and a child cost, here and in the released program: ``python bench/runs.py --help``.

Each run is ``start`` in a process and a home of its own; the programs take turns. CPU is what the kernel counted for that process
and all that it waited for, so the steps' own processes are in it, alike for both. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from threading import Event, Thread
from time import perf_counter

OURS = "txdagu"
THEIRS = "Dagu"


def chain(steps: int) -> str:
    """A DAG of steps in a row."""
    return "steps:\n" + '  - "true"\n' * steps


def graph(steps: int) -> str:
    """A DAG in which ten steps at a time wait for the ten before; ten of them run at once."""
    lines = ["type: graph", "maxActiveSteps: 10", "steps:"]
    for index in range(steps):
        row = index // 10 * 10
        before = ", ".join(f"s{other}" for other in range(max(row - 10, 0), row))
        lines.append(f'  - {{name: s{index}, command: "true", depends: [{before}]}}')
    return "\n".join(lines) + "\n"


def fan_out(children: int) -> str:
    """A step that calls a DAG of one step for each of so many items, ten at once as is the default."""
    items = ", ".join(map(str, range(children)))
    return f'steps:\n  - name: all\n    call: one\n    parallel: [{items}]\n---\nname: one\nsteps:\n  - "true"\n'


@dataclass(frozen=True)
class Load:
    """A DAG of so many parts, and the same one with a single part: what is between them is the cost of the parts."""

    name: str
    parts: int
    text: Callable[[int], str]


LOADS = (
    Load("chain of 100", 100, chain),
    Load("chain of 1,000", 1000, chain),
    Load("graph of 1,000", 1000, graph),
    Load("fan-out of 200", 200, fan_out),
    Load("fan-out of 1,000", 1000, fan_out),
)


@dataclass(frozen=True)
class Taken:
    """What one run took: seconds, seconds of CPU, MiB at most in one process, files open at most, MiB left on disk."""

    wall: float
    cpu: float
    resident: float
    files: int
    disk: float


def run_once(command: list[str], text: str) -> Taken:
    """Run one DAG to its end in a fresh home. Raises `RuntimeError` if it does not succeed."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        file = home / "dags" / "load.yaml"
        file.parent.mkdir()
        file.write_text(text)
        environment = {**os.environ, "DAGU_HOME": name, "HOME": name, "DAGU_DEFAULT_EXECUTION_MODE": "local"}
        with (home / "said").open("w") as said:
            began = perf_counter()
            process = subprocess.Popen([*command, "start", str(file)], env=environment, stdout=said, stderr=said)
            watch = FileWatch(process.pid)
            _, status, used = os.wait4(process.pid, 0)
            wall = perf_counter() - began
            files = watch.stop()
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"{command[0]} ended with {process.returncode}:\n{(home / 'said').read_text()[-2000:]}")
        disk = sum(path.stat().st_size for path in (home / "data").rglob("*") if path.is_file())
        return Taken(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, files, disk / 2**20)


class FileWatch:
    """Counts a process's open files every ten milliseconds."""

    def __init__(self, pid: int) -> None:
        self._directory = Path("/proc") / str(pid) / "fd"
        self._most = 0
        self._ended = Event()
        self._thread = Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._ended.wait(0.01):
            try:
                self._most = max(self._most, sum(1 for _ in self._directory.iterdir()))
            except OSError:
                return

    def stop(self) -> int:
        """The most there were."""
        self._ended.set()
        self._thread.join()
        return self._most


def spread(values: list[float], form: str) -> str:
    """Median and range."""
    return f"{median(values):{form}} [{min(values):{form}}..{max(values):{form}}]"


def measure(load: Load, programs: dict[str, list[str]], repetitions: int) -> dict[str, tuple[list[Taken], list[Taken]]]:
    """For each program, what runs with one part took, and what runs with all parts took."""
    taken: dict[str, tuple[list[Taken], list[Taken]]] = defaultdict(lambda: ([], []))
    for _ in range(repetitions):
        for name, command in programs.items():
            taken[name][0].append(run_once(command, load.text(1)))
            taken[name][1].append(run_once(command, load.text(load.parts)))
    return taken


def table(load: Load, taken: dict[str, tuple[list[Taken], list[Taken]]]) -> list[str]:
    """The rows of one load: per part, what all parts took beyond one; beside them whole runs."""

    def per_part(name: str, field: str) -> list[float]:
        one, whole = taken[name]
        return [
            1000 * (getattr(large, field) - getattr(small, field)) / (load.parts - 1)
            for small, large in zip(one, whole, strict=True)
        ]

    rows = []
    base = {field: median(per_part(THEIRS, field)) if THEIRS in taken else None for field in ("wall", "cpu")}
    for name, (_, whole) in taken.items():
        cells = [load.name, name]
        for field in ("wall", "cpu"):
            values = per_part(name, field)
            ratio = f" = {median(values) / base[field]:.2f}" if base[field] else ""
            cells.append(spread(values, ".2f") + ratio)
        cells.append(spread([run.wall for run in whole], ".2f"))
        cells.append(f"{max(run.resident for run in whole):.0f}")
        cells.append(str(max(run.files for run in whole)))
        cells.append(f"{max(run.disk for run in whole):.1f}")
        rows.append("| " + " | ".join(cells) + " |")
    return rows


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    reference = os.environ.get("TXDAGU_REFERENCE", "")
    parser.add_argument("--reference", default=reference, help="the released program (default: TXDAGU_REFERENCE)")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--only", default="", help="loads whose name has this text")
    parser.add_argument("--quick", action="store_true", help="once, and only chain of 100: to see that it works")
    options = parser.parse_args()
    programs = {OURS: [sys.executable, "-m", "txdagu"]}
    if options.reference:
        programs = {THEIRS: [options.reference], **programs}
    else:
        print("TXDAGU_REFERENCE names no released program: there is nothing to compare with", file=sys.stderr)
    print("| load | program | ms a part | CPU ms a part | whole run s | RSS MiB | files open | MiB on disk |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for load in LOADS:
        if options.only in load.name and not (options.quick and load is not LOADS[0]):
            taken = measure(load, programs, 1 if options.quick else options.repetitions)
            print("\n".join(table(load, taken)), flush=True)


if __name__ == "__main__":
    main()
