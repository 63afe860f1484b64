"""
The calls of the engine's API that steps need.

They are those of https://docs.docker.com/reference/api/engine/, which Podman answers as well, in a version that both sides know.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from twisted.internet.defer import Deferred

from txdagu.execution.containers.images import image_name
from txdagu.execution.containers.multiplexed import MultiplexedStream
from txdagu.execution.containers.transport import EngineError, Transport
from txdagu.model.errors import DaguError

OLDEST, NEWEST = (1, 24), (1, 47)  # versions of the API; the newest that was read, and the oldest with what is used
WAIT = 0.0

Print = Callable[[bytes, bool], Awaitable[None]]
Record = Mapping[str, Any]


class ContainerEngine:
    """
    One engine. Names and ids of containers are alike to it.

    All calls raise `EngineError` for refusals and `UnavailableError` where there is no answer; cancelling gives them up.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._prefix = ""

    @property
    def where(self) -> str:
        """The engine's address, for people."""
        return self._transport.address.written

    async def connect(self) -> None:
        """Agree on a version of the API: the newest that both know, or the one that somebody demands."""
        version = self._transport.address.api
        if not version:
            pong = await self._transport.ask("GET", "/_ping")
            theirs = _version(pong.headers.get("api-version", ""))
            if theirs is None:
                raise DaguError(f"what listens at {self.where} is no container engine: set DOCKER_HOST")
            if theirs < OLDEST:
                raise DaguError(
                    f"the container engine at {self.where} is too old: it speaks version {_text(theirs)} of Docker's API, "
                    f"{_text(OLDEST)} is needed"
                )
            version = _text(min(theirs, NEWEST))
        self._prefix = f"/v{version}"

    # -- images --------------------------------------------------------------------------------------------------------

    async def image(self, name: str) -> Record | None:
        """What the engine knows of an image; None if it has none of that name."""
        try:
            return await self._get(f"/images/{quote(name, safe='/:@')}/json")
        except EngineError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    async def pull(self, name: str, platform: str, credentials: str) -> None:
        """Fetch an image; `credentials` are those of `images.registry_header`. Takes as long as it takes."""
        image = image_name(name)
        query = {"fromImage": image.repository, "tag": image.tag}
        if platform:
            query["platform"] = platform
        headers = {"X-Registry-Auth": credentials} if credentials else {}
        response = await self._transport.open("POST", f"{self._prefix}/images/create", query, headers=headers)
        lines = _Lines()
        await self._transport.read(response, lines.feed)
        lines.end()

    # -- containers ----------------------------------------------------------------------------------------------------

    async def create(self, body: Record, name: str, platform: str) -> str:
        """Make a container, which does not run yet; its id."""
        query = {key: value for key, value in (("name", name), ("platform", platform)) if value}
        answer = await self._transport.ask("POST", f"{self._prefix}/containers/create", query, body)
        return _text_of(answer.json(), "Id")

    async def start(self, container: str) -> None:
        """Let a container run."""
        await self._post(f"/containers/{quote(container)}/start")

    async def inspect(self, container: str) -> Record | None:
        """What the engine knows of a container; None if there is none."""
        try:
            return await self._get(f"/containers/{quote(container)}/json")
        except EngineError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    async def attach(self, container: str) -> Any:
        """Listen to a container from now on; the response is for `listen`."""
        query = {"stream": "1", "stdout": "1", "stderr": "1"}
        return await self._transport.open("POST", f"{self._prefix}/containers/{quote(container)}/attach", query)

    async def logs(self, container: str, *, follow: bool, tail: str = "all") -> Any:
        """What a container has printed; the response is for `listen`."""
        query = {"stdout": "1", "stderr": "1", "tail": tail, "follow": str(int(follow))}
        return await self._transport.open("GET", f"{self._prefix}/containers/{quote(container)}/logs", query)

    def listen(self, response: Any, write: Print, *, framed: bool = True) -> Deferred[None]:
        """Hand on what a container prints, and whether it is standard error; fires at the end of it."""
        stream = MultiplexedStream(framed=framed)

        async def feed(data: bytes) -> None:
            for error, piece in stream.feed(data):
                await write(piece, error)

        async def whole() -> None:
            await self._transport.read(response, feed)
            if stream.cut:
                raise DaguError(f"the container engine at {self.where} stopped in the middle of a container's output")

        return Deferred.fromCoroutine(whole())

    async def wait(self, container: str) -> int:
        """The exit status of a container, when it does not run any more."""
        query = {"condition": "not-running"}
        path = f"{self._prefix}/containers/{quote(container)}/wait"
        answer = await self._transport.ask("POST", path, query, seconds=WAIT)
        return _number_of(answer.json(), "StatusCode")

    async def kill(self, container: str, signal: str) -> None:
        """Send a signal to a container's first process; nothing happens if it does not run."""
        await self._post(f"/containers/{quote(container)}/kill", {"signal": signal}, HTTPStatus.CONFLICT)

    async def stop(self, container: str, seconds: int) -> None:
        """Ask a container to end, and kill it when the time is over."""
        path = f"{self._prefix}/containers/{quote(container)}/stop"
        await self._transport.ask("POST", path, {"t": str(seconds)}, seconds=seconds + 30)

    async def remove(self, container: str) -> None:
        """Remove a container and its anonymous volumes, running or not; nothing happens if it is gone."""
        path = f"{self._prefix}/containers/{quote(container)}"
        try:
            await self._transport.ask("DELETE", path, {"force": "1", "v": "1"})
        except EngineError as error:
            if error.status not in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):  # gone, or just being removed
                raise

    # -- commands in containers ----------------------------------------------------------------------------------------

    async def create_exec(self, container: str, body: Record) -> str:
        """Prepare a command in a running container; its id."""
        path = f"{self._prefix}/containers/{quote(container)}/exec"
        streams = {"AttachStdout": True, "AttachStderr": True}
        answer = await self._transport.ask("POST", path, body={**streams, **body})
        return _text_of(answer.json(), "Id")

    async def start_exec(self, command: str) -> Any:
        """Run a prepared command; the response is for `listen`."""
        path = f"{self._prefix}/exec/{command}/start"
        return await self._transport.open("POST", path, body={"Detach": False, "Tty": False})

    async def exec_status(self, command: str) -> int | None:
        """The exit status of a command; None while it runs."""
        known = await self._get(f"/exec/{command}/json")
        return None if known.get("Running") or known.get("ExitCode") is None else _number_of(known, "ExitCode")

    async def _get(self, path: str) -> Record:
        answer = await self._transport.ask("GET", self._prefix + path)
        value = answer.json()
        return value if isinstance(value, dict) else {}

    async def _post(self, path: str, query: Mapping[str, str] | None = None, ignored: int = 0) -> None:
        try:
            await self._transport.ask("POST", self._prefix + path, query)
        except EngineError as error:
            if error.status != ignored:
                raise


class _Lines:
    """The course of a pull: one JSON object a line, of which only an error matters. It comes with status 200."""

    def __init__(self) -> None:
        self._rest = b""

    async def feed(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._check(line)

    def end(self) -> None:
        """No more comes."""
        self._check(self._rest)

    @staticmethod
    def _check(line: bytes) -> None:
        if b'"error"' not in line:
            return
        try:
            told = json.loads(line)
        except ValueError:
            return
        if isinstance(told, dict) and told.get("error"):
            raise EngineError(HTTPStatus.BAD_GATEWAY, str(told["error"]))


def _version(text: str) -> tuple[int, int] | None:
    match = re.fullmatch(r"(\d+)\.(\d+)", text.strip())
    return (int(match[1]), int(match[2])) if match else None


def _text(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def _text_of(value: Any, key: str) -> str:
    found = value.get(key) if isinstance(value, dict) else None
    if not isinstance(found, str) or not found:
        raise DaguError(f"the container engine's answer has no {key}")
    return found


def _number_of(value: Any, key: str) -> int:
    found = value.get(key) if isinstance(value, Mapping) else None
    if not isinstance(found, int):
        raise DaguError(f"the container engine's answer has no {key}")
    return found
