"""What a step prints costs the process that runs it a bounded buffer, however much it is and whichever way it takes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import TestCase

from txdagu.testing.programs import DAGU

MEGABYTES = 96
LIMIT = 140  # MiB for the whole process, which needs some 70 for itself: no output may be in memory once

# Who starts a program passes its own peak on to it, so a small process has to.
MEASURED = """
import resource, subprocess, sys
subprocess.call(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""

# Straight into a log; through this process as one line without an end, and copied; captured above its limit; any bytes.
FILE = f"""\
secrets: [{{name: S, provider: env, key: HOST_SECRET}}]
type: graph
steps:
  - name: line
    command: head -c {MEGABYTES}M /dev/zero | tr '\\0' x; echo hush-hush
    stdout: copy
  - name: captured
    command: head -c {MEGABYTES}M /dev/zero
    logOutput: merged
    output: TOO_MUCH
    continueOn: failed
  - name: bytes
    command: head -c 1M /dev/urandom | tee bytes
    output: BYTES
    continueOn: failed
"""


class LargeOutputTests(TestCase):
    def test_memory_and_bytes(self) -> None:
        """Peak memory stays far below what is printed, and the logs have every byte of it but the secret."""
        home = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, home, ignore_errors=True)
        (home / "big.yaml").write_text(FILE)
        done = subprocess.run(
            [sys.executable, "-I", "-c", MEASURED, *DAGU, "start", "-q", "big.yaml"],
            cwd=home,
            env={
                **os.environ,
                "DAGU_HOME": str(home),
                "HOST_SECRET": "hush-hush",
                "DAGU_DEFAULT_EXECUTION_MODE": "local",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertIn("output exceeded maximum size limit of 1048576 bytes", done.stderr)
        self.assertLess(int(done.stdout.split()[-1]) // 1024, LIMIT)
        logs = {path.name.partition(".")[0]: path for path in home.glob("logs/big/*/run_*/*") if path.suffix != ".err"}
        for path in (logs["line"], home / "copy"):
            self.assertEqual(path.stat().st_size, MEGABYTES * 1024 * 1024 + len("*******\n"))
            with path.open("rb") as file:
                file.seek(-12, os.SEEK_END)
                self.assertEqual(file.read(), b"xxxx*******\n")
        self.assertEqual(logs["captured"].stat().st_size, MEGABYTES * 1024 * 1024)
        self.assertEqual(logs["bytes"].read_bytes(), (home / "bytes").read_bytes())
