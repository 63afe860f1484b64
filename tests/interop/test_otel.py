"""
Traces of Dagu 1.30.2 and of ours, at the same collector: the same spans, with the same attributes, in the same order of descent.

`TXDAGU_REFERENCE` names the released program; without it these tests are skipped.
"""

from __future__ import annotations

import os
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any
from unittest import skipUnless

import pytest
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import TestCase

from txdagu.dagfile import load_dag
from txdagu.testing.collector import TraceCollector
from txdagu.testing.steps import StepHarness

REFERENCE = os.environ.get("TXDAGU_REFERENCE", "")
GIVEN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
DAG = """\
otel: &otel
  enabled: true
  endpoint: "%s"
  insecure: true
  headers: {X-Tok: "a ${HOME}"}
  resource: {service.name: mine, team: "t ${HOME}"}
steps:
  - {name: good, command: echo hi}
  - {name: child, call: kid}
  - {name: bad, command: exit 3, continueOn: failed}
  - {name: no, command: echo no, precondition: "false", continueOn: skipped}
  - {name: last, command: exit 4}
  - {name: never, command: echo never}
handlerOn:
  exit: {command: echo bye}
---
name: kid
otel: {enabled: true, endpoint: "%s", insecure: true}
steps:
  - {name: k, command: "true"}
"""


@pytest.mark.reference
@skipUnless(REFERENCE, "TXDAGU_REFERENCE does not name the released program")
class SameTraceTests(TestCase):
    maxDiff = None

    async def collect(self, run: Any, home: str) -> tuple[dict[str, Any], dict[str, str]]:
        """What a program sends, in words that do not differ from run to run; and the last headers."""
        from twisted.internet import reactor  # noqa: TID251  # trial's, for real sockets

        collector = TraceCollector(reactor)
        port: Any = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(collector.factory)
        endpoint = f"127.0.0.1:{port.getHost().port}"
        try:
            await run(DAG % (endpoint, endpoint), home)
        finally:
            await port.stopListening()
            await collector.factory.drain(0)
        names = {span.id: span.name for span in collector.spans.values()}
        varying = ("dag.run_id", "dag.parent_run_id")
        told = {
            span.name: (
                span.trace,
                names.get(span.parent, span.parent),
                {name: "" if name in varying else value for name, value in span.attributes.items()},
                span.resource,
            )
            for span in collector.spans.values()
        }
        return told, {name: value for name, value in collector.headers[-1].items() if name == "x-tok"}

    async def theirs(self, text: str, home: str) -> None:
        """Run the released program."""
        file = Path(home, "d.yaml")
        file.write_text(text)  # noqa: ASYNC240
        env = {"PATH": os.environ["PATH"], "HOME": home, "DAGU_HOME": home, "TRACEPARENT": GIVEN}
        await getProcessOutputAndValue(REFERENCE, ["start", str(file)], env)

    async def ours(self, text: str, home: str) -> None:
        """Run ours."""
        from twisted.internet import reactor  # noqa: TID251  # trial's, for real sockets

        harness = StepHarness(home, reactor, {"HOME": home, "TRACEPARENT": GIVEN})
        await harness.run(load_dag(text, "d.yaml", name="d"))
        await harness.engine.sent()

    async def test_same(self) -> None:
        """Names, descent, attributes, resources and headers are the same."""
        home = mkdtemp()
        self.addCleanup(rmtree, home)
        theirs, their_headers = await self.collect(self.theirs, home)
        ours, headers = await self.collect(self.ours, home)
        self.assertEqual(ours, theirs)
        self.assertEqual(headers, their_headers)
