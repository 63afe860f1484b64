"""Requests to a container engine, and sentences for why there is no answer."""

from __future__ import annotations

import errno
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from OpenSSL.crypto import Error as CryptoError
from OpenSSL.SSL import Error as TlsError
from treq.client import HTTPClient
from twisted.internet import ssl
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as LateError
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError, ConnectingCancelledError, ConnectionClosed, DNSLookupError
from twisted.internet.interfaces import IReactorTCP, IReactorTime, IReactorUNIX
from twisted.web.client import Agent, RequestTransmissionFailed, ResponseFailed
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from txdagu.execution.containers.address import EngineAddress
from txdagu.execution.steps.body import read_body
from txdagu.execution.unverified import UnverifiedPeer
from txdagu.model.errors import DaguError, UnavailableError
from txdagu.system.threads import InThread

REPLY_SECONDS = 60.0  # for calls that an engine answers at once
LARGEST = 16 * 1024 * 1024  # bytes of an answer that is read as a whole
NO_CONNECTION = (ConnectError, DNSLookupError, TlsError)
GONE = (ResponseFailed, RequestTransmissionFailed, ConnectionClosed)


class EngineError(DaguError):
    """The engine refused something: `status` is that of HTTP, `reason` its own sentence."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"the container engine answered: {reason}")
        self.status = status
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Answer:
    """What an engine said: the status of HTTP, headers by small name, the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body's value. Raises `DaguError` if it is no JSON."""
        try:
            return json.loads(self.body) if self.body.strip() else None
        except ValueError:
            raise DaguError(f"the container engine answered {self.body[:80]!r}, which is no JSON") from None


@implementer(IAgentEndpointFactory)
class _One:
    """Whatever is asked for is asked of one peer."""

    def __init__(self, endpoint: Any) -> None:
        self._endpoint = endpoint

    def endpointForURI(self, uri: Any) -> Any:  # noqa: N802 - zope interface of Twisted
        return self._endpoint


class Transport:
    """HTTP to the engine at an `address`; each request has a connection of its own."""

    def __init__(self, address: EngineAddress, reactor: IReactorTime, in_thread: InThread) -> None:
        self.address = address
        self._reactor = reactor
        self._in_thread = in_thread
        self._client: HTTPClient | None = None

    async def ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        seconds: float = REPLY_SECONDS,
    ) -> Answer:
        """
        One question, and its whole answer. 0 `seconds` is no limit.

        Raises `EngineError` for a refusal, `UnavailableError` where there is no answer.
        """
        whole = bytearray()

        async def collect(data: bytes) -> None:
            if len(whole) + len(data) > LARGEST:
                raise DaguError(f"the container engine's answer to {path} is longer than {LARGEST} bytes")
            whole.extend(data)

        async def exchange() -> Answer:
            response = await self._send(method, path, query, body, headers)
            await self._told(read_body(response, collect))
            return Answer(response.code, _headers(response), bytes(whole))

        waiting = Deferred.fromCoroutine(exchange())
        if seconds:
            waiting.addTimeout(seconds, self._reactor)
        try:
            answer = await waiting
        except LateError as error:
            raise self._late(seconds) from error
        if answer.status >= 400:
            raise EngineError(answer.status, _reason(answer))
        return answer

    async def open(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """The response to a question whose answer goes on; `read` reads it. Raises like `ask`."""
        waiting = Deferred.fromCoroutine(self._send(method, path, query, body, headers))
        waiting.addTimeout(REPLY_SECONDS, self._reactor)
        try:
            response = await waiting
        except LateError as error:
            raise self._late(REPLY_SECONDS) from error
        if response.code >= 400:
            text = bytearray()

            async def collect(data: bytes) -> None:
                text.extend(data[: LARGEST - len(text)])

            await self._told(read_body(response, collect))
            raise EngineError(response.code, _reason(Answer(response.code, {}, bytes(text))))
        return response

    def read(self, response: Any, write: Any) -> Deferred[None]:
        """Hand the body of an open response to `write`, piece by piece; fires at its end. Errors as those of `ask`."""
        return Deferred.fromCoroutine(self._told(read_body(response, write)))

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Any,
        headers: Mapping[str, str] | None,
    ) -> Any:
        client = await self._connected()
        url = f"http://docker{path}" + (f"?{urlencode(query)}" if query else "")
        data = None if body is None else json.dumps(body).encode()
        sent: dict[bytes | str, bytes | str] = {"Connection": "close"}
        sent.update(headers or {})
        if data is not None:
            sent["Content-Type"] = "application/json"
        asked = client.request(method, url, headers=sent, data=data, unbuffered=True, allow_redirects=False)
        return await self._told(asked)

    async def _told(self, waiting: Any) -> Any:
        try:
            return await waiting
        except ConnectingCancelledError as error:
            raise CancelledError from error
        except NO_CONNECTION as error:
            raise UnavailableError(self._unreachable(error)) from error
        except GONE as error:
            if _given_up(error):
                raise CancelledError from error
            raise UnavailableError(
                f"the container engine at {self.address.written} went away before it had answered: {_innermost(error)}; "
                "look into its log"
            ) from error

    async def _connected(self) -> HTTPClient:
        if self._client is None:
            endpoint = await self._endpoint()
            self._client = HTTPClient(Agent.usingEndpointFactory(self._reactor, _One(endpoint)))
        return self._client

    async def _endpoint(self) -> Any:
        address, reactor = self.address, self._reactor
        if address.path:
            if not IReactorUNIX.providedBy(reactor):
                raise DaguError("steps in containers need a reactor that makes connections")
            return UNIXClientEndpoint(reactor, address.path)
        if not IReactorTCP.providedBy(reactor):
            raise DaguError("steps in containers need a reactor that makes connections")
        endpoint = HostnameEndpoint(reactor, address.host, address.port)
        if not address.certificates:
            return endpoint
        options = await self._in_thread(partial(_tls_options, address))
        return wrapClientTLS(options, endpoint)

    def _unreachable(self, error: Exception) -> str:
        where = f"the container engine at {self.address.written} cannot be reached"
        number = getattr(error, "osError", None)
        if number == errno.ENOENT:
            return (
                f"{where}: there is no such socket; start Docker or Podman's service, or name its socket in DOCKER_HOST"
            )
        if number in (errno.EACCES, errno.EPERM):
            return (
                f"{where}: this user may not use the socket; add the user to the socket's group (docker), "
                "or name a socket of the user's own in DOCKER_HOST"
            )
        if number == errno.ECONNREFUSED:
            return f"{where}: nobody listens there; start Docker or Podman's service, or set DOCKER_HOST"
        return f"{where}: {_innermost(error)}; check DOCKER_HOST and DOCKER_CERT_PATH"

    def _late(self, seconds: float) -> UnavailableError:
        return UnavailableError(
            f"the container engine at {self.address.written} did not answer within {seconds:g} s: it hangs, or "
            "something else listens there"
        )


def _tls_options(address: EngineAddress) -> Any:
    """Who we are, and whom we trust. Blocks. Raises `DaguError` for files that cannot be read."""
    directory = Path(address.certificates)
    try:
        own = ssl.PrivateCertificate.loadPEM(
            (directory / "key.pem").read_bytes() + b"\n" + (directory / "cert.pem").read_bytes()
        )
        if not address.verify:
            return UnverifiedPeer(ssl.CertificateOptions(own.privateKey.original, own.original))
        authority = ssl.Certificate.loadPEM((directory / "ca.pem").read_bytes())
        return ssl.optionsForClientTLS(address.host, trustRoot=authority, clientCertificate=own)
    except OSError as error:
        raise DaguError(f"DOCKER_CERT_PATH: cannot read {error.filename}: {error.strerror}") from error
    except (TlsError, CryptoError, ValueError) as error:
        raise DaguError(f"DOCKER_CERT_PATH={directory}: a certificate or key there is none: {error}") from error


def _headers(response: Any) -> dict[str, str]:
    return {
        name.decode("latin-1").lower(): values[0].decode("latin-1")
        for name, values in response.headers.getAllRawHeaders()
        if values
    }


def _reason(answer: Answer) -> str:
    try:
        value = json.loads(answer.body)
    except ValueError:
        value = None
    told = value.get("message") if isinstance(value, Mapping) else ""
    text = str(told or answer.body.decode("utf-8", "replace")).strip()
    return text or f"HTTP status {answer.status}"


def _given_up(error: Exception) -> bool:
    """Whether it was us who ended the request."""
    return any(reason.check(CancelledError) for reason in getattr(error, "reasons", None) or ())


def _innermost(error: Exception) -> str:
    reasons = getattr(error, "reasons", None)
    if reasons:
        return _innermost(reasons[-1].value)
    return str(error).strip().rstrip(".") or type(error).__name__
