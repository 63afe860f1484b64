"""
What a step that prints a lot costs the process that runs it: seconds, and its peak of memory.

``python bench/output.py --megabytes 2048`` runs one DAG for each way that output can take: straight into the log, through this
process because a secret has to be hidden, as a single line, copied to a file besides, and captured up to the limit.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WAYS = {
    "straight": "steps:\n  - command: head -c {size} /dev/zero\n",
    "masked": "secrets: [{{name: S, provider: env, key: HOST_SECRET}}]\nsteps:\n  - command: head -c {size} /dev/zero\n",
    "one line": "secrets: [{{name: S, provider: env, key: HOST_SECRET}}]\n"
    "steps:\n  - command: head -c {size} /dev/zero | tr '\\0' x\n",
    "copied": "steps:\n  - command: head -c {size} /dev/zero\n    stdout: copy\n",
    "merged, captured": "steps:\n  - command: head -c {size} /dev/zero\n"
    "    logOutput: merged\n    output: V\n    continueOn: failed\n",
}


def measure(definition: str) -> tuple[float, float, int]:
    """Seconds, peak memory in MiB, and bytes of the largest log of one run."""
    with tempfile.TemporaryDirectory() as home:
        file = Path(home, "big.yaml")
        file.write_text(definition)
        began = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "txdagu", "start", "-q", str(file)],
            env={**os.environ, "DAGU_HOME": home, "HOST_SECRET": "hush-hush", "DAGU_DEFAULT_EXECUTION_MODE": "local"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _, ended, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(ended)
        took = time.monotonic() - began
        largest = max(path.stat().st_size for path in Path(home, "logs").rglob("*") if path.is_file())
    return took, usage.ru_maxrss / 1024, largest


def main() -> None:
    """Measure all ways, and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=2048)
    size = parser.parse_args().megabytes * 1024 * 1024
    print(f"{'way':<18} {'seconds':>8} {'peak MiB':>9} {'log bytes':>12}")
    for way, definition in WAYS.items():
        took, peak, written = measure(definition.format(size=size))
        print(f"{way:<18} {took:>8.1f} {peak:>9.0f} {written:>12}")


if __name__ == "__main__":
    main()
