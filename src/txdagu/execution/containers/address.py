"""Where the container engine is, by the variables that Docker's own client reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from txdagu.model.errors import DaguError

DEFAULT_HOST = "unix:///var/run/docker.sock"
PORT, TLS_PORT = 2375, 2376


@dataclass(frozen=True, slots=True)
class EngineAddress:
    """
    A socket's `path`, or `host` and `port`; `written` is how people know it.

    `certificates` is the directory with ``ca.pem``, ``cert.pem`` and ``key.pem`` for TLS, empty without TLS; `verify` says
    whether the engine has to show a certificate of that CA. `api` is the version of the API to speak, if somebody demands one.
    """

    written: str
    path: str = ""
    host: str = ""
    port: int = 0
    certificates: str = ""
    verify: bool = True
    api: str = ""


def engine_address(environ: Mapping[str, str]) -> EngineAddress:
    """
    The engine of ``DOCKER_HOST``, with ``DOCKER_CERT_PATH``, ``DOCKER_TLS_VERIFY`` and ``DOCKER_API_VERSION``.

    Raises `DaguError` for an address that is none, or none that can be spoken to.
    """
    written = environ.get("DOCKER_HOST", "").strip() or DEFAULT_HOST
    api = environ.get("DOCKER_API_VERSION", "").strip().removeprefix("v")
    advice = "write unix:///path/to/docker.sock or tcp://host:port"
    try:
        parts = urlsplit(written)
        port = parts.port
    except ValueError as error:
        raise DaguError(f"DOCKER_HOST={written}: {error}; {advice}") from None
    if parts.scheme == "unix" and (path := parts.netloc + parts.path):
        return EngineAddress(written, path=path, api=api)
    if parts.scheme in ("tcp", "http", "https") and parts.hostname:
        certificates = environ.get("DOCKER_CERT_PATH", "")
        if parts.scheme == "https" and not certificates:
            raise DaguError(f"DOCKER_HOST={written} wants TLS: name the directory with ca.pem in DOCKER_CERT_PATH")
        return EngineAddress(
            written,
            host=parts.hostname,
            port=port or (TLS_PORT if certificates else PORT),
            certificates=certificates,
            verify=bool(environ.get("DOCKER_TLS_VERIFY")),
            api=api,
        )
    if parts.scheme == "ssh":
        advice = f"forward the socket: ssh -NL /tmp/docker.sock:/var/run/docker.sock {parts.netloc}, then {advice}"
    raise DaguError(f"DOCKER_HOST={written} is no address of a container engine that can be spoken to: {advice}")
