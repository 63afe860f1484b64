"""The routes: which path gives what."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from klein import Klein
from markupsafe import Markup
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.server import Request
from werkzeug.exceptions import MethodNotAllowed, NotFound

from txdagu import __version__
from txdagu.model.errors import DaguError
from txdagu.model.run import RunRef
from txdagu.web.answers import API, GZIP_FROM, Answers, shown_path, takes_gzip
from txdagu.web.assets import StaticFile
from txdagu.web.census import Census
from txdagu.web.decisions import Decisions
from txdagu.web.documents import health_document, rfc3339
from txdagu.web.explaining import Explanations
from txdagu.web.orders import order_worker

_RUN = f"{API}/dag-runs/<name>/<run_id>"
_STEP = f"{_RUN}/steps/<step>"
_BELOW = f"{_RUN}/sub-dag-runs/<child>"
_STEP_BELOW = f"{_BELOW}/steps/<step>"


class Routes:
    """
    The pages and the API, below the base path.

    `wall` gives Unix seconds; uptime counts from construction, by `clock`. `decisions` are made on steps of runs, and
    `explanations` are given of runs.
    """

    log = Logger()
    app = Klein()
    # Paths are taken as they come: no redirects to merged or completed ones.
    app.url_map.merge_slashes = False
    app.url_map.strict_slashes = True

    def __init__(
        self,
        census: Census,
        decisions: Decisions,
        explanations: Explanations,
        answers: Answers,
        files: Mapping[str, StaticFile],
        clock: IReactorTime,
        wall: Callable[[], float],
    ) -> None:
        self._census = census
        self._decisions = decisions
        self._explanations = explanations
        self._answers = answers
        self._files = files
        self._clock = clock
        self._wall = wall
        self._began = clock.seconds()

    @app.route(f"{API}/health", methods=["GET"])
    def health(self, request: Request) -> bytes:
        """Whether this process works."""
        uptime = self._clock.seconds() - self._began
        return self._answers.document(request, health_document(__version__, uptime, self._wall()))

    @app.route(f"{API}/workers", methods=["GET"])
    async def workers(self, request: Request) -> bytes:
        """All workers, for programs."""
        snapshot = await self._census.take()
        request.setHeader("Vary", "Accept-Encoding")
        if len(snapshot.body) >= GZIP_FROM and takes_gzip(request):
            request.setHeader("Content-Encoding", "gzip")
            return self._answers.json(request, snapshot.compressed)
        return self._answers.json(request, snapshot.body)

    @app.route(f"{_RUN}/explain", methods=["GET"])
    async def explain(self, request: Request, name: str, run_id: str) -> bytes:
        """Where a run is and why."""
        return await self.explain_below(request, name, run_id, "")

    @app.route(f"{_BELOW}/explain", methods=["GET"])
    async def explain_below(self, request: Request, name: str, run_id: str, child: str) -> bytes:
        """The same of a run that another one called."""
        return self._answers.document(request, await self._explanations.explain(RunRef(name, run_id), child))

    @app.route(f"{_RUN}/timeline", methods=["GET"])
    async def timeline(self, request: Request, name: str, run_id: str) -> bytes:
        """Every transition of a run's tasks."""
        return await self.timeline_below(request, name, run_id, "")

    @app.route(f"{_BELOW}/timeline", methods=["GET"])
    async def timeline_below(self, request: Request, name: str, run_id: str, child: str) -> bytes:
        """The same of a run that another one called."""
        return self._answers.document(request, await self._explanations.timeline(RunRef(name, run_id), child))

    @app.route(f"{API}/workers/<worker_id>/<any(cordon, drain, resume):word>", methods=["POST"])
    async def order(self, request: Request, worker_id: str, word: str) -> bytes:
        """A worker gets no new tasks, is emptied, or gets tasks again."""
        return self._answers.document(request, await order_worker(self._census, worker_id, word, request))

    @app.route(f"{_STEP}/approve", methods=["POST"])
    async def approve(self, request: Request, name: str, run_id: str, step: str) -> bytes:
        """A step of a run is approved."""
        return await self.approve_below(request, name, run_id, "", step)

    @app.route(f"{_STEP_BELOW}/approve", methods=["POST"])
    async def approve_below(self, request: Request, name: str, run_id: str, child: str, step: str) -> bytes:
        """A step of a run that another one called is approved."""
        document = await self._decisions.approve(RunRef(name, run_id), child, step, request)
        return self._answers.document(request, document)

    @app.route(f"{_STEP}/reject", methods=["POST"])
    async def reject(self, request: Request, name: str, run_id: str, step: str) -> bytes:
        """A step of a run is rejected."""
        return await self.reject_below(request, name, run_id, "", step)

    @app.route(f"{_STEP_BELOW}/reject", methods=["POST"])
    async def reject_below(self, request: Request, name: str, run_id: str, child: str, step: str) -> bytes:
        """A step of a run that another one called is rejected."""
        document = await self._decisions.reject(RunRef(name, run_id), child, step, request)
        return self._answers.document(request, document)

    @app.route("/workers", methods=["GET"])
    async def workers_page(self, request: Request) -> bytes:
        """All workers, for people. If they cannot be asked for, the page is sent all the same and tries again by itself."""
        try:
            snapshot = await self._census.take()
        except DaguError as error:
            self.log.warn("workers page without workers: {error}", error=str(error))
            values = {"workers": Markup("null"), "at": rfc3339(self._wall())}
        else:
            values = {"workers": Markup(snapshot.in_html), "at": rfc3339(snapshot.at)}  # noqa: S704 - escaped there
        return self._answers.page(request, "workers.html", values)

    @app.route("/static/<name>", methods=["GET"])
    def static(self, request: Request, name: str) -> bytes:
        """Style, scripts, icon."""
        file = self._files.get(name)
        return self._answers.not_found(request) if file is None else self._answers.static(request, file)

    @app.route("/favicon.ico", methods=["GET"])
    def favicon(self, request: Request) -> bytes:
        """Where browsers look by themselves."""
        return self._answers.static(request, self._files["favicon.svg"])

    @app.handle_errors(Exception)  # type: ignore[arg-type] # klein types the first argument as the app, not its owner
    def refused(self, request: Request, failure: Failure) -> bytes:
        """Whatever went wrong, as an answer: reasons that can be told, and for mistakes of ours only that there was one."""
        method = request.method.decode("ascii", "replace")
        match failure.value:
            case NotFound():
                return self._answers.not_found(request)
            case MethodNotAllowed(valid_methods=methods):
                allowed = ", ".join(sorted(methods or ()))
                request.setHeader("Allow", allowed)
                return self._answers.refusal(request, 405, f"{method} is not possible here, only {allowed}")
            case DaguError() as error:
                return self._answers.refusal(request, error.http_status, str(error))
            case CancelledError():
                # The question was given up because the server stops; if it is the browser that went, nobody reads this.
                return self._answers.refusal(request, 503, "the web server is stopping")
        self.log.failure("while answering {method} {path}", failure, method=method, path=shown_path(request))
        return self._answers.refusal(request, 500, "there was an error inside the server; its log says more")
