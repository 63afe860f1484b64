"""HTTP steps against a server of Twisted's, with real sockets. The formats were measured on Dagu 1.30.2."""

from __future__ import annotations

import json
from functools import partial
from gc import collect
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any, cast

from twisted.internet import ssl
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from txdagu.execution.steps import http
from txdagu.model.dag import Command, Dag, Output, Step
from txdagu.model.run import NodeStatus
from txdagu.model.status import NodeState
from txdagu.testing.certificates import Authority
from txdagu.testing.steps import StepHarness

BIG = 3 * 1024 * 1024


class Answers(Resource):
    """Answers by path, and tells what was asked."""

    isLeaf = True  # noqa: N815 - twisted.web's name

    def __init__(self) -> None:
        super().__init__()
        self.open: list[Any] = []

    def render(self, request: Any) -> bytes | int:
        """Always the same headers, in no special order."""
        request.responseHeaders.removeHeader(b"date")
        request.setHeader(b"x-lower-case", b"v")
        request.setHeader(b"content-type", b"text/plain")
        request.responseHeaders.setRawHeaders(b"x-a", [b"1", b"2"])
        path = request.path.decode()
        if path == "/echo":
            return json.dumps(
                {
                    "method": request.method.decode(),
                    "uri": request.uri.decode(),
                    "body": request.content.read().decode(),
                    "type": request.getHeader("content-type"),
                    "foo": request.getHeader("x-foo"),
                    **(
                        {"login": [request.getUser().decode(), request.getPassword().decode()]}
                        if request.getUser()
                        else {}
                    ),
                    "lengths": len(request.requestHeaders.getRawHeaders("content-length", [])),
                }
            ).encode()
        if path == "/never":
            self.open.append(request)
            request.notifyFinish().addErrback(lambda _: self.open.remove(request))
            return NOT_DONE_YET
        if path == "/redirect":
            request.redirect(b"/text")
            return b""
        if path == "/big":
            return b"x" * BIG
        if path == "/bytes":
            return bytes(range(256))
        if path == "/json":
            return b'{"b": 1.50, "a": ["<"]}'
        if path.startswith("/4"):
            request.setResponseCode(int(path[1:]))
        if path == "/204":
            request.setResponseCode(204)
            return b""
        return b"plain text\n"


class Saying(Protocol):
    """Says the same to everything, and hangs up."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def dataReceived(self, data: bytes) -> None:
        """The request."""
        if self.transport is not None:
            self.transport.write(self._answer)
            self.transport.loseConnection()


class HttpTests(TestCase):
    def setUp(self) -> None:
        """A server, and an engine with the same reactor."""
        from twisted.internet import reactor  # noqa: TID251  # trial's, for real sockets

        self.reactor = cast("Any", reactor)
        self.directory = mkdtemp()
        self.addCleanup(rmtree, self.directory)
        self.answers = Answers()
        port = self.reactor.listenTCP(0, Site(self.answers), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.base = f"http://127.0.0.1:{port.getHost().port}"
        self.harness = StepHarness(self.directory, reactor)

    async def ask(self, request: str, script: str = "", **config: Any) -> tuple[NodeStatus, str, str]:
        method, _, path = request.partition(" ")
        command = Command(f"{method} {self.base}{path}")
        step = Step("a", type="http", commands=(command,), script=script, config=config, output=Output("O"))
        return await self.harness.run_step(step, params="Q=val", env=("E=env",))

    async def test_plain(self) -> None:
        """Status line, headers in order and Title-Case, body; captured as output."""
        node, out, _ = await self.ask("GET /text")
        self.assertIs(node.state, NodeState.SUCCEEDED, node.error)
        lines = out.split("\n")
        self.assertEqual(lines[0], "200 OK")
        self.assertEqual(
            [line for line in lines[1:] if not line.startswith("Server")],
            [
                "Content-Length: 11\r",
                "Content-Type: text/plain\r",
                "X-A: 1\r",
                "X-A: 2\r",
                "X-Lower-Case: v\r",
                "plain text",
                "",
            ],
        )
        self.assertEqual(node.outputs["O"], out.strip())

    async def test_silent(self) -> None:
        """A silent step prints the body alone if the answer is good, else all of it."""
        self.assertEqual((await self.ask("GET /text", silent=True))[1], "plain text\n")
        node, out, _ = await self.ask("GET /404", silent=True)
        self.assertTrue(out.startswith("404 Not Found\nContent-Length: 11\r\n"), out)
        self.assertEqual(node.error, 'failed to execute step "a": http status code not 2xx: 404')

    async def test_any_certificate(self) -> None:
        """A certificate that nobody vouches for is taken with skipTLSVerify, and only with it."""
        own = Authority().issue("nobody", names=["localhost"])
        options = ssl.PrivateCertificate.loadPEM(own.key_pem() + own.pem).options()
        port = self.reactor.listenSSL(0, Site(self.answers), options, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        for host in ("127.0.0.1", "localhost"):
            self.base = f"https://{host}:{port.getHost().port}"
            node, out, _ = await self.ask("GET /text", silent=True, skipTLSVerify=True)
            self.assertEqual(out, "plain text\n", node.error)
        node, _, _ = await self.ask("GET /text")
        self.assertIn("certificate", node.error)

    async def test_request(self) -> None:
        """Headers, query and body are evaluated and sent; the query is appended to one that is there."""
        config: dict[str, Any] = {
            "headers": {"X-Foo": "${Q} ${E}"},
            "query": {"z": "1 2", "b": "${Q}"},
            "body": '{"k":"${Q}"}',
        }
        _, out, _ = await self.ask("post /echo?y=9", silent=True, **config)
        self.assertEqual(
            json.loads(out),
            {
                "method": "POST",
                "uri": "/echo?y=9&b=val&z=1+2",
                "body": '{"k":"val"}',
                "type": "text/plain; charset=utf-8",
                "foo": "val env",
                "lengths": 1,
            },
        )

    async def test_login_in_the_url(self) -> None:
        """User and password of a URL are sent as a header, unless the step has one, and shown nowhere."""
        plain = self.base
        self.base = plain.replace("://", "://ann:p%40ss@")
        _, out, _ = await self.ask("GET /echo", silent=True)
        self.assertEqual(json.loads(out)["login"], ["ann", "p@ss"])
        _, out, _ = await self.ask("GET /echo", silent=True, headers={"authorization": "Bearer x"})
        self.assertNotIn("login", json.loads(out))
        node, _, err = await self.ask("GET /404", debug=True)
        self.assertNotIn("p%40ss", err + node.error)
        self.assertIn(f"> GET {plain}/404\n", err)
        self.base = "http://ann:p%40ss@127.0.0.1:1"
        node, _, _ = await self.ask("GET /")
        self.assertIn("GET http://127.0.0.1:1/: Connection was refused", node.error)

    async def test_length_is_ours(self) -> None:
        """A length that the step says besides the body is not sent: there would be two."""
        _, out, _ = await self.ask("POST /echo", silent=True, body="abc", headers={"content-length": "5"})
        self.assertEqual((json.loads(out)["lengths"], json.loads(out)["body"]), (1, "abc"))

    async def test_script(self) -> None:
        """The script's object lies over the config; GET has no body."""
        node, out, _ = await self.ask("DELETE /echo", '{"body": "y${Q}", "silent": "true"}', body="x")
        self.assertEqual(json.loads(out)["body"], "yval", node.error)
        _, out, _ = await self.ask("GET /echo", silent=True, body="x")
        self.assertEqual(json.loads(out)["body"], "")
        node, _, _ = await self.ask("GET /echo", "[1]")
        self.assertIn("the script of an http step is a JSON object with its options", node.error)

    async def test_json(self) -> None:
        """One object with status, headers and body; silent, with the body alone; not without JSON."""
        _, out, _ = await self.ask("GET /json", json=True)
        value = json.loads(out)
        self.assertTrue(
            out.startswith('{\n "status_code": 200,\n "headers": {\n  "Content-Length": [\n   "23"\n  ],\n'), out
        )
        self.assertTrue(
            out.endswith(' "body": {\n  "a": [\n   "\\u003c"\n  ],\n  "b": 1.5\n }\n}'),
            out,
        )
        self.assertEqual(value["headers"]["X-A"], ["1", "2"])
        _, out, _ = await self.ask("GET /json", json=True, silent=True)
        self.assertTrue(out.startswith('{\n "status_code": 0,\n "headers": null,\n "body": {\n'), out)
        node, out, _ = await self.ask("GET /text", json=True)
        self.assertEqual(out, "")
        self.assertIn("the body of the answer is not JSON", node.error)
        node, out, _ = await self.ask("GET /404", json=True)
        self.assertIn("not JSON", node.error)

    async def test_no_body(self) -> None:
        """Answers without a body end well; one that can have none has no length either."""
        for request, length in (("GET /204", False), ("HEAD /text", True)):
            node, out, _ = await self.ask(request)
            self.assertIs(node.state, NodeState.SUCCEEDED, node.error)
            self.assertEqual("Content-Length: 11" in out, length, out)
            self.assertTrue(out.endswith("\r\n"), out)

    async def test_big_and_binary(self) -> None:
        """A long body and one of any bytes arrive as they are."""
        node, _, _ = await self.ask("GET /bytes", silent=True)
        self.assertEqual(Path(node.stdout).read_bytes(), bytes(range(256)))  # noqa: ASYNC240
        node, _, _ = await self.ask("GET /big", silent=True)
        self.assertEqual(Path(node.stdout).stat().st_size, BIG)  # noqa: ASYNC240
        self.assertIn("exceeded maximum size limit", node.error)  # of its output

    async def test_too_long_for_json(self) -> None:
        """An answer that is too long to be read as a whole fails the step once; the connection's end after that is no error."""
        self.patch(http, "JSON_LIMIT", 1000)
        node, _, _ = await self.ask("GET /big", json=True)
        self.assertIn("the answer is longer than", node.error)
        await deferLater(self.reactor, 0.01)
        collect()
        self.assertEqual(self.flushLoggedErrors(), [])

    async def test_redirect(self) -> None:
        """Redirections are followed, those of POST with GET."""
        self.assertEqual((await self.ask("POST /redirect", silent=True, body="x"))[1], "plain text\n")

    async def test_ipv6(self) -> None:
        """An IPv6 address is a host like any other, also after a redirection and when the path is not ASCII."""
        port = self.reactor.listenTCP(0, Site(self.answers), interface="::1")
        self.addCleanup(port.stopListening)
        self.base = f"http://[::1]:{port.getHost().port}"
        node, out, _ = await self.ask("GET /redirect", silent=True)
        self.assertEqual(out, "plain text\n", node.error)
        node, out, _ = await self.ask("GET /echo?ä=b c", silent=True)
        self.assertEqual(json.loads(out)["uri"], "/echo?%C3%A4=b%20c", node.error)

    async def test_answers_that_are_none(self) -> None:
        """What is not HTTP and what ends early are told in words, not in the names of exceptions."""
        for answer, expected in (
            (b"garbage garbage\r\n", "the answer is not HTTP: non-integer status code, b'garbage garbage'"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "the connection ended before the whole answer came"),
            (b"", "the connection ended before the whole answer came"),
        ):
            port = self.reactor.listenTCP(0, Factory.forProtocol(partial(Saying, answer)), interface="127.0.0.1")
            self.addCleanup(port.stopListening)
            self.base = f"http://127.0.0.1:{port.getHost().port}"
            node, _, _ = await self.ask("GET /")
            self.assertEqual(node.error, f'failed to execute step "a": GET {self.base}/: {expected}')

    async def test_debug(self) -> None:
        """With debug the request is told on standard error, without its credentials."""
        _, _, err = await self.ask("GET /text", debug=True, headers={"Authorization": "secret", "N": 5})
        self.assertIn(f"> GET {self.base}/text\n", err)
        self.assertIn("> N: 5\n", err)
        self.assertNotIn("secret", err)

    async def test_timeout(self) -> None:
        """An answer that takes too long fails the step, and the connection is closed."""
        node, _, _ = await self.ask("GET /never", timeout=1)
        self.assertIs(node.state, NodeState.FAILED)
        self.assertIn("/never: no whole answer within 1 s", node.error)

    async def test_stop(self) -> None:
        """A step that waits for its answer can be stopped."""
        step = Step("a", type="http", commands=(Command(f"GET {self.base}/never"),))
        done: Deferred[Any] = self.harness.run(Dag("d", (step,)))
        while not self.answers.open:
            await deferLater(self.reactor, 0.01)
        sink = self.harness.store.sinks[0]
        assert sink.cancel is not None
        sink.cancel()
        status = await done
        self.assertIs(status.nodes[0].state, NodeState.ABORTED)

    async def test_unreachable(self) -> None:
        """Nobody there, and what is no URL, are told in one sentence."""
        for text, expected in (
            ("GET http://127.0.0.1:1/x", "GET http://127.0.0.1:1/x: Connection was refused"),
            ("GET nonsense", "'nonsense' is not a URL: write METHOD"),
            ("http://x/", "is not a URL"),
            ("GET http://x:99999/", "is not a URL (Port out of range 0-65535): write METHOD"),
            ("GET http://[::1/", "is not a URL (Invalid IPv6 URL): write METHOD"),
            ("GET http://:80/", "is not a URL: write METHOD"),
        ):
            node, _, _ = await self.harness.run_step(Step("a", type="http", commands=(Command(text),)))
            self.assertIn(expected, node.error)
        node, _, _ = await self.ask("GET /text", timeout="soon", body={"a": 1})
        self.assertIn("http config: body must be a text", node.error)
        self.assertIn("http config: timeout must be a whole number, got 'soon'", node.error)
