"""A question sent to a provider, again if it could not be answered just then."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTCP, IReactorTime
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS, ResponseFailed
from twisted.web.http_headers import Headers

from txdagu import __version__
from txdagu.execution.steps.body import read_body
from txdagu.execution.steps.chat.pieces import ModelRequest
from txdagu.execution.steps.chat.settings import ChatSettings
from txdagu.execution.steps.reaching import UNREACHABLE, address, cancelled, reason
from txdagu.model.errors import DaguError

TRIES = 4
CONNECT_SECONDS = 30.0
LONGEST_PAUSE = 60.0  # seconds that a provider may ask us to wait
SHOWN = 2000  # characters of an error's text
_PASSING = frozenset({408, 429, 500, 502, 503, 504, 529})


class CutShortError(DaguError):
    """The connection ended before the answer did."""


class Exchange:
    """
    Sends requests of one step. `clock` is the reactor; `pause` waits so many seconds, `tell` is told of each failure that is not
    the last.
    """

    def __init__(
        self,
        clock: IReactorTime,
        settings: ChatSettings,
        pause: Callable[[float], Awaitable[None]],
        tell: Callable[[str], Awaitable[None]],
    ) -> None:
        if not IReactorTCP.providedBy(clock):
            raise DaguError("chat steps need a reactor that makes connections")
        agent = Agent(clock, BrowserLikePolicyForHTTPS(), connectTimeout=CONNECT_SECONDS)
        self._client = HTTPClient(agent)
        self._settings = settings
        self._pause = pause
        self._tell = tell

    async def ask(self, request: ModelRequest) -> Any:
        """
        The response, its body not read yet; its status is 200 to 299. Raises `DaguError`.

        What may pass (nobody there, too many requests, trouble of the server's) is tried again after 1, 2 and 4 seconds, or
        after the time that the server asks for.
        """
        seconds = 1.0
        for left in reversed(range(TRIES)):
            try:
                response = await self._post(request)
            except UNREACHABLE as error:
                if cancelled(error):
                    raise CancelledError from error
                problem, wait = f"POST {request.url}: {reason(error)}", seconds
            else:
                if 200 <= response.code < 300:
                    return response
                problem, wait = await self._refused(response), _asked_for(response, seconds)
                if response.code not in _PASSING:
                    raise DaguError(problem)
            if not left:
                break
            await self._tell(f"{problem}; trying again in {wait:g} s\n")
            await self._pause(wait)
            seconds *= 2
        raise DaguError(problem)

    def _post(self, request: ModelRequest) -> Deferred[Any]:
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"txdagu/{__version__}",
            **request.headers,
        }
        response: Deferred[Any] = self._client.post(
            address(request.url),
            headers=Headers({name: [value] for name, value in headers.items()}),
            data=json.dumps(request.body).encode(),
            allow_redirects=False,  # the key is for this address only
            unbuffered=True,
        )
        return response

    async def _refused(self, response: Any) -> str:
        said = bytearray()

        async def collect(data: bytes) -> None:
            said.extend(data[: 4 * SHOWN - len(said)])

        try:
            await read_body(response, collect)
        except ResponseFailed:
            said += b" ..."
        text = " ".join(said.decode("utf-8", "replace").split())
        shown = self._settings.shown(text)
        return f"llm API error (status {response.code}): {shown[:SHOWN]}"


def _asked_for(response: Any, otherwise: float) -> float:
    """The seconds in ``Retry-After``, as far as they are a number and not too many."""
    for value in response.headers.getRawHeaders("retry-after", []):
        if value.strip().isdigit():
            return min(float(value), LONGEST_PAUSE)
    return otherwise


async def read_whole(response: Any, take: Callable[[bytes], Awaitable[None]]) -> None:
    """Pass the body to `take`. Raises `CutShortError` if it does not come to its end."""
    try:
        await read_body(response, take)
    except ResponseFailed as error:
        raise CutShortError("the connection ended before the answer did") from error
