"""Templates and files that come with the package, read once and kept in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file as it is sent; `tag` changes when the content does (RFC 9110 section 8.8.3)."""

    content: bytes
    media_type: str
    tag: str


def static_files() -> Mapping[str, StaticFile]:
    """The files of ``static/`` by name. Reads them; meant for the time before the reactor runs."""
    found: dict[str, StaticFile] = {}
    for item in files("txdagu.web").joinpath("static").iterdir():
        suffix = item.name[item.name.rfind(".") :]
        if suffix in _TYPES:
            content = item.read_bytes()
            found[item.name] = StaticFile(content, _TYPES[suffix], f'"{sha256(content).hexdigest()[:16]}"')
    return found


def page_templates() -> Environment:
    """
    The templates of ``templates/`` by name, everything they show escaped for HTML. All are read and compiled here; meant for the
    time before the reactor runs.
    """
    sources = {
        item.name: item.read_text("utf-8")
        for item in files("txdagu.web").joinpath("templates").iterdir()
        if item.name.endswith(".html")
    }
    environment = Environment(
        loader=FunctionLoader(sources.get),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in sources:
        environment.get_template(name)
    return environment
