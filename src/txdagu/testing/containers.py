"""A container engine in this process, for tests: the part of Docker's API that steps use, containers that only seem to run."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from twisted.internet.defer import Deferred
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

ANSWERED = NOT_DONE_YET


def frame(data: bytes, *, error: bool = False) -> bytes:
    """A frame of the stream in which an engine sends output."""
    return bytes([2 if error else 1, 0, 0, 0]) + len(data).to_bytes(4, "big") + data


@dataclass
class Program:
    """
    What runs in a container: what it prints at once, its exit status; `endless` ones go on until a signal that they mind.

    `deaf` ones mind SIGKILL alone.
    """

    out: bytes = b""
    err: bytes = b""
    status: int = 0
    endless: bool = False
    deaf: bool = False
    ended: bool = False
    listeners: list[Any] = field(default_factory=list)
    waiters: list[Deferred[int]] = field(default_factory=list)

    def begin(self) -> None:
        """Print, and end unless it goes on."""
        for request in self.listeners:
            self.tell(request)
        if not self.endless:
            self.end(self.status)

    def tell(self, request: Any) -> None:
        """What was printed, to one listener."""
        request.write((frame(self.out) if self.out else b"") + (frame(self.err, error=True) if self.err else b""))

    def signal(self, number: int) -> None:
        """End as a program does that was sent a signal."""
        if not self.ended and (number == 9 or not self.deaf):
            self.end(128 + number)

    def end(self, status: int) -> None:
        """End, and let all know who listen or wait."""
        self.status, self.ended = status, True
        listeners, self.listeners = self.listeners, []
        for request in listeners:
            _finish(request)
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            waiter.callback(status)


@dataclass
class FakeContainer:
    """A container: the request that made it, its program, and `health` if its image has a check for that."""

    id: str
    name: str
    body: Mapping[str, Any]
    program: Program
    status: str = "created"
    health: str = ""

    @property
    def running(self) -> bool:
        """Whether its program runs."""
        return self.status == "running" and not self.program.ended


@dataclass(frozen=True)
class Asked:
    """One request that was made; `version` is that of the API, as ``/v1.41``."""

    version: str
    method: str
    path: str
    query: Mapping[str, str]
    body: Any
    headers: Mapping[str, str]


class ScriptedEngine(Resource):
    """
    Answers as an engine does.

    `images` are there, `pullable` ones can be fetched. `programs` tells what command lines do; others print their words and end
    well. `refuse` maps patterns of ``METHOD /path`` to a status and a message; at a path that matches `dies_at` the connection is
    cut. `asked` are all requests.
    """

    isLeaf = True  # noqa: N815 - twisted.web's name

    def __init__(self, api: str = "1.41") -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # twisted.web's
        self.api = api
        self.images = {"img:1"}
        self.pullable: set[str] = set()
        self.platforms: dict[str, str] = {}
        self.programs: dict[str, Callable[[], Program]] = {}
        self.refuse: dict[str, tuple[int, str]] = {}
        self.dies_at = ""
        self.health = ""
        self.asked: list[Asked] = []
        self.containers: dict[str, FakeContainer] = {}
        self.made: list[FakeContainer] = []
        self._commands: dict[str, tuple[FakeContainer, Mapping[str, Any], Program]] = {}
        self._listening: Any = None

    def listen(self, reactor: Any, path: str) -> None:
        """Answer on a UNIX socket."""
        self._listening = reactor.listenUNIX(path, Site(self))

    def listen_tls(self, reactor: Any, options: Any) -> int:
        """Answer over TLS with these options, on a port of this host; which one."""
        self._listening = reactor.listenSSL(0, Site(self), options, interface="127.0.0.1")
        return int(self._listening.getHost().port)

    async def close(self) -> None:
        """Answer no more."""
        await self._listening.stopListening()

    def run(self, name: str, program: Program) -> FakeContainer:
        """A container that somebody else has started."""
        container = FakeContainer(f"{len(self.made):064x}", name, {}, program, "running")
        self.made.append(container)
        self.containers[container.id] = container
        return container

    def paths(self) -> list[str]:
        """What was asked for, without versions and ids."""
        return [re.sub(r"[0-9a-f]{64}", "ID", f"{one.method} {one.path}") for one in self.asked]

    def render(self, request: Any) -> int:
        """Answer one request."""
        version, path = re.fullmatch(r"(/v[\d.]+)?(.*)", unquote(request.path.decode())).groups()  # type: ignore[union-attr]
        content = request.content.read()
        asked = Asked(
            version or "",
            request.method.decode(),
            path,
            {name.decode(): values[0].decode() for name, values in request.args.items()},
            json.loads(content) if content else None,
            {name.decode().lower(): values[0].decode() for name, values in request.requestHeaders.getAllRawHeaders()},
        )
        self.asked.append(asked)
        line = f"{asked.method} {path}"
        request.notifyFinish().addErrback(lambda _: None)
        if self.dies_at and re.search(self.dies_at, line):
            request.channel.transport.abortConnection()
            return ANSWERED
        for pattern, (status, message) in self.refuse.items():
            if re.search(pattern, line):
                return _answer(request, status, {"message": message})
        return self._dispatch(request, asked)

    def _dispatch(self, request: Any, asked: Asked) -> int:
        _, kind, *rest = asked.path.split("/")
        if kind == "_ping":
            request.setHeader("Api-Version", self.api)
            return _answer(request, 200, None)
        if kind == "images":
            return self._image(request, asked)
        if kind == "exec":
            return self._command(request, rest)
        return self._container(request, asked, rest)

    def _image(self, request: Any, asked: Asked) -> int:
        if asked.method == "POST":
            name = f"{asked.query['fromImage'].removeprefix('docker.io/library/')}:{asked.query['tag']}"
            if name not in self.pullable:
                error = {"errorDetail": {"message": "denied"}, "error": f"pull access denied for {name}"}
                return _answer(request, 200, {"status": "Pulling"}, error)
            self.images.add(name)
            return _answer(request, 200, {"status": "Pulling"}, {"status": "done"})
        name = asked.path.removeprefix("/images/").removesuffix("/json")
        if _tagged(name) not in self.images:
            return _answer(request, 404, {"message": f"No such image: {name}"})
        system, _, processor = self.platforms.get(name, "linux/amd64").partition("/")
        return _answer(request, 200, {"Os": system, "Architecture": processor})

    def _container(self, request: Any, asked: Asked, rest: list[str]) -> int:
        if rest == ["create"]:
            return self._create(request, asked)
        known = (one for one in self.containers.values() if rest[0] in (one.id, one.name))
        container = next(known, None)
        if container is None:
            return _answer(request, 404, {"message": f"No such container: {rest[0]}"})
        program, action = container.program, rest[1] if len(rest) > 1 else ""
        if asked.method == "DELETE":
            program.signal(9)
            del self.containers[container.id]
            return _answer(request, 204)
        if action == "exec":
            words = tuple(asked.body["Cmd"])
            identity = f"exec{len(self._commands)}"
            self._commands[identity] = (container, asked.body, self._program(words))
            return _answer(request, 201, {"Id": identity})
        if action == "json":
            status = "exited" if program.ended else container.status
            state: dict[str, Any] = {"Status": status, "Running": container.running, "ExitCode": program.status}
            if self.health:
                state["Health"] = {"Status": self.health}
            return _answer(request, 200, {"Id": container.id, "State": state})
        if action in ("attach", "logs"):
            return self._listen(request, asked, container)
        if action == "start":
            container.status = "running"
            program.begin()
            return _answer(request, 204)
        if action == "wait":
            return _when(request, program)
        if not container.running:
            return _answer(request, 409, {"message": f"Container {container.id} is not running"})
        program.signal({"SIGKILL": 9, "SIGINT": 2}.get(asked.query.get("signal", ""), 15))
        return _answer(request, 204)

    def _create(self, request: Any, asked: Asked) -> int:
        image, name = asked.body["Image"], asked.query.get("name", "")
        if _tagged(image) not in self.images:
            return _answer(request, 404, {"message": f"No such image: {image}"})
        if name and any(one.name == name for one in self.containers.values()):
            return _answer(request, 409, {"message": f'Conflict. The container name "/{name}" is already in use'})
        words = tuple(asked.body.get("Entrypoint") or ()) + tuple(asked.body.get("Cmd") or ())
        container = FakeContainer(f"{len(self.made):064x}", name, asked.body, self._program(words))
        self.made.append(container)
        self.containers[container.id] = container
        return _answer(request, 201, {"Id": container.id, "Warnings": []})

    def _listen(self, request: Any, asked: Asked, container: FakeContainer) -> int:
        program = container.program
        request.write(b"")
        if container.status == "created":
            program.listeners.append(request)
            return ANSWERED
        program.tell(request)
        if program.ended or asked.query.get("follow") == "0":
            _finish(request)
        else:
            program.listeners.append(request)
        return ANSWERED

    def _command(self, request: Any, rest: list[str]) -> int:
        container, body, program = self._commands[rest[0]]
        if rest[1] == "json":
            return _answer(request, 200, {"Running": not program.ended, "ExitCode": program.status})
        request.write(b"")
        words = body["Cmd"]
        if words[0] == "sh" and "/environ" in words[2]:
            self._signal(int(words[4]), words[5])
        program.listeners.append(request)
        program.begin()
        if not container.running:
            program.end(137)
        return ANSWERED

    def _signal(self, number: int, token: str) -> None:
        """What the program does that sends signals to those with a word in their environment."""
        for _, body, program in self._commands.values():
            if any(token in text for text in body.get("Env") or ()):
                program.signal(number)

    def _program(self, words: tuple[str, ...]) -> Program:
        line = " ".join(words)
        if line in self.programs:
            return self.programs[line]()
        if "sleep 86400" in line:
            return Program(endless=True)
        return Program() if "/environ" in line else Program(out=f"{line}\n".encode())


def _tagged(name: str) -> str:
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _answer(request: Any, status: int, *values: Any) -> int:
    request.setResponseCode(status)
    if values:
        request.setHeader("Content-Type", "application/json")
    if values and request.channel is not None:
        request.write("\r\n".join("" if value is None else json.dumps(value) for value in values).encode())
    _finish(request)
    return ANSWERED


def _finish(request: Any) -> None:
    """The end of an answer; who asked may have gone."""
    if request.channel is not None:
        request.finish()


def _when(request: Any, program: Program) -> int:
    def tell(status: int) -> None:
        _answer(request, 200, {"StatusCode": status})

    if program.ended:
        tell(program.status)
    else:
        waiter: Deferred[int] = Deferred()
        waiter.addCallback(tell)
        program.waiters.append(waiter)
    return ANSWERED
