"""What ``otel`` says of a DAG, evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from txdagu.execution.evaluation.stages import Evaluator
from txdagu.model.durations import NANOSECONDS, nanoseconds
from txdagu.model.errors import DaguError
from txdagu.model.scalars import scalar_text

ENDPOINT = "localhost:4317"
SECONDS = 10.0
SERVICE = "dagu"
_PATH = "/v1/traces"
_PORT = 4317


@dataclass(frozen=True, slots=True)
class TraceSettings:
    """
    Where traces go.

    `url` is set for OTLP over HTTP, else `host` and `port` for OTLP over gRPC, without TLS if `insecure`. `seconds` is how long
    sending may take.
    """

    url: str = ""
    host: str = ""
    port: int = _PORT
    insecure: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    seconds: float = SECONDS
    resource: Mapping[str, str] | None = None

    @property
    def endpoint(self) -> str:
        """The address, for people."""
        return self.url or f"{self.host}:{self.port}"


async def read_trace_settings(otel: Mapping[str, Any], evaluator: Evaluator) -> TraceSettings:
    """Evaluate its texts. Raises `DaguError` for an endpoint that is none."""
    endpoint = await evaluator.field(scalar_text(otel.get("endpoint") or "")) or ENDPOINT
    url, host, port = _place(endpoint)
    timeout = otel.get("timeout")
    length = nanoseconds(timeout) if isinstance(timeout, str) else int(timeout or 0)
    return TraceSettings(
        url,
        host,
        port,
        otel.get("insecure") is True,
        tuple(sorted((await _texts(otel.get("headers"), evaluator)).items())),
        length / NANOSECONDS if length > 0 else SECONDS,
        {"service.name": SERVICE, **await _texts(otel.get("resource"), evaluator)},
    )


async def _texts(value: object, evaluator: Evaluator) -> dict[str, str]:
    if not isinstance(value, Mapping):
        return {}
    return {str(name): await evaluator.field(scalar_text(text)) for name, text in value.items()}


def _place(endpoint: str) -> tuple[str, str, int]:
    """URL, host and port; ``host:port`` is for gRPC, a URL for HTTP, with the usual path where it has none."""
    problem = DaguError(f"otel: endpoint {endpoint!r} is no address: write host:port for gRPC, or an http or https URL")
    try:
        parts = urlsplit(endpoint if "://" in endpoint else f"//{endpoint}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise problem from None
    if not host or parts.scheme not in ("", "http", "https"):
        raise problem
    if parts.scheme:
        return (endpoint if parts.path.strip("/") else f"{endpoint.rstrip('/')}{_PATH}"), "", 0
    if parts.path:
        raise problem
    return "", host, port or _PORT
