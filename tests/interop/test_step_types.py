"""
Steps of type http, jq and archive through Dagu 1.30.2 and through us: the same states, and the same bytes on standard output.

`TXDAGU_REFERENCE` names the released program; without it these tests are skipped.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any, cast
from unittest import skipUnless

import pytest
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from txdagu.dagfile import load_dag
from txdagu.model.run import RunStatus
from txdagu.testing.steps import StepHarness

REFERENCE = os.environ.get("TXDAGU_REFERENCE", "")
STEPS = """\
type: graph
params: BASE=%s Q=val
env: [E: "a b"]
steps:
  - {name: h-plain, type: http, command: "GET ${BASE}/text"}
  - {name: h-silent, type: http, command: "GET ${BASE}/text", config: {silent: true}}
  - {name: h-missing, type: http, command: "GET ${BASE}/404", config: {silent: true}}
  - {name: h-json, type: http, command: "GET ${BASE}/json", config: {json: true}}
  - {name: h-json-silent, type: http, command: "GET ${BASE}/json", config: {json: "true", silent: true}}
  - {name: h-json-500, type: http, command: "GET ${BASE}/500", config: {json: true}}
  - {name: h-no-json, type: http, command: "GET ${BASE}/text", config: {json: true}}
  - {name: h-head, type: http, command: "HEAD ${BASE}/text"}
  - name: h-post
    type: http
    command: post ${BASE}/echo?z=9
    config: {silent: true, headers: {X-Foo: "${Q} ${E}"}, query: {b: "${Q}", a: "1 2&"}, body: '{"k":"${Q}"}'}
  - {name: h-delete, type: http, command: "DELETE ${BASE}/echo", config: {silent: true, body: x}}
  - {name: h-get-body, type: http, command: "GET ${BASE}/echo", config: {silent: true, body: x}}
  - {name: h-script, type: http, command: "PUT ${BASE}/echo", script: '{"body":"y${Q}","silent":true}'}
  - {name: h-redirect, type: http, command: "POST ${BASE}/redirect", config: {silent: true, body: x}}
  - {name: h-refused, type: http, command: "GET http://127.0.0.1:1/"}
  - {name: h-body-map, type: http, command: "POST ${BASE}/echo", config: {body: {a: 1}}}
  - {name: j-object, type: jq, command: ".",
     script: '{"b":1.50,"a":[1,"<é>",null,true],"e":{},"l":[],"n":12345678901234567890}'}
  - {name: j-each, type: jq, command: ".[]", script: '[1,"x",null,1234567,0.00001,{"k":1},"a\\nb"]'}
  - {name: j-raw, type: jq, command: ".[]", script: '[1,"x",null,1234567,0.00001,{"k":[1]},1e300,2.0,true,"a b"]',
     config: {raw: true}}
  - {name: j-refs, type: jq, command: '.k == "${Q}", .k as $Q | $Q', script: '{"k": "${Q}", "e": "${E}"}'}
  - {name: j-nothing, type: jq, command: "select(.x)", script: "{}"}
  - {name: j-error, type: jq, command: ".a.b", script: '{"a":[1]}'}
  - {name: j-bad-query, type: jq, command: ".a[", script: "{}"}
  - {name: j-bad-input, type: jq, command: ".", script: "[1"}
  - {name: a-create, type: archive, command: create, config: {source: src, destination: "${Q}.tar.gz"}}
  - {name: a-zip, type: archive, command: create,
     config: {source: src/, destination: new/o.zip, verifyIntegrity: true, exclude: ["**/*.log"]}}
  - {name: a-dry, type: archive, command: create,
     config: {source: src, destination: dry.tar, dryRun: true, include: ["src/**/*.txt"]}}
  - {name: a-list, type: archive, command: list, depends: a-create, config: {source: val.tar.gz}}
  - {name: a-list-some, type: archive, command: list, depends: a-create,
     config: {source: val.tar.gz, include: ["*.txt"]}}
  - {name: a-extract, type: archive, command: extract, depends: a-create,
     config: {source: val.tar.gz, destination: x1}}
  - {name: a-strip, type: archive, command: extract, depends: a-create,
     config: {source: val.tar.gz, destination: x2, stripComponents: 1, include: ["**/*.log"]}}
  - {name: a-flat, type: archive, command: extract, depends: a-create,
     config: {source: val.tar.gz, destination: x3, preservePaths: false, include: ["*.log", "src/**"]}}
  - {name: a-again, type: archive, command: extract, depends: a-extract,
     config: {source: val.tar.gz, destination: x1}}
  - {name: a-again-on, type: archive, command: extract, depends: a-extract,
     config: {source: val.tar.gz, destination: x1, continueOnError: true}}
  - {name: a-again-over, type: archive, command: extract, depends: [a-extract, a-again-on],
     config: {source: val.tar.gz, destination: x1, overwrite: "true"}}
  - {name: a-missing, type: archive, command: list, config: {source: none.zip}}
  - {name: a-unknown, type: archive, command: explode, config: {source: src}}
  - {name: a-no-format, type: archive, command: create, config: {source: src, destination: o.weird}}
"""
# What clocks say.
NORMAL = ((re.compile(r'"duration": "[^"]*"'), '"duration": ""'), (re.compile(r'"modTime": "[^"]*"'), '"modTime": ""'))


class Answers(Resource):
    isLeaf = True  # noqa: N815 - twisted.web's name

    def render(self, request: Any) -> bytes:
        """Nothing in it depends on time or client."""
        request.responseHeaders.removeHeader(b"date")
        request.setHeader(b"content-type", b"text/plain")
        request.responseHeaders.setRawHeaders(b"x-lower", [b"1", b"2"])
        path = request.path.decode()
        if path == "/echo":
            said = {
                "method": request.method.decode(),
                "uri": request.uri.decode(),
                "body": request.content.read().decode(),
            }
            said |= {name: request.getHeader(name) or "" for name in ("x-foo", "content-type")}
            return json.dumps(said).encode()
        if path == "/redirect":
            request.redirect(b"/echo")
            return b""
        if path in ("/404", "/500"):
            request.setResponseCode(int(path[1:]))
        if path in ("/500", "/json"):
            return b'{"b": 1.50, "a": ["<"], "big": 12345678901234567890}'
        return b"plain text\n"


def printed(path: str) -> str:
    """What is in a log file, without what differs from run to run."""
    text = Path(path).read_bytes().decode()
    for pattern, replacement in NORMAL:
        text = pattern.sub(replacement, text)
    return text


def tree(directory: Path) -> list[str]:
    """What was made in it."""
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


@pytest.mark.reference
@skipUnless(REFERENCE, "TXDAGU_REFERENCE does not name the released program")
class SameResultTests(TestCase):
    maxDiff = None

    def place(self) -> Path:
        """A directory with something to archive."""
        directory = Path(mkdtemp())
        self.addCleanup(rmtree, directory)
        (directory / "src" / "sub").mkdir(parents=True)
        (directory / "src" / "a.txt").write_text("hello\n")
        (directory / "src" / "sub" / "b.log").write_text("world\n")
        (directory / "src" / "link").symlink_to("a.txt")
        return directory

    async def theirs(self, text: str, where: Path) -> dict[str, tuple[str, str]]:
        """States and standard outputs by step, of the released program."""
        home = Path(mkdtemp())
        self.addCleanup(rmtree, home)
        file = home / "d.yaml"
        file.write_text(f"workingDir: {where}\n{text}")
        env = {"PATH": os.environ["PATH"], "HOME": str(home), "DAGU_HOME": str(home)}
        await getProcessOutputAndValue(REFERENCE, ["start", str(file)], env)
        (status,) = home.glob("data/dag-runs/d/dag-runs/*/*/*/*/attempt_*/status.jsonl")  # noqa: ASYNC240
        nodes = json.loads(status.read_text().splitlines()[-1])["nodes"]
        words = {2: "failed", 4: "succeeded"}
        return {node["step"]["name"]: (words[node["status"]], printed(node["stdout"])) for node in nodes}

    async def ours(self, text: str, where: Path) -> dict[str, tuple[str, str]]:
        """The same, of ours."""
        from twisted.internet import reactor  # noqa: TID251  # trial's, for real sockets

        logs = mkdtemp()
        self.addCleanup(rmtree, logs)
        dag = load_dag(f"workingDir: {where}\n{text}", "d.yaml", name="d")
        status: RunStatus = await StepHarness(logs, reactor).run(dag)
        return {node.step.name: (node.state.label, printed(node.stdout)) for node in status.nodes}

    async def test_same(self) -> None:
        """Every step ends in the same state, prints the same, and leaves the same files."""
        from twisted.internet import reactor  # noqa: TID251  # trial's, for real sockets

        port = cast("Any", reactor).listenTCP(0, Site(Answers()), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        text = STEPS % f"http://127.0.0.1:{port.getHost().port}"
        places = self.place(), self.place()
        theirs, ours = await self.theirs(text, places[0]), await self.ours(text, places[1])
        self.assertEqual(ours.keys(), theirs.keys())
        differ = {name: (ours[name], theirs[name]) for name in theirs if ours[name] != theirs[name]}
        self.assertEqual(differ, {})
        self.assertEqual(tree(places[1]), tree(places[0]))
