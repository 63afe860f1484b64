"""Steps of type ``http``: one request, its answer printed."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode, urlsplit

from treq.client import HTTPClient
from twisted.internet import ssl
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTCP
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IPolicyForHTTPS
from zope.interface import implementer

from txdagu import __version__
from txdagu.execution.plan import StepEnd
from txdagu.execution.steps import gojson
from txdagu.execution.steps.body import read_body
from txdagu.execution.steps.context import StepContext
from txdagu.execution.steps.reaching import UNREACHABLE, address, reason, without_login
from txdagu.execution.unverified import UnverifiedPeer
from txdagu.model.errors import DaguError
from txdagu.model.status import NodeState

JSON_LIMIT = 64 * 1024 * 1024  # bytes of an answer that is read as a whole
_NO_PAYLOAD = frozenset({"GET", "HEAD"})
_NO_LENGTH = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})
_OURS = frozenset(
    {"content-length", "transfer-encoding"}
)  # they say how the body is sent, which is not the step's to say
_SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie"})


@dataclass(frozen=True, slots=True)
class _Request:
    """What is asked for, and how the answer is printed."""

    method: str
    url: str
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    timeout: int = 0
    silent: bool = False
    debug: bool = False
    as_json: bool = False
    verify: bool = True


@implementer(IPolicyForHTTPS)
class _AnyCertificate:
    """Accepts whatever certificate a server shows."""

    def creatorForNetloc(self, hostname: bytes, port: int) -> Any:  # noqa: N802 - zope interface of Twisted
        is_name = not isIPAddress(hostname.decode("ascii")) and not isIPv6Address(hostname.decode("ascii"))
        return UnverifiedPeer(ssl.CertificateOptions(), hostname if is_name else b"")


async def run_http_step(context: StepContext) -> StepEnd:
    """
    Send the request of ``command`` (``METHOD url``) and print the answer: status line, headers and body.

    The options are the config and, over it, the JSON object in ``script``. Any status but 2xx fails the step.
    """
    script = await context.evaluator.field(context.step.script) if context.step.script else ""
    request = await _read_request(context, script)
    end = await _send(context, request)
    return replace(end, step=replace(context.step, script=script))


async def _read_request(context: StepContext, script: str) -> _Request:
    if not context.step.commands:
        raise DaguError("an http step needs its request as command, for example command: GET https://example.org/")
    text = await context.evaluator.command(context.step.commands[0].text)
    method, _, url = text.strip().partition(" ")
    url = url.strip().strip("\"'")
    wrong = _wrong_url(url)
    if wrong is not None:
        raise DaguError(
            f"{url or text!r} is not a URL{wrong}: write METHOD and an http or https URL, for example GET http://host/"
        )
    config = await context.config()
    if script:
        config = config.overridden(_object(script))
    query = config.mapping("query")
    if query:
        url += ("&" if urlsplit(url).query else "?") + urlencode(sorted(query.items()))
    url, login = without_login(url)
    headers = {name: value for name, value in config.mapping("headers").items() if name.lower() not in _OURS}
    if login and "authorization" not in {name.lower() for name in headers}:
        headers["Authorization"] = login
    request = _Request(
        method.upper(),
        url,
        headers,
        config.text("body"),
        config.number("timeout"),
        config.flag("silent"),
        config.flag("debug"),
        config.flag("json"),
        not config.flag("skipTLSVerify"),
    )
    config.check()
    return request


def _wrong_url(url: str) -> str | None:
    """What is wrong with it, if something is."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # read only when it is asked for
    except ValueError as error:
        return f" ({error})"
    return None if parts.scheme in ("http", "https") and parts.hostname else ""


def _object(script: str) -> dict[str, Any]:
    try:
        value = json.loads(script)
    except ValueError as error:
        raise DaguError(f"the script of an http step is a JSON object with its options: {error}") from error
    if not isinstance(value, dict):
        raise DaguError("the script of an http step is a JSON object with its options")
    return value


async def _send(context: StepContext, request: _Request) -> StepEnd:
    reactor = context.tools.clock
    if not IReactorTCP.providedBy(reactor):
        raise DaguError("http steps need a reactor that makes connections")
    policy = BrowserLikePolicyForHTTPS() if request.verify else _AnyCertificate()
    client = HTTPClient(Agent(reactor, policy))
    headers = {"User-Agent": f"txdagu/{__version__}", **request.headers}
    payload = request.body.encode() if request.body and request.method not in _NO_PAYLOAD else None
    if payload is not None and "content-type" not in {name.lower() for name in headers}:
        headers["Content-Type"] = "text/plain; charset=utf-8"
    if request.debug:
        await context.print_error(_trace(request, headers))

    async def exchange() -> StepEnd:
        response = await client.request(
            request.method,
            address(request.url),
            headers=Headers({name: [value] for name, value in headers.items()}),
            data=payload,
            browser_like_redirects=True,
            unbuffered=True,
        )
        return await _print(context, request, response)

    waiting = Deferred.fromCoroutine(exchange())
    late = reactor.callLater(request.timeout, waiting.cancel) if request.timeout > 0 else None
    try:
        return await context.stop.race(waiting)
    except (*UNREACHABLE, CancelledError, ValueError) as error:
        if late is not None and not late.active():
            raise DaguError(f"{request.method} {request.url}: no whole answer within {request.timeout} s") from error
        raise DaguError(f"{request.method} {request.url}: {reason(error)}") from error
    finally:
        if late is not None and late.active():
            late.cancel()


def _trace(request: _Request, headers: dict[str, str]) -> str:
    shown = (f"> {name}: {'…' if name.lower() in _SECRET_HEADERS else value}" for name, value in headers.items())
    return "\n".join((f"> {request.method} {request.url}", *shown, ""))


async def _print(context: StepContext, request: _Request, response: Any) -> StepEnd:
    good = 200 <= response.code < 300
    headers = _headers(request, response)
    if request.as_json:
        await context.print(await _json(request, response, headers, silent=request.silent and good))
    else:
        if not (request.silent and good):
            lines = "".join(f"{name}: {value}\r\n" for name, values in headers.items() for value in values)
            await context.print(f"{response.code} {response.phrase.decode('latin-1')}\n{lines}")
        await read_body(response, context.print_bytes)
    if good:
        return StepEnd(NodeState.SUCCEEDED)
    error = f'failed to execute step "{context.step.name}": http status code not 2xx: {response.code}'
    return StepEnd(NodeState.FAILED, error, exit_code=1)


def _headers(request: _Request, response: Any) -> dict[str, list[str]]:
    """The answer's headers in alphabetical order, with words in Title-Case; the length, too, which Twisted keeps apart."""
    found = {
        "-".join(part.capitalize() for part in name.decode("latin-1").split("-")): [
            value.decode("utf-8", "replace") for value in values
        ]
        for name, values in response.headers.getAllRawHeaders()
        if any(values)  # Twisted leaves an empty Content-Encoding where it looked for one
    }
    if response.length is not UNKNOWN_LENGTH and request.method != "HEAD" and response.code not in _NO_LENGTH:
        found["Content-Length"] = [str(response.length)]
    return dict(sorted(found.items()))


async def _json(request: _Request, response: Any, headers: dict[str, list[str]], *, silent: bool) -> str:
    """One object with status, headers and the body as JSON; a silent one has the body alone."""
    body = await _whole(response)
    try:
        value = gojson.parse(body.decode())
    except ValueError as error:
        raise DaguError(f"{request.method} {request.url}: the body of the answer is not JSON: {error}") from error
    parts = (
        f' "status_code": {0 if silent else response.code}',
        f' "headers": {_inner(None if silent else headers)}',
        f' "body": {_inner(value)}',
    )
    return "{\n" + ",\n".join(parts) + "\n}"


def _inner(value: Any) -> str:
    return gojson.dumps(value, " ").replace("\n", "\n ")


async def _whole(response: Any) -> bytes:
    whole = bytearray()

    async def collect(data: bytes) -> None:
        if len(whole) + len(data) > JSON_LIMIT:
            raise DaguError(f"the answer is longer than the {JSON_LIMIT} bytes that can be read as JSON")
        whole.extend(data)

    await read_body(response, collect)
    return bytes(whole)
