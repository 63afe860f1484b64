"""
``python -m txdagu.testing.differential.ours``: many commands of this program in one process.

Starting a Python process costs more than most DAGs do, so `validate` and `start` of all files run here, several at once, each
with its own environment, home and current directory. Jobs come as a JSON list on standard input, each with `environment`,
`directory`, `file` and `arguments` (those of ``start``); the answers leave as a JSON list on standard output, in the same order:
`valid`, `messages` of both commands, and the `exit` code of ``start``.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, chdir, contextmanager, redirect_stderr, redirect_stdout
from typing import Any
from unittest.mock import patch

from twisted.internet.defer import DeferredSemaphore, gatherResults
from twisted.internet.interfaces import IReactorTime

from txdagu.cli.arguments import parse
from txdagu.cli.progress import Silence
from txdagu.cli.reactor import Interruption, run_in_reactor
from txdagu.cli.running import ForegroundRun, exit_code, failure_sentence, foreground
from txdagu.cli.settings import settings_from
from txdagu.cli.start import Options, run_request
from txdagu.cli.validate import validate
from txdagu.model.errors import DaguError, error_lines

AT_ONCE = 6
SECONDS = 60

Job = dict[str, Any]


@contextmanager
def _surroundings(job: Job) -> Iterator[None]:
    """Environment and current directory of a job; only for code that does not wait."""
    with patch.dict(os.environ, job["environment"], clear=True), chdir(job["directory"]):
        yield


def _validate(job: Job) -> tuple[bool, str]:
    messages = io.StringIO()
    with _surroundings(job), redirect_stdout(messages), redirect_stderr(messages):
        try:
            code = validate([job["file"]])
        except DaguError as error:
            return False, messages.getvalue() + error_lines(error)
    return code == 0, messages.getvalue()


async def _start(job: Job, reactor: IReactorTime) -> tuple[int, str]:
    try:
        async with AsyncExitStack() as stack:
            with _surroundings(job):
                options = parse(Options(), "start", job["arguments"])
                settings = settings_from(options)
                request = run_request(settings, options)
                parts = await stack.enter_async_context(foreground(settings, reactor))
            running = ForegroundRun(parts, request, Silence())
            impatience = [
                reactor.callLater(SECONDS, running.cancel, f"it took more than {SECONDS} s"),
                reactor.callLater(SECONDS + 5, running.kill),
            ]
            family = await running.follow()
            for call in impatience:
                if call.active():
                    call.cancel()
        code = exit_code(family.top)
        return code, failure_sentence(family.top) if code else ""
    except DaguError as error:
        return error.exit_code, error_lines(error)


async def _answer(job: Job, reactor: IReactorTime) -> Job:
    valid, messages = _validate(job)
    code, said = await _start(job, reactor)
    return {"valid": valid, "messages": messages + said, "exit": code}


def main() -> int:
    """Answer all jobs."""
    jobs: list[Job] = json.load(sys.stdin)

    async def run_all(reactor: Any, interruption: Interruption) -> int:
        permits = DeferredSemaphore(AT_ONCE)
        answers = [permits.run(_answer, job, reactor) for job in jobs]
        results = await gatherResults(answers, consumeErrors=True)
        json.dump(results, sys.stdout)
        return 0

    return run_in_reactor(run_all)


if __name__ == "__main__":
    sys.exit(main())
