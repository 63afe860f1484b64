"""A command in a container that runs already, and how it is stopped there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from txdagu.execution.containers.engine import ContainerEngine, Print
from txdagu.execution.containers.stopping import until_stopped
from txdagu.execution.containers.transport import EngineError
from txdagu.execution.stop import Stop
from txdagu.model.errors import DaguError

TOKEN = "DAGU_EXEC_ID"  # noqa: S105 - the name of a variable
LOOK_SOON, LOOK_LATE = 0.02, 0.5

# The API cannot signal a command that was executed in a container, and process ids mean nothing from outside of it. So the
# command carries a word of its own in its environment, which its children inherit, and who has to be stopped is found by it.
# They are signalled in the order of their numbers, so that who started others learns of it before these are gone.
_PROCESSES = " ".join("/proc/" + "[0-9]" * digits for digits in range(1, 8))
_SIGNAL = (
    f"for p in {_PROCESSES}; do "
    'case "$(cat "$p/environ" 2>/dev/null)" in '
    '*"$2"*) kill -"$1" "${p#/proc/}" 2>/dev/null;; esac; done; exit 0'
)


async def run_in(
    engine: ContainerEngine,
    container: str,
    words: tuple[str, ...],
    options: Mapping[str, Any],
    stop: Stop,
    clock: IReactorTime,
    write: Print,
    *,
    kill_container: bool,
) -> int:
    """
    Execute a command in a running container; its exit status.

    `options` are those of the API. A stop becomes a signal to the command and all that it has started, for which the container
    has to have ``sh`` and ``cat``; by force the whole container is killed where `kill_container` allows that. Raises
    `StopRequested` when the end was wanted before the start.
    """
    stop.check()
    token = uuid4().hex
    env = [*(options.get("Env") or ()), f"{TOKEN}={token}"]
    try:
        command = await engine.create_exec(container, {**options, "Env": env, "Cmd": list(words)})
        listening = engine.listen(await engine.start_exec(command), write, framed=not options.get("Tty"))
    except EngineError as error:
        raise DaguError(f"the command cannot be executed in container {container[:12]}: {error.reason}") from error

    async def end() -> int:
        await listening
        pause = LOOK_SOON
        while (status := await engine.exec_status(command)) is None:
            await deferLater(clock, pause)
            pause = min(pause * 2, LOOK_LATE)
        return status

    async def pass_on(force: bool) -> None:
        if force and kill_container:
            await engine.kill(container, "SIGKILL")
            return
        await _signal(engine, container, options, stop.signal, token)

    what = f"the command in container {container[:12]}"
    return await until_stopped(Deferred.fromCoroutine(end()), pass_on, stop, clock, what)


async def _signal(engine: ContainerEngine, container: str, options: Mapping[str, Any], number: int, token: str) -> None:
    """Send a signal to all who have the token, as the user who runs them. Raises `DaguError` if that cannot be done."""
    said = bytearray()

    async def hear(data: bytes, _error: bool) -> None:
        said.extend(data[:200])

    user = {"User": options["User"]} if options.get("User") else {}
    words = ["sh", "-c", _SIGNAL, "sh", str(number), token]
    signalling = await engine.create_exec(container, {**user, "Cmd": words})
    await engine.listen(await engine.start_exec(signalling), hear)
    if await engine.exec_status(signalling):
        raise DaguError(
            f"no signal can be sent there, for which sh is needed: {said.decode('utf-8', 'replace').strip()}"
        )
