"""Every route through the real client, in memory."""

from __future__ import annotations

import gzip
import json
import re
from typing import Any, cast

import treq
from treq.testing import RequestTraversalAgent
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from txdagu import __version__
from txdagu.model.errors import UnavailableError
from txdagu.model.health import Health
from txdagu.model.run import RunRef
from txdagu.model.task import RunningTask, WorkerStatus
from txdagu.peers.interfaces import WorkersView
from txdagu.testing.coordinators import ScriptedCoordinators
from txdagu.web.census import Census
from txdagu.web.decisions import Decisions
from txdagu.web.explaining import Explanations
from txdagu.web.service import site_resource

HOSTILE = "<script>alert(1)</script>"
RUN = RunRef("etl", "run-1")


def workers(count: int = 1) -> WorkersView:
    running = (RunningTask(RUN, RUN),)
    return WorkersView(
        tuple(WorkerStatus(f"w{n}", {"gpu": "true"}, Health.HEALTHY, 4, 1, running, 1.0, 1000) for n in range(count))
    )


class RouteTestCase(SynchronousTestCase):
    base_path = ""

    def setUp(self) -> None:
        """The whole site, in memory."""
        self.clock: Any = Clock()
        self.coordinators = ScriptedCoordinators(workers())
        census = Census(self.coordinators, self.clock, self.wall)
        decisions = cast("Decisions", None)  # test_decisions asks for them
        explanations = cast("Explanations", None)  # test_explaining asks for them
        self.resource = site_resource(self.base_path, census, decisions, explanations, self.clock, self.wall)
        self.agent: Any = RequestTraversalAgent(self.resource)

    def wall(self) -> float:
        """The time of day."""
        return 1795456484.0 + float(self.clock.seconds())

    def request(self, path: str, method: str = "GET", headers: dict[str, str] | None = None) -> Any:
        """The Deferred of the response."""
        raw = Headers({name: [value] for name, value in (headers or {}).items()})
        return self.agent.request(method.encode(), f"http://localhost{path}".encode(), raw)

    def ask(self, path: str, method: str = "GET", headers: dict[str, str] | None = None) -> tuple[Any, bytes]:
        """Response and body, as they came over the wire."""
        response: Any = self.successResultOf(self.request(path, method, headers))
        return response, self.successResultOf(treq.content(response))

    def header(self, response: Any, name: str) -> str | None:
        """One header of a response."""
        values = response.headers.getRawHeaders(name)
        return None if values is None else str(values[0])


class ApiTests(RouteTestCase):
    def test_health(self) -> None:
        """The probe's answer, with the seconds since the start."""
        self.clock.advance(16)
        response, body = self.ask("/api/v2/health")
        self.assertEqual(response.code, 200)
        self.assertEqual(self.header(response, "content-type"), "application/json")
        self.assertEqual(
            json.loads(body),
            {"status": "healthy", "version": __version__, "uptime": 16, "timestamp": "2026-11-23T17:55:00Z"},
        )

    def test_workers(self) -> None:
        """The rows of the coordinators, fresh at every question."""
        response, body = self.ask("/api/v2/workers")
        document = json.loads(body)
        self.assertEqual(sorted(document), ["errors", "workers"])
        self.assertEqual([row["id"] for row in document["workers"]], ["w0"])
        self.assertEqual(self.header(response, "cache-control"), "no-store")

    def test_coordinator_errors(self) -> None:
        """A coordinator without answer is named; the answer is still 200."""
        self.coordinators.view = WorkersView((), ("coordinator a:1: refused",))
        response, body = self.ask("/api/v2/workers")
        self.assertEqual((response.code, json.loads(body)["errors"]), (200, ["coordinator a:1: refused"]))

    def test_compressed_when_large(self) -> None:
        """Those who take gzip get large answers compressed."""
        self.coordinators.view = workers(50)
        response, body = self.ask("/api/v2/workers", headers={"Accept-Encoding": "br, gzip;q=0.5"})
        self.assertEqual(self.header(response, "content-encoding"), "gzip")
        self.assertEqual(len(json.loads(gzip.decompress(body))["workers"]), 50)
        for refusing in ("", "gzip;q=0", "deflate"):
            response, body = self.ask("/api/v2/workers", headers={"Accept-Encoding": refusing})
            self.assertIsNone(self.header(response, "content-encoding"), refusing)

    def test_unavailable(self) -> None:
        """If the coordinators cannot be asked at all the reason is the answer, and 503."""
        self.coordinators.view = UnavailableError("the registry is gone")
        response, body = self.ask("/api/v2/workers")
        self.assertEqual(response.code, 503)
        self.assertEqual(json.loads(body), {"code": "bad_gateway", "message": "the registry is gone"})

    def test_defect(self) -> None:
        """A mistake of ours is 500 without a word of its details, which the log has."""
        self.coordinators.view = ZeroDivisionError("secret")
        response, body = self.ask("/api/v2/workers")
        self.assertEqual((response.code, json.loads(body)["code"]), (500, "internal_error"))
        self.assertNotIn(b"secret", body)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_not_found(self) -> None:
        """Unknown paths of the API are told as JSON."""
        for path in ("/api/v2/nothing", "/api", "/api/v2", "/api/v1/workers", "/api/v2//workers"):
            response, body = self.ask(path)
            self.assertEqual((response.code, json.loads(body)["code"]), (404, "not_found"), path)

    def test_wrong_method(self) -> None:
        """A method that is not there is 405 with those that are."""
        for method in ("POST", "DELETE", "PUT", "OPTIONS"):
            response, body = self.ask("/api/v2/workers", method)
            self.assertEqual((response.code, json.loads(body)["code"]), (405, "bad_request"), method)
            self.assertEqual(self.header(response, "allow"), "GET, HEAD")

    def test_head(self) -> None:
        """HEAD has the headers of GET and no body."""
        for path in ("/api/v2/workers", "/api/v2/health", "/workers", "/", "/nothing"):
            get, _ = self.ask(path)
            head, body = self.ask(path, "HEAD")
            self.assertEqual((head.code, body), (get.code, b""), path)
            self.assertEqual(self.header(head, "content-type"), self.header(get, "content-type"), path)

    def test_census_is_shared(self) -> None:
        """Many browsers within half a second cost one question."""
        for _ in range(20):
            self.ask("/api/v2/workers")
            self.ask("/workers")
        self.assertEqual(self.coordinators.looks, 1)
        self.clock.advance(0.6)
        self.ask("/api/v2/workers")
        self.assertEqual(self.coordinators.looks, 2)

    def test_browser_leaves_while_waiting(self) -> None:
        """A connection closed before the answer costs nothing and logs nothing."""
        self.coordinators.slow = True
        waiting = self.request("/api/v2/workers")
        waiting.cancel()
        self.agent.flush()
        self.failureResultOf(waiting)
        self.coordinators.pending[0].callback(workers())
        self.assertEqual(self.flushLoggedErrors(), [])


class PageTests(RouteTestCase):
    def embedded(self, body: bytes) -> Any:
        """The document inside the page."""
        found = re.search(rb'<script type="application/json" id="first-view"[^>]*>(.*?)</script>', body, re.DOTALL)
        assert found is not None
        return json.loads(found[1])

    def test_workers_inside(self) -> None:
        """The first HTML holds the workers already."""
        response, body = self.ask("/workers")
        self.assertEqual((response.code, self.header(response, "content-type")), (200, "text/html; charset=utf-8"))
        self.assertEqual(self.embedded(body)["workers"][0]["runningTasks"][0]["dagRunId"], "run-1")
        self.assertIn(b'data-at="2026-11-23T17:54:44Z"', body)

    def test_hostile_worker(self) -> None:
        """Ids, labels and DAG names cannot break out of the page."""
        evil = RunRef(HOSTILE, "</script><b>")
        hostile = WorkerStatus(
            HOSTILE, {"<img src=x>": "<!--"}, Health.HEALTHY, 1, 1, (RunningTask(evil, evil),), 1.0, 1000
        )
        self.coordinators.view = WorkersView((hostile,), ("<i>error</i>",))
        _, body = self.ask("/workers")
        for dangerous in (b"<script>alert", b"<img src=x", b"<!--", b"</script><b>", b"<i>"):
            self.assertNotIn(dangerous, body)
        document = self.embedded(body)
        self.assertEqual((document["workers"][0]["id"], document["errors"]), (HOSTILE, ["<i>error</i>"]))

    def test_page_without_coordinators(self) -> None:
        """The page comes also when the workers cannot be asked for; it tries again by itself."""
        self.coordinators.view = UnavailableError("the registry is gone")
        response, body = self.ask("/workers")
        self.assertEqual((response.code, self.embedded(body)), (200, None))

    def test_hooks(self) -> None:
        """Elements that scripts and tests look for are there."""
        _, body = self.ask("/workers")
        for name in ("summary", "connection", "workers", "search", "empty", "errors", "no-match", "first-view"):
            self.assertIn(f'id="{name}"'.encode(), body)

    def test_everything_it_needs_is_here(self) -> None:
        """What the page links to, and what the modules import, is served by us with the right type."""
        _, body = self.ask("/workers")
        wanted = {path.decode() for path in re.findall(rb'(?:src|href)="([^"]+)"', body)}
        self.assertIn("/static/workers.js", wanted)
        for script in ("workers.js", "view.js", "format.js"):
            _, source = self.ask(f"/static/{script}")
            wanted |= {f"/static/{name.decode()}" for name in re.findall(rb'from "\./([^"]+)"', source)}
            self.assertNotRegex(source, rb"innerHTML|insertAdjacentHTML|document\.write|eval\(")
        types = {}
        for path in wanted:
            response, _ = self.ask(path)
            self.assertEqual(response.code, 200, path)
            types[path] = self.header(response, "content-type")
        self.assertEqual(types["/static/view.js"], "text/javascript; charset=utf-8")
        self.assertEqual(types["/static/style.css"], "text/css; charset=utf-8")
        self.assertEqual(types["/static/favicon.svg"], "image/svg+xml")

    def test_nothing_inline(self) -> None:
        """Nothing in the page needs what the policy forbids: no inline script, style or handler, nothing from elsewhere."""
        for path in ("/workers", "/nothing"):
            _, body = self.ask(path)
            self.assertNotRegex(body, rb"<style|style=|\son\w+=|https?://")
            self.assertEqual(len(re.findall(rb'<script(?! type="module" src=| type="application/json")', body)), 0)

    def test_unchanged_file(self) -> None:
        """A browser that has the file already gets no second copy."""
        response, _ = self.ask("/static/style.css")
        tag = self.header(response, "etag")
        response, body = self.ask("/static/style.css", headers={"If-None-Match": tag or ""})
        self.assertEqual((response.code, body), (304, b""))

    def test_favicon(self) -> None:
        """The place where browsers look by themselves is no 404."""
        response, _ = self.ask("/favicon.ico")
        self.assertEqual((response.code, self.header(response, "content-type")), (200, "image/svg+xml"))

    def test_unknown_page(self) -> None:
        """People get a page that says so and leads back; the path in it is harmless."""
        response, body = self.ask("/<script>nothing")
        self.assertEqual((response.code, self.header(response, "content-type")), (404, "text/html; charset=utf-8"))
        self.assertIn(b'href="/workers"', body)
        self.assertNotIn(b"<script>nothing", body)
        for path in (
            "/static/none.js",
            "/static/../service.py",
            "/static/%2e%2e/service.py",
            "/workers/x",
            "//workers",
        ):
            self.assertEqual(self.ask(path)[0].code, 404, path)


class FrontTests(RouteTestCase):
    def test_root(self) -> None:
        """The bare address leads to the workers."""
        response, _ = self.ask("/")
        self.assertEqual((response.code, self.header(response, "location")), (302, "/workers"))

    def test_trailing_slash(self) -> None:
        """A slash at the end is redirected away, with the query; never to another host."""
        for path, target in (
            ("/workers/", "/workers"),
            ("/api/v2/workers/?a=b", "/api/v2/workers?a=b"),
            ("/\\evil.example/", "/evil.example"),
        ):
            response, _ = self.ask(path)
            self.assertEqual((response.code, self.header(response, "location")), (301, target), path)

    def test_security_headers(self) -> None:
        """Every answer has them: pages, API, files, redirects, refusals."""
        for path in ("/workers", "/api/v2/workers", "/static/style.css", "/", "/nothing", "/api/nothing", "/workers/"):
            response, _ = self.ask(path)
            policy = self.header(response, "content-security-policy") or ""
            self.assertIn("default-src 'none'", policy, path)
            self.assertNotIn("unsafe", policy)
            self.assertEqual(self.header(response, "x-content-type-options"), "nosniff", path)

    def test_strange_requests(self) -> None:
        """A path that is no text and a malformed Host header get answers, and no error in the log."""
        self.assertEqual(self.ask("/%ff%fe")[0].code, 404)
        self.assertEqual(self.ask("/api/v2/%ff")[0].code, 404)
        for host in ("a..b", "x" * 300, "ä"):
            self.assertEqual(self.ask("/api/v2/health", headers={"Host": host})[0].code, 200, host)
        self.assertEqual(self.flushLoggedErrors(), [])


class BasePathTests(RouteTestCase):
    base_path = "/tools/dagu"

    def test_below(self) -> None:
        """Everything lies below the base path, and the page's links know it."""
        self.assertEqual(self.ask("/tools/dagu/api/v2/workers")[0].code, 200)
        response, body = self.ask("/tools/dagu/workers")
        self.assertEqual(response.code, 200)
        for link in re.findall(rb'(?:src|href)="([^"]+)"', body):
            self.assertTrue(link.startswith(b"/tools/dagu/"), link)
        self.assertEqual(self.ask("/tools/dagu/static/workers.js")[0].code, 200)

    def test_outside(self) -> None:
        """Outside there is nothing, told in the form that fits; the bare address leads inside."""
        for path in ("/workers", "/tools/workers", "/tools/dagux/workers"):
            self.assertEqual(self.ask(path)[0].code, 404, path)
        response, body = self.ask("/api/v2/workers")
        self.assertEqual((response.code, json.loads(body)["code"]), (404, "not_found"))
        _, body = self.ask("/tools/dagu/api/v2/x")
        self.assertEqual(json.loads(body)["code"], "not_found")
        for path in ("/", "/tools/dagu", "/tools/dagu/"):
            response, _ = self.ask(path)
            self.assertEqual((response.code, self.header(response, "location")), (302, "/tools/dagu/workers"), path)
        response, _ = self.ask("/tools/dagu/workers/")
        self.assertEqual((response.code, self.header(response, "location")), (301, "/tools/dagu/workers"))
