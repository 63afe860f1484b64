"""Documents named by URL."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import ensureDeferred
from twisted.internet.endpoints import serverFromString
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from txdagu.execution.fetching import fetch
from txdagu.model.errors import UnavailableError


class OneDocument(Resource):
    def render_GET(self, request: Request) -> bytes:
        if request.path != b"/s.json":
            request.setResponseCode(404)
        return b'{"a": 1}'


class FetchTests(TestCase):
    timeout = 30

    async def setUp(self) -> None:  # type: ignore[override]
        from twisted.internet import reactor  # noqa: TID251 - the real one is what is tested here

        self.reactor: Any = reactor
        document = OneDocument()
        document.isLeaf = True
        port = await serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(Site(document))
        self.addCleanup(port.stopListening)
        self.url = f"http://127.0.0.1:{port.getHost().port}/s.json"

    async def test_document(self) -> None:
        """The document as it is."""
        self.assertEqual(await fetch(self.url, 100, self.reactor), b'{"a": 1}')

    async def test_problems(self) -> None:
        """Another status, too much, and nobody there are told with the address."""
        for url, largest, phrase in (
            (f"{self.url}x", 100, "answered 404, not 200"),
            (self.url, 3, "more than 3 bytes"),
            ("http://127.0.0.1:1/s.json", 100, "http://127.0.0.1:1/s.json cannot be fetched: Connection was refused"),
        ):
            error = await self.assertFailure(ensureDeferred(fetch(url, largest, self.reactor)), UnavailableError)
            self.assertIn(phrase, str(error))
