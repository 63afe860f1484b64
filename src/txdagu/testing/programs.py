"""Real programs under test: started, waited for by what they say, and always ended."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from signal import SIGKILL, SIGTERM, Signals
from types import TracebackType
from typing import Self

DAGU = (sys.executable, "-m", "txdagu")


class Program:
    """
    A running program whose output lines can be waited for.

    Standard output and standard error are read together, line by line. Leaving the context kills whatever is left of
    its process group.
    """

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], cwd: str | None = None) -> None:
        self.lines: list[str] = []
        self._waiting: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.process = subprocess.Popen(
            list(argv),
            env={**os.environ, **env},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._waiting.put(line.rstrip("\n"))
        self._waiting.put(None)

    def wait_for(self, pattern: str, seconds: float = 30) -> re.Match[str]:
        """The first match in a line that was not yet looked at; `AssertionError` with all output if it ends or takes too long."""
        while True:
            try:
                line = self._waiting.get(timeout=seconds)
            except queue.Empty:
                raise AssertionError(f"no line matched {pattern!r} within {seconds} s:\n{self.output}") from None
            if line is None:
                raise AssertionError(f"ended ({self.process.wait()}) before a line matched {pattern!r}:\n{self.output}")
            self.lines.append(line)
            found = re.search(pattern, line)
            if found:
                return found

    def wait(self, seconds: float = 60) -> int:
        """Its exit code, once it has ended and said its last word."""
        code = self.process.wait(seconds)
        self._reader.join(seconds)
        while not self._waiting.empty():
            line = self._waiting.get()
            if line is not None:
                self.lines.append(line)
        return code

    def signal(self, number: Signals) -> None:
        """Send it a signal; not to its group."""
        self.process.send_signal(number)

    def stop(self, number: Signals = SIGTERM, seconds: float = 30) -> int:
        """Send it a signal and wait for its end; the exit code."""
        self.signal(number)
        return self.wait(seconds)

    @property
    def output(self) -> str:
        """Everything it said so far and that was looked at."""
        return "\n".join(self.lines)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, SIGKILL)
        self.process.wait()
        self._reader.join()
        if self.process.stdout is not None:
            self.process.stdout.close()


def run(argv: Sequence[str], env: Mapping[str, str], cwd: str | None = None, seconds: float = 60) -> Program:
    """Run a program to its end; its `lines` and ``process.returncode`` tell what it did."""
    with Program(argv, env, cwd) as program:
        program.wait(seconds)
    return program
