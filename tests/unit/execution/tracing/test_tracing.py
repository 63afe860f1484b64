"""Traces of runs, sent to a collector with real sockets."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any, cast
from unittest.mock import patch

from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from txdagu.dagfile import load_dag
from txdagu.execution.tracing.export import Exports
from txdagu.model.run import RunStatus
from txdagu.model.status import RunState
from txdagu.testing.collector import TraceCollector
from txdagu.testing.steps import StepHarness

GIVEN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
STEPS = """\
steps:
  - {name: a, command: "echo $TRACEPARENT", output: PLACE}
  - {name: child, call: kid}
  - {name: bad, command: exit 3, continueOn: failed}
  - {name: no, command: echo no, precondition: "false", continueOn: skipped}
---
name: kid
%s
steps:
  - {name: k, command: "true"}
"""


class TracingTests(TestCase):
    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        """A collector, and an engine with the same reactor."""
        from twisted.internet import reactor  # noqa: TID251  # trial's, for real sockets

        self.reactor = cast("Any", reactor)
        self.directory = mkdtemp()
        self.addCleanup(rmtree, self.directory)
        self.collector = TraceCollector(self.reactor)
        self.warnings: list[str] = []
        self.patch(Exports, "log", self)
        port: Any = await TCP4ServerEndpoint(self.reactor, 0, interface="127.0.0.1").listen(self.collector.factory)
        web = self.reactor.listenTCP(0, self.collector.site, interface="127.0.0.1")
        self.grpc, self.http = f"127.0.0.1:{port.getHost().port}", f"http://127.0.0.1:{web.getHost().port}"
        self.addCleanup(web.stopListening)
        self.addCleanup(self.collector.factory.drain, 0)
        self.addCleanup(port.stopListening)

    def warn(self, text: str, **facts: object) -> None:
        """What is logged of exports."""
        self.warnings.append(text.format(**facts))

    async def send(self, otel: str, child: str = "", trace_parent: str = "") -> RunStatus:
        """A run with a child, and its trace sent."""
        harness = StepHarness(self.directory, self.reactor, {"TRACEPARENT": trace_parent, "TOKEN": "t"})
        status = await harness.run(load_dag(f"otel: {otel}\n{STEPS % child}", "d.yaml", name="d"))
        await harness.engine.sent()
        self.lines = [line for sink in harness.store.sinks for line in sink.lines]
        return status

    async def test_spans(self) -> None:
        """One span for the run and one for each of its steps that began; headers and resource are evaluated."""
        otel = f'{{enabled: true, endpoint: "{self.grpc}", insecure: true, headers: {{X-Tok: "a ${{TOKEN}}"}},'
        status = await self.send(f'{otel} resource: {{team: "t-${{TOKEN}}", service.name: mine, n: 5}}}}')
        self.assertEqual(self.warnings, [])
        spans = self.collector.spans
        self.assertEqual(set(spans), {"DAG: d", "Step: a", "Step: child", "Step: bad", "Step: no"})
        top = spans["DAG: d"]
        self.assertEqual(
            top.attributes, {"dag.name": "d", "dag.run_id": status.run.id, "dag.status": "partially_succeeded"}
        )
        self.assertEqual((top.parent, top.error), ("", ""))
        self.assertEqual(top.resource, {"service.name": "mine", "team": "t-t", "n": "5"})
        bad = spans["Step: bad"]
        self.assertEqual(bad.attributes, {"step.name": "bad", "step.status": "failed", "step.exit_code": 3})
        self.assertIn("exit status 3", bad.error)
        self.assertEqual(spans["Step: no"].attributes, {"step.name": "no", "step.status": "skipped"})
        self.assertEqual({span.parent for span in spans.values()} - {""}, {top.id})
        self.assertGreaterEqual(top.nanoseconds, bad.nanoseconds)
        self.assertEqual(self.collector.headers[0]["x-tok"], "a t")
        first = spans["Step: a"]
        self.assertEqual(status.nodes[0].outputs["PLACE"], f"00-{first.trace}-{first.id}-01")

    async def test_children_go_on(self) -> None:
        """A called run goes on below its step, and the whole below the place where our process was called from."""
        otel = f'{{enabled: true, endpoint: "{self.grpc}", insecure: true}}'
        await self.send(otel, f"otel: {otel}", GIVEN)
        spans = self.collector.spans
        self.assertEqual({span.trace for span in spans.values()}, {GIVEN.split("-")[1]})
        self.assertEqual(spans["DAG: d"].parent, GIVEN.split("-")[2])
        self.assertEqual(spans["DAG: kid"].parent, spans["Step: child"].id)
        self.assertEqual(spans["Step: k"].parent, spans["DAG: kid"].id)
        self.assertEqual(spans["DAG: kid"].attributes["dag.parent_name"], "d")

    async def test_http(self) -> None:
        """A URL asks for OTLP over HTTP, with the usual path where it has none."""
        for url, path in ((self.http, "/v1/traces"), (f"{self.http}/own/traces", "/own/traces")):
            await self.send(f'{{enabled: true, endpoint: "{url}", headers: {{X-Tok: b}}}}')
            self.assertEqual(self.collector.paths.pop(), path)
        self.assertEqual(self.collector.headers[0]["x-tok"], "b")
        self.assertEqual(self.collector.headers[0]["content-type"], "application/x-protobuf")
        self.assertIn("Step: bad", self.collector.spans)

    async def test_troubles(self) -> None:
        """Whatever goes wrong with the trace, the run ends as it would have; the log says what it was."""
        self.collector.status = 503
        silent = self.reactor.listenTCP(0, Factory.forProtocol(Protocol), interface="127.0.0.1")
        self.addCleanup(silent.stopListening)
        nobody = f"http://127.0.0.1:{silent.getHost().port}"
        for otel, expected in (
            ('endpoint: "127.0.0.1:1", insecure: true', "was not sent to 127.0.0.1:1: "),
            ('endpoint: "http://127.0.0.1:1"', "was not sent to http://127.0.0.1:1/v1/traces: Connection was refused"),
            (f'endpoint: "{self.grpc}", timeout: 1s', f"was not sent to {self.grpc}: "),
            (f'endpoint: "{nobody}", timeout: 50ms', f"was not sent to {nobody}/v1/traces: no answer within 0.05 s"),
            (f'endpoint: "{self.http}"', "it answered 503 Service Unavailable"),
        ):
            status = await self.send(f"{{enabled: true, {otel}}}")
            self.assertIs(status.state, RunState.PARTIALLY_SUCCEEDED, status.error)
            self.assertIn(expected, "\n".join(self.warnings))
            self.warnings.clear()
        await self.send('{enabled: true, endpoint: "tcp://x"}')
        self.assertIn("no trace of this run is sent: otel: endpoint 'tcp://x' is no address", "\n".join(self.lines))
        self.assertEqual(self.warnings, [])

    async def test_switched_off(self) -> None:
        """Without `enabled` nothing is sent, nothing imported, and steps are told of no trace."""
        with patch.dict(sys.modules, {"txdagu.execution.tracing.sending": None}):
            status = await self.send(f'{{endpoint: "{self.grpc}", insecure: true}}')
            self.assertEqual(status.nodes[0].outputs["PLACE"], "")
            self.assertEqual(self.warnings, [])
            status = await self.send(f'{{enabled: true, endpoint: "{self.grpc}", insecure: true}}')
            self.assertIs(status.state, RunState.PARTIALLY_SUCCEEDED)
        self.assertIn("install it with pip install 'txdagu[otel]'", self.warnings[0])
        self.assertEqual(self.collector.spans, {})

    async def test_secrets(self) -> None:
        """Errors in a trace show no secrets."""
        text = f"""\
otel: {{enabled: true, endpoint: "{self.grpc}", insecure: true}}
secrets: [{{name: S, provider: env, key: HIDDEN}}]
steps: [{{name: a, command: "echo $S >&2; exit 1"}}]
"""
        harness = StepHarness(self.directory, self.reactor, {"HIDDEN": "abracadabra"})
        status = await harness.run(replace(load_dag(text, "d.yaml", name="d"), max_output_size=99))
        await harness.engine.sent()
        self.assertIn("*******", self.collector.spans["Step: a"].error)
        self.assertNotIn("abracadabra", repr(self.collector.spans))
        self.assertTrue(Path(status.nodes[0].stderr).is_file())  # noqa: ASYNC240
