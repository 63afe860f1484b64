"""What stands before the routes and holds for every answer."""

from __future__ import annotations

from typing import Any

from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET, Request

from txdagu.web.answers import Answers

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Front(Resource):
    """
    Passes requests below `base_path` (empty, or ``/like/this``) on to `routes`, and redirects what ends in a slash.

    With a base path, ``/`` leads to it too, for those who type only host and port; everything else outside is not found.
    """

    isLeaf = True  # noqa: N815 - twisted.web's name

    def __init__(self, routes: IResource, answers: Answers) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._routes = routes
        self._answers = answers
        self._base = [part.encode() for part in answers.base_path.split("/") if part]

    def render(self, request: Request) -> Any:
        """Answer, or let the routes do it."""
        for name, value in SECURITY_HEADERS.items():
            request.setHeader(name, value)
        below = self._below_base(request)
        if below is None:
            return self._finish(request, self._answers.not_found(request))
        if not any(below):
            return self._finish(request, self._answers.redirect(request, 302, f"{self._answers.base_path}/workers"))
        if not below[0]:
            return self._finish(request, self._answers.not_found(request))
        if not below[-1]:
            return self._finish(request, self._answers.redirect(request, 301, _without_slash(request)))
        # Nothing here depends on the Host header, and a malformed one shall not disturb the routing.
        request.requestHeaders.setRawHeaders(b"host", [b"localhost"])
        request.prepath = [*(request.prepath or ()), *self._base]
        request.postpath = below
        return self._routes.render(request)

    def _below_base(self, request: Request) -> list[bytes] | None:
        """The segments of the path after the base path; None if it lies elsewhere or is not UTF-8."""
        path = list(request.postpath or [])
        try:
            b"/".join(path).decode()
        except UnicodeDecodeError:
            return None
        if not any(path):
            return []
        if path[: len(self._base)] != self._base:
            return None
        return path[len(self._base) :]

    @staticmethod
    def _finish(request: Request, body: bytes) -> int:
        if request.method == b"HEAD":
            body = b""
        request.write(body)
        request.finish()
        return NOT_DONE_YET


def _without_slash(request: Request) -> str:
    r"""
    Path and query as they were sent, without slashes at the end of the path.

    Those at its beginning become one, because browsers take ``//name`` and ``/\name`` for another host's address.
    """
    path, mark, query = request.uri.decode("ascii", "replace").partition("?")
    return "/" + path.strip("/\\") + mark + query
