"""Answers as bytes: documents, pages, refusals, redirects, each with its headers."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

import msgspec
from jinja2 import Environment
from twisted.web.http import CACHED
from twisted.web.server import Request

from txdagu.web.assets import StaticFile
from txdagu.web.documents import Document, error_document

API = "/api/v2"
GZIP_FROM = 1400  # below this a body fits one packet anyway


class Answers:
    """Knows the base path and the templates. Every method sets status and headers of the request and returns the body."""

    def __init__(self, base_path: str, templates: Environment, version: str) -> None:
        self.base_path = base_path
        self._templates = templates
        self._version = version

    def document(self, request: Request, document: Document) -> bytes:
        """A JSON document, its keys sorted as Dagu 1.30.2 sorts them."""
        return self.json(request, msgspec.json.encode(document, order="sorted"))

    def json(self, request: Request, body: bytes) -> bytes:
        """A JSON body that is ready."""
        return self._body(request, body, "application/json")

    def page(self, request: Request, template: str, values: Mapping[str, object]) -> bytes:
        """A page of HTML."""
        text = self._templates.get_template(template).render(base=self.base_path, version=self._version, **values)
        return self._body(request, text.encode(), "text/html; charset=utf-8")

    def static(self, request: Request, file: StaticFile) -> bytes:
        """A file, or nothing if the browser has it already."""
        if request.setETag(file.tag.encode()) is CACHED:
            return b""
        return self._body(request, file.content, file.media_type, cache="no-cache")

    def redirect(self, request: Request, status: int, path: str) -> bytes:
        """Sent elsewhere on this server."""
        request.setResponseCode(status)
        request.setHeader("Location", path)
        return self._body(request, b"", "text/plain; charset=utf-8")

    def not_found(self, request: Request) -> bytes:
        """No such page."""
        return self.refusal(request, HTTPStatus.NOT_FOUND, f"there is nothing at {shown_path(request)}")

    def refusal(self, request: Request, status: int, message: str) -> bytes:
        """Why not: as a document for programs, as a page for people."""
        request.setResponseCode(status)
        if for_programs(request, self.base_path):
            return self.document(request, error_document(status, message))
        values = {"status": status, "title": HTTPStatus(status).phrase, "message": message}
        return self.page(request, "refusal.html", values)

    @staticmethod
    def _body(request: Request, body: bytes, media_type: str, cache: str = "no-store") -> bytes:
        request.setHeader("Content-Type", media_type)
        request.setHeader("Cache-Control", cache)
        request.setHeader("Content-Length", str(len(body)))
        return body


def shown_path(request: Request) -> str:
    """The path of a request as text, cut where it is very long."""
    path: bytes = request.path
    text = path.decode("utf-8", "replace")
    return text if len(text) <= 200 else f"{text[:200]}…"


def for_programs(request: Request, base_path: str) -> bool:
    """Whether the path belongs to the API."""
    path: bytes = request.path
    return (path + b"/").startswith((f"{base_path}/api/".encode(), b"/api/"))


def takes_gzip(request: Request) -> bool:
    """Whether ``Accept-Encoding`` names gzip without weight 0 (RFC 9110 section 12.5.3)."""
    for item in (request.getHeader("Accept-Encoding") or "").split(","):
        coding, _, weight = item.partition(";")
        if coding.strip().lower() in ("gzip", "x-gzip"):
            return weight.replace(" ", "").rstrip("0") not in ("q=", "q=0.")
    return False
